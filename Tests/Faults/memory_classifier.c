/* The operation of classifiers, tried while allocations fail. */
#include "memory_operations.h"

static unsay_status note_classifier(world *w, const unsay_classifier *classifier) {
    enum { LIMIT = 64 };
    float p[LIMIT];
    unsay_span spans[LIMIT];
    size_t count = 0;
    unsay_status status;
    TRY(unsay_classifier_probabilities(classifier, texts(), p, LIMIT, &count));
    note(w, p, count * sizeof *p);
    TRY(unsay_classifier_spans(classifier, texts(), 0.5f, spans, LIMIT, &count));
    note(w, spans, count * sizeof *spans);
end:
    return status;
}

/* Trained, asked, saved, opened, asked again. */
unsay_status run_classifier(world *w) {
    static const unsay_span library = {19, 26};
    unsay_marked_text marked[2];
    unsay_classifier_options options;
    unsay_classifier_options_init(&options, sizeof options);
    options.passes = 3;
    unsay_classifier *made = NULL, *read = NULL;
    unsay_status status;
    memset(marked, 0, sizeof marked);
    for (int i = 0; i < 2; i++) marked[i].text = texts()[i];
    marked[0].spans = &library;
    marked[0].span_count = 1;
    TRY(unsay_classifier_train(w->model, marked, 2, &options, &made));
    TRY(note_classifier(w, made));
    TRY(unsay_classifier_save(made, path_in(w, "head.classifier")));
    TRY(unsay_classifier_open(w->model, path_in(w, "head.classifier"), &read));
    TRY(note_classifier(w, read));
end:
    unsay_classifier_close(made);
    unsay_classifier_close(read);
    return status;
}
