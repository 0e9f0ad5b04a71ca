/* Compression through zstd. */
#include "support.h"

#include <zstd.h>
#include <zstd_errors.h>

static support_zstd_result finish(size_t result, size_t *written) {
    if (!ZSTD_isError(result)) {
        *written = result;
        return SUPPORT_ZSTD_OK;
    }
    return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? SUPPORT_ZSTD_MEMORY
                                                                     : SUPPORT_ZSTD_DAMAGED;
}

size_t support_zstd_bound(size_t size) {
    size_t bound = ZSTD_compressBound(size);
    return ZSTD_isError(bound) || bound < size ? 0 : bound;
}

support_zstd_result support_zstd_compress(const void *bytes, size_t size, int level,
    void *out, size_t capacity, size_t *written) {
    return finish(ZSTD_compress(out, capacity, bytes, size, level), written);
}

support_zstd_result support_zstd_decompress(
    const void *bytes, size_t size, void *out, size_t capacity, size_t *written) {
    return finish(ZSTD_decompress(out, capacity, bytes, size), written);
}
