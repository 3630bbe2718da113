//! Makes, lists, reads, checks and measures pack files: `pack build|ls|cat|verify|bench`.
//!
//! It uses the public interface of `blobio` alone, and only its blocking readers.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod build;
mod cat;
mod failure;
mod list;
mod meter;
mod open;
mod units;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Command::Build(args) => build::run(args),
        Command::Ls(args) => list::run(args),
        Command::Cat(args) => cat::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Bench(args) => bench::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(line) = failure.line() {
                // Nobody is left to tell if standard error is gone.
                let _ = writeln!(io::stderr(), "pack: {line}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
