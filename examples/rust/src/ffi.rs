//! What this program uses of include/unsay.h, declared by hand: same names, same order.
//!
//! Options structs are declared as far as they are used and a little more: the library fills
//! and reads `struct_size` bytes of them, so a prefix of a struct is an older version of it.

use std::os::raw::{c_char, c_int, c_void};

pub type Status = c_int;
pub const OK: Status = 0;
pub const ABI_VERSION: u32 = 1;
pub const CONTINUE: c_int = 0;
pub const STOP: c_int = 1;
pub const EXTENT_ALL: c_int = 0;
pub const ENDING_GOAL: c_int = 1;

/// Handles: only ever behind a pointer.
#[repr(C)]
pub struct Model(c_void);
#[repr(C)]
pub struct Result(c_void);
#[repr(C)]
pub struct Session(c_void);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sequence {
    pub text: *const c_char,
    pub text_size: usize,
    pub ids: *const i32,
    pub id_count: usize,
}

/// The beginning of `unsay_generate_options`.
#[repr(C)]
pub struct GenerateOptions {
    pub struct_size: usize,
    pub max_new_tokens: i32,
    pub min_new_tokens: i32,
    pub num_beams: i32,
    pub num_return_sequences: i32,
}

/// The beginning of `unsay_hypothesis`.
#[repr(C)]
pub struct Hypothesis {
    pub struct_size: usize,
    pub text: *const c_char,
    pub text_size: usize,
    pub ids: *const i32,
    pub log_probabilities: *const f32,
    pub id_count: usize,
}

#[repr(C)]
pub struct Example {
    pub input: Sequence,
    pub output: Sequence,
    pub marks: *const i8,
    pub mark_count: usize,
    pub also_avoid: *const i32,
    pub also_avoid_count: usize,
    pub weight: f32,
    pub reserved: [u32; 3],
}

/// The beginning of `unsay_step`.
#[repr(C)]
pub struct Step {
    pub struct_size: usize,
    pub step: i32,
    pub loss: f32,
    pub avoid_loss: f32,
    pub keep_loss: f32,
    pub avoid_p: f32,
}

/// The beginning of `unsay_run_options`.
#[repr(C)]
pub struct RunOptions {
    pub struct_size: usize,
    pub max_steps: i32,
    pub evaluate_every: i32,
    pub on_step: Option<unsafe extern "C" fn(*mut c_void, *const Step) -> c_int>,
    pub context: *mut c_void,
}

extern "C" {
    pub fn unsay_abi_version() -> u32;
    pub fn unsay_last_error() -> *const c_char;
    pub fn unsay_status_name(status: Status) -> *const c_char;

    pub fn unsay_model_open(
        folder: *const c_char,
        options: *const c_void,
        out: *mut *mut Model,
    ) -> Status;
    pub fn unsay_model_save(model: *const Model, folder: *const c_char) -> Status;
    pub fn unsay_model_close(model: *mut Model);

    pub fn unsay_generate_options_init(options: *mut GenerateOptions, struct_size: usize);
    pub fn unsay_generate(
        model: *const Model,
        inputs: *const Sequence,
        count: usize,
        options: *const GenerateOptions,
        out: *mut *mut Result,
    ) -> Status;
    pub fn unsay_result_get(
        result: *const Result,
        input: usize,
        rank: usize,
        out: *mut Hypothesis,
    ) -> Status;
    pub fn unsay_result_free(result: *mut Result);

    pub fn unsay_mark_phrases(
        model: *const Model,
        output: *const Sequence,
        phrases: *const *const c_char,
        phrase_count: usize,
        extent: c_int,
        marks: *mut i8,
        capacity: usize,
        count: *mut usize,
    ) -> Status;

    pub fn unsay_session_create(
        model: *mut Model,
        options: *const c_void,
        out: *mut *mut Session,
    ) -> Status;
    pub fn unsay_session_add(
        session: *mut Session,
        examples: *const Example,
        count: usize,
    ) -> Status;
    pub fn unsay_run_options_init(options: *mut RunOptions, struct_size: usize);
    pub fn unsay_session_run(
        session: *mut Session,
        options: *const RunOptions,
        ending: *mut c_int,
    ) -> Status;
    pub fn unsay_session_commit(session: *mut Session) -> Status;
    pub fn unsay_session_close(session: *mut Session);
}
