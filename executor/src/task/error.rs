//! Why a task has no output, and why a spawn was refused.
//!
//! # Safety
//!
//! A payload is moved out by value, or dropped, but never reached through a shared reference.
#![allow(
    unsafe_code,
    reason = "a panic payload is shared between threads without access to it"
)]

use std::any::Any;
use std::error::Error;
use std::fmt;

use crate::mailbox::Refused;

/// Says why a task ended without its output.
pub struct JoinError(Cause);

enum Cause {
    Cancelled,
    WorkerGone,
    /// Boxed, so that the outcome of a task that returns a word is two: what is larger is moved in parts
    /// that a processor cannot forward from one move to the next.
    Panic(Box<Payload>),
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Result<u64, JoinError>>() == 16, "two words");

/// What a panic was called with.
struct Payload(Box<dyn Any + Send>);

// SAFETY: a shared reference gives access to the payload only through `message`, which reads it
// if it is a `&'static str` or a `String`, both `Sync`.
unsafe impl Sync for Payload {}

impl Payload {
    fn message(&self) -> Option<&str> {
        match self.0.downcast_ref::<&'static str>() {
            Some(message) => Some(message),
            None => self.0.downcast_ref::<String>().map(String::as_str),
        }
    }
}

impl JoinError {
    /// Tells whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Cause::Panic(_))
    }

    /// Tells whether the task was aborted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Cause::Cancelled)
    }

    /// Tells whether the task's worker shut down before the task was done.
    #[must_use]
    pub fn is_worker_gone(&self) -> bool {
        matches!(self.0, Cause::WorkerGone)
    }

    /// Returns what the task panicked with, for `std::panic::resume_unwind`.
    ///
    /// # Panics
    ///
    /// If the task did not panic: see [`is_panic`](Self::is_panic).
    #[must_use]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.0 {
            Cause::Panic(payload) => payload.0,
            Cause::Cancelled | Cause::WorkerGone => panic!("no panic to take: {self}"),
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self(Cause::Cancelled)
    }

    pub(crate) fn worker_gone() -> Self {
        Self(Cause::WorkerGone)
    }

    #[cold]
    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> Self {
        Self(Cause::Panic(Box::new(Payload(payload))))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Cancelled => f.write_str("the task was aborted"),
            Cause::WorkerGone => f.write_str("the task's worker has shut down"),
            Cause::Panic(payload) => match payload.message() {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Cancelled => f.write_str("JoinError::Cancelled"),
            Cause::WorkerGone => f.write_str("JoinError::WorkerGone"),
            Cause::Panic(payload) => f
                .debug_tuple("JoinError::Panic")
                .field(&payload.message())
                .finish(),
        }
    }
}

impl Error for JoinError {}

impl From<JoinError> for std::io::Error {
    /// An error of the kind `Other`, which says what the task's end was.
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}

/// Gives back what a worker did not accept, and says why.
pub struct SpawnError<C> {
    kind: SpawnErrorKind,
    closure: C,
}

/// Says why a spawn was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnErrorKind {
    /// As many spawns wait for the worker as its mailbox holds; later there may be room.
    Full,
    /// The worker has shut down.
    WorkerGone,
}

impl<C> SpawnError<C> {
    /// Returns why the spawn was refused.
    #[must_use]
    pub fn kind(&self) -> SpawnErrorKind {
        self.kind
    }

    /// Returns the closure, which was not called.
    #[must_use]
    pub fn into_inner(self) -> C {
        self.closure
    }

    /// Drops the closure and keeps the reason.
    pub(crate) fn without_closure(self) -> SpawnError<()> {
        SpawnError {
            kind: self.kind,
            closure: (),
        }
    }

    pub(super) fn new(refused: Refused, closure: C) -> Self {
        let kind = match refused {
            Refused::Full => SpawnErrorKind::Full,
            Refused::Closed => SpawnErrorKind::WorkerGone,
        };
        Self { kind, closure }
    }
}

impl<C> fmt::Display for SpawnError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SpawnErrorKind::Full => "the worker's mailbox is full of spawns",
            SpawnErrorKind::WorkerGone => "the worker has shut down",
        })
    }
}

impl<C> fmt::Debug for SpawnError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<C> Error for SpawnError<C> {}
