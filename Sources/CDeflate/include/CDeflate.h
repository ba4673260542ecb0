// Compression behind C functions: raw deflate segments by ISA-L (or zlib, where that is missing), gunzip by zlib.
#ifndef CDeflate_H
#define CDeflate_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The largest size of the deflate segment of `length` bytes.
size_t cdeflate_capacity(size_t length);

// Makes segments; NULL without memory. Not for two threads at once.
typedef struct cdeflate_deflater cdeflate_deflater;
cdeflate_deflater *cdeflate_deflater_create(void);
void cdeflate_deflater_destroy(cdeflate_deflater *deflater);

// Compresses `length` bytes, without history, to a raw deflate segment that ends byte-aligned and without a final block,
// so that segments can follow each other. Returns its size, or 0 when it failed (a segment is never empty).
size_t cdeflate_segment(
    cdeflate_deflater *deflater, const uint8_t *input, size_t length, uint8_t *output, size_t capacity);

// The same with zlib, for machines without ISA-L.
size_t cdeflate_segment_zlib(const uint8_t *input, size_t length, uint8_t *output, size_t capacity);

// CRC-32 of gzip (RFC 1952 §8), continued from `crc`; 0 begins one.
uint32_t cdeflate_crc32(uint32_t crc, const uint8_t *bytes, size_t length);

// The operator that `cdeflate_crc32_append` needs for an appended part of this length.
uint32_t cdeflate_crc32_operator(uint64_t length);

// The CRC of two parts one after another.
uint32_t cdeflate_crc32_append(uint32_t crc, uint32_t appended, uint32_t operator_);

// Reads gzip; NULL without memory.
typedef struct cdeflate_inflater cdeflate_inflater;
cdeflate_inflater *cdeflate_inflater_create(void);
void cdeflate_inflater_destroy(cdeflate_inflater *inflater);

typedef enum {
    // All input is used, or the output is full.
    cdeflate_more,
    // A member has ended. Its CRC and length are right.
    cdeflate_member_end,
    cdeflate_corrupt,
    cdeflate_no_memory,
} cdeflate_status;

// Reads input and writes output; `*used` and `*written` get the numbers of bytes.
cdeflate_status cdeflate_inflate(
    cdeflate_inflater *inflater, const uint8_t *input, size_t length, size_t *used, uint8_t *output, size_t capacity,
    size_t *written);

// Prepares it for another member.
void cdeflate_inflater_reset(cdeflate_inflater *inflater);

#endif
