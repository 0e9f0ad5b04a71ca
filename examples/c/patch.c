/* Makes a model unsay a phrase that it writes for an input.
 *
 *     cc patch.c -o patch $(pkg-config --cflags --libs unsay)
 *     ./patch models/debsum "summarize: ..." simple patched-model
 *
 * Prints the output before and after, and writes the patched model to a new folder.
 * A patch in earnest also has many examples, and a guard of inputs that must not change.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unsay.h>

enum { MAX_TOKENS = 64 };

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, unsay_last_error());
    return EXIT_FAILURE;
}

/* Generates for `input`; the output is borrowed from `*result`, which the caller frees. */
static unsay_status write_output(const unsay_model *model, const unsay_sequence *input,
    unsay_result **result, unsay_hypothesis *output) {
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = MAX_TOKENS;
    unsay_status status = unsay_generate(model, input, 1, &options, result);
    if (status != UNSAY_OK) return status;
    output->struct_size = sizeof *output;
    return unsay_result_get(*result, 0, 0, output);
}

static unsay_action show(void *context, const unsay_step *step) {
    (void)context;
    printf("step %2d: loss %.4f, avoided p %.4f\n", step->step, step->loss, step->avoid_p);
    return UNSAY_CONTINUE;
}

/* Trains until the marked tokens are unlikely, then makes the result the model's. */
static int train(unsay_session *session, const unsay_example *example) {
    unsay_run_options run;
    unsay_run_options_init(&run, sizeof run);
    run.max_steps = 40;
    run.evaluate_every = 1;
    run.on_step = show;
    unsay_ending ending = UNSAY_ENDING_STEPS;
    if (unsay_session_add(session, example, 1) != UNSAY_OK) return fail("add");
    if (unsay_session_run(session, &run, &ending) != UNSAY_OK) return fail("run");
    if (ending != UNSAY_ENDING_GOAL) printf("the goal was not met in time\n");
    if (unsay_session_commit(session) != UNSAY_OK) return fail("commit");
    return EXIT_SUCCESS;
}

static int patch(unsay_model *model, const char *text, const char *phrase) {
    unsay_sequence input = unsay_text(text);
    unsay_result *before = NULL, *after = NULL;
    unsay_session *session = NULL;
    unsay_hypothesis output;
    int8_t marks[MAX_TOKENS];
    size_t count = 0;
    int code = EXIT_FAILURE;

    if (write_output(model, &input, &before, &output) != UNSAY_OK) return fail("generate");
    printf("before: %s\n", output.text);

    unsay_example example = {
        .input = input, .output = unsay_ids(output.ids, output.id_count)};
    if (unsay_mark_phrases(model, &example.output, &phrase, 1, UNSAY_EXTENT_ALL, marks,
            MAX_TOKENS, &count) != UNSAY_OK) {
        fail("mark");
    } else if (unsay_session_create(model, NULL, &session) != UNSAY_OK) {
        fail("create");
    } else {
        example.marks = marks;
        example.mark_count = count;
        code = train(session, &example);
    }
    if (code == EXIT_SUCCESS) {
        if (write_output(model, &input, &after, &output) == UNSAY_OK)
            printf("after:  %s\n", output.text);
        else
            code = fail("generate");
    }
    unsay_session_close(session);
    unsay_result_free(after);
    unsay_result_free(before);
    return code;
}

int main(int count, char **arguments) {
    if (count != 5)
        return fprintf(stderr, "patch MODEL_FOLDER INPUT PHRASE NEW_FOLDER\n"),
               EXIT_FAILURE;

    unsay_model *model = NULL;
    if (unsay_model_open(arguments[1], NULL, &model) != UNSAY_OK) return fail("open");
    int code = patch(model, arguments[2], arguments[3]);
    if (code == EXIT_SUCCESS && unsay_model_save(model, arguments[4]) != UNSAY_OK)
        code = fail("save");
    unsay_model_close(model);
    return code;
}
