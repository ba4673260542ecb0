#include "CText.h"

#include <stdbool.h>

#if defined(__x86_64__)
// AVX2: common, but not guaranteed, so it is tested at run time.
#define WIDE __attribute__((target("avx2")))
static inline bool has_wide(void) { return __builtin_cpu_supports("avx2"); }
#else
#define WIDE
static inline bool has_wide(void) { return true; }
#endif

// The compiler uses the widest registers that the function's target allows.
typedef uint8_t block __attribute__((vector_size(32), aligned(1), may_alias));

// `copies` is constant in each call, so the compiler makes one loop with the copy and one without.
static inline __attribute__((always_inline)) unsigned pass(
    uint8_t *destination, const uint8_t *bytes, size_t length, const bool copies) {
    block all = {0}, zeros = {0};
    size_t at = 0;
    for (; at + 2 * sizeof(block) <= length; at += 2 * sizeof(block)) {
        block a = *(const block *)(bytes + at), b = *(const block *)(bytes + at + sizeof(block));
        if (copies) {
            *(block *)(destination + at) = a;
            *(block *)(destination + at + sizeof(block)) = b;
        }
        all |= a | b;
        zeros |= (block)(a == 0) | (block)(b == 0);
    }
    uint8_t seen = 0, zero = 0;
    for (; at < length; at++) {
        if (copies) destination[at] = bytes[at];
        seen |= bytes[at];
        zero |= bytes[at] == 0;
    }
    for (size_t i = 0; i < sizeof(block); i++) {
        seen |= all[i];
        zero |= zeros[i];
    }
    return (seen & 0x80 ? ctext_not_ascii : 0) | (zero ? ctext_nul : 0);
}

WIDE static unsigned look_wide(const uint8_t *bytes, size_t length) { return pass(NULL, bytes, length, false); }

WIDE static unsigned copy_wide(uint8_t *destination, const uint8_t *bytes, size_t length) {
    return pass(destination, bytes, length, true);
}

unsigned ctext_look(const uint8_t *bytes, size_t length) {
    return has_wide() ? look_wide(bytes, length) : pass(NULL, bytes, length, false);
}

unsigned ctext_copy(uint8_t *destination, const uint8_t *bytes, size_t length) {
    return has_wide() ? copy_wide(destination, bytes, length) : pass(destination, bytes, length, true);
}
