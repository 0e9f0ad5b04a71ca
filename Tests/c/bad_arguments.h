/* What make_bad_arguments.py's cases work on and answer to: see bad_arguments.c. */
#ifndef BAD_ARGUMENTS_H
#define BAD_ARGUMENTS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <unsay.h>

enum { ROOM = 1 << 16, FILES = 16 };

/* Objects, and memory on the least alignment that C allows for its type. */
typedef struct world {
    const char *folder, *scratch;
    unsay_model *model;
    unsay_session *session;
    unsay_result *result;
    unsay_report *report;
    unsay_delta *delta;
    unsay_classifier *classifier;

    /* Written by calls; whatever is there after one is closed. */
    unsay_model *made_model;
    unsay_session *made_session;
    unsay_result *made_result;
    unsay_report *made_report;
    unsay_delta *made_delta;
    unsay_classifier *made_classifier;

    char saved_path[4096], state_path[4096], delta_path[4096], classifier_path[4096];
    char *text, *long_text, *bytes, *roomy;
    const char *phrases[2];
    int32_t *ids, *given_ids, *targets;
    int8_t *marks, *given_marks;
    float *numbers;
    unsay_span *spans, *given_spans;
    unsay_planned_mark *planned;
    size_t *count;
    int64_t *chosen;
    uint8_t *digest;
    unsay_ending *ending;
    unsay_sequence sequences[2];
    unsay_example examples[2];
    unsay_marked_text marked_texts[2];
    unsay_buffer files[FILES];
    size_t file_count;

    const char *function, *what; /* the case that runs */
    const char *only;            /* what a case must contain to be run; NULL = all */
    int is_orphaned;
    long cases, refused, failures;
} world;

/* What a call said. */
typedef struct answer {
    int has_status;
    unsay_status status;
} answer;

extern const answer nothing_said;
answer answered(world *w, unsay_status status);
answer said(const char *text);

/* Whether the case is to run. */
int begin_case(world *w, const char *function, const char *what);

/* Judges it: `must_fail` where success would be wrong; `names`, separated by spaces, of
 * which a message of UNSAY_E_ARGUMENT holds one. */
void end_case(world *w, int must_fail, const char *names, answer answer);

/* A copy of a struct whose struct_size is `size`, with room for SIZE_MAX of it or less. */
void *sized(world *w, const void *good, size_t known, size_t size);

/* A copy that says it is 8 bytes longer, and sets the last of them. */
void *newer(world *w, const void *good, size_t known);

/* One id, as far as arrays of ids go. */
const int32_t *one_id(world *w, int32_t id);

/* Options of struct_size 3. */
void *bad_options(world *w);

void log_nothing(void *context, unsay_log_level level, const char *line);

/* Good structs, made anew. Callbacks end whatever could take for ever. */
unsay_open_options *good_unsay_open_options(world *w);
unsay_generate_options *good_unsay_generate_options(world *w);
unsay_session_options *good_unsay_session_options(world *w);
unsay_run_options *good_unsay_run_options(world *w);
unsay_sweep_options *good_unsay_sweep_options(world *w);
unsay_report_options *good_unsay_report_options(world *w);
unsay_model_info *good_unsay_model_info(world *w);
unsay_tensor_info *good_unsay_tensor_info(world *w);
unsay_hypothesis *good_unsay_hypothesis(world *w);
unsay_step *good_unsay_step(world *w);
unsay_evaluation *good_unsay_evaluation(world *w);
unsay_plan *good_unsay_plan(world *w);
unsay_delta_info *good_unsay_delta_info(world *w);
unsay_classifier_options *good_unsay_classifier_options(world *w);
unsay_classifier_info *good_unsay_classifier_info(world *w);

typedef struct chapter {
    const char *function;
    void (*cases)(world *);
} chapter;

extern const chapter chapters[];
extern const size_t chapter_count;

/* bad_arguments_world.c: everything is there, from scratch; or nothing. In an orphaned
 * world every object's parents are closed. */
void build_world(world *w, const char *function);
void close_world(world *w);
void end_worlds(world *w);

#endif
