//! The state word of a task: flags in the low bits, the reference count above them.
//!
//! | flag | set by | cleared by |
//! |---|---|---|
//! | `SCHEDULED` | whoever wakes or aborts; at birth | the owner, before a poll |
//! | `COMPLETE` | the owner, once | never |
//! | `ABORTED` | `abort`, any thread | never |
//! | `JOIN_INTEREST` | at birth | the handle, when dropped before `COMPLETE` |
//! | `JOIN_WAKER` | the handle | the handle, before `COMPLETE` |
//!
//! - Whoever sets `SCHEDULED` on a task that is not complete owes one queue entry, and has the
//!   link until the entry is taken. The bit is cleared after the link was read.
//! - Before `COMPLETE` the stage holds the future and is the owner's. Once `COMPLETE` is set it
//!   holds the output, which is the handle's if `JOIN_INTEREST` was set at that moment, and
//!   was dropped by the owner otherwise.
//! - The join waker is the handle's while `JOIN_WAKER` is clear, and nobody's while it is set.
//!   The moment `COMPLETE` is set with `JOIN_WAKER`, it becomes the owner's for good.

use std::process;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::shim::AtomicUsize;

const SCHEDULED: usize = 1;
const COMPLETE: usize = 1 << 1;
const ABORTED: usize = 1 << 2;
const JOIN_INTEREST: usize = 1 << 3;
const JOIN_WAKER: usize = 1 << 4;
const REF_SHIFT: u32 = 5;
const REF_ONE: usize = 1 << REF_SHIFT;
/// More references than this are a leak in a loop: stop before the count can wrap.
const REF_MAX: usize = (usize::MAX >> REF_SHIFT) / 2;

#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// A value that the state had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot(usize);

impl Snapshot {
    pub(super) fn is_scheduled(self) -> bool {
        self.0 & SCHEDULED != 0
    }

    pub(super) fn is_complete(self) -> bool {
        self.0 & COMPLETE != 0
    }

    pub(super) fn has_join_interest(self) -> bool {
        self.0 & JOIN_INTEREST != 0
    }

    pub(super) fn has_join_waker(self) -> bool {
        self.0 & JOIN_WAKER != 0
    }

    fn refs(self) -> usize {
        self.0 >> REF_SHIFT
    }
}

/// What to do with an entry that was taken out of the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Poll,
    /// The task was aborted.
    Cancel,
    /// The task is complete and the entry owned a reference.
    Zombie,
}

/// What became of a transition to `COMPLETE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// The state has changed meanwhile: look again.
    Retry,
    /// Done, and the registry's reference is gone with it.
    Released,
    /// Nobody else refers to the task: to be freed.
    Last,
    /// Done; the registry's reference is still the caller's.
    Kept,
}

/// What the caller of a wake by value has to do; its reference is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Enqueue,
    Nothing,
    /// It was the last reference of a complete task: to be freed.
    Last,
}

/// What a dropped handle has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detach {
    /// Nothing: its reference is gone.
    Released,
    /// Drop the join waker, then its reference.
    DropWaker,
    /// Drop the output, then its reference.
    DropOutput,
}

