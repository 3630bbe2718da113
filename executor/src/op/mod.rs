//! Operations: what a backend is asked to do, who owns the memory meanwhile, and what each kind
//! of operation makes of its result.
//!
//! The life of an operation:
//!
//! 1. **Not started**: the future owns the kind's memory as an ordinary value.
//! 2. **Queued** or **submitted**: the memory is in the operation's slot, erased to words. The
//!    future holds the key only. The kernel may read or write the memory.
//! 3. **Completed**: the last completion has arrived; the future takes the memory back.
//!
//! What dropping (or leaking, or aborting) the future does:
//!
//! | state | effect |
//! |---|---|
//! | not started | the memory is dropped as any value |
//! | queued | the slot and its memory are dropped; the kernel never saw them |
//! | submitted | the slot becomes *ignored*: memory stays until the last completion; a cancel is sent |
//! | completed | the slot is dropped, and a result that owns something (a descriptor) with it |
//!
//! Leaking the future leaves the slot as it is: the memory stays in the slab, which the leaked
//! future keeps alive beyond the end of the worker.
//!
//! # Safety
//!
//! [`Kind`] is the promise of each operation that its request points only into its memory, at
//! addresses that do not change when the memory's value moves.
#![allow(unsafe_code, reason = "declares the unsafe trait Kind")]

use std::io;

pub(crate) mod fd;
pub(crate) mod kinds;
pub(crate) mod lifecycle;
pub(crate) mod request;
pub(crate) mod slab;

pub(crate) use fd::SharedFd;
pub use request::ReadMode;
pub(crate) use request::Request;

use crate::buf::Erased;

/// The result of an operation, as the backend reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// A count, a descriptor, or a negated errno.
    pub(crate) result: i32,
    /// The completion's flags.
    pub(crate) flags: u32,
}

impl Outcome {
    #[inline]
    pub(crate) fn into_result(self) -> io::Result<u32> {
        crate::sys::result(self.result)
    }

    /// The outcome of an operation that no backend will ever finish.
    pub(crate) const fn gone() -> Self {
        Self {
            result: -libc::ECANCELED,
            flags: 0,
        }
    }
}

/// What becomes of a result that nobody takes: a descriptor is closed, a buffer given back.
pub(crate) type Dispose = fn(&mut Erased, Outcome);

/// A kind of operation.
///
/// # Safety
///
/// - Every pointer in the request points into `Memory` (or is static), to bytes that stay where
///   they are when the `Memory` value moves, and that live until it is dropped.
/// - The request's descriptors are those of `fd`, or ones that `Memory` keeps open.
pub(crate) unsafe trait Kind: Sized + 'static {
    /// What the kernel may touch, and what keeps its descriptors open.
    type Memory: 'static;
    /// What the future yields.
    type Output;

    /// What becomes of a result that nobody takes.
    const DISPOSE: Dispose = |_, _| {};

    /// Describes the operation. `memory` is plain bytes already (`Loose`), which move, but not
    /// as a value of its type, until it is taken back; `owner` identifies the driver that will run
    /// the operation.
    fn request(&self, memory: &mut Self::Memory, owner: usize) -> Request;

    /// Says whether an operation that ended as a cancelled one does was not made, so that it may be
    /// submitted again.
    fn is_undone(&self, _memory: &mut Self::Memory) -> bool {
        true
    }

    /// Makes the output of the result and the memory that came back.
    fn complete(&self, outcome: Outcome, memory: Self::Memory) -> Self::Output;
}

/// Closes a descriptor that nobody took.
pub(crate) fn close_untaken(_memory: &mut Erased, outcome: Outcome) {
    if let Ok(fd) = outcome.into_result() {
        drop(fd::own(fd));
    }
}
