/* The last error, allocation and UTF-8. */
#define _POSIX_C_SOURCE 200809L /* posix_memalign */
#include "support.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local char last_error[SUPPORT_LAST_ERROR_SIZE + 1];

void support_set_last_error(const char *message, size_t size) {
    if (message == NULL) size = 0;
    if (size > SUPPORT_LAST_ERROR_SIZE) {
        size = SUPPORT_LAST_ERROR_SIZE;
        while (size > 0 && ((unsigned char)message[size] & 0xC0) == 0x80) size -= 1;
    }
    if (size > 0) memmove(last_error, message, size);
    last_error[size] = '\0';
}

const char *support_last_error(void) { return last_error; }

void *support_allocate(size_t size, size_t alignment) {
    void *memory = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    if (posix_memalign(&memory, alignment, size > 0 ? size : 1) != 0) return NULL;
    return memory;
}

void support_free(void *memory) { free(memory); }

/* The bytes of the character at text, 0 if it is not well-formed (Unicode, table 3-7). */
static size_t utf8_length(const unsigned char *text, size_t size) {
    unsigned char lead = text[0], low = 0x80, high = 0xBF;
    size_t length;
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (size < length) return 0;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    if (text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if (text[i] < 0x80 || text[i] > 0xBF) return 0;
    return length;
}

size_t support_utf8_prefix(const void *text, size_t size) {
    const unsigned char *bytes = text;
    size_t offset = 0;
    while (offset < size) {
        size_t length = utf8_length(bytes + offset, size - offset);
        if (length == 0) break;
        offset += length;
    }
    return offset;
}
