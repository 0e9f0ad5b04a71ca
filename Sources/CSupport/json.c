/* JSON through cJSON, which is lenient: what it would let pass is checked beforehand. */
#include "support.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Finds what cJSON would accept in silence: NUL (it would cut a string short), control
 * characters, invalid UTF-8, deep nesting. NULL if there is nothing to object to. */
static const char *objection(const char *text, size_t size, size_t *offset) {
    size_t depth = 0, valid = support_utf8_prefix(text, size);
    int in_string = 0;
    for (size_t i = 0; i < valid; i++) {
        unsigned char c = (unsigned char)text[i];
        *offset = i;
        if (c < 0x20 && (in_string || (c != '\t' && c != '\n' && c != '\r')))
            return "control character";
        if (in_string && c == '\\') {
            if (valid - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
                return "NUL in a string";
            i += 1;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '[' || c == '{')) {
            depth += 1;
            if (depth > SUPPORT_JSON_DEPTH) return "nested too deeply";
        } else if (!in_string && (c == ']' || c == '}') && depth > 0) {
            depth -= 1;
        }
    }
    *offset = valid;
    return valid < size ? "invalid UTF-8" : NULL;
}

static int is_finite(const cJSON *value) {
    if (cJSON_IsNumber(value)) return isfinite(value->valuedouble);
    for (const cJSON *child = value->child; child != NULL; child = child->next)
        if (!is_finite(child)) return 0;
    return 1;
}

/* cJSON also notes the failure in a static variable of its own, unlocked. Nothing reads it,
 * so parses on several threads do not disturb one another. */
support_json *support_json_parse(
    const void *bytes, size_t size, size_t *offset, const char **problem) {
    const char *end = NULL;
    char *text;
    cJSON *root;

    *problem = objection(bytes, size, offset);
    if (*problem != NULL) return NULL;
    *offset = 0;
    *problem = "out of memory";
    text = size < SIZE_MAX ? malloc(size + 1) : NULL;
    if (text == NULL) return NULL;
    if (size > 0) memcpy(text, bytes, size);
    text[size] = '\0';

    errno = 0;
    root = cJSON_ParseWithLengthOpts(text, size + 1, &end, 1);
    /* cJSON does not tell the two apart; malloc does. */
    if (root == NULL && errno != ENOMEM) {
        *offset = end != NULL && end > text ? (size_t)(end - text) : 0;
        if (*offset > size) *offset = size;
        *problem = "not JSON";
    } else if (root != NULL && !is_finite(root)) {
        cJSON_Delete(root);
        root = NULL;
        *problem = "a number beyond the range of a double";
    }
    free(text);
    return (support_json *)root;
}

void support_json_free(support_json *root) { cJSON_Delete((cJSON *)root); }

support_json_kind support_json_get_kind(const support_json *value) {
    switch (((const cJSON *)value)->type & 0xFF) {
    case cJSON_False:
        return SUPPORT_JSON_FALSE;
    case cJSON_True:
        return SUPPORT_JSON_TRUE;
    case cJSON_Number:
        return SUPPORT_JSON_NUMBER;
    case cJSON_String:
        return SUPPORT_JSON_STRING;
    case cJSON_Array:
        return SUPPORT_JSON_ARRAY;
    case cJSON_Object:
        return SUPPORT_JSON_OBJECT;
    default:
        return SUPPORT_JSON_NULL;
    }
}

double support_json_get_number(const support_json *value) {
    return ((const cJSON *)value)->valuedouble;
}

const char *support_json_get_string(const support_json *value) {
    return ((const cJSON *)value)->valuestring;
}

const char *support_json_get_key(const support_json *value) {
    return ((const cJSON *)value)->string;
}

const support_json *support_json_first_child(const support_json *value) {
    return (const support_json *)((const cJSON *)value)->child;
}

const support_json *support_json_next(const support_json *value) {
    return (const support_json *)((const cJSON *)value)->next;
}
