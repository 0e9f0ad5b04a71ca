/* Every allocation of an operation fails in turn, each in a process of its own.
 *
 *     memory_faults MODEL_FOLDER SCRATCH_FOLDER [STRIDE [NAME]]
 *
 * STRIDE n tries every n-th allocation only; NAME one operation only. Then the operation
 * runs with as little address space as makes it fail, and step by step with more
 * (RLIMIT_AS). After each fault it has answered UNSAY_E_MEMORY or done its work; done again
 * it gives what it always gives, and no more memory is in use than without the fault.
 * Prints a line for each operation; 1 if anything else happened. */
#define _GNU_SOURCE
#include "memory.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child found, in memory that its parent sees. */
typedef struct outcome {
    int is_complete;
    unsay_status status;
    memory_fault fault;
    uint64_t digest, digest_again;
    long leaked; /* allocations that one more round of the fault left behind */
    long live;   /* allocations after everything was closed */
    char sentence[256];
} outcome;

static outcome *shared;

/* What an operation meets: its n-th allocation fails, or so many bytes of address space are
 * all that is left. */
typedef struct fault {
    long number; /* NEVER = none */
    long bytes;  /* NO_LIMIT = as many as there are */
} fault;
enum { NO_LIMIT = -1 };
#define NEVER LONG_MAX

/* More than any of the operations needs. */
enum { MOST_BYTES = 64 << 20 };

/* Limits the process to the address space that it has and `bytes` more. */
static void limit_to(long bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (bytes != NO_LIMIT) {
        unsigned long pages = 0;
        FILE *file = fopen("/proc/self/statm", "r");
        if (file == NULL || fscanf(file, "%lu", &pages) != 1) abort();
        fclose(file);
        limit.rlim_cur =
            pages * (unsigned long)sysconf(_SC_PAGESIZE) + (unsigned long)bytes;
    }
    setrlimit(RLIMIT_AS, &limit);
}

/* The stack grows where memory is short as well: before that, once and for all. */
static void grow_stack(void) {
    volatile char deep[512 << 10];
    for (size_t i = 0; i < sizeof deep; i += 4096) deep[i] = 1;
}

void memory_defect(const char *sentence, const char *detail) {
    memory_disarm();
    snprintf(shared->sentence, sizeof shared->sentence, "%s %s", sentence, detail);
    _exit(3);
}

/* The operation with a fault, and without. */
static unsay_status round_of(const operation *tried, world *w, fault met) {
    w->digest = 0;
    limit_to(met.bytes);
    memory_arm(met.number);
    unsay_status status = tried->run(w);
    memory_disarm();
    limit_to(NO_LIMIT);
    shared->digest = w->digest;
    if (status != UNSAY_OK) {
        snprintf(shared->sentence, sizeof shared->sentence, "%s", unsay_last_error());
        if (tried->check != NULL) tried->check(w);
    }
    w->digest = 0;
    if (tried->run(w) != UNSAY_OK) memory_defect("not again:", unsay_last_error());
    shared->digest_again = w->digest;
    return status;
}

/* The first failures of a process keep a few allocations for good: the runtime's tables of
 * error types, the unwinder's of frames. */
static void fail_once(world *w) {
    unsay_model *model = NULL;
    unsay_buffer torn = {"encoder_model.onnx", "\x08", 1};
    if (unsay_model_open("/nowhere", NULL, &model) == UNSAY_OK ||
        unsay_model_open_buffers(&torn, 1, NULL, &model) == UNSAY_OK)
        memory_defect("opened:", w->folder);
}

/* One fault in so many is tried twice in its process, to see what it leaves behind. */
enum { TWICE = 7 };

/* A second round shows what is left behind beyond what a first one fills for good; then
 * everything is closed. */
static void attempt(const operation *tried, world *w, fault met) {
    long begun = memory_live(); /* what the parent had */
    grow_stack();
    fail_once(w);
    tried->prepare(w);
    shared->status = round_of(tried, w, met);
    if (met.number == NEVER || met.number % TWICE == 0) {
        outcome first = *shared;
        long live = memory_live();
        round_of(tried, w, met);
        *shared = first;
        shared->leaked = memory_live() - live;
    }
    close_world(w);
    shared->live = memory_live() - begun;
    shared->is_complete = 1;
}

