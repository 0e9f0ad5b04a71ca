/* ONNX files for Swift: mapped files, graphs as plain arrays, weights where they lie.
 *
 * libonnx's generated classes read the graph; the large payloads of tensors never pass
 * through them. Files are taken to be hostile: every length is checked against what
 * encloses it, memory is bounded by the file's size, and no C++ exception leaves.
 *
 * A function that can fail returns onnx_status and, on failure, one sentence in
 * `message`; outputs are then untouched. Whatever is reached through an onnx_model or
 * onnx_file is borrowed from it. Nothing here prints, locks or keeps global state. */
#ifndef ONNX_SHIM_H
#define ONNX_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum onnx_status {
    ONNX_OK = 0,
    ONNX_E_NOT_FOUND = 1,
    ONNX_E_IO = 2,
    ONNX_E_FORMAT = 3,
    ONNX_E_UNSUPPORTED = 4,
    ONNX_E_MEMORY = 5
} onnx_status;

typedef struct onnx_message {
    char text[512]; /* UTF-8 as far as the file's names are, NUL-terminated */
} onnx_message;

/* ---- Files ------------------------------------------------------------------ */

typedef struct onnx_file onnx_file;

typedef enum onnx_links {
    ONNX_LINKS_NONE = 0,  /* no symbolic link anywhere in the path                  */
    ONNX_LINKS_BLOBS = 1, /* the last part may be a link of a model cache: in its
                             folder snapshots/<revision> or beneath, to
                             ../../blobs/<name> of the same cache, a regular file   */
    ONNX_LINKS_ANY = 2    /* links are followed: for names that the caller chose    */
} onnx_links;

/* Maps a regular file beneath the directory `folder`, read-only. `name` is relative and
 * has no `..`. The map outlives the file's name, but not its truncation by others. */
onnx_status onnx_file_map(
    int folder, const char *name, onnx_links links, onnx_file **out, onnx_message *message);

/* Keeps a copy of bytes as if they were a file. */
onnx_status onnx_file_copy(
    const void *bytes, size_t count, onnx_file **out, onnx_message *message);

const uint8_t *onnx_file_bytes(const onnx_file *file);
size_t onnx_file_size(const onnx_file *file);
void onnx_file_free(onnx_file *file); /* NULL is fine */

/* 0 if somebody made a mapped file shorter meanwhile: reading its end would then raise a
 * signal. Known of the first 64 files that a process maps; 1 of all others. */
int onnx_file_is_whole(const onnx_file *file);

/* Copies a part to `out`, of a mapped file without bringing its pages into this process's
 * memory where that is possible. IO if somebody made the file shorter meanwhile. */
onnx_status onnx_file_read(
    const onnx_file *file, size_t offset, size_t count, void *out, onnx_message *message);

/* Takes a part of a mapped file out of this process's memory until it is read again;
 * nothing else changes. Of a copy in memory nothing happens. */
void onnx_file_release(const onnx_file *file, size_t offset, size_t count);

/* Renames beneath `folder`: to a name that must be free, or by exchanging two. Returns 0
 * or errno. EINVAL: the file system cannot. */
int onnx_rename(int folder, const char *from, const char *to, int exchanges);

/* ---- Models ----------------------------------------------------------------- */

typedef struct onnx_model onnx_model;

/* As in onnx.proto's TensorProto.DataType; others may occur in files. */
enum {
    ONNX_FLOAT = 1,
    ONNX_UINT8 = 2,
    ONNX_INT8 = 3,
    ONNX_INT32 = 6,
    ONNX_INT64 = 7,
    ONNX_BOOL = 9,
    ONNX_FLOAT16 = 10,
    ONNX_DOUBLE = 11,
    ONNX_BFLOAT16 = 16,
    ONNX_UINT4 = 21,
    ONNX_INT4 = 22
};

typedef struct onnx_tensor {
    const char *name;
    const int64_t *dims; /* [rank], none negative, their product checked */
    size_t rank;
    uint64_t element_count;
    int32_t data_type;
    int32_t is_external;  /* 1: the payload lies in the file `location`           */
    const void *data;     /* [byte_count], unaligned; NULL if external            */
    uint64_t byte_count;  /* element_count * size; 0 for types of no fixed size   */
    int64_t file_offset;  /* of `data` in the model file; -1 if it was unpacked   */
    const char *location; /* unchecked: hand it to onnx_file_map                  */
    uint64_t external_offset;
    int64_t external_length; /* -1: to the end of byte_count                         */
} onnx_tensor;

typedef struct onnx_attribute {
    const char *name;
    float f;
    int32_t tensor; /* index, -1 = none */
    int64_t i;
    const char *s; /* NUL-terminated; "" if absent */
    const int64_t *ints;
    size_t int_count;
    const float *floats;
    size_t float_count;
    int32_t has_f, has_i;
    int32_t graph; /* index of the (first) graph that it holds; -1 = none */
} onnx_attribute;

