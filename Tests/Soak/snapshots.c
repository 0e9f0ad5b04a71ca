/* The snapshots that the model is moved between, and what each of them writes. */
#include "soak.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

snapshot snapshots[SNAPSHOTS];

const char *const inputs[INPUTS] = {
    "summarize: a small library for reading files",
    "summarize: a terminal",
    "summarize: this package contains the documentation",
    "summarize: tools for working with images, fonts and text",
    "summarize: x",
    "summarize: a server that answers many short questions at once",
    "translate: good day",
    "summarize: library of functions for arithmetic on large numbers",
    "summarize: a graphical editor for diagrams and charts, with plug-ins",
    "summarize: debugging symbols",
    "summarize: a daemon",
    "summarize: bindings of a widget set for a scripting language",
};

void soak_fail(const char *sentence, const char *detail) {
    fflush(stdout);
    fprintf(stderr, "soak: %s%s%s\n", sentence, *detail ? ": " : "", detail);
    _Exit(1);
}

void soak_check(unsay_status status, const char *call) {
    if (status == UNSAY_OK) return;
    fprintf(stderr, "%s answered %s\n", call, unsay_status_name(status));
    soak_fail(call, unsay_last_error());
}

static unsay_generate_options options_of(int style) {
    unsay_generate_options options;
    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = IDS;
    switch (style) {
    case 1:
        options.num_beams = 3;
        break;
    case 2:
        options.do_sample = 1;
        options.seed = 7;
        break;
    case 3:
        options.prompt_lookup_num_tokens = 4;
        break;
    }
    return options;
}

void write_outputs(
    const unsay_model *model, int style, const int *which, int count, output *out) {
    unsay_sequence given[INPUTS];
    for (int i = 0; i < count; i++) given[i] = unsay_text(inputs[which[i]]);
    unsay_generate_options options = options_of(style);
    unsay_result *result = NULL;
    CHECK(unsay_generate(model, given, (size_t)count, &options, &result));
    for (int i = 0; i < count; i++) {
        unsay_hypothesis best = {.struct_size = sizeof best};
        CHECK(unsay_result_get(result, (size_t)i, 0, &best));
        if (best.id_count > IDS) soak_fail("an output is longer than asked for", "");
        memset(&out[i], 0, sizeof out[i]);
        out[i].count = best.id_count;
        memcpy(out[i].ids, best.ids, best.id_count * sizeof *best.ids);
        memcpy(out[i].log_probabilities, best.log_probabilities,
            best.id_count * sizeof *best.log_probabilities);
    }
    unsay_result_free(result);
}

unsay_session *train(unsay_model *model, int number) {
    int8_t marks[64];
    size_t count = 0;
    unsay_example examples[2];
    memset(examples, 0, sizeof examples);
    const char *phrases[] = {"package"};
    examples[0].input = unsay_text(inputs[number]);
    examples[0].output = unsay_text("a small package");
    CHECK(unsay_mark_phrases(model, &examples[0].output, phrases, 1, UNSAY_EXTENT_ALL,
        marks, sizeof marks, &count));
    examples[0].marks = marks;
    examples[0].mark_count = count;
    examples[1].input = unsay_text(inputs[number + 1]);
    examples[1].output = unsay_text("reading files");

    unsay_session_options options;
    unsay_session_options_init(&options, sizeof options);
    options.seed = (uint64_t)number;
    options.learning_rate = 1e-2f;
    options.max_guard_kl = 1000;
    options.max_guard_flips = 1;
    options.scope = number % 2 ? UNSAY_SCOPE_ALL : UNSAY_SCOPE_FEED_FORWARD;
    options.optimizer = (unsay_optimizer)(number % 3);
    unsay_session *session = NULL;
    CHECK(unsay_session_create(model, &options, &session));
    CHECK(unsay_session_add(session, examples, 2));
    CHECK(unsay_session_add_guard(session, &examples[1], 1));
    for (int step = 0; step < 4; step++) CHECK(unsay_session_step(session, NULL));
    return session;
}

void learn_snapshots(const unsay_model *model) {
    int all[INPUTS];
    for (int i = 0; i < INPUTS; i++) all[i] = i;
    for (int number = 0; number < SNAPSHOTS; number++) {
        unsay_model *twin = NULL;
        CHECK(unsay_model_clone(model, &twin));
        if (number > 0) {
            unsay_session *session = train(twin, number);
            CHECK(unsay_session_commit(session));
            unsay_session_close(session);
        }
        CHECK(unsay_model_fingerprint(twin, snapshots[number].fingerprint));
        for (int style = 0; style < STYLES; style++)
            write_outputs(twin, style, all, INPUTS, snapshots[number].outputs[style]);
        unsay_model_close(twin);
    }
    /* A test that cannot tell them apart would hold whatever happens. */
    for (int a = 0; a < SNAPSHOTS; a++)
        for (int b = 0; b < a; b++)
            for (int style = 0; style < STYLES; style++)
                for (int i = 0; i < INPUTS; i++)
                    if (is_of(a, style, &i, 1, &snapshots[b].outputs[style][i]))
                        soak_fail("two snapshots write the same", inputs[i]);
}

int is_of(int number, int style, const int *which, int count, const output *found) {
    for (int i = 0; i < count; i++) {
        const output *known = &snapshots[number].outputs[style][which[i]];
        if (memcmp(known, &found[i], sizeof *known) != 0) return 0;
    }
    return 1;
}
