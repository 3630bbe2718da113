//! Places of a channel that its receiver has emptied and not given back under the lock yet.
//!
//! The receiver takes all values that are there at once, and empties their places one by one without
//! the lock. It counts them here; a sender that finds no place looks at the count, and takes back what
//! it finds. Only a sender that has to wait asks the receiver to come and give places back itself.

#[cfg(corelane_loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
#[cfg(not(corelane_loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Counts emptied places, and says whether a sender waits for one.
///
/// A sender asks and then looks at the count; the receiver counts and then looks whether it was asked.
/// A fence on each side makes sure that one of them sees the other.
#[derive(Debug)]
pub(super) struct Returns {
    /// All that were ever emptied, wrapping. Written by the receiver.
    emptied: AtomicUsize,
    /// Written under the lock of the queue.
    asked: AtomicBool,
}

impl Returns {
    pub(super) fn new() -> Self {
        Self {
            emptied: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
        }
    }

    /// Publishes how many were ever emptied; true when a sender asked for them. Receiver only.
    #[inline]
    pub(super) fn publish(&self, emptied: usize) -> bool {
        self.emptied.store(emptied, Ordering::Release);
        fence(Ordering::SeqCst);
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns how many were ever emptied.
    pub(super) fn emptied(&self) -> usize {
        self.emptied.load(Ordering::Acquire)
    }

    /// Asks the receiver to give back what it empties from now on. Under the lock, by a sender that
    /// looks at the count once more.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Takes the question back, when no sender waits any more. Under the lock.
    pub(super) fn stop_asking(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }
}
