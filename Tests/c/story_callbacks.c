/* Callbacks, and threads that serve, cancel and collide. */
#include "story.h"
#include <pthread.h>

typedef struct seen {
    size_t tokens, bytes, calls, stop_after;
} seen;

static unsay_action on_token(
    void *context, size_t input, int32_t id, float log_probability, const char *text) {
    seen *s = context;
    HOLD(input < 2 && id >= 0 && log_probability <= 0);
    s->tokens++;
    s->bytes += strlen(text);
    return s->tokens == s->stop_after ? UNSAY_STOP : UNSAY_CONTINUE;
}

static unsay_action on_logits(void *context, unsay_logits_view *view) {
    seen *s = context;
    HOLD(view->rows > 0 && view->rows <= 2 && view->vocab_size > 0);
    HOLD(view->prefix_count == s->calls && view->hypothesis[0] == 0);
    for (size_t row = 0; row < view->rows; row++) {
        HOLD(view->prefix_count == 0 || view->prefix[row][0] == 7);
        view->logits[row * view->vocab_size + 7] = 1e6f;
    }
    s->calls++;
    return UNSAY_CONTINUE;
}

static void story_generation(unsay_model *model) {
    unsay_sequence inputs[2] = {unsay_text("summarize: a library"), unsay_text("files")};
    unsay_generate_options options;
    unsay_result *result = NULL;
    unsay_hypothesis best = {.struct_size = sizeof best};
    seen s = {0, 0, 0, 0};

    unsay_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 6;
    options.on_token = on_token;
    options.context = &s;
    OK(unsay_generate(model, inputs, 2, &options, &result));
    size_t tokens = 0, bytes = 0;
    for (size_t i = 0; i < 2; i++) {
        OK(unsay_result_get(result, i, 0, &best));
        tokens += best.id_count;
        bytes += best.text_size;
    }
    HOLD(s.tokens == tokens && s.bytes == bytes);
    unsay_result_free(result);

    s = (seen){0, 0, 0, 3};
    EXPECT(UNSAY_E_CANCELLED, unsay_generate(model, inputs, 2, &options, &result));
    OK(unsay_result_get(result, 0, 0, &best));
    HOLD(best.id_count == 2 && best.finish == UNSAY_FINISH_STOPPED);
    unsay_result_free(result);

    s = (seen){0, 0, 0, 0};
    options.on_token = NULL;
    options.on_logits = on_logits;
    OK(unsay_generate(model, inputs, 2, &options, &result));
    OK(unsay_result_get(result, 1, 0, &best));
    HOLD(best.id_count == 6 && best.ids[0] == 7 && best.ids[5] == 7);
    HOLD(s.calls == 6);
    unsay_result_free(result);
}

typedef struct story_thread {
    unsay_model *model;
    unsay_session *session;
    unsay_status collision;
    int steps;
} story_thread;

/* While a session runs: the model serves, the session is busy, cancel stops it. */
static void *beside(void *context) {
    story_thread *t = context;
    unsay_sequence input = unsay_text("summarize: a library");
    unsay_result *result = NULL;
    OK(unsay_generate(t->model, &input, 1, NULL, &result));
    unsay_result_free(result);
    t->collision = unsay_session_step(t->session, NULL);
    unsay_session_cancel(t->session);
    return NULL;
}

static unsay_action on_step(void *context, const unsay_step *step) {
    story_thread *t = context;
    t->steps = step->step;
    if (step->step == 1) {
        pthread_t thread;
        HOLD(pthread_create(&thread, NULL, beside, t) == 0);
        HOLD(pthread_join(thread, NULL) == 0);
    }
    return UNSAY_CONTINUE;
}

static void story_threads(unsay_model *model) {
    story_thread t = {model, NULL, UNSAY_OK, 0};
    unsay_run_options options;
    unsay_example example;
    unsay_ending ending = UNSAY_ENDING_GOAL;

    memset(&example, 0, sizeof example);
    example.input = unsay_text("summarize: a library");
    example.output = unsay_text("a small package");
    unsay_session_options session;
    unsay_session_options_init(&session, sizeof session);
    session.scope = UNSAY_SCOPE_ALL;
    OK(unsay_session_create(model, &session, &t.session));
    OK(unsay_session_add(t.session, &example, 1));
    unsay_run_options_init(&options, sizeof options);
    options.max_steps = 1000;
    options.on_step = on_step;
    options.context = &t;
    EXPECT(UNSAY_E_CANCELLED, unsay_session_run(t.session, &options, &ending));
    HOLD(t.collision == UNSAY_E_BUSY && t.steps == 1);
    HOLD(ending == UNSAY_ENDING_GOAL); /* untouched */
    unsay_session_close(t.session);
}

static void on_line(void *context, unsay_log_level level, const char *line) {
    size_t *lines = context;
    HOLD(level == UNSAY_LOG_INFO && line[0] != '\0');
    ++*lines;
}

/* A commit logs one line at INFO; one of nothing says so and logs none. */
static void story_log(unsay_model *opened) {
    unsay_model *model = NULL;
    unsay_session *session = NULL;
    unsay_example example;
    unsay_evaluation found = {.struct_size = sizeof found};
    size_t lines = 0;
    memset(&example, 0, sizeof example);
    example.input = unsay_text("summarize: a library");
    example.output = unsay_text("a small package");
    OK(unsay_model_clone(opened, &model));
    unsay_session_options options;
    unsay_session_options_init(&options, sizeof options);
    options.loss = UNSAY_LOSS_LIKELIHOOD;
    OK(unsay_session_create(model, &options, &session));
    OK(unsay_session_add(session, &example, 1));
    unsay_set_log(on_line, &lines, UNSAY_LOG_INFO);
    EXPECT(UNSAY_E_UNCHANGED, unsay_session_commit(session));
    OK(unsay_session_evaluate(session, &found));
    HOLD(lines == 0 && found.changed == 0 && found.step == 0 && found.fraction == 1);
    OK(unsay_session_step(session, NULL));
    OK(unsay_session_evaluate(session, &found));
    HOLD(found.changed == 1 && found.step == 1 && found.fraction == 1);
    OK(unsay_session_commit(session));
    HOLD(lines == 1);
    EXPECT(UNSAY_E_UNCHANGED, unsay_session_commit(session));
    unsay_set_log(on_line, &lines, UNSAY_LOG_WARNING);
    OK(unsay_session_step(session, NULL));
    OK(unsay_session_commit(session));
    unsay_set_log(NULL, NULL, UNSAY_LOG_DEBUG);
    OK(unsay_session_step(session, NULL));
    OK(unsay_session_commit(session));
    HOLD(lines == 1);
    unsay_session_close(session);
    unsay_model_close(model);
}

void story_callbacks(unsay_model *model) {
    story_log(model);
    story_generation(model);
    story_threads(model);
}
