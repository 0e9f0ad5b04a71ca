/* Texts, ids, marks, outputs, scores, logits. */
#include "story.h"
#include <math.h>
#include <stdlib.h>

enum { LIMIT = 512 };

static void story_marks(unsay_model *model) {
    unsay_sequence output = unsay_text("a small package for files");
    unsay_sequence better = unsay_text("a tiny package for files");
    unsay_span span = {2, 7}, outside = {20, 99}, empty = {3, 3};
    const char *phrases[] = {"package"};
    int8_t marks[LIMIT];
    size_t count = 0, avoided = 0, first = 0;

    EXPECT(UNSAY_E_BUFFER,
        unsay_mark_spans(model, &output, &span, 1, UNSAY_EXTENT_ALL, marks, 0, &count));
    HOLD(count > 1);
    OK(unsay_mark_spans(model, &output, &span, 1, UNSAY_EXTENT_ALL, marks, LIMIT, &count));
    for (size_t i = 0; i < count; i++) avoided += marks[i] == UNSAY_MARK_AVOID;
    HOLD(avoided > 0 && avoided < count);
    OK(unsay_mark_spans(
        model, &output, &span, 1, UNSAY_EXTENT_FIRST, marks, LIMIT, &count));
    for (size_t i = 0; i < count; i++) first += marks[i] == UNSAY_MARK_AVOID;
    HOLD(first == 1);
    EXPECT(UNSAY_E_ARGUMENT, unsay_mark_spans(model, &output, &outside, 1, UNSAY_EXTENT_ALL,
                                 marks, LIMIT, &count));
    EXPECT(UNSAY_E_ARGUMENT, unsay_mark_spans(model, &output, &empty, 1, UNSAY_EXTENT_ALL,
                                 marks, LIMIT, &count));

    OK(unsay_mark_phrases(
        model, &output, phrases, 1, UNSAY_EXTENT_ALL, marks, LIMIT, &count));
    HOLD(memchr(marks, UNSAY_MARK_AVOID & 0xff, count) != NULL);
    OK(unsay_mark_difference(
        model, &output, &better, UNSAY_EXTENT_ALL, marks, LIMIT, &count));
    HOLD(memchr(marks, UNSAY_MARK_AVOID & 0xff, count) != NULL);
    OK(unsay_mark_difference(
        model, &output, &output, UNSAY_EXTENT_ALL, marks, LIMIT, &count));
    HOLD(memchr(marks, UNSAY_MARK_AVOID & 0xff, count) == NULL);
}

void story_texts(unsay_model *model) {
    const char *text = "a small package for files";
    int32_t ids[LIMIT];
    unsay_span spans[LIMIT];
    char back[LIMIT];
    size_t count = 0, size = 0;

    EXPECT(UNSAY_E_BUFFER, unsay_encode(model, text, SIZE_MAX, NULL, NULL, 0, &count));
    HOLD(count > 1 && count < LIMIT);
    OK(unsay_encode(model, text, strlen(text), ids, spans, LIMIT, &count));
    HOLD(spans[0].begin == 0 && spans[count - 2].end == strlen(text));
    HOLD(spans[count - 1].begin == spans[count - 1].end);
    OK(unsay_decode(model, ids, count, back, sizeof back, &size));
    HOLD(size == strlen(text) && strcmp(back, text) == 0);
    EXPECT(UNSAY_E_BUFFER, unsay_decode(model, ids, count, back, 4, &size));
    HOLD(size == strlen(text));
    EXPECT(UNSAY_E_TEXT, unsay_encode(model, "\xff\xfe", 2, ids, spans, LIMIT, &count));
    EXPECT(UNSAY_E_ARGUMENT, unsay_encode(model, NULL, 3, ids, spans, LIMIT, &count));
    HOLD(unsay_token_piece(model, ids[0]) != NULL);
    HOLD(unsay_token_piece(model, -1) == NULL);
    HOLD(strcmp(unsay_model_file(model, 0), "decoder_model_merged.onnx") == 0);
    HOLD(strcmp(unsay_model_file(model, 1), "encoder_model.onnx") == 0);
    HOLD(unsay_model_file(model, 2) == NULL && unsay_model_file(model, UINT32_MAX) == NULL);
    story_marks(model);
}

static void story_numbers(unsay_model *model) {
    unsay_sequence input = unsay_text("summarize: a library");
    unsay_sequence output = unsay_text("a small package");
    size_t need = 0, again = 0;
    EXPECT(UNSAY_E_BUFFER, unsay_logits(model, &input, &output, NULL, 0, &need));
    float *values = malloc((need + 1) * sizeof *values);
    if (values == NULL) return;
    OK(unsay_logits(model, &input, &output, values, need, &again));
    HOLD(again == need && isfinite(values[0]) && isfinite(values[need - 1]));
    free(values);

    EXPECT(UNSAY_E_BUFFER, unsay_encoder_states(model, &input, NULL, 0, &need));
    values = malloc((need + 1) * sizeof *values);
    if (values == NULL) return;
    OK(unsay_encoder_states(model, &input, values, need, &again));
    HOLD(again == need && isfinite(values[0]) && isfinite(values[need - 1]));
    free(values);

    unsay_sequence both[2] = {input, output};
    EXPECT(UNSAY_E_BUFFER, unsay_embed(model, both, 2, 1, NULL, 0, &need));
    EXPECT(UNSAY_E_ARGUMENT, unsay_embed(model, both, 2, 2, NULL, 0, &need));
    values = malloc((need + 1) * sizeof *values);
    if (values == NULL) return;
    OK(unsay_embed(model, both, 2, 1, values, need, &again));
    double squares = 0;
    for (size_t i = need / 2; i < need; i++) squares += (double)values[i] * values[i];
    HOLD(again == need && fabs(squares - 1) < 1e-5);
    free(values);
}

