//! The part of the library that this program uses, as Rust would have it: handles that close
//! themselves, failures as `Result`.

use crate::ffi;
use std::{
    any::Any,
    ffi::{CStr, CString},
    fmt, mem,
    os::raw::{c_int, c_void},
    panic::{self, AssertUnwindSafe},
    ptr, slice,
};

/// A status and the library's sentence about it.
#[derive(Debug)]
pub struct Error {
    pub status: i32,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let name = unsafe { CStr::from_ptr(ffi::unsay_status_name(self.status)) };
        write!(out, "{}: {}", name.to_string_lossy(), self.message)
    }
}

impl std::error::Error for Error {}

/// The sentence is this thread's, and is read before anything else is called.
fn check(status: ffi::Status) -> Result<(), Error> {
    if status == ffi::OK {
        return Ok(());
    }
    let message = unsafe { CStr::from_ptr(ffi::unsay_last_error()) };
    Err(Error {
        status,
        message: message.to_string_lossy().into_owned(),
    })
}

fn c_string(text: &str, name: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error {
        status: -10,
        message: format!("{name} holds a NUL byte"),
    })
}

fn text(text: &str) -> ffi::Sequence {
    ffi::Sequence {
        text: text.as_ptr().cast(),
        text_size: text.len(),
        ids: ptr::null(),
        id_count: 0,
    }
}

fn ids(ids: &[i32]) -> ffi::Sequence {
    ffi::Sequence {
        text: ptr::null(),
        text_size: 0,
        ids: ids.as_ptr(),
        id_count: ids.len(),
    }
}

/// What a model wrote.
pub struct Output {
    pub text: String,
    pub ids: Vec<i32>,
    pub log_probabilities: Vec<f32>,
}

/// An opened model.
pub struct Model(*mut ffi::Model);

// The library lets any threads use a model at once.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    pub fn open(folder: &str) -> Result<Model, Error> {
        let found = unsafe { ffi::unsay_abi_version() };
        if found != ffi::ABI_VERSION {
            let message = format!("libunsay speaks ABI {found}, expected {}", ffi::ABI_VERSION);
            return Err(Error {
                status: -30,
                message,
            });
        }
        let folder = c_string(folder, "folder")?;
        let mut model = ptr::null_mut();
        check(unsafe { ffi::unsay_model_open(folder.as_ptr(), ptr::null(), &mut model) })?;
        Ok(Model(model))
    }

    pub fn save(&self, folder: &str) -> Result<(), Error> {
        let folder = c_string(folder, "folder")?;
        check(unsafe { ffi::unsay_model_save(self.0, folder.as_ptr()) })
    }

    pub fn generate(&self, input: &str, max_new_tokens: i32) -> Result<Output, Error> {
        let input = text(input);
        let mut result = Outputs(ptr::null_mut());
        unsafe {
            let mut options: ffi::GenerateOptions = mem::zeroed();
            ffi::unsay_generate_options_init(&mut options, mem::size_of_val(&options));
            options.max_new_tokens = max_new_tokens;
            check(ffi::unsay_generate(
                self.0,
                &input,
                1,
                &options,
                &mut result.0,
            ))?;
            let mut best: ffi::Hypothesis = mem::zeroed();
            best.struct_size = mem::size_of_val(&best);
            check(ffi::unsay_result_get(result.0, 0, 0, &mut best))?;
            let written = slice::from_raw_parts(best.text.cast(), best.text_size);
            Ok(Output {
                text: String::from_utf8_lossy(written).into_owned(),
                ids: slice::from_raw_parts(best.ids, best.id_count).to_vec(),
                log_probabilities: slice::from_raw_parts(best.log_probabilities, best.id_count)
                    .to_vec(),
            })
        }
    }

    /// One mark for each id of an output: -1 where the phrase stands, 1 elsewhere.
    pub fn mark_phrase(&self, output: &[i32], phrase: &str) -> Result<Vec<i8>, Error> {
        let phrase = c_string(phrase, "phrase")?;
        let output = ids(output);
        let mut marks = vec![0; output.id_count];
        let mut count = 0;
        check(unsafe {
            ffi::unsay_mark_phrases(
                self.0,
                &output,
                &phrase.as_ptr(),
                1,
                ffi::EXTENT_ALL,
                marks.as_mut_ptr(),
                marks.len(),
                &mut count,
            )
        })?;
        Ok(marks)
    }

    pub fn session(&self) -> Result<Session, Error> {
        let mut session = ptr::null_mut();
        check(unsafe { ffi::unsay_session_create(self.0, ptr::null(), &mut session) })?;
        Ok(Session(session))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { ffi::unsay_model_close(self.0) }
    }
}

/// What `unsay_generate` hands out.
struct Outputs(*mut ffi::Result);

impl Drop for Outputs {
    fn drop(&mut self) {
        unsafe { ffi::unsay_result_free(self.0) }
    }
}

/// A private, trained copy of a model; dropped, whatever was not committed goes with it.
/// It keeps the model's weights alive by itself.
pub struct Session(*mut ffi::Session);

unsafe impl Send for Session {}

impl Session {
    pub fn add(&mut self, input: &str, output: &[i32], marks: &[i8]) -> Result<(), Error> {
        let example = ffi::Example {
            input: text(input),
            output: ids(output),
            marks: marks.as_ptr(),
            mark_count: marks.len(),
            also_avoid: ptr::null(),
            also_avoid_count: 0,
            weight: 1.0,
            reserved: [0; 3],
        };
        check(unsafe { ffi::unsay_session_add(self.0, &example, 1) })
    }

    /// Trains; `on_step` sees each step and its probability of the avoided tokens. Whether
    /// the goal was met.
    pub fn run<F: FnMut(i32, f32)>(&mut self, max_steps: i32, on_step: F) -> Result<bool, Error> {
        let mut caller = Caller {
            on_step,
            panic: None,
        };
        let mut ending = 0;
        let status = unsafe {
            let mut options: ffi::RunOptions = mem::zeroed();
            ffi::unsay_run_options_init(&mut options, mem::size_of_val(&options));
            options.max_steps = max_steps;
            options.evaluate_every = 1;
            options.on_step = Some(call::<F>);
            options.context = &mut caller as *mut Caller<F> as *mut c_void;
            ffi::unsay_session_run(self.0, &options, &mut ending)
        };
        if let Some(panic) = caller.panic {
            panic::resume_unwind(panic);
        }
        check(status)?;
        Ok(ending == ffi::ENDING_GOAL)
    }

    /// Makes the trained weights the model's.
    pub fn commit(&mut self) -> Result<(), Error> {
        check(unsafe { ffi::unsay_session_commit(self.0) })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        unsafe { ffi::unsay_session_close(self.0) }
    }
}

/// What a run hands through C: the callback, and the panic that it ended with.
struct Caller<F> {
    on_step: F,
    panic: Option<Box<dyn Any + Send>>,
}

/// A panic must not unwind through the library: it stops the run, and goes on behind it.
unsafe extern "C" fn call<F: FnMut(i32, f32)>(
    context: *mut c_void,
    step: *const ffi::Step,
) -> c_int {
    let caller = &mut *(context as *mut Caller<F>);
    let (step, avoid_p) = ((*step).step, (*step).avoid_p);
    match panic::catch_unwind(AssertUnwindSafe(|| (caller.on_step)(step, avoid_p))) {
        Ok(()) => ffi::CONTINUE,
        Err(panic) => {
            caller.panic = Some(panic);
            ffi::STOP
        }
    }
}
