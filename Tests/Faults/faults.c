/* A shim for LD_PRELOAD: the n-th change to the file system fails, is cut short, or is the
 * last thing that the process does. Nothing happens before faults_arm. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FAULT_NONE, FAULT_ERROR, FAULT_KILL, FAULT_SHORT, FAULT_NO_EXCHANGE };

static atomic_int kind, left, seen;

/* Of the calls that follow, the one with this number, from 1, has the fault. */
void faults_arm(int fault, int number) {
    left = number;
    seen = 0;
    kind = fault;
}

/* Ends it; the number of calls since. */
int faults_disarm(void) {
    kind = FAULT_NONE;
    return seen;
}

/* The fault of this call. */
static int fault(void) {
    if (kind == FAULT_NONE || kind == FAULT_NO_EXCHANGE) return FAULT_NONE;
    seen++;
    if (--left != 0) return FAULT_NONE;
    if (kind == FAULT_KILL) kill(getpid(), SIGKILL);
    return kind;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define FAIL_IF_DUE(error)                                                               \
    if (fault() != FAULT_NONE) {                                                         \
        errno = (error);                                                                 \
        return -1;                                                                       \
    }

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    switch (fault()) {
    case FAULT_ERROR:
        errno = ENOSPC;
        return -1;
    case FAULT_SHORT:
        count = count > 1 ? count / 2 : count;
        break;
    }
    return REAL(pwrite)(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    return pwrite(file, bytes, count, offset);
}

ssize_t write(int file, const void *bytes, size_t count) {
    FAIL_IF_DUE(ENOSPC)
    return REAL(write)(file, bytes, count);
}

int fsync(int file) {
    FAIL_IF_DUE(EIO)
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    FAIL_IF_DUE(EIO)
    return REAL(fdatasync)(file);
}

int mkdirat(int folder, const char *name, mode_t mode) {
    FAIL_IF_DUE(ENOSPC)
    return REAL(mkdirat)(folder, name, mode);
}

int linkat(int from, const char *name, int to, const char *link, int flags) {
    FAIL_IF_DUE(EPERM)
    return REAL(linkat)(from, name, to, link, flags);
}

int unlinkat(int folder, const char *name, int flags) {
    FAIL_IF_DUE(EACCES)
    return REAL(unlinkat)(folder, name, flags);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    if (kind == FAULT_NO_EXCHANGE && (flags & RENAME_EXCHANGE)) {
        errno = EINVAL;
        return -1;
    }
    FAIL_IF_DUE(EIO)
    return REAL(renameat2)(from, old, to, new, flags);
}

int openat(int folder, const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (flags & O_CREAT) { FAIL_IF_DUE(EMFILE) }
    return REAL(openat)(folder, name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return openat(folder, name, flags, mode);
}
