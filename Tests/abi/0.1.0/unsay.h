/*
 * unsay.h - run T5 models, and correct them by Targeted Negative Training.
 *
 * The shortest useful program:
 *
 *     unsay_model *model = NULL;
 *     if (unsay_model_open("models/t5-small", NULL, &model) != UNSAY_OK)
 *         return fprintf(stderr, "%s\n", unsay_last_error()), 1;
 *
 *     unsay_sequence input = unsay_text("translate English to German: Good day.");
 *     unsay_result *result = NULL;
 *     unsay_hypothesis best = { .struct_size = sizeof best };
 *     if (unsay_generate(model, &input, 1, NULL, &result) == UNSAY_OK &&
 *         unsay_result_get(result, 0, 0, &best) == UNSAY_OK)
 *         printf("%s\n", best.text);
 *     unsay_result_free(result);
 *     unsay_model_close(model);
 *
 * House rules, true of every declaration below:
 *
 *   Order      the object acted on, then inputs, then options, then outputs.
 *   Errors     a call that can fail returns unsay_status; UNSAY_OK is 0, every
 *              failure is negative. On failure unsay_last_error() says what
 *              went wrong, and outputs are untouched unless their comment
 *              says otherwise.
 *   Options    may be NULL: all defaults. Otherwise fill one with its *_init.
 *   Ownership  what you opened, created or were handed through a `**out` is
 *              yours: release it with the matching _close or _free, which
 *              accept NULL. Any other pointer you receive is borrowed; its
 *              comment says from whom and until when. Whatever you pass in is
 *              copied before the call returns.
 *   Lifetime   objects keep what they depend on alive. Closing a model before
 *              its results and sessions is allowed, in any order.
 *   Threads    an unsay_model and an unsay_result may be used from any threads
 *              at once. An unsay_session belongs to one call at a time: a second
 *              concurrent call returns UNSAY_E_BUSY (unsay_session_cancel excepted).
 *   Callbacks  run on the calling thread, before the call that took them
 *              returns, and never afterwards. `context` comes back untouched.
 *   Text       UTF-8. Sizes and offsets count bytes, never characters.
 *   Arrays     row-major float32, first index slowest; shapes are written [a, b].
 */
#ifndef UNSAY_H
#define UNSAY_H

#include <stddef.h>
#include <stdint.h>

#define UNSAY_VERSION_MAJOR 0
#define UNSAY_VERSION_MINOR 1
#define UNSAY_VERSION_PATCH 0
#define UNSAY_ABI_VERSION   1   /* grows only when a compiled caller would break */

#if defined(__GNUC__) || defined(__clang__)
#  define UNSAY_API __attribute__((visibility("default")))
#  define UNSAY_MUST_CHECK __attribute__((warn_unused_result))
#else
#  define UNSAY_API
#  define UNSAY_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Library: version, errors, log --------------------------------- */

/* A code never changes its number or its meaning; new ones are appended within
 * their decade. A caller must treat a code it does not know as a failure. */
typedef enum unsay_status {
    UNSAY_OK            =   0,
    UNSAY_E_ARGUMENT    = -10,  /* a NULL, an out-of-range value, a bad shape   */
    UNSAY_E_BUFFER      = -11,  /* the buffer is too small; the need was stored */
    UNSAY_E_TEXT        = -12,  /* not valid UTF-8                              */
    UNSAY_E_NOT_FOUND   = -20,  /* no such file or folder                       */
    UNSAY_E_IO          = -21,  /* reading or writing failed                    */
    UNSAY_E_FORMAT      = -22,  /* the file is not what its name says, or torn  */
    UNSAY_E_UNSUPPORTED = -23,  /* well-formed, but this build cannot do it     */
    UNSAY_E_MISMATCH    = -30,  /* a delta or tokenizer made for another model  */
    UNSAY_E_STATE       = -31,  /* not now: e.g. run before any example         */
    UNSAY_E_BUSY        = -32,  /* the session is in use by another call        */
    UNSAY_E_CANCELLED   = -33,  /* a callback or unsay_session_cancel stopped it */
    UNSAY_E_GUARD       = -34,  /* the guard refused the commit                 */
    UNSAY_E_DIVERGED    = -35,  /* the loss or a weight is no longer finite     */
    UNSAY_E_MEMORY      = -40,  /* allocation failed                            */
    UNSAY_E_INTERNAL    = -90   /* a defect in the library: please report it    */
} unsay_status;

/* The library's version, "major.minor.patch". Static. */
UNSAY_API const char *unsay_version(void);

/* UNSAY_ABI_VERSION as the library was built. Compare before the first call. */
UNSAY_API uint32_t unsay_abi_version(void);

/* One line on how the library was built: compiler, processor features, ONNX
 * and protobuf versions. For bug reports; its wording is not stable. Static. */
UNSAY_API const char *unsay_build_info(void);

/* A code's identifier, e.g. "UNSAY_E_FORMAT"; "UNSAY_E_?" if unknown. Static. */
UNSAY_API const char *unsay_status_name(unsay_status status);

/* One sentence about the latest failure on this thread: which file, argument
 * or tensor, what was expected, what was found. Never NULL; meaningful only
 * straight after a call that failed. Borrowed until this thread's next call. */
UNSAY_API const char *unsay_last_error(void);

typedef enum unsay_log_level {
    UNSAY_LOG_DEBUG = 0, UNSAY_LOG_INFO = 1, UNSAY_LOG_WARNING = 2
} unsay_log_level;
typedef void (*unsay_log_fn)(void *context, unsay_log_level level, const char *line);

/* Sends log lines at `minimum` and above to `log`; NULL, the default, is
 * silence. The library prints nothing by itself. Process-wide; set it first. */
UNSAY_API void unsay_set_log(unsay_log_fn log, void *context, unsay_log_level minimum);

/* ---- 2. Model: open, save, look inside -------------------------------- */

typedef struct unsay_model unsay_model;

