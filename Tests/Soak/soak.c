/* Threads generate without pause while another commits patches and takes them back.
 *
 *     soak MODEL_FOLDER SCRATCH_FOLDER SECONDS [REST]
 *
 * Every output must be, to the bit, that of one snapshot that stood at some moment of its
 * call, the same one for the whole batch; every commit and every return must give the known
 * fingerprint; memory must not grow. A thread rests REST (0) times as long as its call
 * took: for machines that do something else as well. Ends with a line of totals and 0, or
 * at the first failure with 1. */
#define _POSIX_C_SOURCE 200809L
#include "soak.h"
#include "../c/resident.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 8, HISTORY = 1 << 20 };

static unsay_model *model;
static double rest;
static atomic_int is_over;
static atomic_ulong calls, outputs, during_changes;

/* Which snapshot stood when: entry e was announced before it could be seen, and entry
 * e - 1 may be seen until `settled` reaches e. */
static unsigned char stood[HISTORY];
static atomic_ulong announced, settled;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void pause_for(double seconds) {
    struct timespec time = {
        (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

static void *serve(void *argument) {
    unsigned random = 12345u + (unsigned)(size_t)argument;
    while (!is_over) {
        int which[BATCH], count = 1 + rand_r(&random) % BATCH,
                          style = rand_r(&random) % STYLES;
        for (int i = 0; i < count; i++) which[i] = rand_r(&random) % INPUTS;
        output found[BATCH];
        double start = now();
        unsigned long first = settled;
        write_outputs(model, style, which, count, found);
        unsigned long last = announced;
        int is_known = 0;
        for (unsigned long entry = first; entry <= last && !is_known; entry++)
            is_known = is_of(stood[entry], style, which, count, found);
        if (!is_known) soak_fail("an output of no snapshot that stood", inputs[which[0]]);
        calls++;
        outputs += (unsigned long)count;
        if (last > first) during_changes++;
        if (rest > 0) pause_for(rest * (now() - start));
    }
    return NULL;
}

static void announce(int number) {
    if (announced + 1 >= HISTORY) soak_fail("the history is full", "");
    stood[announced + 1] = (unsigned char)number;
    announced++;
}

/* What was announced stands now, with the fingerprint that is known. */
static void settle(void) {
    settled = announced;
    uint8_t found[32];
    CHECK(unsay_model_fingerprint(model, found));
    if (memcmp(found, snapshots[stood[settled]].fingerprint, 32) != 0)
        soak_fail("an unknown fingerprint", "");
}

/* Commits patch `number` and takes it back: through the session, or by a delta file. */
static void there_and_back(int number, int by_file, double seconds, const char *path) {
    unsay_session *session = train(model, number);
    unsay_delta *delta = NULL;
    if (by_file) {
        CHECK(unsay_session_delta(session, &delta));
        CHECK(unsay_delta_save(delta, path));
        unsay_delta_close(delta);
        CHECK(unsay_delta_open(path, &delta));
    }
    announce(number);
    if (by_file)
        CHECK(unsay_delta_apply(delta, model));
    else
        CHECK(unsay_session_commit(session));
    settle();
    pause_for(seconds);
    if (!by_file) CHECK(unsay_session_delta(session, &delta));
    announce(0);
    if (number % 2)
        CHECK(unsay_delta_revert(delta, model));
    else
        CHECK(unsay_model_revert(model));
    settle();
    unsay_delta_close(delta);
    unsay_session_close(session);
    pause_for(seconds);
}

/* A line of figures. */
static void tell(double begun, unsigned long changes) {
    printf("%6.0f s: %lu calls, %lu outputs, %lu calls during one of %lu changes, "
           "%.1f MB resident\n",
        now() - begun, calls, outputs, during_changes, changes,
        (double)resident_bytes() / 1e6);
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "soak MODEL SCRATCH SECONDS [REST]\n"), 2;
    double seconds = atof(arguments[3]);
    rest = count > 4 ? atof(arguments[4]) : 0;
    double pause = seconds < 120 ? 0.1 : 1.5;
    char path[4096];
    snprintf(path, sizeof path, "%s/soak.unsay", arguments[2]);

    unsay_open_options options;
    unsay_open_options_init(&options, sizeof options);
    options.threads = 2;
    CHECK(unsay_model_open(arguments[1], &options, &model));
    learn_snapshots(model);

    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, serve, (void *)i) != 0) return 2;

    double begun = now(), told = begun, most[2] = {0, 0};
    unsigned long changes = 0;
    while (now() - begun < seconds) {
        there_and_back(1 + (int)(changes / 2 % PATCHES), changes / 8 % 2 == 1, pause, path);
        changes += 2;
        double resident = (double)resident_bytes() / 1e6;
        double *half = &most[now() - begun > seconds / 2];
        if (resident > *half) *half = resident;
        if (now() - told > 60) {
            tell(begun, changes);
            told = now();
        }
    }
    is_over = 1;
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    tell(begun, changes);
    unsay_model_close(model);
    remove(path);

    printf("soak: at most %.1f MB resident in the first half, %.1f MB in the second\n",
        most[0], most[1]);
    if (during_changes == 0) soak_fail("no call met a change", "");
    /* An allocator that eight threads use wanders by a few MB, and takes a minute to have
       seen every kind of call on every thread: a shorter run cannot tell growth from that. */
    if (seconds >= 120 && most[1] > 1.05 * most[0] + 8) soak_fail("memory has grown", "");
    return 0;
}
