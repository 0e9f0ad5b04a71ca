/* How much of this process's memory is resident. */
#ifndef RESIDENT_H
#define RESIDENT_H

#include <stdio.h>
#include <unistd.h>

/* Bytes; 0 where /proc cannot say. */
static inline size_t resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    unsigned long all = 0, resident = 0;
    int read = fscanf(file, "%lu %lu", &all, &resident);
    fclose(file);
    return read == 2 ? (size_t)resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

#endif
