#ifndef CFILES_H
#define CFILES_H
#include <sys/types.h>

// Linux calls for files that are named by descriptors. Swift's Glibc module does not have them.
// All return -1 and set errno when they fail.

// A descriptor that only names a folder (O_PATH).
int cfiles_open_folder(const char *path);
// A descriptor that only names an entry of a folder; a symbolic link is not followed.
int cfiles_open_entry(int folder, const char *name);
// Changes the owner of what the descriptor names; (uid_t)-1 and (gid_t)-1 leave user or group.
int cfiles_set_owner(int entry, uid_t user, gid_t group);
// Changes the mode of what the descriptor names.
int cfiles_set_mode(int entry, mode_t mode);
// Renames within a folder, unless the new name exists.
int cfiles_move(int folder, const char *from, const char *to);
// Exchanges two entries of a folder in one step.
int cfiles_exchange(int folder, const char *one, const char *other);
#endif
