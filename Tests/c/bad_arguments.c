/* Calls every function of unsay.h with every kind of bad argument.
 *
 *     bad_arguments MODEL_FOLDER SCRATCH_FOLDER [PART_OF_A_CASE]
 *
 * NULL, sizes of 0 and beyond all memory, numbers out of range, NaN, texts that are no
 * text, structs of every struct_size; all of it once more on objects whose parents are
 * closed. No call may crash, and one that fails says which argument it was. The cases are
 * written by make_bad_arguments.py. Ends with a line of totals; 1 if a case failed. */
#include "bad_arguments.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const answer nothing_said = {0, UNSAY_OK};

/* For the signal handler. */
static const world *running;

static void fail(world *w, const char *sentence, const char *detail) {
    w->failures++;
    printf("%s, %s%s: %s. %s\n", w->function, w->what, w->is_orphaned ? ", orphaned" : "",
        sentence, detail);
}

static void tell_and_die(int number) {
    char line[512];
    int size = snprintf(line, sizeof line, "%s, %s%s: signal %d\n", running->function,
        running->what, running->is_orphaned ? ", orphaned" : "", number);
    if (write(2, line, (size_t)size) < 0) _exit(3);
    signal(number, SIG_DFL);
    raise(number);
}

/* What was made is used and closed: some arguments only matter then. */
static void use_and_close(world *w) {
    static int32_t ids[] = {5, 6, 1};
    unsay_sequence input = unsay_ids(ids, 3);
    unsay_status ignored = UNSAY_OK;
    if (w->made_model != NULL) {
        unsay_result *result = NULL;
        ignored = unsay_generate(
            w->made_model, &input, 1, good_unsay_generate_options(w), &result);
        unsay_result_free(result);
    }
    if (w->made_session != NULL) {
        ignored = unsay_session_add(w->made_session, w->examples, 1);
        ignored = unsay_session_add_guard(w->made_session, w->examples, 1);
        ignored = unsay_session_step(w->made_session, NULL);
        ignored = unsay_session_evaluate(w->made_session, good_unsay_evaluation(w));
    }
    if (w->made_classifier != NULL)
        ignored = unsay_classifier_spans(
            w->made_classifier, w->sequences, 0.5f, w->spans, ROOM, w->count);
    (void)ignored;
    unsay_model_close(w->made_model);
    unsay_session_close(w->made_session);
    unsay_result_free(w->made_result);
    unsay_report_free(w->made_report);
    unsay_delta_close(w->made_delta);
    unsay_classifier_close(w->made_classifier);
    w->made_model = NULL;
    w->made_session = NULL;
    w->made_result = NULL;
    w->made_report = NULL;
    w->made_delta = NULL;
    w->made_classifier = NULL;
}

/* The sentence is kept before anything else is called. */
static char sentence[4096];

answer answered(world *w, unsay_status status) {
    snprintf(sentence, sizeof sentence, "%s", status == UNSAY_OK ? "" : unsay_last_error());
    int is_made = w->made_model || w->made_session || w->made_result || w->made_report ||
                  w->made_delta || w->made_classifier;
    if (status != UNSAY_OK && status != UNSAY_E_CANCELLED && is_made)
        fail(w, "failed, and made something", sentence);
    use_and_close(w);
    return (answer){1, status};
}

answer said(const char *text) {
    if (text != NULL && strlen(text) > (1 << 20)) abort();
    return nothing_said;
}

int begin_case(world *w, const char *function, const char *what) {
    w->function = function;
    w->what = what;
    running = w;
    return w->only == NULL || strstr(function, w->only) || strstr(what, w->only);
}

/* Whether the sentence holds one of the names. */
static int holds_one_of(const char *names) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", names);
    for (char *name = strtok(copy, " "); name != NULL; name = strtok(NULL, " "))
        if (strstr(sentence, name) != NULL) return 1;
    return 0;
}

void end_case(world *w, int must_fail, const char *names, answer answer) {
    w->cases++;
    if (!answer.has_status) return;
    int is_good = strncmp(w->what, "nothing", 7) == 0;
    if (answer.status == UNSAY_OK) {
        if (must_fail) fail(w, "is taken", "");
        return;
    }
    w->refused++;
    if (is_good && answer.status != UNSAY_E_CANCELLED)
        fail(w, "fails with good arguments", sentence);
    if (strlen(sentence) < 10) fail(w, "fails without a sentence", "");
    switch (answer.status) {
    case UNSAY_E_ARGUMENT:
    case UNSAY_E_BUFFER:
    case UNSAY_E_TEXT:
        if (!holds_one_of(names)) fail(w, "is not named", sentence);
        break;
    case UNSAY_E_INTERNAL:
        fail(w, "is a defect", sentence);
        break;
    default:
        break;
    }
}

int main(int count, char **arguments) {
    if (count < 3) return fprintf(stderr, "bad_arguments MODEL SCRATCH [PART]\n"), 2;
    static world w;
    w.folder = arguments[1];
    w.scratch = arguments[2];
    w.only = count > 3 ? arguments[3] : NULL;
    signal(SIGSEGV, tell_and_die);
    signal(SIGBUS, tell_and_die);
    signal(SIGILL, tell_and_die);
    signal(SIGTRAP, tell_and_die);
    signal(SIGABRT, tell_and_die);
    signal(SIGFPE, tell_and_die);
    for (w.is_orphaned = 0; w.is_orphaned < 2; w.is_orphaned++)
        for (size_t i = 0; i < chapter_count; i++) {
            build_world(&w, chapters[i].function);
            chapters[i].cases(&w);
            close_world(&w);
        }
    end_worlds(&w);
    printf("bad arguments: %zu functions, %ld cases, %ld refused, %ld failures\n",
        chapter_count, w.cases, w.refused, w.failures);
    return w.failures == 0 ? 0 : 1;
}
