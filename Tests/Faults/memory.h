/* Allocation that fails when it is told to, and the operations it is tried on. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <unsay.h>

/* ---- The allocator (memory_shim.c) replaces malloc and its kin in the whole process. */

typedef struct memory_fault {
    long seen;    /* allocations since memory_arm                               */
    size_t size;  /* bytes that were last refused                               */
    void *caller; /* who asked for them                                         */
} memory_fault;

/* Where the allocator keeps its record: a parent sees it after its child died. */
void memory_record(memory_fault *record);

/* Of the allocations that follow, that with this number, from 1, fails. */
void memory_arm(long number);
void memory_disarm(void);

/* Allocations that are not freed. */
long memory_live(void);

/* ---- The operations (memory_operations.c). */

typedef struct world {
    const char *folder, *scratch;
    unsay_model *model;
    unsay_session *session;
    unsay_delta *delta;
    uint64_t digest; /* of what the last operation found */
} world;

typedef struct operation {
    const char *name;
    void (*prepare)(world *); /* what must be there before; may not fail   */
    unsay_status (*run)(world *);
    void (*check)(world *); /* what must hold after a failure; may be NULL */
} operation;

extern const operation operations[];
extern const size_t operation_count;

void close_world(world *);

/* Ends the process with a sentence. */
void memory_defect(const char *sentence, const char *detail);

#endif
