/* The good values of the bad-arguments test. */
#include "bad_arguments.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Freed with the world. */
enum { SCRAPS = 1 << 14 };
static void *scraps[SCRAPS];
static size_t scrap_count;

/* [size] bytes on an odd multiple of `alignment`, at most 8, up to the end of an
 * allocation: legal, and no better. */
static void *place(size_t size, size_t alignment) {
    char *memory = scrap_count < SCRAPS ? calloc(1, size + alignment) : NULL;
    if (memory == NULL) abort();
    scraps[scrap_count++] = memory;
    return memory + alignment;
}

static void *copied(const void *bytes, size_t size, size_t alignment) {
    return memcpy(place(size, alignment), bytes, size);
}

static void require_ok(unsay_status status, const char *call) {
    if (status == UNSAY_OK) return;
    fprintf(stderr, "%s: %s\n", call, unsay_last_error());
    exit(2);
}
#define MUST(call) require_ok((call), #call)

void *sized(world *w, const void *good, size_t known, size_t size) {
    (void)w;
    size_t room = size > 4096 ? known : size < sizeof size ? sizeof size : size;
    void *copy = place(room, 8);
    memcpy(copy, good, room < known ? room : known);
    memcpy(copy, &size, sizeof size);
    return copy;
}

void *newer(world *w, const void *good, size_t known) {
    char *copy = sized(w, good, known, known + 8);
    copy[known + 7] = 1;
    return copy;
}

const int32_t *one_id(world *w, int32_t id) {
    (void)w;
    int32_t three[] = {id, 6, 1};
    return copied(three, sizeof three, 4);
}

void *bad_options(world *w) {
    size_t size = 3;
    (void)w;
    return copied(&size, sizeof size, 8);
}

void log_nothing(void *context, unsay_log_level level, const char *line) {
    (void)context;
    (void)level;
    (void)line;
}

/* ---- Callbacks that end what they are called from, after a while. */

/* Whether a callback ran more than `most` times; at once without a context. */
static int is_over(void *context, int most) {
    return context == NULL || ++*(int *)context > most;
}

static unsay_action stop_logits(void *context, unsay_logits_view *view) {
    (void)view;
    return is_over(context, 3) ? UNSAY_STOP : UNSAY_CONTINUE;
}

static unsay_action stop_steps(void *context, const unsay_step *step) {
    (void)step;
    return is_over(context, 1) ? UNSAY_STOP : UNSAY_CONTINUE;
}

static unsay_action stop_gradients(void *context, unsay_gradients_view *view) {
    (void)view;
    return is_over(context, 2) ? UNSAY_STOP : UNSAY_CONTINUE;
}

static unsay_action stop_progress(void *context, size_t done, size_t total) {
    (void)done;
    (void)total;
    return is_over(context, 3) ? UNSAY_STOP : UNSAY_CONTINUE;
}

static unsay_action go_on(void *context, const unsay_trial *trial) {
    (void)context;
    (void)trial;
    return UNSAY_CONTINUE;
}

static int32_t detect_nothing(void *context, size_t input, const char *text) {
    (void)context;
    (void)input;
    return text[0] == '\1';
}

/* ---- Good structs. */

#define GOOD_OPTIONS(name)                                                                 \
    name *options = place(sizeof *options, 8);                                             \
    name##_init(options, sizeof *options)

#define GOOD_RESULT(name)                                                                  \
    name *good_##name(world *w) {                                                          \
        (void)w;                                                                           \
        name *value = place(sizeof *value, 8);                                             \
        value->struct_size = sizeof *value;                                                \
        return value;                                                                      \
    }

GOOD_RESULT(unsay_model_info)
GOOD_RESULT(unsay_tensor_info)
GOOD_RESULT(unsay_hypothesis)
GOOD_RESULT(unsay_step)
GOOD_RESULT(unsay_evaluation)
GOOD_RESULT(unsay_plan)
GOOD_RESULT(unsay_delta_info)
GOOD_RESULT(unsay_classifier_info)

