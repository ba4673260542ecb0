#ifndef CSIGNALS_H
#define CSIGNALS_H

// Lets these signals arrive, in the calling thread and in those that it makes. The parent may have blocked them (sigprocmask(2)).
void csignals_unblock(const int *signals, int count);
// From now on these signals do not have their usual effect: the number of each one that arrives becomes a byte in a pipe. For one caller in the process.
// Returns the end of the pipe that is read, or -1 with errno.
int csignals_trap(const int *signals, int count);
// Writes a byte 0 into that pipe.
void csignals_end(void);
#endif
