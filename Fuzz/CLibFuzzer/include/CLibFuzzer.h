// The one function of LLVM's libFuzzer that a program with a main of its own calls.
#ifndef CLibFuzzer_H
#define CLibFuzzer_H

#include <stddef.h>
#include <stdint.h>

// Runs `callback` on ever new inputs until one fails or the time is over; returns the program's exit code.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));

#endif
