/* What the files of operations share. */
#ifndef MEMORY_OPERATIONS_H
#define MEMORY_OPERATIONS_H

#include "memory.h"
#include <string.h>

/* Goes on with the operation, or to its end with the failure. */
#define TRY(call)                                                                          \
    if ((status = (call)) != UNSAY_OK) goto end

#define MUST(call)                                                                         \
    if ((call) != UNSAY_OK) memory_defect(#call, unsay_last_error())

/* Adds what was found to the digest of the world. */
void note(world *w, const void *bytes, size_t size);
unsay_status note_weights(world *w, const unsay_model *model);

/* Two inputs. */
const unsay_sequence *texts(void);

/* Borrowed until the next call. */
const char *path_in(const world *w, const char *name);

/* Opens the model, on one thread. */
void one_thread(world *w);

/* memory_sessions.c: a session that has taken a step, and what is done with sessions. */
void session_of_one_step(world *w);
unsay_status run_patch(world *w);
unsay_status run_tune(world *w);
unsay_status run_plan(world *w);
unsay_status run_state(world *w);
unsay_status run_delta(world *w);
void check_delta(world *w);

/* memory_classifier.c */
unsay_status run_classifier(world *w);

#endif
