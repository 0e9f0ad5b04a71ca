/* What the parts of the story share: expectations that count instead of stopping. */
#ifndef STORY_H
#define STORY_H

#include <stdio.h>
#include <string.h>
#include <unsay.h>

extern int story_failures;

/* Records a failure unless `status` is `wanted` and a failure comes with a sentence. */
void story_expect(unsay_status status, unsay_status wanted, const char *call, int line);

/* Records a failure unless `held`. */
void story_hold(int held, const char *claim, int line);

#define EXPECT(wanted, call) story_expect((call), (wanted), #call, __LINE__)
#define OK(call) EXPECT(UNSAY_OK, call)
#define HOLD(claim) story_hold((claim) != 0, #claim, __LINE__)

/* The chapters; each leaves the model's weights as it found them. */
void story_models(const char *folder, const char *scratch);
void story_texts(unsay_model *model);
void story_outputs(unsay_model *model);
void story_callbacks(unsay_model *model);
void story_losses(void);
void story_patch(unsay_model *model);
void story_plan(unsay_model *model, const char *scratch);
void story_triples(unsay_model *model);
void story_stack(unsay_model *model);
void story_deltas(unsay_model *model, const char *scratch);
void story_classifier(const char *folder, unsay_model *model, const char *scratch);

#endif
