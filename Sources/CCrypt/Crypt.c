// explicit_bzero(3) needs _GNU_SOURCE.
#define _GNU_SOURCE
#include "CCrypt.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

// Compares in constant time.
static bool equal(const char *a, const char *b) {
    size_t length = strlen(a);
    if (length != strlen(b)) return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < length; i++) difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

bool ccrypt_matches(const char *password, const char *hash) {
    // 32 KiB: too much for the stack of some threads.
    struct crypt_data *data = calloc(1, sizeof *data);
    if (data == NULL) return false;
    const char *result = crypt_r(password, hash, data);
    // On failure crypt(3) returns a string that begins with *, as no hash does.
    bool matches = result != NULL && result[0] != '*' && equal(result, hash);
    explicit_bzero(data, sizeof *data);
    free(data);
    return matches;
}
