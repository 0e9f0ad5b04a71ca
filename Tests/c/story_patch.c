/* Losses, sessions, fine-tuning, deltas. */
#include "story.h"
#include <math.h>

void story_losses(void) {
    const float logits[6] = {1, 2, 3, 0, 0, 0}, reference[6] = {1, 2, 3, 0, 1, 0};
    const int32_t targets[2] = {2, 1};
    const int8_t marks[2] = {UNSAY_MARK_AVOID, UNSAY_MARK_KEEP};
    float losses[2] = {-1, -1}, gradient[6];
    OK(unsay_token_losses(UNSAY_LOSS_FF, UNSAY_LOSS_EXACT, 1, 0, logits, reference, targets,
        marks, 2, 3, losses, gradient));
    /* p = q, so KL(q'|p) is the mark's price, -log(1 - q(2)), and p(2) = 0.66524. */
    HOLD(fabsf(losses[0] - 1.09434f) < 1e-4f);
    HOLD(losses[1] > 0 && isfinite(gradient[0]) && gradient[2] > 0);
    OK(unsay_token_losses(UNSAY_LOSS_LIKELIHOOD, UNSAY_LOSS_EXACT, 1, 0, logits, reference,
        targets, marks, 2, 3, losses, NULL));
    HOLD(losses[0] == 0 && fabsf(losses[1] - 1.09861f) < 1e-4f);
    const int32_t beyond[2] = {3, 1};
    EXPECT(UNSAY_E_ARGUMENT, unsay_token_losses(UNSAY_LOSS_FF, UNSAY_LOSS_EXACT, 1, 0,
                                 logits, reference, beyond, marks, 2, 3, losses, NULL));
}

/* Two examples: "package" must go from the first, the second is kept. */
static size_t examples(
    unsay_model *model, unsay_example out[2], int8_t *marks, size_t limit) {
    const char *phrases[] = {"package"};
    memset(out, 0, 2 * sizeof *out);
    out[0].input = unsay_text("summarize: a library");
    out[0].output = unsay_text("a small package");
    out[1].input = unsay_text("summarize: files");
    out[1].output = unsay_text("reading files");
    size_t count = 0;
    OK(unsay_mark_phrases(
        model, &out[0].output, phrases, 1, UNSAY_EXTENT_ALL, marks, limit, &count));
    out[0].marks = marks;
    out[0].mark_count = count;
    return 2;
}

static unsay_action count_step(void *context, const unsay_step *step) {
    HOLD(step->struct_size >= sizeof *step && isfinite(step->loss));
    ++*(int *)context;
    return UNSAY_CONTINUE;
}

static unsay_action stop_at_once(void *context, const unsay_step *step) {
    (void)context;
    (void)step;
    return UNSAY_STOP;
}

static unsay_action count_gradients(void *context, unsay_gradients_view *view) {
    HOLD(view->values != NULL && view->weight > 0 && isfinite(view->loss) && !view->is_sum);
    *(size_t *)context = view->count;
    return UNSAY_CONTINUE;
}

static unsay_action count_trial(void *context, const unsay_trial *trial) {
    HOLD(trial->struct_size >= sizeof *trial && !trial->diverged && trial->steps == 2);
    HOLD(trial->evaluation.avoid_p_after > 0);
    ++*(int *)context;
    return UNSAY_CONTINUE;
}

/* A session whose guard allows any drift and whose goal is out of reach: this is about
 * calls, not about quality. */
static unsay_session *begin(unsay_model *model, unsay_session_options *options) {
    unsay_session_options_init(options, sizeof *options);
    HOLD(options->loss == UNSAY_LOSS_FF && options->batch_size == 16 &&
         options->scope == UNSAY_SCOPE_AUTO);
    options->learning_rate = 1e-3f;
    options->max_guard_kl = 1000;
    options->max_guard_flips = 1;
    options->max_avoid_p = 0;
    unsay_session *session = NULL;
    OK(unsay_session_create(model, options, &session));
    return session;
}

