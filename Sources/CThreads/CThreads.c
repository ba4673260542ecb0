#define _GNU_SOURCE
#include "CThreads.h"
#include <pthread.h>
#include <stdint.h>

// Swift's runtime has these for programs that bring their own threads (swift/Runtime/Concurrency.h in Swift's sources). Swift itself has no public way
// to replace its threads yet.
#define SWIFT_CALL __attribute__((swiftcall))
typedef struct {
    void *identity;
    uintptr_t implementation;
} SerialExecutor;
extern SWIFT_CALL void (*swift_task_enqueueGlobal_hook)(void *part, void *original);
extern SWIFT_CALL void swift_job_run(void *part, SerialExecutor executor);

static void (*taker)(void *part);

static SWIFT_CALL void enqueue(void *part, void *original) {
    (void)original;
    taker(part);
}

void cthreads_give_tasks_to(void (*take)(void *part)) {
    taker = take;
    swift_task_enqueueGlobal_hook = enqueue;
}

// Without an executor of its own, as libdispatch's threads run it.
void cthreads_run(void *part) { swift_job_run(part, (SerialExecutor){0, 0}); }

void cthreads_set_name(const char *name) { pthread_setname_np(pthread_self(), name); }
