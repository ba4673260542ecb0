#define _FILE_OFFSET_BITS 64
#include "CDeflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#if __has_include(<isa-l/igzip_lib.h>)
#define HAS_ISAL 1
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#endif

size_t cdeflate_capacity(size_t length) { return length + length / 10 + 200; }

uint32_t cdeflate_crc32(uint32_t crc, const uint8_t *bytes, size_t length) {
#if HAS_ISAL
    return crc32_gzip_refl(crc, bytes, length);
#else
    return (uint32_t)crc32_z(crc, bytes, length);
#endif
}

uint32_t cdeflate_crc32_operator(uint64_t length) { return (uint32_t)crc32_combine_gen((z_off_t)length); }

uint32_t cdeflate_crc32_append(uint32_t crc, uint32_t appended, uint32_t operator_) {
    return (uint32_t)crc32_combine_op(crc, appended, operator_);
}

size_t cdeflate_segment_zlib(const uint8_t *input, size_t length, uint8_t *output, size_t capacity) {
    z_stream stream = {0};
    // Negative window bits: raw deflate, without header and trailer.
    if (deflateInit2(&stream, 1, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    stream.next_in = (Bytef *)input;
    stream.avail_in = (uInt)length;
    stream.next_out = output;
    stream.avail_out = (uInt)capacity;
    const int result = deflate(&stream, Z_SYNC_FLUSH);
    // With output left over, the flush is complete (zlib.h, deflate()).
    const int complete = result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0;
    const size_t written = capacity - stream.avail_out;
    deflateEnd(&stream);
    return complete ? written : 0;
}

#if HAS_ISAL

struct cdeflate_deflater {
    struct isal_zstream stream;
    uint8_t level_buffer[ISAL_DEF_LVL1_MEDIUM];
};

cdeflate_deflater *cdeflate_deflater_create(void) { return malloc(sizeof(cdeflate_deflater)); }

void cdeflate_deflater_destroy(cdeflate_deflater *deflater) { free(deflater); }

size_t cdeflate_segment(
    cdeflate_deflater *deflater, const uint8_t *input, size_t length, uint8_t *output, size_t capacity) {
    if (length > UINT32_MAX || capacity > UINT32_MAX) return 0;
    struct isal_zstream *stream = &deflater->stream;
    isal_deflate_init(stream);
    stream->level = 1;
    stream->level_buf = deflater->level_buffer;
    stream->level_buf_size = sizeof(deflater->level_buffer);
    stream->gzip_flag = IGZIP_DEFLATE;
    stream->flush = FULL_FLUSH;
    stream->end_of_stream = 0;
    stream->next_in = (uint8_t *)input;
    stream->avail_in = (uint32_t)length;
    stream->next_out = output;
    stream->avail_out = (uint32_t)capacity;
    if (isal_deflate(stream) != COMP_OK || stream->avail_in != 0 || stream->avail_out == 0) return 0;
    return capacity - stream->avail_out;
}

#else

struct cdeflate_deflater {
    int unused;
};

cdeflate_deflater *cdeflate_deflater_create(void) { return malloc(sizeof(cdeflate_deflater)); }

void cdeflate_deflater_destroy(cdeflate_deflater *deflater) { free(deflater); }

size_t cdeflate_segment(
    cdeflate_deflater *deflater, const uint8_t *input, size_t length, uint8_t *output, size_t capacity) {
    (void)deflater;
    if (length > UINT32_MAX || capacity > UINT32_MAX) return 0;
    return cdeflate_segment_zlib(input, length, output, capacity);
}

#endif