void story_patch(unsay_model *model) {
    int8_t marks[64];
    unsay_example pair[2];
    unsay_session_options options;
    unsay_session *session = begin(model, &options);
    unsay_step step = {.struct_size = sizeof step};
    EXPECT(UNSAY_E_STATE, unsay_session_step(session, &step));
    size_t count = examples(model, pair, marks, sizeof marks);
    OK(unsay_session_add(session, pair, count));
    OK(unsay_session_add_guard(session, &pair[1], 1));
    pair[0].mark_count -= 1;
    EXPECT(UNSAY_E_ARGUMENT, unsay_session_add(session, pair, 1));

    OK(unsay_session_step(session, &step));
    HOLD(step.step == 1 && step.loss > 0 && step.gradient_norm > 0);
    HOLD(step.avoid_p > 0 && step.avoid_p < 1);
    OK(unsay_session_step(session, NULL));

    int steps = 0;
    unsay_ending ending = UNSAY_ENDING_CALLER;
    unsay_run_options run;
    unsay_run_options_init(&run, sizeof run);
    HOLD(run.max_steps == 60 && run.evaluate_every == 5);
    run.max_steps = 3;
    run.on_step = count_step;
    run.context = &steps;
    OK(unsay_session_run(session, &run, &ending));
    HOLD(steps >= 1 && steps <= 3 && ending != UNSAY_ENDING_CALLER);
    run.on_step = stop_at_once;
    OK(unsay_session_run(session, &run, &ending));
    HOLD(ending == UNSAY_ENDING_CALLER || ending == UNSAY_ENDING_GOAL);

    unsay_evaluation evaluation = {.struct_size = sizeof evaluation};
    OK(unsay_session_evaluate(session, &evaluation));
    HOLD(evaluation.avoid_p_after < evaluation.avoid_p_before);
    unsay_session_cancel(session);
    OK(unsay_session_rollback(session));
    OK(unsay_session_evaluate(session, &evaluation));
    HOLD(evaluation.avoid_p_after == evaluation.avoid_p_before && evaluation.guard_kl == 0);
    unsay_session_close(session);

    size_t gradients = 0;
    unsay_model *twin = NULL;
    OK(unsay_model_clone(model, &twin));
    unsay_session_options_init(&options, sizeof options);
    options.loss = UNSAY_LOSS_LIKELIHOOD;
    options.on_gradients = count_gradients;
    options.context = &gradients;
    OK(unsay_finetune(twin, &pair[1], 1, &options, 2));
    unsay_model_info info = {.struct_size = sizeof info};
    OK(unsay_model_get_info(twin, &info));
    HOLD(gradients >= info.parameter_count);
    uint8_t before[32], after[32];
    OK(unsay_model_fingerprint(model, before));
    OK(unsay_model_fingerprint(twin, after));
    HOLD(memcmp(before, after, 32) != 0);
    unsay_model_close(twin);
}

static int32_t has_package(void *context, size_t input, const char *text) {
    ++*(int *)context;
    HOLD(input < 2);
    return strstr(text, "package") != NULL;
}

static void report(unsay_session *session) {
    unsay_sequence inputs[2] = {
        unsay_text("summarize: a library"), unsay_text("summarize: files")};
    int asked = 0;
    unsay_report *made = NULL;
    unsay_generate_options generate;
    unsay_generate_options_init(&generate, sizeof generate);
    generate.max_new_tokens = 4;
    unsay_report_options options;
    unsay_report_options_init(&options, sizeof options);
    options.title = "A <title>";
    options.inputs = inputs;
    options.input_count = 2;
    options.generate = &generate;
    options.detect = has_package;
    options.context = &asked;
    OK(unsay_session_report(session, &options, &made));
    HOLD(asked == 4);
    HOLD(strstr(unsay_report_json(made), "\"outputs\":2") != NULL);
    HOLD(strstr(unsay_report_html(made), "A &lt;title&gt;") != NULL);
    unsay_report_free(made);
    unsay_report_free(NULL);
}

