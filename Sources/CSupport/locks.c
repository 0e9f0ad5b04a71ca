/* Locks, as ThreadSanitizer is told of them. */
#include "support.h"

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define TAKEN(lock) __tsan_acquire((void *)(lock))
#define LEAVING(lock) __tsan_release((void *)(lock))
#endif
#endif
#ifndef TAKEN
#define TAKEN(lock) (void)(lock)
#define LEAVING(lock) (void)(lock)
#endif

void support_lock_taken(const void *lock) { TAKEN(lock); }

void support_lock_leaving(const void *lock) { LEAVING(lock); }
