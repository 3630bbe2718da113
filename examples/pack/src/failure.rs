//! Why the program does not do what it was asked, and what it exits with.

use std::fmt;
use std::io;

/// What could not be read, written or found, or is defective.
const EXIT_FAILED: u8 = 1;
/// The command line is wrong; what clap exits with.
const EXIT_USAGE: u8 = 2;
/// A signal ended it: this and the signal's number, as shells have it.
const EXIT_SIGNAL: u8 = 128;

/// Why the program does not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong: one line for people.
    Failed(String),
    /// The command line asks for something that cannot be.
    Usage(String),
    /// Everything was said already.
    Said,
    /// A signal said to stop.
    Stopped(u8),
    /// Whoever read the output wants no more of it.
    OutputClosed,
}

impl Failure {
    pub(crate) fn failed(what: &dyn fmt::Display) -> Self {
        Self::Failed(what.to_string())
    }

    /// Tells a reader that has gone, as `head` does, from output that cannot be written.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(format!("cannot write to standard output: {error}")),
        }
    }

    /// Returns the line to print, if there is anything to say.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Self::Failed(line) | Self::Usage(line) => Some(line.clone()),
            Self::Stopped(_) => Some("stopped by a signal; nothing was written".to_owned()),
            Self::Said | Self::OutputClosed => None,
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Said => EXIT_FAILED,
            Self::Usage(_) => EXIT_USAGE,
            Self::Stopped(signal) => EXIT_SIGNAL + signal,
            // It has what it wanted.
            Self::OutputClosed => 0,
        }
    }
}

impl<E: fmt::Display + std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(&error)
    }
}
