/* Opens, generates, patches, takes back and closes, again and again: memory stays as it is.
 *
 *     leaks MODEL_FOLDER OPENINGS PATCHES
 *
 * OPENINGS times a model is opened, writes an output and is closed; PATCHES times a session
 * takes a step, is rolled back, steps again, and is closed, and as often a classifier is
 * trained, asked and closed. What is allocated after a tenth of the rounds is allocated at
 * the end, to the byte where the C library can say; resident memory stays within 1 MB of
 * its highest point by then. */
#define _DEFAULT_SOURCE
#include "resident.h"
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unsay.h>

/* Sizes that malloc rounds up depend on what is free, and what is made once may be made
 * late: a leak grows in both halves. */
enum { SLACK = 2048 };

static const char *folder;

static void check(unsay_status status, const char *call) {
    if (status == UNSAY_OK) return;
    fprintf(stderr, "leaks: %s: %s\n", call, unsay_last_error());
    exit(1);
}
#define CHECK(call) check((call), #call)

static unsay_model *open_model(void) {
    unsay_open_options options;
    unsay_open_options_init(&options, sizeof options);
    options.threads = 1;
    unsay_model *model = NULL;
    CHECK(unsay_model_open(folder, &options, &model));
    return model;
}

static void generate(unsay_model *model, int round) {
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 8;
    options.num_beams = 1 + round % 3;
    const char *phrases[] = {"library"};
    options.banned_phrases = phrases;
    options.banned_phrase_count = (size_t)(round % 2);
    unsay_sequence input = unsay_text("summarize: a small library for reading files");
    unsay_result *result = NULL;
    CHECK(unsay_generate(model, &input, 1, &options, &result));
    unsay_result_free(result);
}

/* A round of opening. Every other one also meets a failure. */
static void open_and_close(unsay_model *unused, int round) {
    (void)unused;
    unsay_model *model = open_model(), *none = NULL;
    generate(model, round);
    if (round % 2 && unsay_model_open("/nowhere", NULL, &none) == UNSAY_OK) exit(1);
    unsay_model_close(model);
}

/* A round of patching; every fourth is committed and taken back. */
static void patch_and_roll_back(unsay_model *model, int round) {
    int8_t marks[64];
    size_t count = 0;
    const char *phrases[] = {"package"};
    unsay_example example;
    memset(&example, 0, sizeof example);
    example.input = unsay_text("summarize: a small library");
    example.output = unsay_text("a small package");
    CHECK(unsay_mark_phrases(
        model, &example.output, phrases, 1, UNSAY_EXTENT_ALL, marks, sizeof marks, &count));
    example.marks = marks;
    example.mark_count = count;
    unsay_session_options options;
    unsay_session_options_init(&options, sizeof options);
    options.max_guard_kl = 1000;
    options.max_guard_flips = 1;
    options.scope = round % 2 ? UNSAY_SCOPE_ALL : UNSAY_SCOPE_TOKENS;
    unsay_session *session = NULL;
    CHECK(unsay_session_create(model, &options, &session));
    CHECK(unsay_session_add(session, &example, 1));
    CHECK(unsay_session_add_guard(session, &example, 1));
    CHECK(unsay_session_step(session, NULL));
    CHECK(unsay_session_rollback(session));
    CHECK(unsay_session_step(session, NULL));
    if (round % 4 == 0) {
        unsay_delta *delta = NULL;
        CHECK(unsay_session_commit(session));
        CHECK(unsay_session_delta(session, &delta));
        CHECK(unsay_model_revert(model));
        unsay_delta_close(delta);
    }
    unsay_session_close(session);
}

/* A round of training a classifier; every third is cancelled. */
static unsay_action stop_some(void *context, size_t done, size_t total) {
    return *(int *)context % 3 == 0 && done + 1 == total ? UNSAY_STOP : UNSAY_CONTINUE;
}

static void train_classifier(unsay_model *model, int round) {
    static const unsay_span package = {8, 15};
    unsay_marked_text texts[2];
    memset(texts, 0, sizeof texts);
    texts[0].text = unsay_text("a small package");
    texts[0].spans = &package;
    texts[0].span_count = 1;
    texts[1].text = unsay_text("a small library for reading files");
    unsay_classifier_options options;
    unsay_classifier_options_init(&options, sizeof options);
    options.passes = 4;
    options.on_progress = stop_some;
    options.context = &round;
    unsay_classifier *classifier = NULL;
    unsay_status status = unsay_classifier_train(model, texts, 2, &options, &classifier);
    if (round % 3 == 0 && status == UNSAY_E_CANCELLED) return;
    check(status, "train a classifier");
    unsay_span spans[16];
    size_t count = 0;
    CHECK(unsay_classifier_spans(classifier, &texts[1].text, 0, spans, 16, &count));
    unsay_classifier_close(classifier);
}

static size_t allocated(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Runs the rounds; the number of things that grew. */
static int run(const char *name, int rounds, void (*round)(unsay_model *, int)) {
    unsay_model *model = open_model();
    /* A multiple of every period above. */
    int warm = (rounds / 10 + 11) / 12 * 12;
    size_t resident = 0, begun = 0, halfway = 0;
    rounds = warm + (rounds - warm + 11) / 12 * 12;
    int half = warm + (rounds - warm) / 24 * 12;
    for (int i = 0; i < rounds; i++) {
        round(model, i);
        if (i < warm && resident_bytes() > resident) resident = resident_bytes();
        if (i + 1 == warm) begun = allocated();
        if (i + 1 == half) halfway = allocated();
    }
    long early = (long)halfway - (long)begun, late = (long)allocated() - (long)halfway;
    long swollen = (long)resident_bytes() - (long)resident;
    printf("leaks: %d rounds of %s: %zu bytes allocated after %d, %+ld after %d, %+ld "
           "more at the end; "
           "%.1f MB resident, %+.1f MB\n",
        rounds, name, begun, warm, early, half, late, (double)resident / 1e6,
        (double)swollen / 1e6);
    unsay_model_close(model);
    return (early > SLACK && late > SLACK) + (swollen > 1 << 20);
}

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "leaks MODEL_FOLDER OPENINGS PATCHES\n"), 2;
    folder = arguments[1];
    int grew = run("open, generate, close", atoi(arguments[2]), open_and_close);
    grew += run("patch, roll back, close", atoi(arguments[3]), patch_and_roll_back);
    grew += run("train a classifier, close", atoi(arguments[3]), train_classifier);
    return grew == 0 ? 0 : 1;
}
