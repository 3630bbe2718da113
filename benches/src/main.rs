//! Measures corelane against floors: the same work by the barest means that the system offers.
//!
//! Contenders of a case run interleaved, round by round, in one process and on one core, so that
//! what disturbs one disturbs all; each checks its result. Figures are medians over the rounds.
//! Absolute ones belong to one machine; the ratio is what travels.
#![deny(unsafe_code)]

mod cases;
mod cold;
mod content;
mod environment;
mod floors;
mod lateness;
mod measure;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use cases::Case;

/// Why something could not be measured.
type Failure = Box<dyn Error + Send + Sync>;

/// What a case answers: nothing but its printed table.
type Outcome = Result<(), Failure>;

/// Measures one case, or all of them, against floors in the same run.
#[derive(Debug, Parser)]
#[command(name = "benches")]
struct Options {
    /// What to measure.
    #[arg(value_enum)]
    case: Case,
    /// How often each contender runs; the medians are printed.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The file that `read_cached` and `adaptive` read, made where it is missing. By default one in the user's
    /// cache folder.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Removes that file afterwards.
    #[arg(long)]
    remove_file: bool,
    /// The core to measure on; by default the last that this process may use.
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome {
    let cores = environment::Cores::of_process(options.core)?;
    environment::print(&cores);
    options.case.run(options, &cores)
}
