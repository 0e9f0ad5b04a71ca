/*
 * thread_pool.h - one pool of threads a process, for short parallel regions.
 *
 * A region is split into chunks that threads claim one after the other; the caller works
 * too, so a region always ends, on a busy machine, in a child after fork(), or with no
 * worker at all. A caller that finds the pool in use runs its chunks alone. Which thread
 * runs a chunk must never change its result.
 */
#ifndef UNSAY_THREAD_POOL_H
#define UNSAY_THREAD_POOL_H

#include <stddef.h>
#include <stdint.h>

typedef void (*thread_pool_body)(void *context, size_t chunk);

/* Runs body(context, i) for every i in [0, chunks) on at most `threads` threads, the
 * caller's included, and returns when all are done. Workers are started when first needed;
 * if none can be, the caller does everything. chunks < 2^20; more are run in several
 * regions. */
void thread_pool_run(size_t threads, size_t chunks, thread_pool_body body, void *context);

/* The processors this process may run on. At least 1. */
size_t thread_pool_processors(void);

#endif
