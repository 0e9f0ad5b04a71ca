/* SHA-256 through nettle. */
#include "support.h"

#include <nettle/sha2.h>

_Static_assert(
    sizeof(support_sha256) >= sizeof(struct sha256_ctx), "room for nettle's state");

void support_sha256_begin(support_sha256 *digest) {
    sha256_init((struct sha256_ctx *)digest);
}

void support_sha256_update(support_sha256 *digest, const void *bytes, size_t size) {
    if (size > 0) sha256_update((struct sha256_ctx *)digest, size, bytes);
}

void support_sha256_finish(support_sha256 *digest, uint8_t out[32]) {
    sha256_digest((struct sha256_ctx *)digest, SHA256_DIGEST_SIZE, out);
}
