/* A program that was compiled with the header of the first release: opens, generates,
 * patches, commits and reverts, with structs as long as they were then.
 *
 *     client MODEL_FOLDER
 *
 * It also plays callers from before that release, whose structs end earlier: each struct
 * lies before bytes that nobody may touch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unsay.h>

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(                                                                       \
                stderr, "line %d: %s: %s\n", __LINE__, #condition, unsay_last_error());    \
            exit(EXIT_FAILURE);                                                            \
        }                                                                                  \
    } while (0)
#define OK(call) CHECK((call) == UNSAY_OK)

/* Every sized struct of this header, followed by a canary. */
enum { CANARY = 0x5A, CANARY_SIZE = 64 };

static int is_untouched(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t index = from; index < to; index++)
        if (bytes[index] != CANARY) return 0;
    return 1;
}

/* That an _init function writes no byte beyond what it is told, whatever that is. */
#define CHECK_INIT(type, init)                                                             \
    do {                                                                                   \
        union {                                                                            \
            type options;                                                                  \
            unsigned char bytes[sizeof(type) + CANARY_SIZE];                               \
        } u;                                                                               \
        for (size_t size = sizeof(size_t); size <= sizeof(type); size += 4) {              \
            memset(&u, CANARY, sizeof u);                                                  \
            init(&u.options, size);                                                        \
            CHECK(u.options.struct_size == size);                                          \
            CHECK(is_untouched(u.bytes, size, sizeof u));                                  \
        }                                                                                  \
    } while (0)

static void initialise_all(void) {
    CHECK_INIT(unsay_open_options, unsay_open_options_init);
    CHECK_INIT(unsay_generate_options, unsay_generate_options_init);
    CHECK_INIT(unsay_session_options, unsay_session_options_init);
    CHECK_INIT(unsay_run_options, unsay_run_options_init);
    CHECK_INIT(unsay_sweep_options, unsay_sweep_options_init);
    CHECK_INIT(unsay_report_options, unsay_report_options_init);
}

/* Generates with options that end after `size` bytes; what lies behind them is garbage. */
static unsay_result *generate(
    const unsay_model *model, size_t size, unsay_hypothesis *best) {
    union {
        unsay_generate_options options;
        unsigned char bytes[sizeof(unsay_generate_options)];
    } u;
    memset(&u, CANARY, sizeof u);
    unsay_generate_options_init(&u.options, size);
    u.options.max_new_tokens = 8;
    unsay_sequence input = unsay_text("summarize: a small library for reading files");
    unsay_result *result = NULL;
    OK(unsay_generate(model, &input, 1, &u.options, &result));
    best->struct_size = sizeof *best;
    OK(unsay_result_get(result, 0, 0, best));
    return result;
}

/* A hypothesis of a caller who knows nothing after id_count. */
static void read_short(const unsay_result *result, const unsay_hypothesis *whole) {
    union {
        unsay_hypothesis hypothesis;
        unsigned char bytes[sizeof(unsay_hypothesis)];
    } u;
    size_t size = offsetof(unsay_hypothesis, score);
    memset(&u, CANARY, sizeof u);
    u.hypothesis.struct_size = size;
    OK(unsay_result_get(result, 0, 0, &u.hypothesis));
    CHECK(u.hypothesis.ids == whole->ids && u.hypothesis.id_count == whole->id_count);
    CHECK(is_untouched(u.bytes, size, sizeof u));
}

static void patch(unsay_model *model, const unsay_hypothesis *output) {
    int8_t marks[8] = {UNSAY_MARK_AVOID};
    for (size_t index = 1; index < output->id_count; index++)
        marks[index] = UNSAY_MARK_KEEP;
    unsay_example example = {
        .input = unsay_text("summarize: a small library for reading files"),
        .output = unsay_ids(output->ids, output->id_count),
        .marks = marks,
        .mark_count = output->id_count};
    unsay_session_options options;
    unsay_session_options_init(&options, sizeof options);
    options.loss = UNSAY_LOSS_RR;
    unsay_session *session = NULL;
    OK(unsay_session_create(model, &options, &session));
    OK(unsay_session_add(session, &example, 1));
    unsay_run_options run;
    unsay_run_options_init(&run, sizeof run);
    run.max_steps = 3;
    unsay_ending ending = UNSAY_ENDING_CALLER;
    OK(unsay_session_run(session, &run, &ending));
    unsay_evaluation evaluation = {.struct_size = sizeof evaluation};
    OK(unsay_session_evaluate(session, &evaluation));
    CHECK(evaluation.avoid_p_after < evaluation.avoid_p_before);
    uint8_t before[32], after[32];
    OK(unsay_model_fingerprint(model, before));
    OK(unsay_session_commit(session));
    unsay_delta *delta = NULL;
    OK(unsay_session_delta(session, &delta));
    OK(unsay_delta_revert(delta, model));
    OK(unsay_model_fingerprint(model, after));
    CHECK(memcmp(before, after, sizeof before) == 0);
    unsay_delta_close(delta);
    unsay_session_close(session);
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "client MODEL_FOLDER\n"), EXIT_FAILURE;
    CHECK(unsay_abi_version() == UNSAY_ABI_VERSION);
    initialise_all();

    unsay_open_options options;
    unsay_open_options_init(&options, sizeof options);
    options.threads = 2;
    unsay_model *model = NULL;
    OK(unsay_model_open(arguments[1], &options, &model));

    unsay_hypothesis whole, older;
    unsay_result *result = generate(model, sizeof(unsay_generate_options), &whole);
    unsay_result *same =
        generate(model, offsetof(unsay_generate_options, epsilon_cutoff), &older);
    CHECK(whole.id_count == older.id_count);
    CHECK(memcmp(whole.ids, older.ids, whole.id_count * sizeof *whole.ids) == 0);
    read_short(result, &whole);
    patch(model, &whole);

    unsay_result_free(same);
    unsay_result_free(result);
    unsay_model_close(model);
    printf("a caller of %d.%d.%d is served by %s\n", UNSAY_VERSION_MAJOR,
        UNSAY_VERSION_MINOR, UNSAY_VERSION_PATCH, unsay_version());
    return EXIT_SUCCESS;
}
