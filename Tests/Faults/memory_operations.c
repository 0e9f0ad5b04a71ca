/* What is tried while allocations fail: each operation closes what it opened, whatever
 * became of it, and notes what it found. */
#include "memory_operations.h"
#include <stdio.h>

void note(world *w, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        w->digest = (w->digest ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

unsay_status note_weights(world *w, const unsay_model *model) {
    uint8_t fingerprint[32];
    unsay_status status = unsay_model_fingerprint(model, fingerprint);
    if (status == UNSAY_OK) note(w, fingerprint, sizeof fingerprint);
    return status;
}

static unsay_status note_result(world *w, const unsay_result *result, size_t inputs) {
    for (size_t i = 0; i < inputs; i++)
        for (size_t rank = 0; rank < unsay_result_count(result, i); rank++) {
            unsay_hypothesis found = {.struct_size = sizeof found};
            unsay_status status = unsay_result_get(result, i, rank, &found);
            if (status != UNSAY_OK) return status;
            note(w, found.ids, found.id_count * sizeof *found.ids);
            note(w, found.text, found.text_size);
        }
    return UNSAY_OK;
}

const char *path_in(const world *w, const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", w->scratch, name);
    return path;
}

const unsay_sequence *texts(void) {
    static unsay_sequence two[2];
    two[0] = unsay_text("summarize: a small library for reading files");
    two[1] = unsay_text("summarize: a terminal");
    return two;
}

static unsay_status open_with(world *w, int32_t threads, unsay_compute compute) {
    unsay_open_options options;
    unsay_open_options_init(&options, sizeof options);
    options.threads = threads;
    options.compute = compute;
    unsay_model *model = NULL;
    unsay_status status;
    TRY(unsay_model_open(w->folder, &options, &model));
    TRY(note_weights(w, model));
end:
    unsay_model_close(model);
    return status;
}

static unsay_status run_open(world *w) { return open_with(w, 1, UNSAY_COMPUTE_F32); }
static unsay_status run_open_bf16(world *w) { return open_with(w, 1, UNSAY_COMPUTE_BF16); }
static unsay_status run_open_int8(world *w) { return open_with(w, 2, UNSAY_COMPUTE_INT8); }

static void nothing(world *w) { (void)w; }

static void open_on(world *w, int32_t threads) {
    unsay_open_options options;
    unsay_open_options_init(&options, sizeof options);
    options.threads = threads;
    MUST(unsay_model_open(w->folder, &options, &w->model));
}

void one_thread(world *w) { open_on(w, 1); }
static void two_threads(world *w) { open_on(w, 2); }

static unsay_status generate_with(world *w, const unsay_generate_options *options) {
    unsay_result *result = NULL;
    unsay_status status;
    TRY(unsay_generate(w->model, texts(), 2, options, &result));
    TRY(note_result(w, result, 2));
end:
    unsay_result_free(result);
    return status;
}

static unsay_status run_greedy(world *w) {
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 8;
    options.prompt_lookup_num_tokens = 3;
    options.cross_attention = 1;
    return generate_with(w, &options);
}

static unsay_status run_beams(world *w) {
    const char *phrases[] = {"library", "a file"}, *stops[] = {"zzz"};
    const int32_t never[] = {5, 6};
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 8;
    options.num_beams = options.num_return_sequences = 3;
    options.banned_phrases = phrases;
    options.banned_phrase_count = 2;
    options.stop_strings = stops;
    options.stop_string_count = 1;
    options.suppress_tokens = never;
    options.suppress_token_count = 2;
    options.num_alternatives = 4;
    options.no_repeat_ngram_size = 2;
    return generate_with(w, &options);
}

static unsay_status run_drawn(world *w) {
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 8;
    options.do_sample = 1;
    options.top_k = 50;
    options.top_p = 0.9f;
    options.typical_p = 0.95f;
    options.num_return_sequences = 2;
    return generate_with(w, &options);
}

static unsay_status run_numbers(world *w) {
    enum { ROOM = 1 << 20 };
    static float numbers[ROOM];
    static int32_t ids[64];
    static char text[256];
    size_t count = 0;
    unsay_result *result = NULL;
    unsay_status status;
    TRY(unsay_encode(w->model, "a small library", SIZE_MAX, ids, NULL, 64, &count));
    note(w, ids, count * sizeof *ids);
    TRY(unsay_decode(w->model, ids, count, text, sizeof text, &count));
    note(w, text, count);
    TRY(unsay_score(w->model, texts(), texts(), 2, &result));
    TRY(note_result(w, result, 2));
    TRY(unsay_logits(w->model, texts(), texts() + 1, numbers, ROOM, &count));
    note(w, numbers, count * sizeof *numbers);
    TRY(unsay_embed(w->model, texts(), 2, 1, numbers, ROOM, &count));
    note(w, numbers, count * sizeof *numbers);
end:
    unsay_result_free(result);
    return status;
}

static unsay_status run_save(world *w) {
    return unsay_model_save(w->model, path_in(w, "saved"));
}

/* The folder is still a model. */
static void check_saved(world *w) {
    unsay_model *model = NULL;
    uint8_t found[32], wanted[32];
    MUST(unsay_model_open(path_in(w, "saved"), NULL, &model));
    MUST(unsay_model_fingerprint(model, found));
    MUST(unsay_model_fingerprint(w->model, wanted));
    if (memcmp(found, wanted, 32) != 0) memory_defect("another model was saved", "");
    unsay_model_close(model);
}

static void saved_once(world *w) {
    one_thread(w);
    MUST(unsay_model_save(w->model, path_in(w, "saved")));
}

const operation operations[] = {
    {"open", nothing, run_open, NULL},
    {"open in bf16", nothing, run_open_bf16, NULL},
    {"open in int8, two threads", nothing, run_open_int8, NULL},
    {"generate", one_thread, run_greedy, NULL},
    {"generate on two threads", two_threads, run_greedy, NULL},
    {"generate with beams", one_thread, run_beams, NULL},
    {"generate by drawing", one_thread, run_drawn, NULL},
    {"score, logits, embed", one_thread, run_numbers, NULL},
    {"patch and commit", one_thread, run_patch, NULL},
    {"fine-tune", two_threads, run_tune, NULL},
    {"plan, sweep, report", session_of_one_step, run_plan, NULL},
    {"save", saved_once, run_save, check_saved},
    {"session state", session_of_one_step, run_state, NULL},
    {"deltas", session_of_one_step, run_delta, check_delta},
    {"classifier", one_thread, run_classifier, NULL},
};
const size_t operation_count = sizeof operations / sizeof *operations;

void close_world(world *w) {
    unsay_session_close(w->session);
    unsay_model_close(w->model);
}
