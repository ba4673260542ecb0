#ifndef CINOTIFY_SHIM_H
#define CINOTIFY_SHIM_H
#include <inotifytools/inotify.h>
#include <inotifytools/inotifytools.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

/* struct inotify_event ends in a flexible array member, which Swift does not import. NULL when the event carries no name. */
static inline const char *cinotify_event_name(const struct inotify_event *event) {
    return event->len > 0 ? event->name : NULL;
}

/* EFD_* are constants of an anonymous enum, whose imported type differs between libc versions. */
static inline int cinotify_eventfd(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* Names the calling thread; prctl is variadic, which Swift does not import. */
static inline void cinotify_name_thread(const char *name) {
    prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0);
}
#endif
