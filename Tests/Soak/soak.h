/* The parts of the soak: snapshots whose outputs are known, and who stands when. */
#ifndef SOAK_H
#define SOAK_H

#include <stdatomic.h>
#include <stdint.h>
#include <unsay.h>

enum { INPUTS = 12, BATCH = 3, STYLES = 4, PATCHES = 4, SNAPSHOTS = PATCHES + 1, IDS = 24 };

/* One output, to the bit. */
typedef struct output {
    size_t count;
    int32_t ids[IDS];
    float log_probabilities[IDS];
} output;

/* The weights as opened, or after one of the patches. */
typedef struct snapshot {
    uint8_t fingerprint[32];
    output outputs[STYLES][INPUTS];
} snapshot;

extern snapshot snapshots[SNAPSHOTS];
extern const char *const inputs[INPUTS];

/* Ends the program with a sentence. */
void soak_fail(const char *sentence, const char *detail);

/* Ends it unless `status` is UNSAY_OK. */
void soak_check(unsay_status status, const char *call);
#define CHECK(call) soak_check((call), #call)

/* Writes the outputs of `count` inputs, as one batch. Styles: 0 greedy, 1 with beams, 2
 * drawn, 3 greedy with ids guessed from the input. */
void write_outputs(
    const unsay_model *model, int style, const int *which, int count, output *out);

/* A session that has taken the steps of patch `number`, 1 to PATCHES: the same weights
 * every time. The caller closes it. */
unsay_session *train(unsay_model *model, int number);

/* Fills `snapshots` from clones of `model`. */
void learn_snapshots(const unsay_model *model);

/* Whether `found` are snapshot `number`'s outputs for these inputs, to the bit. */
int is_of(int number, int style, const int *which, int count, const output *found);

#endif