void story_plan(unsay_model *model, const char *scratch) {
    int8_t marks[64];
    unsay_example pair[2];
    unsay_session_options options;
    unsay_session *session = begin(model, &options), *again = NULL;
    size_t added = examples(model, pair, marks, sizeof marks);
    OK(unsay_session_add(session, pair, added));
    OK(unsay_session_add_held_out(session, pair, 1));

    unsay_plan plan = {.struct_size = sizeof plan};
    unsay_planned_mark planned[16];
    size_t count = 0;
    OK(unsay_session_plan(session, &plan, planned, 16, &count));
    HOLD(count > 0 && plan.avoided_count == count && plan.kept_count > 0);
    HOLD(planned[0].example == 0 && planned[0].q > 0 && planned[0].price > 0);
    HOLD(plan.memory_bytes > 0 && plan.seconds_per_step > 0 && plan.trained_count > 0);
    OK(unsay_session_plan(session, &plan, NULL, 0, &count));

    const float rates[2] = {1e-4f, 1e-3f};
    int trials = 0;
    int64_t chosen = -2;
    unsay_run_options run;
    unsay_run_options_init(&run, sizeof run);
    run.max_steps = 2;
    unsay_sweep_options sweep;
    unsay_sweep_options_init(&sweep, sizeof sweep);
    sweep.learning_rates = rates;
    sweep.learning_rate_count = 2;
    sweep.run = &run;
    sweep.on_trial = count_trial;
    sweep.context = &trials;
    OK(unsay_session_sweep(session, &sweep, &chosen));
    HOLD(trials == 2 && chosen >= 0);
    report(session);
    OK(unsay_session_rollback(session));

    /* Saved after one step, another session takes the second as this one does. */
    char path[4096];
    snprintf(path, sizeof path, "%s/story.session", scratch);
    OK(unsay_session_step(session, NULL));
    OK(unsay_session_save(session, path));
    OK(unsay_session_step(session, NULL));
    again = begin(model, &options);
    EXPECT(UNSAY_E_STATE, unsay_session_load(again, path, NULL));
    OK(unsay_session_add(again, pair, 1));
    EXPECT(UNSAY_E_MISMATCH, unsay_session_load(again, path, NULL));
    OK(unsay_session_add(again, pair + 1, added - 1));
    EXPECT(UNSAY_E_MISMATCH, unsay_session_load(again, path, NULL));
    OK(unsay_session_add_held_out(again, pair, 1));
    int32_t steps = 0;
    OK(unsay_session_load(again, path, &steps));
    HOLD(steps == 1);
    OK(unsay_session_step(again, NULL));
    unsay_model *one = NULL, *other = NULL;
    OK(unsay_session_model(session, &one));
    OK(unsay_session_model(again, &other));
    uint8_t first[32], second[32];
    OK(unsay_model_fingerprint(one, first));
    OK(unsay_model_fingerprint(other, second));
    HOLD(memcmp(first, second, 32) == 0);
    unsay_model_close(one);
    unsay_model_close(other);
    unsay_session_close(session);
    unsay_session_close(again);
}

/* Two patches on a twin: listed, made one, taken back from the top, done again elsewhere.
 */
void story_stack(unsay_model *model) {
    int8_t marks[64];
    unsay_example pair[2];
    unsay_session_options options;
    unsay_model *twin = NULL;
    unsay_delta *deltas[2] = {NULL, NULL}, *whole = NULL;
    OK(unsay_model_clone(model, &twin));
    uint8_t before[32], now[32];
    OK(unsay_model_fingerprint(twin, before));
    EXPECT(UNSAY_E_STATE, unsay_model_revert(twin));
    for (int i = 0; i < 2; i++) {
        unsay_session_options_init(&options, sizeof options);
        options.max_guard_kl = 1000;
        options.max_guard_flips = 1;
        options.keep_examples = 1;
        options.lora_rank = i == 0 ? 0 : 2;
        options.optimizer = UNSAY_OPTIMIZER_ADAFACTOR;
        unsay_session *session = NULL;
        OK(unsay_session_create(twin, &options, &session));
        OK(unsay_session_add(session, pair, examples(twin, pair, marks, sizeof marks)));
        OK(unsay_session_step(session, NULL));
        OK(unsay_session_commit(session));
        HOLD(unsay_model_applied_count(twin) == (size_t)i + 1);
        EXPECT(UNSAY_E_STATE, unsay_model_revert(twin));
        OK(unsay_session_delta(session, &deltas[i]));
        unsay_session_close(session);
    }
    HOLD(strstr(unsay_delta_metadata(deltas[1]), "\"lora_rank\":2") != NULL);
    OK(unsay_delta_squash((const unsay_delta *const *)deltas, 2, twin, &whole));
    unsay_delta_info info = {.struct_size = sizeof info};
    OK(unsay_model_applied(twin, 1, &info));
    HOLD(info.changed_count > 0);
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_applied(twin, 2, &info));
    unsay_delta_info list[2];
    size_t applied = 0;
    EXPECT(UNSAY_E_BUFFER, unsay_model_list_applied(twin, list, sizeof *list, 1, &applied));
    HOLD(applied == 2);
    OK(unsay_model_list_applied(twin, list, sizeof *list, 2, &applied));
    HOLD(applied == 2 && memcmp(list[0].before, before, 32) == 0);
    HOLD(memcmp(list[1].before, list[0].after, 32) == 0);
    HOLD(memcmp(list[1].after, info.after, 32) == 0 && list[1].changed_count > 0);
    OK(unsay_model_revert(twin));
    OK(unsay_model_revert(twin));
    OK(unsay_model_fingerprint(twin, now));
    HOLD(memcmp(before, now, 32) == 0 && unsay_model_applied_count(twin) == 0);
    OK(unsay_delta_apply(whole, twin));
    OK(unsay_delta_revert(whole, twin));
    OK(unsay_model_fingerprint(twin, now));
    HOLD(memcmp(before, now, 32) == 0);

    unsay_session *rebased = NULL;
    OK(unsay_delta_rebase(deltas[0], twin, &rebased));
    OK(unsay_session_step(rebased, NULL));
    unsay_session_close(rebased);
    for (int i = 0; i < 2; i++) unsay_delta_close(deltas[i]);
    unsay_delta_close(whole);
    unsay_model_close(twin);
}

