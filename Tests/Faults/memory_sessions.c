/* Operations of sessions and deltas, tried while allocations fail. */
#include "memory_operations.h"

/* Two examples, of which the first avoids a word, and a guard. */
static unsay_status fill_session(world *w, unsay_session *session) {
    static int8_t marks[64];
    const char *phrases[] = {"package"};
    unsay_example examples[2];
    size_t count = 0;
    unsay_status status;
    memset(examples, 0, sizeof examples);
    for (int i = 0; i < 2; i++) examples[i].input = texts()[i];
    examples[0].output = unsay_text("a small package");
    examples[1].output = unsay_text("reading files");
    TRY(unsay_mark_phrases(w->model, &examples[0].output, phrases, 1, UNSAY_EXTENT_ALL,
        marks, sizeof marks, &count));
    examples[0].marks = marks;
    examples[0].mark_count = count;
    TRY(unsay_session_add(session, examples, 2));
    TRY(unsay_session_add_held_out(session, examples, 1));
    TRY(unsay_session_add_guard(session, examples + 1, 1));
end:
    return status;
}

static unsay_session_options lenient(void) {
    unsay_session_options options;
    unsay_session_options_init(&options, sizeof options);
    options.scope = UNSAY_SCOPE_ALL;
    options.learning_rate = 1e-3f;
    options.max_guard_kl = 1000;
    options.max_guard_flips = 1;
    options.keep_examples = 1;
    return options;
}

void session_of_one_step(world *w) {
    one_thread(w);
    unsay_session_options options = lenient();
    MUST(unsay_session_create(w->model, &options, &w->session));
    MUST(fill_session(w, w->session));
    MUST(unsay_session_step(w->session, NULL));
}

/* A whole patch of a clone, from its session to its commit. */
unsay_status run_patch(world *w) {
    unsay_model *twin = NULL;
    unsay_session *session = NULL;
    unsay_run_options run;
    unsay_run_options_init(&run, sizeof run);
    run.max_steps = 2;
    run.evaluate_every = 1;
    unsay_session_options options = lenient();
    unsay_evaluation evaluation = {.struct_size = sizeof evaluation};
    unsay_status status;
    TRY(unsay_model_clone(w->model, &twin));
    TRY(unsay_session_create(twin, &options, &session));
    TRY(fill_session(w, session));
    TRY(unsay_session_step(session, NULL));
    TRY(unsay_session_run(session, &run, NULL));
    TRY(unsay_session_evaluate(session, &evaluation));
    TRY(unsay_session_commit(session));
    TRY(note_weights(w, twin));
end:
    unsay_session_close(session);
    unsay_model_close(twin);
    return status;
}

unsay_status run_tune(world *w) {
    unsay_model *twin = NULL;
    unsay_example example;
    memset(&example, 0, sizeof example);
    example.input = texts()[0];
    example.output = unsay_text("a small package");
    unsay_session_options options = lenient();
    options.optimizer = UNSAY_OPTIMIZER_ADAFACTOR;
    options.lora_rank = 2;
    options.dropout = 0.1f;
    unsay_status status;
    TRY(unsay_model_clone(w->model, &twin));
    TRY(unsay_finetune(twin, &example, 1, &options, 2));
    TRY(note_weights(w, twin));
end:
    unsay_model_close(twin);
    return status;
}

unsay_status run_plan(world *w) {
    unsay_plan plan = {.struct_size = sizeof plan};
    unsay_planned_mark marks[8];
    size_t count = 0;
    const float rates[] = {1e-4f, 1e-3f};
    unsay_run_options run;
    unsay_run_options_init(&run, sizeof run);
    run.max_steps = 1;
    unsay_sweep_options sweep;
    unsay_sweep_options_init(&sweep, sizeof sweep);
    sweep.learning_rates = rates;
    sweep.learning_rate_count = 2;
    sweep.run = &run;
    unsay_generate_options generate;
    unsay_generate_options_init(&generate, sizeof generate);
    generate.max_new_tokens = 4;
    unsay_report_options told;
    unsay_report_options_init(&told, sizeof told);
    told.inputs = texts();
    told.input_count = 2;
    told.generate = &generate;
    unsay_report *report = NULL;
    int64_t chosen = 0;
    unsay_status status;
    TRY(unsay_session_rollback(w->session));
    TRY(unsay_session_plan(w->session, &plan, marks, 8, &count));
    note(w, &plan.avoided_count, 3 * sizeof plan.avoided_count);
    TRY(unsay_session_sweep(w->session, &sweep, &chosen));
    note(w, &chosen, sizeof chosen);
    TRY(unsay_session_report(w->session, &told, &report));
end:
    unsay_report_free(report);
    return status;
}

unsay_status run_state(world *w) {
    unsay_session *again = NULL;
    unsay_model *trained = NULL;
    unsay_session_options options = lenient();
    unsay_status status;
    TRY(unsay_session_save(w->session, path_in(w, "state")));
    TRY(unsay_session_create(w->model, &options, &again));
    TRY(fill_session(w, again));
    TRY(unsay_session_load(again, path_in(w, "state"), NULL));
    TRY(unsay_session_model(again, &trained));
    TRY(note_weights(w, trained));
end:
    unsay_model_close(trained);
    unsay_session_close(again);
    return status;
}

unsay_status run_delta(world *w) {
    unsay_delta *made = NULL, *read = NULL, *whole = NULL;
    unsay_session *rebased = NULL;
    unsay_status status;
    TRY(unsay_session_delta(w->session, &made));
    TRY(unsay_delta_save(made, path_in(w, "delta.unsay")));
    TRY(unsay_delta_open(path_in(w, "delta.unsay"), &read));
    TRY(unsay_delta_squash((const unsay_delta *const *)&read, 1, w->model, &whole));
    TRY(unsay_delta_apply(whole, w->model));
    TRY(note_weights(w, w->model));
    TRY(unsay_delta_revert(read, w->model));
    TRY(note_weights(w, w->model));
    TRY(unsay_delta_rebase(read, w->model, &rebased));
end:
    unsay_session_close(rebased);
    for (int i = 0; i < 3; i++) unsay_delta_close((unsay_delta *[]){made, read, whole}[i]);
    return status;
}

/* Applied or not, and nothing between; then not, for the next attempt. */
void check_delta(world *w) {
    if (unsay_model_applied_count(w->model) > 0) MUST(unsay_model_revert(w->model));
    if (unsay_model_applied_count(w->model) > 0) memory_defect("a change too many", "");
}
