/* Takes the address of every function of unsay.h, so that a declaration which nothing
 * implements fails to link. scripts/check_header.sh keeps the table complete. */
#include <stdio.h>
#include <unsay.h>

typedef void (*any_function)(void);

static const struct {
    const char *name;
    any_function address;
} functions[] = {
    {"unsay_version", (any_function)unsay_version},
    {"unsay_abi_version", (any_function)unsay_abi_version},
    {"unsay_build_info", (any_function)unsay_build_info},
    {"unsay_status_name", (any_function)unsay_status_name},
    {"unsay_last_error", (any_function)unsay_last_error},
    {"unsay_set_log", (any_function)unsay_set_log},
    {"unsay_open_options_init", (any_function)unsay_open_options_init},
    {"unsay_model_open", (any_function)unsay_model_open},
    {"unsay_model_save", (any_function)unsay_model_save},
    {"unsay_model_save_rounded", (any_function)unsay_model_save_rounded},
    {"unsay_model_clone", (any_function)unsay_model_clone},
    {"unsay_model_open_buffers", (any_function)unsay_model_open_buffers},
    {"unsay_model_close", (any_function)unsay_model_close},
    {"unsay_model_get_info", (any_function)unsay_model_get_info},
    {"unsay_model_fingerprint", (any_function)unsay_model_fingerprint},
    {"unsay_model_tensor", (any_function)unsay_model_tensor},
    {"unsay_model_read_tensor", (any_function)unsay_model_read_tensor},
    {"unsay_model_file", (any_function)unsay_model_file},
    {"unsay_encode", (any_function)unsay_encode},
    {"unsay_decode", (any_function)unsay_decode},
    {"unsay_token_piece", (any_function)unsay_token_piece},
    {"unsay_generate_options_init", (any_function)unsay_generate_options_init},
    {"unsay_generate", (any_function)unsay_generate},
    {"unsay_score", (any_function)unsay_score},
    {"unsay_logits", (any_function)unsay_logits},
    {"unsay_encoder_states", (any_function)unsay_encoder_states},
    {"unsay_embed", (any_function)unsay_embed},
    {"unsay_result_count", (any_function)unsay_result_count},
    {"unsay_result_get", (any_function)unsay_result_get},
    {"unsay_result_free", (any_function)unsay_result_free},
    {"unsay_model_generate_options", (any_function)unsay_model_generate_options},
    {"unsay_model_generation", (any_function)unsay_model_generation},
    {"unsay_mark_spans", (any_function)unsay_mark_spans},
    {"unsay_mark_phrases", (any_function)unsay_mark_phrases},
    {"unsay_mark_difference", (any_function)unsay_mark_difference},
    {"unsay_mark_triple", (any_function)unsay_mark_triple},
    {"unsay_token_losses", (any_function)unsay_token_losses},
    {"unsay_session_options_init", (any_function)unsay_session_options_init},
    {"unsay_session_create", (any_function)unsay_session_create},
    {"unsay_session_add", (any_function)unsay_session_add},
    {"unsay_session_add_held_out", (any_function)unsay_session_add_held_out},
    {"unsay_session_add_guard", (any_function)unsay_session_add_guard},
    {"unsay_session_plan", (any_function)unsay_session_plan},
    {"unsay_session_step", (any_function)unsay_session_step},
    {"unsay_run_options_init", (any_function)unsay_run_options_init},
    {"unsay_session_run", (any_function)unsay_session_run},
    {"unsay_session_evaluate", (any_function)unsay_session_evaluate},
    {"unsay_sweep_options_init", (any_function)unsay_sweep_options_init},
    {"unsay_session_sweep", (any_function)unsay_session_sweep},
    {"unsay_session_model", (any_function)unsay_session_model},
    {"unsay_session_save", (any_function)unsay_session_save},
    {"unsay_session_load", (any_function)unsay_session_load},
    {"unsay_report_options_init", (any_function)unsay_report_options_init},
    {"unsay_session_report", (any_function)unsay_session_report},
    {"unsay_report_json", (any_function)unsay_report_json},
    {"unsay_report_html", (any_function)unsay_report_html},
    {"unsay_report_free", (any_function)unsay_report_free},
    {"unsay_session_cancel", (any_function)unsay_session_cancel},
    {"unsay_session_commit", (any_function)unsay_session_commit},
    {"unsay_session_rollback", (any_function)unsay_session_rollback},
    {"unsay_session_close", (any_function)unsay_session_close},
    {"unsay_finetune", (any_function)unsay_finetune},
    {"unsay_session_delta", (any_function)unsay_session_delta},
    {"unsay_delta_open", (any_function)unsay_delta_open},
    {"unsay_delta_save", (any_function)unsay_delta_save},
    {"unsay_delta_get_info", (any_function)unsay_delta_get_info},
    {"unsay_delta_apply", (any_function)unsay_delta_apply},
    {"unsay_delta_revert", (any_function)unsay_delta_revert},
    {"unsay_delta_metadata", (any_function)unsay_delta_metadata},
    {"unsay_delta_squash", (any_function)unsay_delta_squash},
    {"unsay_delta_rebase", (any_function)unsay_delta_rebase},
    {"unsay_model_applied_count", (any_function)unsay_model_applied_count},
    {"unsay_model_applied", (any_function)unsay_model_applied},
    {"unsay_model_list_applied", (any_function)unsay_model_list_applied},
    {"unsay_model_revert", (any_function)unsay_model_revert},
    {"unsay_delta_close", (any_function)unsay_delta_close},
    {"unsay_classifier_options_init", (any_function)unsay_classifier_options_init},
    {"unsay_classifier_train", (any_function)unsay_classifier_train},
    {"unsay_classifier_open", (any_function)unsay_classifier_open},
    {"unsay_classifier_save", (any_function)unsay_classifier_save},
    {"unsay_classifier_get_info", (any_function)unsay_classifier_get_info},
    {"unsay_classifier_probabilities", (any_function)unsay_classifier_probabilities},
    {"unsay_classifier_spans", (any_function)unsay_classifier_spans},
    {"unsay_classifier_close", (any_function)unsay_classifier_close},
};

int main(void) {
    size_t count = sizeof functions / sizeof functions[0];
    for (size_t i = 0; i < count; i++) {
        if (functions[i].address == NULL)
            return fprintf(stderr, "%s\n", functions[i].name), 1;
    }
    if (unsay_abi_version() != UNSAY_ABI_VERSION) {
        fprintf(stderr, "the library speaks ABI %u, the header %u\n",
            (unsigned)unsay_abi_version(), (unsigned)UNSAY_ABI_VERSION);
        return 1;
    }
    printf("%zu functions, version %s\n", count, unsay_version());
    return 0;
}
