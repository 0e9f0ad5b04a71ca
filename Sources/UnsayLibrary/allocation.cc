// The allocations of everything that is linked into libunsay.so, the Swift runtime above
// all: its calls of malloc and its kin end up here (--wrap, see Package.swift).
//
// The runtime ends the process where one fails. So a failure gives the reserve of support.h
// back to the system and tries once more. What is larger than the reserve fails at once:
// whoever asks for so much looks at the answer.
#include "support.h"
#include <cstddef>
#include <new>

extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__real__Znwm(size_t size);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap__Znwm(size_t size);
}

namespace {
bool is_small(size_t size) { return size <= SUPPORT_RESERVE_BYTES; }
} // namespace

// Before the first call, while there is memory.
__attribute__((constructor)) static void keep_reserve() { support_reserve_keep(); }

void *__wrap_malloc(size_t size) {
    void *memory = __real_malloc(size);
    if (memory || !is_small(size)) return memory;
    support_reserve_release();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    void *memory = __real_calloc(count, size);
    if (memory || (count > 0 && size > SUPPORT_RESERVE_BYTES / count)) return memory;
    support_reserve_release();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    void *moved = __real_realloc(memory, size);
    if (moved || size == 0 || !is_small(size)) return moved;
    support_reserve_release();
    return __real_realloc(memory, size);
}

// The runtime's alignments are small ones; with larger ones the library's own code asks,
// which answers UNSAY_E_MEMORY.
int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    int failure = __real_posix_memalign(out, alignment, size);
    if (failure == 0 || alignment >= 64 || !is_small(size)) return failure;
    support_reserve_release();
    return __real_posix_memalign(out, alignment, size);
}

// operator new. Throws where there is no memory after all.
void *__wrap__Znwm(size_t size) {
    if (void *memory = ::operator new(size, std::nothrow)) return memory;
    if (is_small(size)) support_reserve_release();
    return __real__Znwm(size);
}
