//! Makes a model unsay a phrase that it writes for an input.
//!
//!     cargo run --release -- models/debsum "summarize: ..." simple patched-model
//!
//! Prints the output before and after, and writes the patched model to a new folder. A patch
//! in earnest also has many examples, and a guard of inputs that must not change.

mod ffi;
mod unsay;

use std::{env, process::ExitCode};

const MAX_NEW_TOKENS: i32 = 64;

fn run(folder: &str, input: &str, phrase: &str, new_folder: &str) -> Result<(), unsay::Error> {
    let model = unsay::Model::open(folder)?;
    let before = model.generate(input, MAX_NEW_TOKENS)?;
    let log_p: f32 = before.log_probabilities.iter().sum();
    println!("before: {} (log-probability {log_p:.2})", before.text);

    let mut session = model.session()?;
    let marks = model.mark_phrase(&before.ids, phrase)?;
    session.add(input, &before.ids, &marks)?;
    let goal_met = session.run(40, |step, avoid_p| {
        println!("step {step:2}: avoided p {avoid_p:.4}");
    })?;
    if !goal_met {
        println!("the goal was not met in time");
    }
    session.commit()?;

    println!("after:  {}", model.generate(input, MAX_NEW_TOKENS)?.text);
    model.save(new_folder)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [folder, input, phrase, new_folder] => match run(folder, input, phrase, new_folder) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => eprintln!("{error}"),
        },
        _ => eprintln!("unsay-example MODEL_FOLDER INPUT PHRASE NEW_FOLDER"),
    }
    ExitCode::FAILURE
}