/* Options begin with their size, so that they can grow: an older caller gets
 * today's defaults for fields it does not know; a newer caller on an older
 * library gets UNSAY_E_UNSUPPORTED if it set a field the library lacks. Structs
 * that a call fills work the same way: set struct_size to sizeof, and only so
 * many bytes are written. No struct here has padding. */

/* The arithmetic of generation and scoring. BF16 and INT8 keep a half and a quarter
 * of the weights' memory and read as much less for each token; float32 weights are
 * then read from the files again where a session, a delta or a save wants them. On
 * the embedded model 99.7 % and 99.2 % of tokens are those of F32 at equal prefixes
 * (docs/performance.md). Sums, norms, attention and whatever lies between layers are
 * float32 in any case. Sessions always train float32 weights; UNSAY_COMPUTE_BF16
 * there rounds what training steps multiply, and UNSAY_COMPUTE_INT8 is refused. */
typedef enum unsay_compute {
    UNSAY_COMPUTE_F32  = 0,      /* the reference: everything in float32       */
    UNSAY_COMPUTE_BF16 = 1,      /* weights rounded to bf16, and their inputs
                                    where the processor multiplies bf16        */
    UNSAY_COMPUTE_INT8 = 2       /* weights in int8 times a unit of their row;
                                    their inputs in 16 bits of the largest     */
} unsay_compute;

typedef struct unsay_open_options {
    size_t        struct_size;
    int32_t       threads;         /* worker threads; 0 = one per core         */
    unsay_compute compute;         /* default UNSAY_COMPUTE_F32                */
    int32_t       allow_links;     /* 1: external data may be a link into the
                                      sibling blobs folder of a model cache    */
    uint32_t      reserved;        /* 0                                        */
    const char   *tokenizer_path;  /* a spiece.model or a tokenizer.json; NULL =
                                      the vocabulary beside the weights        */
    const char   *variant;         /* NULL = the most precise one that is
                                      whole; else the ending of its files'
                                      names, e.g. "fp16" or "quantized"; ""
                                      is that of encoder_model.onnx itself   */
} unsay_open_options;

UNSAY_API void unsay_open_options_init(unsay_open_options *options, size_t struct_size);

/* Opens a model folder: encoder and decoder .onnx, config.json, vocabulary
 * (spiece.model, tokenizer.json, or none for the bytes of ByT5). The .onnx files lie in it or in its subfolder onnx; weights in 16 bits, 8 bits or
 * 4 bits are read as the float32 numbers that they stand for.
 * Reads every weight before returning. The files may be deleted or replaced
 * afterwards, but not rewritten in place: unsay_model_save still copies them.
 * A folder without a vocabulary opens too: such a model works on ids, and a call
 * that gives it text, or asks it for spans, phrases or decoding, answers
 * UNSAY_E_STATE; the text of its outputs is empty.
 * UNSAY_E_FORMAT names the first tensor that is missing or of the wrong shape. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_open(
    const char *folder, const unsay_open_options *options, unsay_model **out);

/* Writes the model, as patched so far, in the layout it was opened from: the
 * same files, graphs and names, every copy of a weight replaced, so that
 * whatever ran the original folder runs this one. A weight stored in float16 is
 * rounded to it; a patched model that was stored quantised is written as floats,
 * in the same graphs under the same names. Atomic: written beside `folder` and renamed into place. If
 * `folder` exists, even as the source, it is replaced, and what it held beside a
 * model is kept. UNSAY_E_UNSUPPORTED names a changed weight whose place in the
 * layout holds no floats, such as a table folded into constants. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_save(
    const unsay_model *model, const char *folder);

/* A second model on the same weights, at no cost in memory until one of the
 * two is patched. For trying a patch while the first keeps serving. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_clone(
    const unsay_model *model, unsay_model **out);

/* One named file held in memory. */
typedef struct unsay_buffer {
    const char *name;                         /* e.g. "encoder_model.onnx"     */
    const void *bytes;
    size_t      size;
} unsay_buffer;

/* Opens the same folder from memory: no path is ever touched. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_open_buffers(
    const unsay_buffer *files, size_t count,
    const unsay_open_options *options, unsay_model **out);

UNSAY_API void unsay_model_close(unsay_model *model);

enum { UNSAY_MODEL_GATED = 1u << 0, UNSAY_MODEL_TIED_HEAD = 1u << 1 };

typedef struct unsay_model_info {
    size_t   struct_size;
    uint64_t parameter_count;
    uint32_t tensor_count;
    uint32_t flags;                           /* UNSAY_MODEL_*                   */
    int32_t  vocab_size, d_model, d_ff, num_heads, d_kv;  /* as in config.json */
    int32_t  num_layers, num_decoder_layers;
    int32_t  relative_attention_num_buckets, relative_attention_max_distance;
    int32_t  pad_token_id, eos_token_id, unk_token_id, decoder_start_token_id;
    int32_t  reserved;                        /* 0                             */
} unsay_model_info;

UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_get_info(
    const unsay_model *model, unsay_model_info *out);

/* SHA-256 of the weights in canonical order: equal if and only if the weights
 * are bit for bit the same. Takes a second per gigabyte the first time. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_fingerprint(
    const unsay_model *model, uint8_t out[32]);

typedef struct unsay_tensor_info {
    size_t      struct_size;
    const char *name;                         /* borrowed from the model       */
    int32_t     rank;                         /* 1 or 2                        */
    int32_t     shape[4];                     /* unused dimensions are 1       */
    int32_t     reserved;                     /* 0                             */
} unsay_tensor_info;

/* Weight `index`, 0 <= index < tensor_count, in canonical order: that of the
 * transformers state dict, whose names are used, `shared.weight` and the encoder
 * first. A weight that an export holds several times is listed once. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_tensor(
    const unsay_model *model, uint32_t index, unsay_tensor_info *out);

/* Copies weight `index` to `values`; `capacity` counts floats, at least the
 * product of its shape, or UNSAY_E_BUFFER. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_read_tensor(
    const unsay_model *model, uint32_t index, float *values, size_t capacity);

/* ---- 3. Tokens --------------------------------------------------------- */

