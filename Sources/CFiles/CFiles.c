#define _GNU_SOURCE
#include "CFiles.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int cfiles_open_folder(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); }

int cfiles_open_entry(int folder, const char *name) { return openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC); }

int cfiles_set_owner(int entry, uid_t user, gid_t group) { return fchownat(entry, "", user, group, AT_EMPTY_PATH); }

int cfiles_set_mode(int entry, mode_t mode) {
    // fchmod refuses such a descriptor, and fchmodat2 needs Linux 6.6.
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", entry);
    return chmod(path, mode);
}

int cfiles_move(int folder, const char *from, const char *to) {
    if (renameat2(folder, from, folder, to, RENAME_NOREPLACE) == 0) return 0;
    // Not every file system knows the flag. A link does not replace anything either.
    if (errno != EINVAL || linkat(folder, from, folder, to, 0) != 0) return -1;
    return unlinkat(folder, from, 0);
}

int cfiles_exchange(int folder, const char *one, const char *other) { return renameat2(folder, one, folder, other, RENAME_EXCHANGE); }
