/* malloc and its kin over those of the C library, with a count and a fault. */
#define _GNU_SOURCE
#include "memory.h"
#include <errno.h>
#include <stdatomic.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static atomic_long live, seen, due;
static memory_fault nowhere, *record = &nowhere;

void memory_record(memory_fault *given) { record = given; }

void memory_arm(long number) {
    seen = 0;
    due = number;
}

void memory_disarm(void) {
    due = 0;
    record->seen = seen;
}

long memory_live(void) { return live; }

/* Whether this allocation fails. */
static int is_due(size_t size, void *from) {
    if (due == 0 || atomic_fetch_add(&seen, 1) + 1 != due) return 0;
    record->size = size;
    record->caller = from;
    errno = ENOMEM;
    return 1;
}

static void *counted(void *memory) {
    if (memory != NULL) live++;
    return memory;
}

#define FROM __builtin_return_address(0)

void *malloc(size_t size) {
    return is_due(size, FROM) ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    return is_due(count * size, FROM) ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *memory, size_t size) {
    if (size > 0 && is_due(size, FROM)) return NULL;
    void *result = __libc_realloc(memory, size);
    if (memory == NULL) return counted(result);
    if (result == NULL && size == 0) live--;
    return result;
}

static void *aligned(size_t alignment, size_t size, void *from) {
    return is_due(size, from) ? NULL : counted(__libc_memalign(alignment, size));
}

void *memalign(size_t alignment, size_t size) { return aligned(alignment, size, FROM); }
void *aligned_alloc(size_t alignment, size_t size) {
    return aligned(alignment, size, FROM);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *memory = aligned(alignment, size, FROM);
    if (memory == NULL) return ENOMEM;
    *out = memory;
    return 0;
}

void free(void *memory) {
    if (memory == NULL) return;
    live--;
    __libc_free(memory);
}