/* Bytes [begin, end) of a text. */
typedef struct unsay_span { size_t begin, end; } unsay_span;

/* A text, or its token ids: set one, leave the other NULL. */
typedef struct unsay_sequence {
    const char    *text;
    size_t         text_size;  /* bytes; SIZE_MAX if NUL-terminated            */
    const int32_t *ids;
    size_t         id_count;
} unsay_sequence;

static inline unsay_sequence unsay_text(const char *text) {
    unsay_sequence sequence = { text, SIZE_MAX, NULL, 0 };
    return sequence;
}

static inline unsay_sequence unsay_ids(const int32_t *ids, size_t count) {
    unsay_sequence sequence = { NULL, 0, ids, count };
    return sequence;
}

/* Splits text into ids and appends the end-of-sequence id. `spans`, if given,
 * receives the bytes behind each id (empty for the last). `*count` receives the
 * number of ids whether or not they fit; if not, UNSAY_E_BUFFER. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_encode(
    const unsay_model *model, const char *text, size_t text_size,
    int32_t *ids, unsay_span *spans, size_t capacity, size_t *count);

/* Joins ids into text, skipping control ids. `*size` receives the number of
 * bytes, less the final NUL, whether or not they fit; if not, UNSAY_E_BUFFER. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_decode(
    const unsay_model *model, const int32_t *ids, size_t count,
    char *text, size_t capacity, size_t *size);

/* The vocabulary's spelling of one id, borrowed from the model; NULL if the id
 * is out of range. */
UNSAY_API const char *unsay_token_piece(const unsay_model *model, int32_t id);

/* ---- 4. Generate and score --------------------------------------------- */

typedef enum unsay_action { UNSAY_CONTINUE = 0, UNSAY_STOP = 1 } unsay_action;

/* One new token of hypothesis 0 of `input`. `text` is what it adds, on whole
 * characters; it may be empty, and is borrowed for the call. */
typedef unsay_action (*unsay_token_fn)(
    void *context, size_t input, int32_t id, float log_probability, const char *text);

/* May change `logits`, [rows, vocab_size], before the next token of each row is
 * chosen: row r continues `hypothesis[r]` of `input[r]`, whose ids so far are
 * `prefix[r]`, [prefix_count]. */
typedef struct unsay_logits_view {
    float                *logits;
    const size_t         *input, *hypothesis;
    const int32_t *const *prefix;
    size_t                rows, prefix_count, vocab_size;
} unsay_logits_view;
typedef unsay_action (*unsay_logits_fn)(void *context, unsay_logits_view *view);

/* Writes to `ids`, [capacity], the ids that may follow `prefix`, the ids so far of a
 * hypothesis of `input`, and returns how many; SIZE_MAX allows all. `capacity` is
 * vocab_size. None, or an id that does not exist, ends the call: UNSAY_E_ARGUMENT. */
typedef size_t (*unsay_allowed_fn)(void *context, size_t input, const int32_t *prefix,
    size_t prefix_count, int32_t *ids, size_t capacity);

/* After some inputs were finished: `done` of `total`, counted over the whole call. */
typedef unsay_action (*unsay_progress_fn)(void *context, size_t done, size_t total);

typedef enum unsay_early_stopping {
    UNSAY_EARLY_STOPPING_NO = 0,     /* stop when no better ending is likely   */
    UNSAY_EARLY_STOPPING_YES = 1,    /* stop at `num_beams` done hypotheses    */
    UNSAY_EARLY_STOPPING_NEVER = 2   /* stop when no better ending is possible */
} unsay_early_stopping;

typedef struct unsay_generate_options {
    size_t          struct_size;
    int32_t         max_new_tokens;  /* per output, end included; default 128  */
    int32_t         min_new_tokens;  /* no end among so many ids; default 0    */
    int32_t         num_beams;       /* default 1: no beam search              */
    int32_t         num_return_sequences;  /* kept per input; default 1        */
    int32_t         num_beam_groups; /* diverse beam search; default 1         */
    float           diversity_penalty;     /* between groups; default 0        */
    float           length_penalty;  /* score = sum / length^this; default 1  */
    unsay_early_stopping early_stopping;   /* default _NO                      */
    int32_t         do_sample;       /* 1: draw tokens instead of the best     */
    int32_t         top_k;           /* 0 = all; default 0                     */
    float           top_p;           /* default 1                              */
    float           min_p;           /* default 0                              */
    float           typical_p;       /* default 1                              */
    float           temperature;     /* default 1                              */
    float           repetition_penalty;    /* default 1                        */
    int32_t         no_repeat_ngram_size;  /* 0 = off; default 0               */
    uint64_t        seed;            /* the same seed gives an input the same
                                        text in any batch, on any threads      */
    const char *const *banned_phrases;     /* never written as whole words,
                                              however cased, spaced or split   */
    size_t          banned_phrase_count;
    const int32_t  *prefix_ids;      /* every output starts with these         */
    size_t          prefix_id_count;
    unsay_token_fn  on_token;        /* NULL = none; needs num_beams == 1      */
    unsay_logits_fn on_logits;       /* NULL = none                            */
    void           *context;         /* of every callback                      */
    float           epsilon_cutoff;  /* default 0                              */
    float           eta_cutoff;      /* default 0                              */
    float           encoder_repetition_penalty;     /* default 1               */
    int32_t         encoder_no_repeat_ngram_size;   /* 0 = off; default 0      */
    int32_t         forced_bos_token_id;   /* first id; -1 = none, the default */
    int32_t         forced_eos_token_id;   /* id at full length; -1 = none     */
    const int32_t  *eos_token_ids;         /* what ends an output; default: the
                                              model's eos_token_id             */
    size_t          eos_token_id_count;
    const int32_t  *suppress_tokens;       /* never written                    */
    size_t          suppress_token_count;
    const int32_t  *begin_suppress_tokens; /* not written first                */
    size_t          begin_suppress_token_count;
    const unsay_sequence *bad_words;       /* runs of ids, never written       */
    size_t          bad_word_count;
    const unsay_sequence *sequence_bias;   /* runs of ids, and what is added to
                                              the logit of the last of each    */
    const float    *sequence_bias_values;  /* [sequence_bias_count]            */
    size_t          sequence_bias_count;
    const char *const *stop_strings;       /* an output ends where its text has
                                              gained one of these              */
    size_t          stop_string_count;
    const unsay_sequence *prefixes;        /* instead of prefix_ids, one for each
                                              input; may be empty sequences    */
    size_t          prefix_count;          /* 0, or the number of inputs       */
    unsay_allowed_fn allowed_tokens;       /* NULL = all                       */
    unsay_progress_fn on_progress;         /* NULL = none                      */
    const unsay_sequence *force_words;     /* runs that every output of a beam
                                              search holds, in any order       */
    size_t          force_word_count;
    int32_t         num_alternatives;      /* likeliest ids listed for each id of
                                              an output; default 0             */
    int32_t         cross_attention;       /* 1: what each id looked at; default 0 */
    int32_t         prompt_lookup_num_tokens;  /* ids guessed ahead from the input
                                              and verified; 0 = off; default 0 */
    int32_t         max_matching_ngram_size;   /* longest run that is looked up
                                              in the input; default 2          */
    int32_t         max_batch_tokens;      /* ids of inputs that run together, if
                                              not of one alone; default 16384  */
    int32_t         log_probs;             /* 0: what log-probabilities there are
                                              is not told, and greedy search finds
                                              the same ids sooner; default 1   */
} unsay_generate_options;