/* Runs it in a child; how that ended, as waitpid says. */
static int in_child(const operation *tried, world w, fault met) {
    memset(shared, 0, sizeof *shared);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        memory_record(&shared->fault);
        alarm(300);
        attempt(tried, &w, met);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

/* What is wrong with a child's outcome; NULL if nothing is. */
static const char *verdict(int status, const outcome *good) {
    static char text[64];
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "the process ended by signal %d", WTERMSIG(status));
        return text;
    }
    if (!shared->is_complete) return "not usable afterwards";
    if (shared->status != UNSAY_OK && shared->status != UNSAY_E_MEMORY)
        return unsay_status_name(shared->status);
    if (shared->status == UNSAY_OK && shared->digest != good->digest)
        return "done, but with another result";
    if (shared->digest_again != good->digest) return "another result afterwards";
    if (shared->leaked > 0 || shared->live > good->live) {
        snprintf(text, sizeof text, "%ld allocations leaked, %ld more than without a fault",
            shared->leaked, shared->live - good->live);
        return text;
    }
    return NULL;
}

static void complain(const operation *tried, fault met, const char *what) {
    Dl_info from = {.dli_fname = "/?"};
    dladdr(shared->fault.caller, &from);
    if (met.bytes != NO_LIMIT)
        printf("%s, with %ld bytes left: %s. %s\n", tried->name, met.bytes, what,
            shared->sentence);
    else
        printf("%s, allocation %ld, of %zu bytes, by %s+0x%zx: %s. %s\n", tried->name,
            met.number, shared->fault.size, strrchr(from.dli_fname, '/'),
            (size_t)((char *)shared->fault.caller - (char *)from.dli_fbase), what,
            shared->sentence);
}

typedef struct tally {
    long answered, done, wrong;
} tally;

static void try_one(
    const operation *tried, world w, fault met, const outcome *good, tally *t) {
    int status = in_child(tried, w, met);
    const char *problem = verdict(status, good);
    if (problem == NULL) {
        if (shared->status == UNSAY_OK)
            t->done++;
        else
            t->answered++;
    } else if (++t->wrong <= 20 || WIFSIGNALED(status)) {
        complain(tried, met, problem);
    }
}

/* The faults of one operation that were not answered as they should be. */
static long try_all(const operation *tried, world w, long stride) {
    const fault none = {NEVER, NO_LIMIT};
    in_child(tried, w, none);
    outcome good = *shared;
    if (!good.is_complete || good.status != UNSAY_OK || good.digest != good.digest_again) {
        complain(tried, none, "fails without a fault");
        return 1;
    }
    tally one = {0}, all = {0};
    for (long number = 1; number <= good.fault.seen; number += stride)
        try_one(tried, w, (fault){number, NO_LIMIT}, &good, &one);
    for (long bytes = 0; bytes < MOST_BYTES; bytes += bytes / 4 + (64 << 10))
        try_one(tried, w, (fault){NEVER, bytes}, &good, &all);
    printf("%s: of %ld allocations %ld failed: %ld answered, %ld done all the same, %ld "
           "wrong; short of memory: %ld answered, %ld done, %ld wrong\n",
        tried->name, good.fault.seen, one.answered + one.done + one.wrong, one.answered,
        one.done, one.wrong, all.answered, all.done, all.wrong);
    fflush(stdout);
    return one.wrong + all.wrong;
}

int main(int count, char **arguments) {
    if (count < 3)
        return fprintf(stderr, "memory_faults MODEL SCRATCH [STRIDE [NAME]]\n"), 2;
    shared = mmap(
        NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;
    world w = {.folder = arguments[1], .scratch = arguments[2]};
    long stride = count > 3 ? atol(arguments[3]) : 1, wrong = 0;
    for (size_t i = 0; i < operation_count; i++)
        if (count < 5 || strcmp(arguments[4], operations[i].name) == 0)
            wrong += try_all(&operations[i], w, stride > 0 ? stride : 1);
    printf("memory faults: %ld wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
