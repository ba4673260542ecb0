// simdjson behind C functions, for exactly one shape: an object that maps app names to a string or an array of strings.
#ifndef CSimdjson_H
#define CSimdjson_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Finds the end of a top-level JSON object in a stream. Zero it before each object.
typedef struct {
    // Brackets and braces open, outside of strings.
    uint64_t depth;
    bool in_string;
    // The last byte was a backslash that escapes the next one.
    bool escaped;
    // A `\u` may have been seen: only then can a string hold a NUL or a lone surrogate.
    bool saw_unicode_escape;
    // Quotes that begin or end a string, and, outside of strings, colons, commas and opening brackets: they determine the memory of parsing.
    // Those in the same block of 64 bytes after the object are counted too.
    uint64_t quotes;
    uint64_t colons;
    uint64_t separators;
} csimdjson_scanner;

// Looks at each byte once. Returns how many bytes belong to the object; `*complete` tells whether it ends with them.
// The first byte of an object must be its opening brace. Brackets are counted, not matched: the parser checks them.
size_t csimdjson_scan(csimdjson_scanner *scanner, const uint8_t *bytes, size_t length, bool *complete);

// Whether the bytes may hold a `\u` escape: never false when there is one, seldom true when there is none.
bool csimdjson_may_escape_unicode(const uint8_t *bytes, size_t length);

typedef enum {
    csimdjson_ok,
    csimdjson_malformed,
    csimdjson_invalid_utf8,
    csimdjson_no_memory,
} csimdjson_status;

typedef enum {
    csimdjson_value_string,
    csimdjson_value_array,
    // The value, or an element of the array, has a wrong type.
    csimdjson_value_wrong,
} csimdjson_value;

// One app of the object that was parsed last; the pointers live until the next parse on this thread.
typedef struct {
    const char *name;
    size_t name_length;
    csimdjson_value value;
    // Bytes of the string, or of the array's strings joined by newlines, with a final newline added unless empty or there.
    size_t size;
    // For `csimdjson_value_wrong`: what was found, as a noun ("a number"), and where (-1: not in an array).
    const char *found;
    int64_t element;
} csimdjson_app;

typedef struct csimdjson_parser csimdjson_parser;

// This thread's parser, for one small message after another: it keeps about 14 times the memory of the largest. NULL without memory.
csimdjson_parser *csimdjson_thread_parser(void);

// A parser for one large message; NULL without memory.
csimdjson_parser *csimdjson_new_parser(void);

// Frees a parser of `csimdjson_new_parser`, and all that it holds.
void csimdjson_free_parser(csimdjson_parser *parser);

// Parses one object. `readable` bytes may be read from `bytes` (not only `length`); when that leaves no room for
// simdjson's padding, it parses a copy. `*error` gets simdjson's message.
csimdjson_status csimdjson_parse(
    csimdjson_parser *parser, const uint8_t *bytes, size_t length, size_t readable, const char **error);

// How many keys the object has, repeated ones counted.
size_t csimdjson_count(const csimdjson_parser *parser);

// Moves to the next app in the order of the text; false after the last.
bool csimdjson_next(csimdjson_parser *parser, csimdjson_app *app);

// Writes `size` bytes of the app that `csimdjson_next` gave last.
void csimdjson_copy(const csimdjson_parser *parser, uint8_t *destination);

// Whether the bytes are UTF-8.
bool csimdjson_validate_utf8(const uint8_t *bytes, size_t length);

#ifdef __cplusplus
}
#endif
#endif