UNSAY_API void unsay_generate_options_init(
    unsay_generate_options *options, size_t struct_size);

typedef struct unsay_result unsay_result;

/* Writes an output for each of `count` inputs, run as one batch. An input's
 * output does not depend on what else is in the batch. UNSAY_E_CANCELLED if
 * on_token returned UNSAY_STOP: then `*out` holds what was written so far. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_generate(
    const unsay_model *model, const unsay_sequence *inputs, size_t count,
    const unsay_generate_options *options, unsay_result **out);

/* Scores outputs[i] as the answer to inputs[i]: one hypothesis per pair. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_score(
    const unsay_model *model, const unsay_sequence *inputs, const unsay_sequence *outputs,
    size_t count, unsay_result **out);

/* The next-token logits at every position of `output`: [id_count, vocab_size].
 * `capacity` counts floats; `*count` receives the need, as in unsay_encode. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_logits(
    const unsay_model *model, const unsay_sequence *input, const unsay_sequence *output,
    float *logits, size_t capacity, size_t *count);

/* The encoder's output for `input`: [id_count, d_model]; counts as in unsay_logits. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_encoder_states(
    const unsay_model *model, const unsay_sequence *input,
    float *states, size_t capacity, size_t *count);

/* The mean of the encoder's output over the ids of each input: [count, d_model];
 * normalize 1: each divided by its L2 norm. `capacity` counts floats; `*need`
 * receives how many there are, as in unsay_logits. For encoders alone, too. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_embed(
    const unsay_model *model, const unsay_sequence *inputs, size_t count,
    int32_t normalize, float *embeddings, size_t capacity, size_t *need);

typedef enum unsay_finish {
    UNSAY_FINISH_END = 0,      /* the model wrote its end id                   */
    UNSAY_FINISH_LENGTH = 1,   /* max_new_tokens were written                  */
    UNSAY_FINISH_STOPPED = 2,  /* a callback or a stop string stopped it       */
    UNSAY_FINISH_GIVEN = 3     /* not generated: the output of unsay_score     */
} unsay_finish;

/* All pointers are borrowed from the result. */
typedef struct unsay_hypothesis {
    size_t         struct_size;
    const char    *text;               /* NUL-terminated                       */
    size_t         text_size;
    const int32_t *ids;                /* [id_count], end included             */
    const float   *log_probabilities;  /* [id_count], natural logarithm; NULL if
                                          log_probs was 0                      */
    size_t         id_count;
    float          score;              /* sum of log_probabilities, penalised;
                                          NaN without them or beams            */
    unsay_finish   finish;
    const int32_t *alternative_ids;    /* [id_count, alternative_count], the
                                          likeliest first                      */
    const float   *alternative_log_probabilities;  /* of the same shape        */
    size_t         alternative_count;  /* num_alternatives                     */
    const float   *cross_attention;    /* [id_count, input_id_count], the mean over
                                          layers and heads; NULL unless asked for */
    size_t         input_id_count;
    int32_t        drafted_count;      /* ids guessed from the input           */
    int32_t        accepted_count;     /* of these, written                    */
} unsay_hypothesis;

/* Hypotheses kept for `input`, best first; 0 if there is no such input. */
UNSAY_API size_t unsay_result_count(const unsay_result *result, size_t input);

UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_result_get(
    const unsay_result *result, size_t input, size_t rank, unsay_hypothesis *out);

UNSAY_API void unsay_result_free(unsay_result *result);

/* ---- 5. Marks: which tokens to push down -------------------------------- */

/* One mark per token id of an output, end included; an int8_t wherever marks
 * are passed. Any other value answers UNSAY_E_ARGUMENT. */
typedef enum unsay_mark {
    UNSAY_MARK_AVOID  = -1,  /* lower this token's probability here             */
    UNSAY_MARK_IGNORE =  0,  /* no loss here                                    */
    UNSAY_MARK_KEEP   =  1   /* hold the original distribution (or text) here    */
} unsay_mark;

/* Which tokens of a matched run to avoid. Avoiding the first one also lowers
 * every other continuation that starts alike; avoiding the last is narrowest. */
typedef enum unsay_extent {
    UNSAY_EXTENT_ALL = 0, UNSAY_EXTENT_FIRST = 1, UNSAY_EXTENT_LAST = 2
} unsay_extent;

