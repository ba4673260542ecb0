// What the C library's allocator offers beyond the standard; Swift's Glibc module leaves it out.
#include <malloc.h>
