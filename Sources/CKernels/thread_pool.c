/*
 * thread_pool.c - the pool: one ticket that threads draw chunks from.
 *
 * The ticket holds how many chunks the region has, how many are claimed, how many threads
 * may take part and a count of regions, in one word. A claim is one compare-and-swap of the
 * whole word, so nobody claims from a region other than the one he looked at; and as the
 * region's owner waits for every claimed chunk, a thread that holds a claim may read the
 * region's body in peace.
 *
 * Nothing here has to be repaired after fork(): the child's workers do not exist, nobody
 * but the caller claims, and a pool that was in use at the fork stays in use, so that
 * callers of the child run alone.
 */
#define _GNU_SOURCE
#include "thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SEATS_MOST = 255,
    CHUNK_BITS = 20,
    CHUNKS_MOST = (1 << CHUNK_BITS) - 1,
    /* Long enough for the gaps inside a decoding step, too short to be noticed. */
    SPIN_NANOSECONDS = 80 * 1000,
    STACK_BYTES = 1 << 20
};

/* region: 16 bits, seats: 8, chunks: 20, claimed: 20. */
typedef uint64_t ticket;

static ticket ticket_of(uint64_t region, size_t seats, size_t chunks) {
    return region << 48 | (uint64_t)seats << 40 | (uint64_t)chunks << CHUNK_BITS;
}
static size_t ticket_seats(ticket t) { return t >> 40 & 255; }
static size_t ticket_chunks(ticket t) { return t >> CHUNK_BITS & CHUNKS_MOST; }
static size_t ticket_claimed(ticket t) { return t & CHUNKS_MOST; }
static int ticket_open(ticket t, size_t seat) {
    return seat < ticket_seats(t) && ticket_claimed(t) < ticket_chunks(t);
}

typedef struct worker {
    _Alignas(64) _Atomic uint32_t asleep;
    size_t seat;
} worker;

static struct {
    _Alignas(64) _Atomic ticket ticket;
    /* The region. Written by its owner before the ticket. */
    thread_pool_body body;
    void *context;
    size_t first;

    _Alignas(64) _Atomic uint32_t done; /* finished chunks of this region */
    _Atomic uint32_t owner_asleep;

    _Alignas(64) _Atomic uint32_t in_use;
    size_t started; /* workers, guarded by in_use */
    int cannot_start;
    worker workers[SEATS_MOST];
} pool;

static void futex_wait(_Atomic uint32_t *word, uint32_t while_value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void pause_processor(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Waits a moment; 0 once SPIN_NANOSECONDS have passed since the first call. */
static int spin(int64_t *deadline) {
    for (int i = 0; i < 16; i++) pause_processor();
    int64_t now = nanoseconds();
    if (*deadline == 0) *deadline = now + SPIN_NANOSECONDS;
    return now < *deadline;
}

/* Claims and runs chunks until none is left. */
static void work(size_t seat) {
    ticket seen = atomic_load(&pool.ticket);
    while (ticket_open(seen, seat)) {
        if (!atomic_compare_exchange_weak(&pool.ticket, &seen, seen + 1)) continue;
        uint32_t chunks = (uint32_t)ticket_chunks(seen);
        pool.body(pool.context, pool.first + ticket_claimed(seen));
        if (atomic_fetch_add(&pool.done, 1) + 1 == chunks &&
            atomic_load(&pool.owner_asleep))
            futex_wake(&pool.done);
        seen = atomic_load(&pool.ticket);
    }
}

static void *worker_main(void *argument) {
    worker *self = argument;
    int64_t deadline = 0;
    for (;;) {
        if (ticket_open(atomic_load(&pool.ticket), self->seat)) {
            work(self->seat);
            deadline = 0;
        } else if (!spin(&deadline)) {
            atomic_store(&self->asleep, 1);
            /* Either this load sees a new region, or its owner sees us asleep. */
            if (!ticket_open(atomic_load(&pool.ticket), self->seat))
                futex_wait(&self->asleep, 1);
            atomic_store(&self->asleep, 0);
            deadline = 0;
        }
    }
    return NULL;
}

/* Starts workers up to `wanted`, with every signal blocked: signals are the host's. */
static void start_workers(size_t wanted) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (pool.started < wanted && !pool.cannot_start) {
        worker *next = &pool.workers[pool.started];
        pthread_t thread;
        next->seat = pool.started + 1;
        if (pthread_create(&thread, &attributes, worker_main, next) == 0)
            pool.started++;
        else
            pool.cannot_start = 1;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Waits for the chunks that workers have claimed. */
static void wait_for(uint32_t chunks) {
    int64_t deadline = 0;
    while (atomic_load(&pool.done) != chunks && spin(&deadline)) {
    }
    uint32_t done = atomic_load(&pool.done);
    if (done == chunks) return;
    atomic_store(&pool.owner_asleep, 1);
    while ((done = atomic_load(&pool.done)) != chunks) futex_wait(&pool.done, done);
    atomic_store(&pool.owner_asleep, 0);
}

/* One region; the caller holds in_use. chunks <= CHUNKS_MOST. */
static void run_region(
    size_t seats, size_t first, size_t chunks, thread_pool_body body, void *context) {
    pool.body = body;
    pool.context = context;
    pool.first = first;
    atomic_store(&pool.done, 0);
    uint64_t region = (atomic_load(&pool.ticket) >> 48) + 1;
    atomic_store(&pool.ticket, ticket_of(region, seats, chunks));

    for (size_t i = 0; i + 1 < seats; i++)
        if (atomic_load(&pool.workers[i].asleep) &&
            atomic_exchange(&pool.workers[i].asleep, 0))
            futex_wake(&pool.workers[i].asleep);
    work(0);
    wait_for((uint32_t)chunks);
}

void thread_pool_run(size_t threads, size_t chunks, thread_pool_body body, void *context) {
    size_t seats = threads < chunks ? threads : chunks;
    if (seats > SEATS_MOST) seats = SEATS_MOST;

    if (seats < 2 || atomic_load(&pool.in_use) || atomic_exchange(&pool.in_use, 1)) {
        for (size_t i = 0; i < chunks; i++) body(context, i);
        return;
    }
    if (pool.started + 1 < seats) start_workers(seats - 1);
    for (size_t first = 0; first < chunks; first += CHUNKS_MOST) {
        size_t left = chunks - first;
        run_region(seats, first, left < CHUNKS_MOST ? left : CHUNKS_MOST, body, context);
    }
    atomic_store(&pool.in_use, 0);
}

size_t thread_pool_processors(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0)
        return (size_t)CPU_COUNT(&allowed);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}