/* The three markers write [id_count] marks for `output`: AVOID where they
 * match, KEEP elsewhere. `*count` receives the need, as in unsay_encode. That
 * nothing matches is no failure. */

/* Marks every token that shares a byte with a span of the output's text; if the
 * output is given as ids, of their decoded text. UNSAY_E_ARGUMENT if a span is
 * empty or ends outside the text. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_mark_spans(
    const unsay_model *model, const unsay_sequence *output,
    const unsay_span *spans, size_t span_count, unsay_extent extent,
    int8_t *marks, size_t capacity, size_t *count);

/* Marks every occurrence of each phrase that stands between word boundaries,
 * however it is split into tokens and whatever its letter case. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_mark_phrases(
    const unsay_model *model, const unsay_sequence *output,
    const char *const *phrases, size_t phrase_count, unsay_extent extent,
    int8_t *marks, size_t capacity, size_t *count);

/* Marks the tokens of `output` that a shortest edit to `corrected` replaces or
 * deletes; none if the two are equal. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_mark_difference(
    const unsay_model *model, const unsay_sequence *output, const unsay_sequence *corrected,
    unsay_extent extent, int8_t *marks, size_t capacity, size_t *count);

/* How an output and a corrected one become one example: the converters of
 * T5Patches, aligned by a shortest edit. */
typedef enum unsay_converter {
    UNSAY_NEGATIVE_FIRST = 0,   /* `output`: AVOID the first token that differs, */
    UNSAY_NEGATIVE_DIFF = 1,    /* every one,                                    */
    UNSAY_NEGATIVE_FULL = 2,    /* or all of it; KEEP the rest                   */
    UNSAY_CORRECTIVE_FIRST = 3, /* `corrected`: KEEP the first that differs,     */
    UNSAY_CORRECTIVE_DIFF = 4,  /* every one,                                    */
    UNSAY_CORRECTIVE_FULL = 5,  /* or all of it; IGNORE the rest                 */
    UNSAY_MIXED_FIRST = 6,      /* as NEGATIVE, but CORRECTIVE_FULL where        */
    UNSAY_MIXED_DIFF = 7,       /* `corrected` has more tokens than `output`     */
    UNSAY_MIXED_FULL = 8
} unsay_converter;

/* Marks the example that `converter` makes of the two. `*uses_corrected`: 1 if its
 * output, and so the marks, is `corrected`, else 0. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_mark_triple(
    const unsay_model *model, const unsay_sequence *output, const unsay_sequence *corrected,
    unsay_converter converter, int8_t *marks, size_t capacity, size_t *count,
    int32_t *uses_corrected);

/* ---- 6. Sessions: patch and fine-tune ----------------------------------- */

/* p is the model being trained, q the reference (the original, unless another
 * is given), q' is q with each avoided token scaled by `retain` and the rest
 * rescaled. Two letters: avoided, then kept tokens. */
typedef enum unsay_loss {
    UNSAY_LOSS_LIKELIHOOD = 0,  /* nothing, -log p: plain fine-tuning            */
    UNSAY_LOSS_FF  = 1,         /* KL(q'|p), KL(q|p); the default of a patch     */
    UNSAY_LOSS_RR  = 2,         /* KL(p|q'), KL(p|q)                             */
    UNSAY_LOSS_RF  = 3,         /* KL(p|q'), KL(q|p)                             */
    UNSAY_LOSS_FLL = 4,         /* KL(q'|p), -log p                              */
    UNSAY_LOSS_RLL = 5,         /* KL(p|q'), -log p                              */
    UNSAY_LOSS_UL  = 6,         /* -log(1 - p), -log p: unlikelihood             */
    UNSAY_LOSS_NL  = 7          /* log p (floored), -log p: negative likelihood  */
} unsay_loss;

/* EXACT is mathematics: finite for any finite logits, mean per marked token. A
 * reverse term takes no less than log 1e-6 of an avoided token's q'; NL stops at
 * -10.3. PUBLISHED follows the method's reference code to the digit: sums; 1e-6
 * added to every entry of q' in the reverse terms and what is beside them; cross
 * entropies for the forward ones; NL's positions stop at 10.3, UL's p at 1 - 1e-7. */
typedef enum unsay_loss_form {
    UNSAY_LOSS_EXACT = 0, UNSAY_LOSS_PUBLISHED = 1
} unsay_loss_form;

/* The losses of given logits: no model needed. logits and reference: [tokens,
 * vocab_size]; targets and marks: [tokens]; losses: [tokens], alpha included;
 * gradient, d sum(losses) / d logits, [tokens, vocab_size], may be NULL. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_token_losses(
    unsay_loss loss, unsay_loss_form form, float alpha, float retain,
    const float *logits, const float *reference, const int32_t *targets,
    const int8_t *marks, size_t tokens, size_t vocab_size,
    float *losses, float *gradient);

typedef enum unsay_optimizer {
    UNSAY_OPTIMIZER_ADAMW = 0, UNSAY_OPTIMIZER_ADAFACTOR = 1, UNSAY_OPTIMIZER_SGD = 2
} unsay_optimizer;

/* ADAMW: decoupled decay, PyTorch's constants. ADAFACTOR: as T5X trains T5, no
 * momentum; learning_rate is relative to each weight's size, 1e-3 in the paper.
 * SGD: with `momentum`, PyTorch's. */

/* What learning_rate does after rising over warmup_steps. */
typedef enum unsay_schedule {
    UNSAY_SCHEDULE_LINEAR = 0,       /* to 0 over decay_steps; stays if that is 0 */
    UNSAY_SCHEDULE_INVERSE_SQRT = 1  /* times sqrt(warmup_steps / step)           */
} unsay_schedule;

/* What may change. Gradients and the optimizer's memory exist for that alone, and
 * no gradient is computed below the lowest weight of it. */
