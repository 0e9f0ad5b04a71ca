/*
 * kernels_split.h - the AVX-512 geometry on AVX2 instructions, so that its tiles are tested
 * on processors without AVX-512.
 */
#ifndef UNSAY_KERNELS_SPLIT_H
#define UNSAY_KERNELS_SPLIT_H

/* Uses it from now on, until kernel_level_select; 0 if this processor lacks AVX2. */
int kernels_split_use(void);

#endif
