// One look at text from outside, and the copy of it that is kept, in the same pass over its bytes.
#ifndef CText_H
#define CText_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CTextScan.h"

// What was seen. Only text that is not ASCII can be anything but UTF-8.
enum {
    ctext_not_ascii = 1,
    ctext_nul = 2,
};

// Looks at `length` bytes; returns what was seen.
unsigned ctext_look(const uint8_t *bytes, size_t length);

// The same, and copies them to `destination`, which does not overlap.
unsigned ctext_copy(uint8_t *destination, const uint8_t *bytes, size_t length);

// Whether the word occurs in the text, in time that grows with the sum of both lengths.
bool ctext_contains(const uint8_t *text, size_t length, const uint8_t *word, size_t word_length);

#endif