typedef enum unsay_scope {
    UNSAY_SCOPE_ALL = 0,
    UNSAY_SCOPE_DECODER = 1,         /* every weight named decoder.*            */
    UNSAY_SCOPE_CROSS_ATTENTION = 2, /* its four projections, in every block    */
    UNSAY_SCOPE_HEAD = 3,            /* lm_head, or the embedding where it is both */
    UNSAY_SCOPE_FEED_FORWARD = 4,    /* its projections, in both stacks         */
    UNSAY_SCOPE_TOKENS = 5,          /* of HEAD, the rows of avoided tokens alone */
    UNSAY_SCOPE_TENSORS = 6,         /* those that `tensors` names              */
    UNSAY_SCOPE_AUTO = 7             /* TOKENS, which changes least besides what is
                                        avoided; ALL with lora_rank or LIKELIHOOD */
} unsay_scope;

/* The gradients of a step, [count] in one flat array: of every trained weight, in
 * canonical order, each laid out as unsay_model_read_tensor gives it. The first
 * begins at 0, each next one at the first multiple of 16 floats past the end of the
 * one before; the gaps are 0, and what is written there is ignored. With lora_rank,
 * each projection has two: lora_A, [rank, inputs], then lora_B, [outputs, rank];
 * with UNSAY_SCOPE_TOKENS, the rows of the avoided ids, ascending: ranks that share
 * gradients need another scope, unless all avoid the same ids. */
typedef struct unsay_gradients_view {
    float  *values;
    size_t  count;
    double  weight;    /* of the marked tokens that values and loss are means over */
    double  loss;      /* what the step will report                             */
    int32_t is_sum;    /* 1: they are sums instead (UNSAY_LOSS_PUBLISHED)       */
    int32_t reserved;
} unsay_gradients_view;

/* Called once a step, after the backward pass and before clipping. Values and loss
 * may be replaced, e.g. by their weighted mean over the ranks of a cluster. The view
 * is borrowed for the call. */
typedef unsay_action (*unsay_gradients_fn)(void *context, unsay_gradients_view *view);

typedef struct unsay_session_options {
    size_t          struct_size;
    unsay_loss      loss;              /* default UNSAY_LOSS_FF                */
    unsay_loss_form form;              /* default UNSAY_LOSS_EXACT             */
    unsay_optimizer optimizer;         /* default _ADAMW                       */
    unsay_scope     scope;             /* what may change; default _AUTO       */
    unsay_compute   compute;           /* default _F32                         */
    int32_t         batch_size;        /* examples per step; default 16        */
    int32_t         micro_batch_size;  /* examples in memory at once; 0 = all  */
    int32_t         warmup_steps;      /* default 0                            */
    int32_t         decay_steps;       /* see unsay_schedule; default 0        */
    float           alpha;             /* weight of avoided tokens; default 4  */
    float           retain;            /* share of q an avoided token keeps; 0 */
    float           learning_rate;     /* 0 = 1e-2 with TOKENS, else 1e-3 with
                                          ADAFACTOR, 1e-2 with SGD, 1e-4       */
    float           weight_decay;      /* pulls towards the reference; 0       */
    float           z_loss;            /* times log-normaliser squared; 0      */
    float           dropout;           /* of the trained model only; default 0 */
    float           gradient_clip;     /* global norm; 0 = off; default 1      */
    float           max_avoid_p;       /* goal: avoided tokens below; 0.01     */
    float           max_guard_kl;      /* limit, nats per token; 0.05          */
    float           max_guard_flips;   /* limit, share of greedy tokens; 0.02  */
    int32_t         recompute;         /* 1: layers run again in the backward
                                          pass: less memory, a third more time */
    uint64_t        seed;              /* order of examples, dropout, factors  */
    const struct unsay_model *reference;     /* q; NULL = the model as it is now */
    unsay_gradients_fn on_gradients;   /* NULL = none                          */
    void           *context;
    unsay_schedule  schedule;          /* default UNSAY_SCHEDULE_LINEAR        */
    float           momentum;          /* of SGD; default 0.9                  */
    const char *const *tensors;        /* of UNSAY_SCOPE_TENSORS: names, as in
                                          unsay_model_tensor; * is any text    */
    size_t          tensor_count;
    int32_t         lora_rank;         /* 0 = off; else the projections in scope
                                          change by b a of that rank, the rest
                                          of the scope stays                   */
    float           lora_alpha;        /* b a times lora_alpha / lora_rank; 16 */
    const struct unsay_model *root;    /* what drift is counted from over many
                                          patches; NULL = nothing              */
    float           max_root_kl;       /* limit on guard pairs; 0 = none       */
    int32_t         keep_examples;     /* 1: deltas carry the examples, for
                                          unsay_delta_rebase                   */
} unsay_session_options;

UNSAY_API void unsay_session_options_init(
    unsay_session_options *options, size_t struct_size);

typedef struct unsay_session unsay_session;

/* Starts training on a private copy of the model's weights. The model itself
 * stays usable and unchanged until unsay_session_commit. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_create(
    unsay_model *model, const unsay_session_options *options, unsay_session **out);

/* An array of these crosses the ABI, so its size is fixed: use `reserved`. */
typedef struct unsay_example {
    unsay_sequence  input;
    unsay_sequence  output;
    const int8_t *marks;       /* [id_count of output]; NULL = all KEEP        */
    size_t        mark_count;
    const int32_t *also_avoid; /* pairs (position, id): more ids avoided there */
    size_t        also_avoid_count;  /* pairs                                  */
    float         weight;      /* relative; 0 means 1                          */
    uint32_t      reserved[3]; /* 0                                            */
} unsay_example;

/* Adds examples to train on. All or none. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_add(
    unsay_session *session, const unsay_example *examples, size_t count);

/* Adds examples to measure and never to train on: what counts is how the patch
 * does on what it has not seen. All or none. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_add_held_out(
    unsay_session *session, const unsay_example *examples, size_t count);

/* Adds held-out pairs whose behaviour must not drift; marks are ignored. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_add_guard(
    unsay_session *session, const unsay_example *examples, size_t count);

/* What a session would do, before anything is trained. */
typedef struct unsay_plan {
    size_t   struct_size;
    uint64_t avoided_count;            /* tokens to avoid, also_avoid included */
    uint64_t kept_count;               /* tokens to keep                       */
    uint64_t context_free_count;       /* of the avoided: see below            */
    double   mean_price;               /* nats, over positions that avoid      */
    double   highest_price;
    uint64_t memory_bytes;             /* the session's peak, model not counted */
    double   seconds_per_step;         /* measured on one step that is not taken */
    uint64_t trained_count;            /* parameters that may change           */
} unsay_plan;

