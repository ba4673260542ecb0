#ifndef CTomlPlusPlus_H
#define CTomlPlusPlus_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The deepest nesting of arrays and inline tables that the parser accepts; it recurses once for each.
#define CTOML_MAX_NESTING 16

typedef enum {
    CTOML_TABLE,
    CTOML_ARRAY,
    CTOML_STRING,
    CTOML_INTEGER,
    CTOML_FLOAT,
    CTOML_BOOLEAN,
    CTOML_DATETIME,
} CTomlKind;

/// One node of the tree. Nodes stand in depth-first order: each is followed by its children, `count` of them.
typedef struct {
    CTomlKind kind;
    /// The number of children of a table or array.
    size_t count;
    /// A table's child: its key, UTF-8, not terminated; NULL elsewhere.
    const char *key;
    size_t key_length;
    uint32_t key_line;
    uint32_t key_column;
    /// Of the value; for a table with a header, of the header's bracket.
    uint32_t line;
    uint32_t column;
    /// A string's contents, or a date and time as TOML writes it; UTF-8, not terminated.
    const char *text;
    size_t text_length;
    int64_t integer;
    double real;
    bool boolean;
} CTomlNode;

typedef struct CTomlDocument CTomlDocument;

/// Parses TOML 1.0. Lines and columns count from 1, columns in code points.
///
/// The caller bounds the number of parts of dotted keys: the tree is as deep as they are, and it is walked recursively.
/// Returns NULL when memory is exhausted; otherwise the document, to be freed with `ctoml_free`.
CTomlDocument *ctoml_parse(const char *text, size_t length);

/// The root table first; NULL when the text is not TOML. Valid until `ctoml_free`.
const CTomlNode *ctoml_nodes(const CTomlDocument *document, size_t *count);

/// What is wrong with the text, terminated; NULL when nothing is. Valid until `ctoml_free`.
const char *ctoml_error(const CTomlDocument *document, uint32_t *line, uint32_t *column);

void ctoml_free(CTomlDocument *document);

#ifdef __cplusplus
}
#endif
#endif
