/*
 * bodies.inc.h - every kernel, and the table TABLE that lists them.
 */
#include "vector.inc.h"

#include "vector_math.inc.h"

#include "products.inc.h"

#include "rows.inc.h"

#include "activations.inc.h"

#include "dropout.inc.h"

#include "attention.inc.h"

#include "attention_backward.inc.h"

#include "optimizers.inc.h"

const kernel_table TABLE = {
    .product = product,
    .packed_rows_floats = packed_rows_floats,
    .depth_blocks = depth_blocks,
    .pack_rows = pack_row_blocks,
    .quantize = quantize,
    .rms_norm = rms_norm,
    .rms_norm_again = rms_norm_again,
    .rms_norm_backward = rms_norm_backward,
    .add = add,
    .scale = scale,
    .activate = activate,
    .activate_backward = activate_backward,
    .log_sum_exp = log_sum_exp,
    .exp = exp_row,
    .argmax = argmax,
    .next_above = next_above,
    .candidates = candidates,
    .attention = attention,
    .attention_backward = attention_backward,
    .drop = drop,
    .adamw = adamw,
    .sgd = sgd,
    .adafactor_moments = adafactor_moments,
    .adafactor_update = adafactor_update,
    .square_sum = square_sum,
};