/* One position that avoids something. Its price, -log(1 - q(N)), is the least that
 * unsaying it costs there in KL: 0.01 for a token at 1 %, 4.6 at 99 %. It is free of
 * context if the run of tokens it belongs to is avoided in two examples at least and
 * kept in none: then banned_phrases of unsay_generate_options unsays it exactly, at
 * no price, and a patch is for models that others will run. */
typedef struct unsay_planned_mark {
    size_t  example;                   /* in the order they were added         */
    size_t  position;
    float   q;                         /* the reference's p of what is avoided */
    float   price;
    int32_t id;                        /* the written token                    */
    int32_t is_context_free;
} unsay_planned_mark;

/* Changes nothing. `marks` may be NULL with capacity 0; `*count` receives the need,
 * as in unsay_encode. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_plan(
    unsay_session *session, unsay_plan *out, unsay_planned_mark *marks, size_t capacity,
    size_t *count);

typedef struct unsay_step {
    size_t  struct_size;
    int32_t step;                      /* 1 for the first                      */
    float   loss;                      /* mean per marked token                */
    float   avoid_loss, keep_loss;     /* its two parts, before alpha          */
    float   avoid_p;                   /* mean p of the avoided tokens         */
    float   gradient_norm;             /* before clipping                      */
    float   seconds;
    int32_t reserved;                  /* 0                                    */
} unsay_step;

/* Does one step: forward, backward, update. `out` may be NULL. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_step(
    unsay_session *session, unsay_step *out);

/* Called after each step of a run; `step` is borrowed for the call. */
typedef unsay_action (*unsay_step_fn)(void *context, const unsay_step *step);

typedef enum unsay_ending {
    UNSAY_ENDING_STEPS = 0,   /* max_steps were done                           */
    UNSAY_ENDING_GOAL = 1,    /* every avoided token is below max_avoid_p      */
    UNSAY_ENDING_GUARD = 2,   /* the guard was about to break                  */
    UNSAY_ENDING_CALLER = 3,  /* on_step returned UNSAY_STOP                   */
    UNSAY_ENDING_PATIENCE = 4 /* no better evaluation in `patience` of them    */
} unsay_ending;

/* Which evaluation of a run, of those at which the guard held, is the best. */
typedef enum unsay_select {
    UNSAY_SELECT_AVOID_P = 0, /* the lowest mean p of avoided tokens, on held-out
                                 examples if some avoid any; where nothing is
                                 avoided, as LOSS, or LAST without held-out ones */
    UNSAY_SELECT_LOSS = 1,    /* the lowest loss on held-out examples           */
    UNSAY_SELECT_LAST = 2
} unsay_select;

typedef struct unsay_run_options {
    size_t      struct_size;
    int32_t     max_steps;             /* default 60                           */
    int32_t     evaluate_every;        /* steps between evaluations; default 5 */
    unsay_step_fn on_step;             /* NULL = none                          */
    void       *context;
    int32_t     patience;              /* evaluations without a better one that
                                          end the run; 0 = no limit            */
    unsay_select select;               /* default UNSAY_SELECT_AVOID_P         */
    const char *state_path;            /* where unsay_session_save writes, every */
    int32_t     save_every;            /* so many steps; 0 = never             */
    int32_t     reserved;              /* 0                                    */
} unsay_run_options;

UNSAY_API void unsay_run_options_init(unsay_run_options *options, size_t struct_size);

/* Steps until the goal is met, max_steps, UNSAY_STOP, nothing improves any more, or
 * the guard is about to break. It starts with an evaluation. When it ends by steps,
 * patience or guard, or answers UNSAY_E_DIVERGED, the weights are those of the best
 * evaluation; by goal or caller, those of its last step. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_run(
    unsay_session *session, const unsay_run_options *options, unsay_ending *ending);

typedef struct unsay_evaluation {
    size_t  struct_size;
    int32_t goal_met, guard_held;      /* 0 or 1                               */
    float   avoid_p_before, avoid_p_after;      /* mean over avoided tokens    */
    float   avoid_p_worst;                      /* the highest of them         */
    float   keep_kl;                            /* nats per kept token. In LIKELIHOOD
                                                   this and avoid_p are 0 */
    float   guard_kl, guard_flips;              /* 0 without guard pairs       */
    float   held_out_avoid_p_before, held_out_avoid_p_after;  /* 0 without any */
    float   held_out_loss;                      /* as a step's                 */
    float   root_kl, root_flips;                /* guard pairs against root    */
    int32_t reserved;
} unsay_evaluation;

/* Measures the trained copy against the original on examples, held-out examples and
 * guard. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_evaluate(
    unsay_session *session, unsay_evaluation *out);

/* One setting of a sweep. */
typedef struct unsay_trial {
    size_t       struct_size;
    float        learning_rate, alpha;
    unsay_ending ending;
    int32_t      steps;
    int32_t      diverged;             /* 1: the loss was no longer finite     */
    int32_t      reserved;
    unsay_evaluation evaluation;       /* of the best weights of its run       */
} unsay_trial;

/* Called after each trial; `trial` is borrowed for the call. */
typedef unsay_action (*unsay_trial_fn)(void *context, const unsay_trial *trial);

typedef struct unsay_sweep_options {
    size_t         struct_size;
    const float   *learning_rates;     /* NULL = the session's alone           */
    size_t         learning_rate_count;
    const float   *alphas;             /* NULL = the session's alone           */
    size_t         alpha_count;
    const unsay_run_options *run;      /* of each trial; NULL = defaults       */
    unsay_trial_fn on_trial;           /* NULL = none                          */
    void          *context;
} unsay_sweep_options;

