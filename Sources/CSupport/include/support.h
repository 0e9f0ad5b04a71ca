/*
 * support.h - what the Swift targets need from C: this thread's last error,
 * checked allocation, locks, UTF-8, and the kept libraries for JSON (cJSON), SHA-256
 * (nettle) and compression (zstd), whose own headers stay out of Swift.
 *
 * Nothing here prints, exits or aborts. Every input may be hostile.
 */
#ifndef UNSAY_SUPPORT_H
#define UNSAY_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- This thread's last error ------------------------------------------- */

/* Longer messages are cut to this many bytes, on a whole UTF-8 character. */
enum { SUPPORT_LAST_ERROR_SIZE = 2048 };

/* Copies `message`, [size] bytes of UTF-8, as this thread's last error. It allocates
 * nothing, so it cannot fail. A NUL inside ends the message. */
void support_set_last_error(const char *message, size_t size);

/* This thread's last error; "" if there was none. Borrowed until the next
 * support_set_last_error on this thread. */
const char *support_last_error(void);

/* ---- Memory -------------------------------------------------------------- */

/* [size] bytes on an `alignment` that is a power of two; NULL if there is no memory.
 * Uninitialised; 0 bytes are given an address too. Release with support_free. */
void *support_allocate(size_t size, size_t alignment);

/* Accepts NULL. */
void support_free(void *memory);

/* The Swift runtime ends the process where an allocation fails. In libunsay.so it gets its
 * memory from Sources/UnsayLibrary/allocation.cc, which gives the reserve back to the
 * system when there is no memory, and tries again: a call that is under way comes to its
 * end, or to the next place that can answer UNSAY_E_MEMORY. No call begins without the
 * reserve. */

/* Address space alone: nothing ever touches it. */
enum { SUPPORT_RESERVE_BYTES = 16 << 20 };

/* Sets it aside unless it is there; 0 if there is no memory for it. */
int support_reserve_keep(void);

/* Gives it back to the system, if it is there. */
void support_reserve_release(void);

/* Whether it was given back and is not there again: whoever can answer UNSAY_E_MEMORY
 * should. */
int support_reserve_is_spent(void);

/* ---- Locks --------------------------------------------------------------- */

/* What this thread did up to support_lock_leaving comes before what another does from its
 * support_lock_taken on, with the same `lock`. Told to ThreadSanitizer; nothing without it.
 */
void support_lock_taken(const void *lock);
void support_lock_leaving(const void *lock);

/* ---- Text ---------------------------------------------------------------- */

/* How many leading bytes of `text` are well-formed UTF-8: `size` if all are, else the
 * offset of the first byte that is not. */
size_t support_utf8_prefix(const void *text, size_t size);

/* ---- JSON ---------------------------------------------------------------- */

typedef struct support_json support_json; /* one value of a parsed document */

typedef enum support_json_kind {
    SUPPORT_JSON_NULL = 0,
    SUPPORT_JSON_FALSE = 1,
    SUPPORT_JSON_TRUE = 2,
    SUPPORT_JSON_NUMBER = 3,
    SUPPORT_JSON_STRING = 4,
    SUPPORT_JSON_ARRAY = 5,
    SUPPORT_JSON_OBJECT = 6
} support_json_kind;

/* Deeper documents are refused. */
enum { SUPPORT_JSON_DEPTH = 128 };

/* Parses one JSON document of [size] bytes. NULL on failure: then *offset is the byte and
 * *problem a static phrase, "out of memory" among them. Refuses invalid UTF-8, control
 * characters, NUL in strings, numbers that are not finite, and anything after the value. */
support_json *support_json_parse(
    const void *bytes, size_t size, size_t *offset, const char **problem);

/* Frees a document, given its root. Accepts NULL. */
void support_json_free(support_json *root);

/* The rest borrows from the document. Key and string are NULL where there is none. */
support_json_kind support_json_get_kind(const support_json *value);
double support_json_get_number(const support_json *value);
const char *support_json_get_string(const support_json *value);
const char *support_json_get_key(const support_json *value);
const support_json *support_json_first_child(const support_json *value);
const support_json *support_json_next(const support_json *value);

/* ---- SHA-256 ------------------------------------------------------------- */

/* A digest in progress: plain data, may be copied. */
typedef struct support_sha256 {
    uint64_t opaque[16];
} support_sha256;

void support_sha256_begin(support_sha256 *digest);
void support_sha256_update(support_sha256 *digest, const void *bytes, size_t size);

/* Writes the 32 bytes and begins anew. */
void support_sha256_finish(support_sha256 *digest, uint8_t out[32]);

/* ---- Compression --------------------------------------------------------- */

typedef enum support_zstd_result {
    SUPPORT_ZSTD_OK = 0,
    SUPPORT_ZSTD_DAMAGED = 1, /* not zstd, torn, or longer than `capacity`  */
    SUPPORT_ZSTD_MEMORY = 2
} support_zstd_result;

/* The most bytes that [size] bytes can compress to; 0 if that is too many to count. */
size_t support_zstd_bound(size_t size);

/* Compresses at `level`, 1 to 19, into out, [capacity]; *written receives the size. */
support_zstd_result support_zstd_compress(
    const void *bytes, size_t size, int level, void *out, size_t capacity, size_t *written);

/* Decompresses into out, [capacity], and never beyond it; *written receives the size. */
support_zstd_result support_zstd_decompress(
    const void *bytes, size_t size, void *out, size_t capacity, size_t *written);

#ifdef __cplusplus
}
#endif

#endif