unsay_open_options *good_unsay_open_options(world *w) {
    (void)w;
    GOOD_OPTIONS(unsay_open_options);
    options->threads = 1;
    return options;
}

unsay_generate_options *good_unsay_generate_options(world *w) {
    (void)w;
    GOOD_OPTIONS(unsay_generate_options);
    options->max_new_tokens = 4;
    options->on_logits = stop_logits;
    options->context = place(sizeof(int), 4);
    return options;
}

unsay_session_options *good_unsay_session_options(world *w) {
    (void)w;
    GOOD_OPTIONS(unsay_session_options);
    options->max_guard_kl = 1000;
    options->max_guard_flips = 1;
    options->keep_examples = 1;
    options->on_gradients = stop_gradients;
    options->context = place(sizeof(int), 4);
    return options;
}

unsay_run_options *good_unsay_run_options(world *w) {
    (void)w;
    GOOD_OPTIONS(unsay_run_options);
    options->on_step = stop_steps;
    options->context = place(sizeof(int), 4);
    return options;
}

unsay_sweep_options *good_unsay_sweep_options(world *w) {
    GOOD_OPTIONS(unsay_sweep_options);
    const float rate = 1e-4f;
    options->learning_rates = copied(&rate, sizeof rate, 4);
    options->learning_rate_count = 1;
    options->run = good_unsay_run_options(w);
    options->on_trial = go_on;
    return options;
}

unsay_report_options *good_unsay_report_options(world *w) {
    GOOD_OPTIONS(unsay_report_options);
    options->inputs = w->sequences;
    options->input_count = 1;
    options->generate = good_unsay_generate_options(w);
    ((unsay_generate_options *)options->generate)->on_logits = NULL;
    options->detect = detect_nothing;
    return options;
}

unsay_classifier_options *good_unsay_classifier_options(world *w) {
    (void)w;
    GOOD_OPTIONS(unsay_classifier_options);
    options->passes = 2;
    options->on_progress = stop_progress;
    options->context = place(sizeof(int), 4);
    return options;
}

/* ---- The world. */

