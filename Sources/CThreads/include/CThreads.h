#ifndef CTHREADS_H
#define CTHREADS_H

// From now on `take` gets each part of a Swift task that may run now, from any thread, instead of libdispatch's threads. Each part must be run once.
// Call it before the first task.
void cthreads_give_tasks_to(void (*take)(void *part));
// Runs a part of a task on the calling thread.
void cthreads_run(void *part);
// Names the calling thread, with at most 15 bytes (pthread_setname_np(3)).
void cthreads_set_name(const char *name);
#endif
