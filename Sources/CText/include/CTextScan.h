// Finds the end of a run of bytes of one kind, 16 bytes at a time. Swift's own vectors are twenty times slower here, because the compiler does
// not turn their comparisons into vector instructions.
//
// Each function starts at `index` and returns the first index whose byte is not of the kind. The text must hold such a byte, as the newline at
// its end always is. `limit` is the length of the text: the last bytes before it are looked at one by one.
#ifndef CTextScan_H
#define CTextScan_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t ctext_block __attribute__((vector_size(16)));

// The index of the first byte whose mask is not set; 16 when all are set. Each byte of the mask is 0 or 0xFF.
static inline __attribute__((always_inline)) unsigned ctext_first_unset(ctext_block mask) {
#if defined(__x86_64__)
    typedef char bytes __attribute__((vector_size(16)));
    return (unsigned)__builtin_ctz(~(unsigned)__builtin_ia32_pmovmskb128((bytes)mask));
#else
    uint64_t halves[2];
    memcpy(halves, &mask, sizeof halves);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    halves[0] = __builtin_bswap64(halves[0]);
    halves[1] = __builtin_bswap64(halves[1]);
#endif
    if (~halves[0]) return (unsigned)__builtin_ctzll(~halves[0]) / 8;
    return ~halves[1] ? 8 + (unsigned)__builtin_ctzll(~halves[1]) / 8 : 16;
#endif
}

static inline __attribute__((always_inline)) bool ctext_is_label(uint8_t byte) {
    return (uint8_t)((byte | 0x20) - 'a') < 26 || (uint8_t)(byte - '0') < 10 || byte == '_';
}

static inline __attribute__((always_inline)) ctext_block ctext_labels(ctext_block block) {
    return (ctext_block)((block | 0x20) - 'a' < 26) | (ctext_block)(block - '0' < 10) | (ctext_block)(block == '_');
}

// Defines one of the functions below: `blocks` gives the mask of a block, `single` looks at one byte.
#define CTEXT_RUN(name, blocks, single)                                                                  \
    static inline __attribute__((always_inline)) size_t name(const uint8_t *bytes, size_t index, size_t limit) { \
        for (; index + sizeof(ctext_block) <= limit; index += sizeof(ctext_block)) {                     \
            ctext_block block;                                                                           \
            memcpy(&block, bytes + index, sizeof block);                                                 \
            unsigned first = ctext_first_unset(blocks);                                                  \
            if (first < sizeof block) return index + first;                                              \
        }                                                                                                \
        for (;; index++) {                                                                               \
            uint8_t byte = bytes[index];                                                                 \
            if (!(single)) return index;                                                                 \
        }                                                                                                \
    }

// The end of a metric name: [a-zA-Z0-9_:].
CTEXT_RUN(ctext_metric_name_end, ctext_labels(block) | (ctext_block)(block == ':'), ctext_is_label(byte) || byte == ':')

// The end of a label name: [a-zA-Z0-9_].
CTEXT_RUN(ctext_label_name_end, ctext_labels(block), ctext_is_label(byte))

// The first byte within a quoted string that is a quote, a backslash or a newline.
CTEXT_RUN(
    ctext_quoted_end, (ctext_block)(block != '"') & (ctext_block)(block != '\\') & (ctext_block)(block != '\n'),
    byte != '"' && byte != '\\' && byte != '\n')

// The end of decimal digits.
CTEXT_RUN(ctext_digits_end, (ctext_block)(block - '0' < 10), (uint8_t)(byte - '0') < 10)

// The end of a sample's value: a space or tab, a newline or an opening brace.
CTEXT_RUN(
    ctext_value_end,
    (ctext_block)(block != ' ') & (ctext_block)(block != '\n') & (ctext_block)(block != '\t') & (ctext_block)(block != '{'),
    byte != ' ' && byte != '\n' && byte != '\t' && byte != '{')

#undef CTEXT_RUN

#endif
