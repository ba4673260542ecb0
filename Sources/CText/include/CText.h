// Checks text from outside and copies it, in one pass over its bytes.
#ifndef CText_H
#define CText_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CTextScan.h"

// What was found. ASCII is always valid UTF-8, so only other text must be validated.
enum {
    ctext_not_ascii = 1,
    ctext_nul = 2,
};

// Checks `length` bytes; returns what was found.
unsigned ctext_look(const uint8_t *bytes, size_t length);

// The same, and copies them to `destination`, which does not overlap.
unsigned ctext_copy(uint8_t *destination, const uint8_t *bytes, size_t length);

// Whether the word occurs in the text, in time that grows with the sum of both lengths.
bool ctext_contains(const uint8_t *text, size_t length, const uint8_t *word, size_t word_length);

#endif
