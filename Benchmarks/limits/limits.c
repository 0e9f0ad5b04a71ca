/*
 * limits.c - what this machine can do at best, on THREADS threads at once: the arithmetic
 * of registers and the reading of memory. Prints one JSON object.
 *
 * GFLOP/s and Gop/s count a multiply-add as two. Memory is read from 64 MB a thread, in
 * huge pages, once and in order, as weights are when a model writes.
 */
#define _GNU_SOURCE
#include "registers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PASSES = 60, THREADS_MOST = 64 };
static const size_t BYTES = 64u << 20;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

__attribute__((target("avx2"))) static double reading(const char *memory) {
    __m256i sums[8] = {0};
    for (size_t at = 0; at < BYTES; at += 256)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 8; i++) sums[i] =
            _mm256_add_epi32(
                sums[i], _mm256_load_si256((const __m256i *)(memory + at + 32 * i)));
    for (int i = 1; i < 8; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    volatile int used = _mm256_extract_epi32(sums[0], 0);
    (void)used;
    return (double)BYTES;
}

/* The same of 256 kB again and again: what the second cache gives. */
__attribute__((target("avx2"))) static double reading_cache(const char *memory) {
    enum { SMALL = 256 << 10, ROUNDS = 200 };
    __m256i sums[8] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        __asm__ volatile("" ::: "memory");
        for (size_t at = 0; at < SMALL; at += 256)
            _Pragma("clang loop unroll(full)") for (int i = 0; i < 8; i++) sums[i] =
                _mm256_add_epi32(
                    sums[i], _mm256_load_si256((const __m256i *)(memory + at + 32 * i)));
    }
    for (int i = 1; i < 8; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    volatile int used = _mm256_extract_epi32(sums[0], 0);
    (void)used;
    return (double)SMALL * ROUNDS;
}

typedef struct seat {
    pthread_t thread;
    work *body;
    const char *memory;
    pthread_barrier_t *barrier;
    double amount, begin, end;
} seat;

static void *run(void *argument) {
    seat *self = argument;
    pthread_barrier_wait(self->barrier);
    self->begin = now();
    self->amount = self->body(self->memory);
    self->end = now();
    return NULL;
}

/* Billions a second of all threads together: the best pass. */
static double best(work *body, int threads, char **memory) {
    double fastest = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        seat seats[THREADS_MOST];
        pthread_barrier_t barrier;
        pthread_barrier_init(&barrier, NULL, (unsigned)threads);
        for (int i = 0; i < threads; i++) {
            seats[i] = (seat){.body = body, .memory = memory[i], .barrier = &barrier};
            pthread_create(&seats[i].thread, NULL, run, &seats[i]);
        }
        double begin = 0, end = 0, amount = 0;
        for (int i = 0; i < threads; i++) {
            pthread_join(seats[i].thread, NULL);
            amount += seats[i].amount;
            if (i == 0 || seats[i].begin < begin) begin = seats[i].begin;
            if (i == 0 || seats[i].end > end) end = seats[i].end;
        }
        double seconds = end - begin;
        pthread_barrier_destroy(&barrier);
        if (amount / seconds / 1e9 > fastest) fastest = amount / seconds / 1e9;
    }
    return fastest;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    if (threads < 1 || threads > THREADS_MOST) return 1;
    char *memory[THREADS_MOST];
    for (int i = 0; i < threads; i++) {
        memory[i] = aligned_alloc(2 << 20, BYTES);
        if (!memory[i]) return 1;
        madvise(memory[i], BYTES, MADV_HUGEPAGE);
        memset(memory[i], i + 1, BYTES);
    }
    double float32 = best(registers_float32(), threads, memory);
    double bf16 = best(registers_bf16(), threads, memory);
    double int8 = best(registers_int8(), threads, memory);
    printf("{\"threads\": %d, \"float32_gflops\": %.1f, \"bf16_gflops\": %.1f, "
           "\"int8_gops\": %.1f, \"memory_gbs\": %.1f, \"cache_gbs\": %.1f}\n",
        threads, float32, bf16, int8, best(reading, threads, memory),
        best(reading_cache, threads, memory));
    return 0;
}