UNSAY_API void unsay_sweep_options_init(unsay_sweep_options *options, size_t struct_size);

/* Trains every pair of a learning rate and an alpha from where the session stands, and
 * keeps the weights and the setting of the best trial: of those whose guard holds,
 * the one that run.select scores lowest. `*chosen` counts trials, learning rate by
 * learning rate; -1, and the weights as before, if no trial held the guard. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_sweep(
    unsay_session *session, const unsay_sweep_options *options, int64_t *chosen);

/* A model of its own on the trained weights as they are now, committed or not: to
 * generate with, to compare. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_model(
    unsay_session *session, unsay_model **out);

/* Writes weights, optimizer and position of the session; _load goes back there in a
 * session that was made with the same model, options and examples. What follows is
 * the same to the bit as if it had never stopped. `*steps` are those done by then; may
 * be NULL. UNSAY_E_MISMATCH, and no change, if one of them differs. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_save(
    unsay_session *session, const char *path);
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_load(
    unsay_session *session, const char *path, int32_t *steps);

/* Stops the running unsay_session_step, _run or _sweep soon, from any thread: it answers
 * UNSAY_E_CANCELLED, with the weights of its last whole step; a sweep with those from
 * before. No effect between calls. */
UNSAY_API void unsay_session_cancel(unsay_session *session);

/* Makes the trained weights the model's. Calls in progress finish on the old
 * ones. UNSAY_E_GUARD, and no change, if the guard does not hold;
 * UNSAY_E_STATE if the model changed since the session began. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_commit(unsay_session *session);

/* Returns the trained copy to the original; examples and guard stay. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_rollback(unsay_session *session);

/* Drops the session and whatever was not committed. */
UNSAY_API void unsay_session_close(unsay_session *session);

/* In one call: trains on `examples` by likelihood for `steps` steps, commits. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_finetune(
    unsay_model *model, const unsay_example *examples, size_t count,
    const unsay_session_options *options, int32_t steps);

/* Whether an output shows the unwanted behaviour: anything but 0 if it does. `text` is
 * borrowed for the call. */
typedef int32_t (*unsay_detect_fn)(void *context, size_t input, const char *text);

typedef struct unsay_report_options {
    size_t                struct_size;
    const char           *title;       /* NULL = "A patch"                     */
    const unsay_sequence *inputs;      /* to write outputs for, before and after */
    size_t                input_count;
    const unsay_generate_options *generate;  /* NULL = defaults                */
    unsay_detect_fn       detect;      /* NULL = nobody can tell               */
    void                 *context;
} unsay_report_options;

UNSAY_API void unsay_report_options_init(unsay_report_options *options, size_t struct_size);

typedef struct unsay_report unsay_report;

/* What the session has done so far: its evaluations, the outputs it changed side by
 * side with the first token that differs and the KL there, prevalence by `detect`,
 * tensors by size of change. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_report(
    unsay_session *session, const unsay_report_options *options, unsay_report **out);

/* For programs, and for people: one page that loads nothing from anywhere. Borrowed
 * from the report. */
UNSAY_API const char *unsay_report_json(const unsay_report *report);
UNSAY_API const char *unsay_report_html(const unsay_report *report);

UNSAY_API void unsay_report_free(unsay_report *report);

/* ---- 7. Deltas: keep a patch apart from its model ------------------------ */

typedef struct unsay_delta unsay_delta;

/* What the session has changed so far, committed or not. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_session_delta(
    unsay_session *session, unsay_delta **out);

UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_open(
    const char *path, unsay_delta **out);
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_save(
    const unsay_delta *delta, const char *path);

typedef struct unsay_delta_info {
    size_t   struct_size;
    uint8_t  before[32], after[32];    /* model fingerprints                   */
    uint32_t tensor_count;             /* tensors that differ                  */
    uint32_t reserved;
    uint64_t changed_count;            /* parameters that differ               */
    double   change_norm;              /* L2 norm of the change                */
} unsay_delta_info;

UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_get_info(
    const unsay_delta *delta, unsay_delta_info *out);

/* Applies the delta to a model whose fingerprint is `before`, or takes it back
 * from one whose fingerprint is `after`; exact to the bit either way.
 * UNSAY_E_MISMATCH, and no change, on any other model. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_apply(
    const unsay_delta *delta, unsay_model *model);
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_revert(
    const unsay_delta *delta, unsay_model *model);

/* How the change came about, as JSON: options, seed, digest of the examples, last
 * evaluation, fingerprints of what was applied before. Borrowed from the delta. */
UNSAY_API const char *unsay_delta_metadata(const unsay_delta *delta);

/* One delta that does what `count` of them do, each of which leads to the weights
 * that the next begins with. The model's weights are those before the first or after
 * the last. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_squash(
    const unsay_delta *const *deltas, size_t count, const unsay_model *model,
    unsay_delta **out);

/* A session that would do on `model` what the delta did elsewhere: its options,
 * examples and guard, not run yet. UNSAY_E_STATE if it does not carry them
 * (keep_examples). */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_delta_rebase(
    const unsay_delta *delta, unsay_model *model, unsay_session **out);

UNSAY_API void unsay_delta_close(unsay_delta *delta);

/* The changes of a model since it was opened that are not taken back, by commits and
 * deltas: how many, and what the one at `index` is, 0 the first. Of a commit only
 * before and after are known until unsay_session_delta was called. */
UNSAY_API size_t unsay_model_applied_count(const unsay_model *model);
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_applied(
    const unsay_model *model, size_t index, unsay_delta_info *out);

/* Takes back the last of them. UNSAY_E_STATE if there is none, or if it is a commit
 * whose delta was never asked for. */
UNSAY_API UNSAY_MUST_CHECK unsay_status unsay_model_revert(unsay_model *model);

#ifdef __cplusplus
}
#endif

#endif /* UNSAY_H */
