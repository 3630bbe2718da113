//! The cases in which another core wakes a task of monoio, which needs its feature `sync`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    peers::main()
}
