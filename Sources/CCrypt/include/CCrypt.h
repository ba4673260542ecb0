// Passwords, by the system's libcrypt.
#ifndef CCrypt_H
#define CCrypt_H

#include <stdbool.h>

// Whether `password`, of less than 512 bytes, gives the bcrypt hash `hash` (crypt(5)). Takes as long as the cost in the hash demands. Uses no
// shared state. Also false without memory.
bool ccrypt_matches(const char *password, const char *hash);

#endif