impl State {
    /// A scheduled task with a handle: one reference for that, one for the registry.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(SCHEDULED | JOIN_INTEREST | (2 * REF_ONE)))
    }

    #[inline]
    pub(super) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Acquire))
    }

    /// Schedules the task; true: the caller owes the queue entry. Any thread.
    ///
    /// Never skipped on the strength of a load: the read-modify-write is what makes the waker's
    /// earlier writes visible to the poll that clears the bit.
    #[inline]
    pub(super) fn wake(&self) -> bool {
        self.0.fetch_or(SCHEDULED, AcqRel) & (SCHEDULED | COMPLETE) == 0
    }

    /// As [`wake`](Self::wake), by the owner's thread, which is the only one to clear the bit: an
    /// entry that it sees scheduled is polled later by this very thread.
    #[inline]
    pub(super) fn wake_on_owner(&self) -> bool {
        self.0.load(Relaxed) & (SCHEDULED | COMPLETE) == 0 && self.wake()
    }

    /// Schedules the task and drops the caller's reference, in one step. Any thread.
    #[inline]
    pub(super) fn wake_by_value(&self) -> Wake {
        let mut old = self.0.load(Relaxed);
        while old & COMPLETE == 0 {
            // Not the last reference: a task that is not complete is in the registry, or in the
            // list of spawns.
            let new = (old | SCHEDULED) - REF_ONE;
            match self.0.compare_exchange_weak(old, new, AcqRel, Relaxed) {
                Ok(_) if old & SCHEDULED == 0 => return Wake::Enqueue,
                Ok(_) => return Wake::Nothing,
                Err(now) => old = now,
            }
        }
        if self.drop_ref() {
            Wake::Last
        } else {
            Wake::Nothing
        }
    }

    /// Aborts and schedules the task; true: the caller owes the queue entry. Any thread.
    pub(super) fn abort(&self) -> bool {
        self.0.fetch_or(ABORTED | SCHEDULED, AcqRel) & (SCHEDULED | COMPLETE) == 0
    }

    /// Starts on an entry whose link has been read. Owner only, outside a poll of the task.
    #[inline]
    pub(super) fn start(&self) -> Start {
        let mut old = self.0.load(Acquire);
        if old & COMPLETE != 0 {
            return Start::Zombie;
        }
        if Snapshot(old).refs() == 1 {
            // The registry's: no handle, no waker, and no poll that could lend one.
            self.0.store(old & !SCHEDULED, Relaxed);
        } else {
            old = self.0.fetch_and(!SCHEDULED, AcqRel);
        }
        if old & ABORTED == 0 {
            Start::Poll
        } else {
            Start::Cancel
        }
    }

    /// Completes a task whose output is stored, or dropped if `seen` has no `JOIN_INTEREST`.
    /// Owner only, with the registry's reference, outside a poll of the task.
    #[inline]
    pub(super) fn complete(&self, seen: Snapshot) -> Complete {
        let kept = seen.is_scheduled() || seen.has_join_waker();
        if !kept && seen.refs() == 1 {
            return Complete::Last;
        }
        let new = (seen.0 | COMPLETE) - if kept { 0 } else { REF_ONE };
        match self.0.compare_exchange(seen.0, new, AcqRel, Relaxed) {
            Ok(_) if kept => Complete::Kept,
            Ok(_) => Complete::Released,
            Err(_) => Complete::Retry,
        }
    }

    /// Hands the join waker over; false: the task is complete and the waker is still the handle's.
    pub(super) fn set_join_waker(&self) -> bool {
        self.0.fetch_or(JOIN_WAKER, AcqRel) & COMPLETE == 0
    }

    /// Takes the join waker back; false: the task is complete and the waker was the owner's.
    pub(super) fn unset_join_waker(&self) -> bool {
        self.0.fetch_and(!JOIN_WAKER, AcqRel) & COMPLETE == 0
    }

    /// Gives up the handle's interest.
    #[inline]
    pub(super) fn detach(&self) -> Detach {
        let mut old = self.0.load(Acquire);
        while old & COMPLETE == 0 {
            let (new, detach) = if old & JOIN_WAKER == 0 {
                ((old & !JOIN_INTEREST) - REF_ONE, Detach::Released)
            } else {
                (old & !(JOIN_INTEREST | JOIN_WAKER), Detach::DropWaker)
            };
            match self.0.compare_exchange_weak(old, new, AcqRel, Acquire) {
                Ok(_) => return detach,
                Err(now) => old = now,
            }
        }
        Detach::DropOutput
    }

    /// Adds a reference for a caller that has, or borrows, one.
    #[inline]
    pub(super) fn add_ref(&self) {
        let old = self.0.fetch_add(REF_ONE, Relaxed);
        if refs_overflow(old >> REF_SHIFT) {
            process::abort();
        }
    }

    /// Drops a reference; true: it was the last, and the task is to be freed.
    #[inline]
    pub(super) fn drop_ref(&self) -> bool {
        // Alone, nobody can add a reference: no need for a read-modify-write.
        self.load().refs() == 1 || Snapshot(self.0.fetch_sub(REF_ONE, AcqRel)).refs() == 1
    }
}

/// Whether a count is so high that another reference must not be given out.
fn refs_overflow(refs: usize) -> bool {
    refs > REF_MAX
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_reference_count_stops_far_below_its_wrap() {
        assert!(!refs_overflow(0));
        assert!(!refs_overflow(REF_MAX));
        assert!(refs_overflow(REF_MAX + 1));
        // Every thread that Linux can have may add one between another's check and its abort.
        const { assert!(REF_MAX + (1 << 22) < usize::MAX >> REF_SHIFT) };
    }

    #[test]
    fn a_new_task_is_scheduled_joinable_and_referred_to_twice() {
        let state = State::new();
        let seen = state.load();
        assert!(seen.is_scheduled() && seen.has_join_interest());
        assert!(!seen.is_complete() && !seen.has_join_waker());
        assert_eq!(seen.refs(), 2);
        assert!(!state.wake(), "scheduled already");
    }
}
