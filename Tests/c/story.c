/* The life of a model through the C interface alone; calls every exported function.
 *
 *     story MODEL_FOLDER SCRATCH_FOLDER
 *
 * Any model with a vocabulary will do; a tiny one keeps it short under valgrind.
 * Exits with 0 if every call answered as unsay.h says. */
#include "story.h"
#include <dirent.h>
#include <stdlib.h>

int story_failures;

void story_expect(unsay_status status, unsay_status wanted, const char *call, int line) {
    if (status != wanted) {
        story_failures++;
        fprintf(stderr, "line %d: %s\n    answered %s (%s), expected %s\n", line, call,
            unsay_status_name(status), status == UNSAY_OK ? "" : unsay_last_error(),
            unsay_status_name(wanted));
    } else if (status != UNSAY_OK && strlen(unsay_last_error()) < 10) {
        story_failures++;
        fprintf(stderr, "line %d: %s\n    failed without a sentence\n", line, call);
    }
}

void story_hold(int held, const char *claim, int line) {
    if (held) return;
    story_failures++;
    fprintf(stderr, "line %d: does not hold: %s\n", line, claim);
}

static void count_line(void *context, unsay_log_level level, const char *line) {
    (void)level;
    if (line != NULL) ++*(size_t *)context;
}

static void story_library(void) {
    HOLD(unsay_abi_version() == UNSAY_ABI_VERSION);
    HOLD(strcmp(unsay_version(), "0.1.0") == 0);
    HOLD(strlen(unsay_build_info()) > 10);
    HOLD(strcmp(unsay_status_name(UNSAY_E_FORMAT), "UNSAY_E_FORMAT") == 0);
    HOLD(strcmp(unsay_status_name((unsay_status)-77), "UNSAY_E_?") == 0);
    HOLD(unsay_last_error() != NULL);
    static size_t lines;
    unsay_set_log(count_line, &lines, UNSAY_LOG_DEBUG);
    unsay_set_log(NULL, NULL, UNSAY_LOG_WARNING);

    unsay_model_close(NULL);
    unsay_result_free(NULL);
    unsay_session_close(NULL);
    unsay_session_cancel(NULL);
    unsay_delta_close(NULL);
    HOLD(unsay_result_count(NULL, 0) == 0);
}

/* Reads a file whole; the caller frees it. */
static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    rewind(file);
    void *bytes = end < 0 ? NULL : malloc((size_t)end + 1);
    *size = bytes == NULL ? 0 : fread(bytes, 1, (size_t)end, file);
    fclose(file);
    return bytes;
}

/* Opens the files of `folder` from memory. */
static unsay_model *open_from_memory(const char *folder) {
    enum { LIMIT = 32 };
    static char names[LIMIT][256];
    unsay_buffer files[LIMIT];
    size_t count = 0;
    DIR *directory = opendir(folder);
    HOLD(directory != NULL);
    if (directory == NULL) return NULL;
    for (struct dirent *entry; count < LIMIT && (entry = readdir(directory)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(names[count], sizeof names[count], "%s", entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        files[count].name = names[count];
        files[count].bytes = read_file(path, &files[count].size);
        if (files[count].bytes != NULL) count++;
    }
    closedir(directory);
    unsay_model *model = NULL;
    OK(unsay_model_open_buffers(files, count, NULL, &model));
    for (size_t i = 0; i < count; i++) free((void *)files[i].bytes);
    return model;
}

static int same_weights(const unsay_model *a, const unsay_model *b) {
    uint8_t left[32] = {0}, right[32] = {1};
    OK(unsay_model_fingerprint(a, left));
    OK(unsay_model_fingerprint(b, right));
    return memcmp(left, right, 32) == 0;
}

static void story_tensors(const unsay_model *model, uint32_t count) {
    for (uint32_t index = 0; index < count; index++) {
        unsay_tensor_info info = {.struct_size = sizeof info};
        OK(unsay_model_tensor(model, index, &info));
        HOLD(info.name != NULL && (info.rank == 1 || info.rank == 2));
        size_t size = 1;
        for (int i = 0; i < 4; i++) size *= (size_t)info.shape[i];
        float *values = malloc(size * sizeof *values);
        if (values == NULL) continue;
        if (index == 0)
            EXPECT(UNSAY_E_BUFFER, unsay_model_read_tensor(model, 0, values, size - 1));
        OK(unsay_model_read_tensor(model, index, values, size));
        HOLD(values[0] == values[0]);
        free(values);
    }
    unsay_tensor_info info = {.struct_size = sizeof info};
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_tensor(model, count, &info));
}

void story_models(const char *folder, const char *scratch) {
    unsay_model *model = NULL, *twin = NULL;
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_open(NULL, NULL, &model));
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_open(folder, NULL, NULL));
    EXPECT(UNSAY_E_NOT_FOUND, unsay_model_open("/nowhere/at/all", NULL, &model));
    HOLD(strstr(unsay_last_error(), "/nowhere/at/all") != NULL);
    HOLD(model == NULL);

    unsay_open_options options;
    unsay_open_options_init(&options, sizeof options);
    HOLD(options.struct_size == sizeof options && options.compute == UNSAY_COMPUTE_F32);
    options.threads = -1;
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_open(folder, &options, &model));
    options.struct_size = 0;
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_open(folder, &options, &model));
    unsay_open_options_init(&options, sizeof options);
    options.threads = 2;
    OK(unsay_model_open(folder, &options, &model));
    if (model == NULL) return;

    unsay_model_info info = {.struct_size = sizeof info};
    OK(unsay_model_get_info(model, &info));
    HOLD(info.vocab_size > 0 && info.d_model > 0 && info.tensor_count > 0);
    EXPECT(UNSAY_E_ARGUMENT, unsay_model_get_info(NULL, &info));
    story_tensors(model, info.tensor_count);

    OK(unsay_model_clone(model, &twin));
    HOLD(same_weights(model, twin));
    unsay_model_close(twin);

    twin = open_from_memory(folder);
    HOLD(same_weights(model, twin));
    unsay_model_close(twin);

    char saved[4096];
    snprintf(saved, sizeof saved, "%s/saved", scratch);
    OK(unsay_model_save(model, saved));
    OK(unsay_model_save_rounded(model, saved));
    twin = NULL;
    OK(unsay_model_open(saved, NULL, &twin));
    HOLD(same_weights(model, twin));
    unsay_model_close(twin);
    unsay_model_close(model);
}

int main(int count, char **arguments) {
    if (count != 3) return fprintf(stderr, "story MODEL_FOLDER SCRATCH_FOLDER\n"), 2;
    story_library();
    story_losses();
    story_models(arguments[1], arguments[2]);

    unsay_model *model = NULL;
    OK(unsay_model_open(arguments[1], NULL, &model));
    if (model != NULL) {
        story_texts(model);
        story_outputs(model);
        story_callbacks(model);
        story_patch(model);
        story_plan(model, arguments[2]);
        story_triples(model);
        story_stack(model);
        story_deltas(model, arguments[2]);
        story_classifier(arguments[1], model, arguments[2]);
    }
    unsay_model_close(model);
    printf("story: %d failures\n", story_failures);
    return story_failures == 0 ? 0 : 1;
}