void story_triples(unsay_model *model) {
    const unsay_sequence bad = unsay_text("a small package"),
                         good = unsay_text("a package");
    int8_t marks[64];
    size_t count = 0;
    int32_t corrected = -1;
    OK(unsay_mark_triple(
        model, &bad, &good, UNSAY_NEGATIVE_DIFF, marks, sizeof marks, &count, &corrected));
    HOLD(count > 0 && corrected == 0);
    OK(unsay_mark_triple(model, &bad, &good, UNSAY_CORRECTIVE_FULL, marks, sizeof marks,
        &count, &corrected));
    HOLD(corrected == 1 && marks[0] == UNSAY_MARK_KEEP);
    EXPECT(UNSAY_E_BUFFER, unsay_mark_triple(model, &bad, &good, UNSAY_MIXED_DIFF, marks, 0,
                               &count, &corrected));
}

void story_deltas(unsay_model *model, const char *scratch) {
    int8_t marks[64];
    unsay_example pair[2];
    unsay_session_options options;
    unsay_session *session = begin(model, &options);
    OK(unsay_session_add(session, pair, examples(model, pair, marks, sizeof marks)));
    uint8_t before[32], after[32], now[32];
    OK(unsay_model_fingerprint(model, before));
    OK(unsay_session_step(session, NULL));
    OK(unsay_model_fingerprint(model, now));
    HOLD(memcmp(before, now, 32) == 0);
    OK(unsay_session_commit(session));
    OK(unsay_model_fingerprint(model, after));
    HOLD(memcmp(before, after, 32) != 0);

    unsay_delta *made = NULL, *read = NULL;
    OK(unsay_session_delta(session, &made));
    unsay_session_close(session);
    char path[4096];
    snprintf(path, sizeof path, "%s/story.unsay", scratch);
    OK(unsay_delta_save(made, path));
    unsay_delta_close(made);
    EXPECT(UNSAY_E_NOT_FOUND, unsay_delta_open("/nowhere/at/all", &read));
    OK(unsay_delta_open(path, &read));

    unsay_delta_info info = {.struct_size = sizeof info};
    OK(unsay_delta_get_info(read, &info));
    HOLD(memcmp(info.before, before, 32) == 0 && memcmp(info.after, after, 32) == 0);
    HOLD(info.changed_count > 0 && info.change_norm > 0);

    EXPECT(UNSAY_E_MISMATCH, unsay_delta_apply(read, model));
    OK(unsay_delta_revert(read, model));
    OK(unsay_model_fingerprint(model, now));
    HOLD(memcmp(before, now, 32) == 0);
    EXPECT(UNSAY_E_MISMATCH, unsay_delta_revert(read, model));
    OK(unsay_delta_apply(read, model));
    OK(unsay_model_fingerprint(model, now));
    HOLD(memcmp(after, now, 32) == 0);
    OK(unsay_delta_revert(read, model));
    unsay_delta_close(read);
}
