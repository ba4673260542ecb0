// Tells ThreadSanitizer about each Mutex that a thread had to wait for.
//
// Swift's Mutex is taken and given back by an atomic exchange, which ThreadSanitizer sees, as long as no thread waits. Otherwise
// functions of libswiftSynchronization do it, partly in the kernel (FUTEX_LOCK_PI, futex(2)). They are not instrumented, so two threads that
// take turns under one lock look like a race. script/test links these functions into what it builds with ThreadSanitizer. They call the
// library's own, and report what those have done.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

// <sanitizer/tsan_interface.h>. Absent in the tools that the build itself runs.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

#define METHOD __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

// The methods of Synchronization._MutexHandle. Its first field is the atomic word that the instrumented code exchanges.
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

METHOD void lock_slowly(uint32_t thread, SELF) __asm__(LOCK);
METHOD bool try_lock_slowly(SELF) __asm__(TRY_LOCK);
METHOD void unlock_slowly(SELF) __asm__(UNLOCK);

static METHOD void (*library_lock)(uint32_t thread, SELF);
static METHOD bool (*library_try_lock)(SELF);
static METHOD void (*library_unlock)(SELF);

__attribute__((constructor)) static void find_library(void) {
    library_lock = dlsym(RTLD_NEXT, LOCK);
    library_try_lock = dlsym(RTLD_NEXT, TRY_LOCK);
    library_unlock = dlsym(RTLD_NEXT, UNLOCK);
}

METHOD void lock_slowly(uint32_t thread, SELF) {
    library_lock(thread, self);
    if (__tsan_acquire) __tsan_acquire(self);
}

METHOD bool try_lock_slowly(SELF) {
    bool is_locked = library_try_lock(self);
    if (is_locked && __tsan_acquire) __tsan_acquire(self);
    return is_locked;
}

METHOD void unlock_slowly(SELF) {
    if (__tsan_release) __tsan_release(self);
    library_unlock(self);
}
