/*
 * dropout.inc.h - which values stay is a hash of a key and of where they stand.
 *
 * Two rounds of multiply and shift on 32 bits, with the constants of Wellons' search for
 * hashes of low bias (2018), one key word mixed in before each. Nothing is remembered from
 * one value to the next, so a value's fate depends on neither threads nor batches.
 */

INLINE uint32_t dropout_hash(uint64_t key, uint32_t index) {
    uint32_t h = index * 0x9e3779b1u ^ (uint32_t)key;
    h ^= h >> 16;
    h *= 0x21f0aaadu;
    h ^= h >> 15;
    h *= 0xd35a2d97u;
    h ^= h >> 15;
    h += (uint32_t)(key >> 32);
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    return h ^ h >> 16;
}

/* factors[j]: 0, or `factor` where element first + j stays. */
static void dropout_factors(
    const kernel_dropout *dropout, uint64_t first, size_t count, float *factors) {
    for (size_t j = 0; j < count; j++) {
        uint32_t h = dropout_hash(dropout->key, (uint32_t)first + (uint32_t)j);
        factors[j] = h >= dropout->threshold ? dropout->factor : 0;
    }
}

static void drop(const kernel_dropout *dropout, uint64_t first, size_t count, float *x) {
    for (size_t j = 0; j < count; j++) {
        uint32_t h = dropout_hash(dropout->key, (uint32_t)first + (uint32_t)j);
        x[j] *= h >= dropout->threshold ? dropout->factor : 0;
    }
}
