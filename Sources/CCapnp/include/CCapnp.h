// libcapnp behind C functions, for one struct: InboundMetrics { appName @0 :Text; data @1 :Text; }.
#ifndef CCapnp_H
#define CCapnp_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A text of the message, without its final NUL; NULL when the pointer is null or missing.
typedef struct {
    const uint8_t *bytes;
    size_t length;
} ccapnp_text;

typedef struct {
    ccapnp_text app_name;
    ccapnp_text data;
} ccapnp_inbound_metrics;

// Reads one whole framed message of `length` bytes, segment table included. The texts point into `bytes`,
// which must be aligned to 8 bytes. False when the message is malformed; then `error` (of `error_capacity` bytes) says why.
bool ccapnp_read(const uint8_t *bytes, size_t length, ccapnp_inbound_metrics *message, char *error, size_t error_capacity);

#ifdef __cplusplus
}
#endif
#endif