/* The tiny model's generation_config.json says max_new_tokens 24, and so do NULL options.
 */
static void story_defaults(unsay_model *model) {
    unsay_generate_options options;
    OK(unsay_model_generate_options(model, &options, sizeof options));
    HOLD(options.max_new_tokens == 24 && options.num_beams == 1 &&
         options.bad_words == NULL);
    HOLD(options.struct_size == sizeof options);
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_generate_options(model, &options, 1));
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_generate_options(model, NULL, sizeof options));
    HOLD(strstr(unsay_model_generation(model), "\"file\":\"generation_config.json\"") !=
         NULL);
    HOLD(unsay_model_generation(NULL) == NULL);

    /* This input's output has no end among the first 24 ids. */
    int32_t ids[] = {31, 49, 46, 187, 89, 160, 1};
    unsay_sequence input = unsay_ids(ids, sizeof ids / sizeof *ids);
    unsay_result *plain = NULL, *given = NULL;
    unsay_hypothesis one = {.struct_size = sizeof one};
    OK(unsay_generate(model, &input, 1, NULL, &plain));
    OK(unsay_result_get(plain, 0, 0, &one));
    HOLD(one.id_count == 24 && one.finish == UNSAY_FINISH_LENGTH);
    options.max_new_tokens = 5;
    OK(unsay_generate(model, &input, 1, &options, &given));
    OK(unsay_result_get(given, 0, 0, &one));
    HOLD(one.id_count == 5);
    unsay_result_free(plain);
    unsay_result_free(given);
}

void story_outputs(unsay_model *model) {
    unsay_sequence inputs[3] = {unsay_text("summarize: a library"), unsay_text("files"),
        unsay_text("summarize: a rather longer text about a package for reading files")};
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    HOLD(options.max_new_tokens == 128 && options.num_beams == 1);
    options.max_new_tokens = 8;

    unsay_result *batch = NULL, *alone = NULL, *scored = NULL;
    OK(unsay_generate(model, inputs, 3, &options, &batch));
    OK(unsay_generate(model, &inputs[1], 1, &options, &alone));
    HOLD(unsay_result_count(batch, 2) == 1 && unsay_result_count(batch, 3) == 0);
    unsay_hypothesis one = {.struct_size = sizeof one}, same = {.struct_size = sizeof same};
    OK(unsay_result_get(batch, 1, 0, &one));
    OK(unsay_result_get(alone, 0, 0, &same));
    HOLD(one.id_count > 0 && one.id_count <= 8 && one.id_count == same.id_count);
    HOLD(memcmp(one.ids, same.ids, one.id_count * sizeof *one.ids) == 0);
    HOLD(memcmp(one.log_probabilities, same.log_probabilities, 4 * one.id_count) == 0);
    HOLD(strlen(one.text) == one.text_size);
    EXPECT(UNSAY_E_ARGUMENT, unsay_result_get(batch, 0, 1, &one));
    EXPECT(UNSAY_E_ARGUMENT, unsay_result_get(batch, 3, 0, &one));

    unsay_sequence output = unsay_ids(same.ids, same.id_count);
    OK(unsay_score(model, &inputs[1], &output, 1, &scored));
    unsay_hypothesis given = {.struct_size = sizeof given};
    OK(unsay_result_get(scored, 0, 0, &given));
    HOLD(given.finish == UNSAY_FINISH_GIVEN && given.id_count == same.id_count);
    HOLD(fabsf(given.log_probabilities[0] - same.log_probabilities[0]) < 1e-4f);

    options.log_probs = 0;
    unsay_result *plain = NULL;
    OK(unsay_generate(model, inputs, 1, &options, &plain));
    unsay_hypothesis told = {.struct_size = sizeof told};
    OK(unsay_result_get(plain, 0, 0, &told));
    HOLD(told.log_probabilities == NULL && isnan(told.score) && told.id_count > 0);
    unsay_result_free(plain);
    options.log_probs = 2;
    unsay_result *none = NULL;
    EXPECT(UNSAY_E_ARGUMENT, unsay_generate(model, inputs, 1, &options, &none));
    options.log_probs = 1;

    options.max_new_tokens = 0;
    EXPECT(UNSAY_E_ARGUMENT, unsay_generate(model, inputs, 1, &options, &none));
    EXPECT(UNSAY_E_ARGUMENT, unsay_generate(model, NULL, 1, NULL, &none));
    int32_t beyond = INT32_MAX;
    unsay_sequence wrong = unsay_ids(&beyond, 1);
    EXPECT(UNSAY_E_ARGUMENT, unsay_generate(model, &wrong, 1, NULL, &none));
    HOLD(none == NULL);
    struct {
        unsay_generate_options known;
        uint64_t newer;
    } future;
    memset(&future, 0, sizeof future);
    unsay_generate_options_init(&future.known, sizeof future.known);
    future.known.struct_size = sizeof future;
    future.newer = 1;
    EXPECT(UNSAY_E_UNSUPPORTED, unsay_generate(model, inputs, 1, &future.known, &none));

    unsay_result_free(scored);
    unsay_result_free(alone);
    unsay_result_free(batch);
    story_defaults(model);
    story_numbers(model);
}