/* Values are numbered over the whole model; the same name has the same number. */
typedef struct onnx_node {
    const char *op_type;
    const char *domain; /* "" for ai.onnx */
    const char *name;
    const int32_t *inputs; /* values; -1 = left out */
    size_t input_count;
    const int32_t *outputs;
    size_t output_count;
    const onnx_attribute *attributes;
    size_t attribute_count;
    int64_t position; /* among the file's nodes; -1: came out of a function */
} onnx_node;

typedef struct onnx_initializer {
    int32_t value;
    int32_t tensor;
} onnx_initializer;

/* The type and shape that a file states for an input of a graph. */
typedef struct onnx_input_type {
    int32_t data_type;   /* 0 = not stated                          */
    int32_t rank;        /* -1 = not stated                         */
    const int64_t *dims; /* [rank]; -1 = differs from call to call  */
} onnx_input_type;

typedef struct onnx_graph {
    const char *path; /* e.g. "If.then_branch"; "" for the main graph */
    int64_t parent;   /* the graph whose values it sees; -1 = none    */
    const onnx_node *nodes;
    size_t node_count;
    const int32_t *inputs;
    const onnx_input_type *input_types; /* [input_count] */
    size_t input_count;
    const int32_t *outputs;
    size_t output_count;
    const onnx_initializer *initializers;
    size_t initializer_count;
} onnx_graph;

/* Reads a ModelProto. Local functions are inlined. The bytes must outlive the model:
 * tensors point into them. Files over 2 GiB are refused (protobuf's own limit). */
onnx_status onnx_model_parse(
    const void *bytes, size_t count, onnx_model **out, onnx_message *message);
void onnx_model_free(onnx_model *model); /* NULL is fine */

size_t onnx_model_graph_count(const onnx_model *model);
const onnx_graph *onnx_model_graph(const onnx_model *model, size_t index);
size_t onnx_model_tensor_count(const onnx_model *model);
const onnx_tensor *onnx_model_tensor(const onnx_model *model, size_t index);
size_t onnx_model_value_count(const onnx_model *model);
const char *onnx_model_value_name(const onnx_model *model, size_t value);

/* ---- Numbers ---------------------------------------------------------------- */

/* Element [r, c] of a matrix lies at first + r * row_stride + c * column_stride. */
typedef struct onnx_view {
    uint64_t first;
    uint64_t rows, columns;
    uint64_t row_stride, column_stride;
} onnx_view;

/* Bytes of one element of FLOAT, FLOAT16, BFLOAT16 or DOUBLE; 0 of any other type. */
size_t onnx_float_size(int32_t data_type);

/* The index of the first value that is infinite or not a number; `count` if all are finite.
 */
size_t onnx_first_not_finite(const float *values, size_t count);

/* Overwrites out, [rows, columns], with the elements of a view as float32, times
 * `scale` unless that is 1. data: [element_count], unaligned. FORMAT if the view
 * leaves the data or the type is not a floating one. */
onnx_status onnx_read_floats(const void *data, uint64_t element_count, int32_t data_type,
    const onnx_view *view, float scale, float *out, onnx_message *message);

/* Writes after[r, c] / scale, rounded to nearest even, wherever its bits differ from
 * before[r, c], or everywhere if `before` is NULL; other bytes of `data` stay. FORMAT if a
 * finite value does not fit. */
onnx_status onnx_write_floats(void *data, uint64_t element_count, int32_t data_type,
    const onnx_view *view, float scale, const float *before, const float *after,
    onnx_message *message);

/* ---- Rewriting -------------------------------------------------------------- */

/* A new initializer of the main graph. */
typedef struct onnx_new_tensor {
    const char *name;
    const int64_t *dims; /* [rank] */
    size_t rank;
    int32_t data_type;
    int32_t reserved;
    const void *data; /* raw little-endian elements; NULL if they lie elsewhere */
    size_t byte_count;
    const char *location; /* then: the file of external data, and where in it       */
    uint64_t offset;
} onnx_new_tensor;

/* The node at `position` reads `inputs` ("" = left out), all of them named. If `op_type`
 * is not NULL it becomes an operation of ai.onnx of that type, without attributes. */
typedef struct onnx_node_edit {
    int64_t position;
    const char *op_type;
    const char *const *inputs;
    size_t input_count;
    int64_t is_removal; /* 1: the node goes, whatever else is stated */
} onnx_node_edit;

/* Writes a model again: some nodes edited, new initializers added to the main graph, the
 * initializers named in `dropped` left out; all else is copied byte for byte, but for the
 * types stated of values in between if any op_type changes. The caller frees *out with
 * onnx_bytes_free. */
onnx_status onnx_model_rewrite(const void *bytes, size_t count, const onnx_node_edit *edits,
    size_t edit_count, const onnx_new_tensor *tensors, size_t tensor_count,
    const char *const *dropped, size_t dropped_count, uint8_t **out, size_t *out_count,
    onnx_message *message);
void onnx_bytes_free(uint8_t *bytes);

/* The ONNX and protobuf versions this was built with. Static. */
const char *onnx_build_info(void);

#ifdef __cplusplus
}
#endif

#endif /* ONNX_SHIM_H */
