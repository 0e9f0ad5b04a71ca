/* Address space that is set aside while there is some, for when there is none. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "support.h"

#include <stdatomic.h>
#include <sys/mman.h>

/* NULL while it is not there. */
static _Atomic(void *) reserve;
/* Whether it was given back, and is not there again. */
static atomic_int is_spent;

int support_reserve_keep(void) {
    if (atomic_load_explicit(&reserve, memory_order_acquire) != NULL) return 1;
    /* Writable, so that a system that promises no more than it has counts it. */
    void *memory = mmap(NULL, SUPPORT_RESERVE_BYTES, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 0;
    void *none = NULL;
    if (!atomic_compare_exchange_strong(&reserve, &none, memory))
        munmap(memory, SUPPORT_RESERVE_BYTES); /* another thread was first */
    atomic_store(&is_spent, 0);
    return 1;
}

void support_reserve_release(void) {
    void *memory = atomic_exchange(&reserve, NULL);
    atomic_store(&is_spent, 1);
    if (memory != NULL) munmap(memory, SUPPORT_RESERVE_BYTES);
}

int support_reserve_is_spent(void) {
    return atomic_load_explicit(&is_spent, memory_order_relaxed);
}
