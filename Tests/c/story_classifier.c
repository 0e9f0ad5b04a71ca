/* A classifier: trained on marked texts, asked, kept in a file, bound to its encoder. */
#include "story.h"
#include <math.h>
#include <stdlib.h>

enum { LIMIT = 256 };

typedef struct progress {
    size_t calls, last, total, stop_after;
} progress;

static unsay_action on_progress(void *context, size_t done, size_t total) {
    progress *p = context;
    HOLD(done > p->last && done <= total);
    *p = (progress){p->calls + 1, done, total, p->stop_after};
    return p->calls == p->stop_after ? UNSAY_STOP : UNSAY_CONTINUE;
}

/* Ten texts; "file" is marked wherever it stands. */
static size_t marked_texts(unsay_marked_text *texts) {
    static const unsay_span first = {0, 4}, later = {8, 12};
    memset(texts, 0, 10 * sizeof *texts);
    for (size_t i = 0; i < 10; i++) {
        int is_first = i % 3 == 0, has_none = i % 3 == 1;
        texts[i].text = unsay_text(is_first   ? "file of a package"
                                   : has_none ? "a small library"
                                              : "a small file");
        texts[i].spans = is_first ? &first : &later;
        texts[i].span_count = has_none ? 0 : 1;
    }
    texts[9].text = unsay_text(" "); /* nothing to learn from, and no harm */
    texts[9].span_count = 0;
    return 10;
}

static void story_training(unsay_model *model, unsay_classifier **out) {
    unsay_marked_text texts[10];
    size_t count = marked_texts(texts);
    unsay_classifier_options options;
    unsay_classifier_options_init(&options, sizeof options);
    HOLD(options.passes == 40 && options.batch_size == 512 && options.max_ids == 512);
    HOLD(options.learning_rate == 0.02f && options.weight_decay == 1e-3f);
    HOLD(options.seed == 0 && options.on_progress == NULL);

    progress p = {0, 0, 0, 0};
    options.on_progress = on_progress;
    options.context = &p;
    OK(unsay_classifier_train(model, texts, count, &options, out));
    /* Nine texts and forty passes. */
    HOLD(p.calls == 41 && p.last == 49 && p.total == 49);

    unsay_classifier *none = NULL;
    p = (progress){0, 0, 0, 3};
    EXPECT(UNSAY_E_CANCELLED, unsay_classifier_train(model, texts, count, &options, &none));
    HOLD(p.calls == 3);
    EXPECT(UNSAY_E_ARGUMENT, unsay_classifier_train(model, texts, 0, NULL, &none));
    EXPECT(UNSAY_E_ARGUMENT, unsay_classifier_train(model, texts + 1, 1, NULL, &none));
    EXPECT(UNSAY_E_ARGUMENT, unsay_classifier_train(model, NULL, 1, NULL, &none));
    EXPECT(UNSAY_E_ARGUMENT, unsay_classifier_train(NULL, texts, count, NULL, &none));
    unsay_span outside = {0, 99};
    texts[2].spans = &outside;
    EXPECT(UNSAY_E_ARGUMENT, unsay_classifier_train(model, texts, count, NULL, &none));
    HOLD(strstr(unsay_last_error(), "texts[2].spans[0]") != NULL);
    options.passes = 0;
    EXPECT(UNSAY_E_ARGUMENT, unsay_classifier_train(model, texts, 1, &options, &none));
    HOLD(none == NULL);
}

