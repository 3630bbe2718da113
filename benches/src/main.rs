//! Measures corelane against floors: the same work by the barest means that the system offers.
//!
//! Contenders of a case run interleaved, round by round, in one process and on one core, so that
//! what disturbs one disturbs all; each checks its result. Figures are medians over the rounds.
//! Absolute ones belong to one machine; the ratio is what travels.
#![deny(unsafe_code)]

mod cases;
mod client;
mod cold;
mod content;
mod crowd;
mod environment;
mod floors;
mod journal;
mod lateness;
mod measure;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use cases::Case;
use journal::Journal;

/// Why something could not be measured.
type Failure = Box<dyn Error + Send + Sync>;

/// What a case answers: nothing but its printed table.
type Outcome = Result<(), Failure>;

/// Measures cases against floors in the same run.
#[derive(Debug, Parser)]
#[command(name = "benches")]
struct Options {
    /// What to measure; all of it where nothing is named.
    #[arg(value_enum, value_name = "CASE")]
    cases: Vec<Case>,
    /// How often each contender runs; the medians are printed.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Writes what was measured to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The file that is read, made where it is missing. By default one in the user's cache folder.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Removes that file afterwards.
    #[arg(long)]
    remove_file: bool,
    /// The core to measure on; by default the last that this process may use.
    #[arg(long)]
    core: Option<usize>,
    /// How many workers `scaling` compares; the first is what the others are compared with. By
    /// default one, and as many as there are cores.
    #[arg(long, value_delimiter = ',', value_name = "N,N...",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Vec<u16>,
    /// The server that `server` measures; by default the one that was built beside this program.
    #[arg(long, value_name = "PROGRAM")]
    asset_server: Option<PathBuf>,
    #[arg(skip)]
    journal: Journal,
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
    let environment = environment::describe(&cores);
    for (name, value) in &environment {
        println!("{:<10} {value}", format!("{name}:"));
    }
    let ran = Case::run_all(options, &cores);
    if let Some(path) = &options.json {
        options.journal.write(path, &environment)?;
    }
    ran
}
