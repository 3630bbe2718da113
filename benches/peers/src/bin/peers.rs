//! The cases on the runtimes as their documentation sets them up.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    peers::main()
}
