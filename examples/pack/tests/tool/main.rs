//! The program, as people run it.
#![forbid(unsafe_code)]

mod build;
mod read;
mod refused;
mod stopped;
mod util;