static void story_answers(unsay_model *model, const unsay_classifier *classifier) {
    const char *words = "a small file";
    unsay_sequence text = unsay_text(words);
    float p[LIMIT], again[LIMIT];
    int32_t ids[LIMIT];
    unsay_span spans[LIMIT];
    size_t count = 0, need = 0;
    OK(unsay_encode(model, words, SIZE_MAX, ids, NULL, LIMIT, &count));
    EXPECT(UNSAY_E_BUFFER,
        unsay_classifier_probabilities(classifier, &text, p, count - 1, &need));
    HOLD(need == count);
    OK(unsay_classifier_probabilities(classifier, &text, p, LIMIT, &need));
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        HOLD(p[i] > 0 && p[i] < 1);
        if (p[i] > most) most = p[i];
    }
    unsay_sequence same = unsay_ids(ids, count);
    OK(unsay_classifier_probabilities(classifier, &same, again, LIMIT, &need));
    HOLD(memcmp(p, again, count * sizeof *p) == 0);

    OK(unsay_classifier_spans(classifier, &text, most, spans, LIMIT, &need));
    HOLD(need == 1 && spans[0].begin == 8 && spans[0].end == 12);
    OK(unsay_classifier_spans(classifier, &same, most, spans, LIMIT, &need));
    HOLD(need == 1 && spans[0].begin == 8 && spans[0].end == 12);
    OK(unsay_classifier_spans(classifier, &text, 0, spans, 1, &need));
    HOLD(need == 1 && spans[0].begin == 0 && spans[0].end == 12);
    OK(unsay_classifier_spans(classifier, &text, 1, NULL, 0, &need));
    HOLD(need == 0);
    EXPECT(UNSAY_E_BUFFER, unsay_classifier_spans(classifier, &text, 0, NULL, 0, &need));
    EXPECT(UNSAY_E_ARGUMENT,
        unsay_classifier_spans(classifier, &text, 1.5f, spans, LIMIT, &need));
    EXPECT(UNSAY_E_ARGUMENT,
        unsay_classifier_spans(classifier, &text, NAN, spans, LIMIT, &need));

    /* What it finds is what a marker marks. */
    int8_t marks[LIMIT];
    OK(unsay_classifier_spans(classifier, &text, most, spans, LIMIT, &need));
    OK(unsay_mark_spans(model, &text, spans, need, UNSAY_EXTENT_ALL, marks, LIMIT, &count));
    for (size_t i = 0; i < count; i++)
        HOLD((marks[i] == UNSAY_MARK_AVOID) == (p[i] >= most));
}

void story_classifier(const char *folder, unsay_model *model, const char *scratch) {
    unsay_classifier *classifier = NULL, *read = NULL;
    story_training(model, &classifier);
    story_answers(model, classifier);

    unsay_classifier_info info = {.struct_size = sizeof info};
    unsay_model_info of_model = {.struct_size = sizeof of_model};
    OK(unsay_classifier_get_info(classifier, &info));
    OK(unsay_model_get_info(model, &of_model));
    HOLD(info.d_model == of_model.d_model && isfinite(info.loss) && info.loss < 0.5);
    HOLD(info.marked_count > 0 && info.marked_count < info.token_count);

    char path[4096];
    snprintf(path, sizeof path, "%s/head.classifier", scratch);
    OK(unsay_classifier_save(classifier, path));
    OK(unsay_classifier_open(model, path, &read));
    unsay_classifier_info other = {.struct_size = sizeof other};
    OK(unsay_classifier_get_info(read, &other));
    HOLD(memcmp(&info, &other, sizeof info) == 0);
    unsay_classifier_close(read);
    read = NULL;
    EXPECT(UNSAY_E_NOT_FOUND, unsay_classifier_open(model, "/nowhere/at/all", &read));
    EXPECT(UNSAY_E_NOT_FOUND, unsay_classifier_save(classifier, "/nowhere/at/all"));
    char config[4096];
    snprintf(config, sizeof config, "%s/config.json", folder);
    EXPECT(UNSAY_E_FORMAT, unsay_classifier_open(model, config, &read));
    HOLD(read == NULL && strstr(unsay_last_error(), "config.json") != NULL);

    /* It keeps the encoder it was made with: its model may go. */
    unsay_model *twin = NULL;
    OK(unsay_model_clone(model, &twin));
    OK(unsay_classifier_open(twin, path, &read));
    unsay_model_close(twin);
    story_answers(model, read);
    unsay_classifier_close(read);
    unsay_classifier_close(classifier);
    unsay_classifier_close(NULL);
}