/* The files of the model's folder, read once. */
static void read_files(world *w) {
    static char names[FILES][256];
    DIR *folder = opendir(w->folder);
    if (folder == NULL) abort();
    for (struct dirent *entry; w->file_count < FILES && (entry = readdir(folder));) {
        char path[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", w->folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        if (file == NULL) continue;
        fseek(file, 0, SEEK_END);
        size_t size = (size_t)ftell(file);
        rewind(file);
        char *bytes = malloc(size + 1);
        if (bytes == NULL || fread(bytes + 1, 1, size, file) != size) abort();
        fclose(file);
        snprintf(names[w->file_count], 256, "%s", entry->d_name);
        w->files[w->file_count] = (unsay_buffer){names[w->file_count], bytes + 1, size};
        w->file_count++;
    }
    closedir(folder);
}

static void place_memory(world *w) {
    static const int32_t ids[] = {5, 6, 1}, targets[] = {2, 1};
    static const int8_t marks[] = {UNSAY_MARK_AVOID, UNSAY_MARK_KEEP, UNSAY_MARK_KEEP};
    static const unsay_span spans[] = {{0, 1}};
    w->text = copied("files", 6, 1);
    w->long_text = place(1 << 14, 1);
    memset(w->long_text, 'a', (1 << 14) - 1);
    w->phrases[0] = copied("file", 5, 1);
    w->bytes = place(ROOM, 1);
    w->roomy = place(8192, 8);
    w->ids = place(ROOM * sizeof *w->ids, 4);
    w->given_ids = copied(ids, sizeof ids, 4);
    w->targets = copied(targets, sizeof targets, 4);
    w->marks = place(ROOM, 1);
    w->given_marks = copied(marks, sizeof marks, 1);
    w->numbers = place(ROOM * sizeof *w->numbers, 4);
    w->spans = place(ROOM * sizeof *w->spans, 8);
    w->given_spans = copied(spans, sizeof spans, 8);
    w->planned = place(ROOM * sizeof *w->planned, 8);
    w->count = place(sizeof *w->count, 8);
    w->chosen = place(sizeof *w->chosen, 8);
    w->digest = place(32, 1);
    w->ending = place(sizeof *w->ending, 4);
    w->sequences[0] = (unsay_sequence){w->text, 5, NULL, 0};
    w->sequences[1] = unsay_ids(w->given_ids, 3);
    memset(w->examples, 0, sizeof w->examples);
    w->examples[0].input = w->sequences[0];
    w->examples[0].output = w->sequences[1];
    w->examples[0].marks = w->given_marks;
    w->examples[0].mark_count = 3;
    memset(w->marked_texts, 0, sizeof w->marked_texts);
    w->marked_texts[0].text = w->sequences[0];
    w->marked_texts[0].spans = w->given_spans;
    w->marked_texts[0].span_count = 1;
    snprintf(w->saved_path, sizeof w->saved_path, "%s/saved", w->scratch);
    snprintf(w->state_path, sizeof w->state_path, "%s/state", w->scratch);
    snprintf(w->delta_path, sizeof w->delta_path, "%s/delta.unsay", w->scratch);
    snprintf(w->classifier_path, sizeof w->classifier_path, "%s/classifier", w->scratch);
}

static unsay_session *new_session(world *w, unsay_model *model) {
    unsay_session_options *options = good_unsay_session_options(w);
    options->on_gradients = NULL;
    unsay_session *session = NULL;
    MUST(unsay_session_create(model, options, &session));
    MUST(unsay_session_add(session, w->examples, 1));
    MUST(unsay_session_step(session, NULL));
    return session;
}

/* What every world's model is a clone of. */
static unsay_model *base;

void build_world(world *w, const char *function) {
    if (base == NULL) {
        read_files(w);
        MUST(unsay_model_open(w->folder, good_unsay_open_options(w), &base));
    }
    place_memory(w);
    unsay_model *parent = NULL;
    MUST(unsay_model_clone(base, &parent));
    MUST(unsay_model_clone(w->is_orphaned ? parent : base, &w->model));
    unsay_model *served = w->is_orphaned ? parent : w->model;
    unsay_generate_options *generate = good_unsay_generate_options(w);
    generate->on_logits = NULL;
    MUST(unsay_generate(served, w->sequences, 1, generate, &w->result));
    w->session = new_session(w, served);
    MUST(unsay_session_save(w->session, w->state_path));
    unsay_session *other = w->is_orphaned ? new_session(w, served) : w->session;
    MUST(unsay_session_report(other, good_unsay_report_options(w), &w->report));
    MUST(unsay_session_delta(other, &w->delta));
    MUST(unsay_delta_save(w->delta, w->delta_path));
    if (other != w->session) unsay_session_close(other);
    MUST(unsay_classifier_train(
        served, w->marked_texts, 1, good_unsay_classifier_options(w), &w->classifier));
    MUST(unsay_classifier_save(w->classifier, w->classifier_path));
    unsay_model_close(parent);
    /* What is to be taken back must be there. */
    if (strstr(function, "revert") != NULL || strstr(function, "applied") != NULL)
        MUST(unsay_delta_apply(w->delta, w->model));
}

void close_world(world *w) {
    /* Parents first, or last. */
    if (!w->is_orphaned) unsay_model_close(w->model);
    unsay_report_free(w->report);
    unsay_result_free(w->result);
    unsay_delta_close(w->delta);
    unsay_classifier_close(w->classifier);
    unsay_session_close(w->session);
    if (w->is_orphaned) unsay_model_close(w->model);
    while (scrap_count > 0) free(scraps[--scrap_count]);
}

void end_worlds(world *w) {
    unsay_model_close(base);
    for (size_t i = 0; i < w->file_count; i++) free((char *)w->files[i].bytes - 1);
}
