// explicit_bzero(3) needs _GNU_SOURCE.
#define _GNU_SOURCE
#include "CCrypt.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

// The letters at the end of a bcrypt hash that depend on the password. Version, cost and salt are before them. libcrypt writes the last
// letter of the salt without its unused bits, which some tools set.
enum { DIGEST_LENGTH = 31 };

// Compares the last letters in constant time.
static bool equal_digests(const char *a, const char *b) {
    size_t length = strlen(a);
    if (length < DIGEST_LENGTH || length != strlen(b)) return false;
    unsigned char difference = 0;
    for (size_t i = length - DIGEST_LENGTH; i < length; i++) difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

bool ccrypt_matches(const char *password, const char *hash) {
    // 32 KiB: too much for the stack of some threads.
    struct crypt_data *data = calloc(1, sizeof *data);
    if (data == NULL) return false;
    const char *result = crypt_r(password, hash, data);
    // On failure crypt(3) returns a string that begins with *, as no hash does.
    bool matches = result != NULL && result[0] != '*' && equal_digests(result, hash);
    explicit_bzero(data, sizeof *data);
    free(data);
    return matches;
}
