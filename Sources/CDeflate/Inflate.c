#include "CDeflate.h"

#include <stdlib.h>
#include <zlib.h>

struct cdeflate_inflater {
    z_stream stream;
};

cdeflate_inflater *cdeflate_inflater_create(void) {
    cdeflate_inflater *inflater = calloc(1, sizeof(cdeflate_inflater));
    if (inflater == NULL) return NULL;
    // 16 added to the window bits: gzip alone (zlib.h, inflateInit2()).
    if (inflateInit2(&inflater->stream, 16 + MAX_WBITS) == Z_OK) return inflater;
    free(inflater);
    return NULL;
}

void cdeflate_inflater_destroy(cdeflate_inflater *inflater) {
    if (inflater == NULL) return;
    inflateEnd(&inflater->stream);
    free(inflater);
}

void cdeflate_inflater_reset(cdeflate_inflater *inflater) { inflateReset(&inflater->stream); }

cdeflate_status cdeflate_inflate(
    cdeflate_inflater *inflater, const uint8_t *input, size_t length, size_t *used, uint8_t *output, size_t capacity,
    size_t *written) {
    const uInt most = (uInt)1 << 30;
    const uInt in = length > most ? most : (uInt)length;
    const uInt out = capacity > most ? most : (uInt)capacity;
    z_stream *stream = &inflater->stream;
    stream->next_in = (Bytef *)input;
    stream->avail_in = in;
    stream->next_out = output;
    stream->avail_out = out;
    const int result = inflate(stream, Z_NO_FLUSH);
    *used = in - stream->avail_in;
    *written = out - stream->avail_out;
    switch (result) {
    case Z_OK:
    case Z_BUF_ERROR: return cdeflate_more;
    case Z_STREAM_END: return cdeflate_member_end;
    case Z_MEM_ERROR: return cdeflate_no_memory;
    default: return cdeflate_corrupt;
    }
}
