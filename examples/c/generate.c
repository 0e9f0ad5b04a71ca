/* Generates an output for each text.
 *
 *     cc generate.c -o generate $(pkg-config --cflags --libs unsay)
 *     ./generate models/debsum "summarize: A library for reading CSV files."
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unsay.h>

/* Prints why the latest call failed; the value for main to return. */
static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, unsay_last_error());
    return EXIT_FAILURE;
}

static int print_outputs(const unsay_result *result, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsay_hypothesis best = {.struct_size = sizeof best};
        if (unsay_result_get(result, i, 0, &best) != UNSAY_OK) return fail("result");
        printf("%s\n    %zu tokens, probability %.2g%s\n", best.text, best.id_count,
            exp((double)best.score),
            best.finish == UNSAY_FINISH_LENGTH ? ", cut at the limit" : "");
    }
    return EXIT_SUCCESS;
}

static int generate(const unsay_model *model, char **texts, size_t count) {
    unsay_sequence *inputs = malloc(count * sizeof *inputs);
    if (inputs == NULL) return EXIT_FAILURE;
    for (size_t i = 0; i < count; i++) inputs[i] = unsay_text(texts[i]);

    /* NULL: as the model's generation_config.json says. */
    unsay_result *result = NULL;
    unsay_status status = unsay_generate(model, inputs, count, NULL, &result);
    free(inputs);
    if (status != UNSAY_OK) return fail("generate");

    int code = print_outputs(result, count);
    unsay_result_free(result);
    return code;
}

int main(int count, char **arguments) {
    if (count < 3) return fprintf(stderr, "generate MODEL_FOLDER TEXT...\n"), EXIT_FAILURE;

    unsay_model *model = NULL;
    if (unsay_model_open(arguments[1], NULL, &model) != UNSAY_OK) return fail("open");
    int code = generate(model, arguments + 2, (size_t)count - 2);
    unsay_model_close(model);
    return code;
}
