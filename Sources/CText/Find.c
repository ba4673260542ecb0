// memmem(3) needs _GNU_SOURCE.
#define _GNU_SOURCE
#include <string.h>

#include "CText.h"

bool ctext_contains(const uint8_t *text, size_t length, const uint8_t *word, size_t word_length) {
    return memmem(text, length, word, word_length) != NULL;
}
