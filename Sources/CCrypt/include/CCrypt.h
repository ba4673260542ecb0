// Passwords, by the system's libcrypt.
#ifndef CCrypt_H
#define CCrypt_H

#include <stdbool.h>

// Whether `password` gives `hash` (crypt(5)). Takes as long as the hash says; touches no shared state. False without memory too.
bool ccrypt_matches(const char *password, const char *hash);

#endif
