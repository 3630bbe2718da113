//! The wake list, the park state and the kick of one worker, in memory that is never freed.
//!
//! # Safety
//!
//! Blocks are leaked and recycled, never freed: whoever points at one may use what is atomic in it at
//! any time. The contract of the stack is handed on to the callers.
#![allow(
    unsafe_code,
    reason = "forwards the contract of the stack; writes to an eventfd"
)]

use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};

use crossbeam_utils::CachePadded;

use super::stack::{Chain, Link, Pushed, Stack};
use crate::shim::{AtomicU32, AtomicUsize, fence};

/// The worker looks at its lists before it parks: nobody needs to kick it.
const RUNNING: u32 = 0;
/// The worker waits in the kernel, or its turn has returned: the next notifier kicks.
const PARKED: u32 = 1;
/// One notifier has kicked since the worker parked; the others need not.
const KICKED: u32 = 2;

/// The cross-thread side of one worker.
///
/// Blocks are type-stable: they are leaked once and recycled through a pool, so a waker that
/// outlives its worker still points at a block. The worst that such a waker can do is to kick
/// the next owner once for nothing.
///
/// Park state: `RUNNING -> PARKED` by the owner in [`prepare_park`](Self::prepare_park),
/// `PARKED -> KICKED` by one notifier in [`notify`](Self::notify), anything `-> RUNNING` by the
/// owner in [`unpark`](Self::unpark).
#[derive(Debug)]
pub(crate) struct WakeBlock {
    /// Written by every thread that wakes.
    wakes: CachePadded<Stack>,
    /// Written by the owner, and by who kicks it; apart from the list, which others push to.
    park: CachePadded<AtomicU32>,
    /// Kicks sent to the owners of this block, ever.
    kicks_sent: AtomicUsize,
    /// Completed tasks whose entry in a queue has not been taken yet. Owner only.
    owed: AtomicUsize,
    kicker: Kicker,
}

impl WakeBlock {
    /// Takes a block from the pool, or makes one.
    pub(crate) fn acquire() -> &'static Self {
        pool::take().unwrap_or_else(|| Box::leak(Box::new(Self::new())))
    }

    /// Gives the block back for the next worker.
    ///
    /// # Safety
    ///
    /// - The caller is the block's owner and uses it no more.
    /// - Every task whose owner is this block is complete. Entries still owed to the wake list
    ///   may come later: the next owner takes them and drops the reference that each one holds.
    pub(crate) unsafe fn release(&'static self) {
        self.park.store(RUNNING, Relaxed);
        self.kicker.ignore_event();
        pool::give(self);
    }

    /// Adds a woken task and kicks the owner when it is parked; true when it did. Any thread.
    ///
    /// # Safety
    ///
    /// - `link` is in no list.
    /// - Its memory stays valid until the owner of this block took it.
    pub(crate) unsafe fn push_wake(&self, link: NonNull<Link>) -> bool {
        // SAFETY: both obligations are handed on to the caller; this stack is never closed.
        let pushed = unsafe { self.wakes.push(link) };
        pushed == Pushed::First && self.notify()
    }

    /// Takes the woken tasks, oldest first. Owner only.
    #[inline]
    pub(crate) fn take_wakes(&self) -> Chain {
        self.wakes.take()
    }

    /// Announces that the owner is about to wait, unless there is something to take.
    ///
    /// True: whoever pushes from now on kicks. False: the state is `RUNNING` again.
    /// `others_empty` looks at what else the owner takes from; it is called after the
    /// announcement is visible.
    pub(crate) fn prepare_park(&self, others_empty: impl FnOnce() -> bool) -> bool {
        // Release: a notifier that finds PARKED sees also whether the event is listened to.
        self.park.store(PARKED, Release);
        // Pairs with the fence in `notify`: either this thread sees the push, or the notifier
        // sees PARKED.
        fence(SeqCst);
        let empty = self.wakes.is_empty() && others_empty();
        if !empty {
            self.unpark();
        }
        empty
    }

    /// Ends a park, at the start of a turn; true when a kick was sent for it. Owner only.
    #[inline]
    pub(crate) fn unpark(&self) -> bool {
        self.park.load(Relaxed) != RUNNING && self.park.swap(RUNNING, AcqRel) == KICKED
    }

    /// Whether the next notifier would kick.
    pub(crate) fn is_parked(&self) -> bool {
        self.park.load(Relaxed) == PARKED
    }

    /// Kicks the owner if it is parked, and says whether; to be called after what it should see was
    /// published.
    pub(crate) fn notify(&self) -> bool {
        fence(SeqCst);
        let kicks = self.park.load(Relaxed) == PARKED
            && self
                .park
                .compare_exchange(PARKED, KICKED, AcqRel, Relaxed)
                .is_ok();
        if kicks {
            self.kicks_sent.fetch_add(1, Relaxed);
            self.kicker.kick();
        }
        kicks
    }

    /// The kicks sent to the owners of this block since it was made.
    #[cfg(test)]
    pub(crate) fn kicks_sent(&self) -> usize {
        self.kicks_sent.load(Relaxed)
    }

    /// The count of entries that are still to be taken for completed tasks. Owner only.
    pub(crate) fn owed(&self) -> usize {
        self.owed.load(Relaxed)
    }

    /// Notes that a task completed while an entry for it is in a queue. Owner only.
    pub(crate) fn owe(&self) {
        self.owed.store(self.owed() + 1, Relaxed);
    }

    /// Notes that the entry of a completed task was taken. Owner only.
    pub(crate) fn paid(&self) {
        debug_assert!(self.owed() > 0, "an entry was taken that nobody owed");
        self.owed.store(self.owed().saturating_sub(1), Relaxed);
    }

    fn new() -> Self {
        Self {
            wakes: CachePadded::new(Stack::new()),
            park: CachePadded::new(AtomicU32::new(RUNNING)),
            kicks_sent: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
            kicker: Kicker::new(),
        }
    }
}

#[cfg(not(corelane_loom))]
mod kicker {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    use super::WakeBlock;

    /// The eventfds of a block, open for ever once they were given.
    #[derive(Debug)]
    pub(super) struct Kicker {
        /// Ends a wait in the ring.
        kick: OnceLock<OwnedFd>,
        /// Ends a foreign loop's wait for the worker.
        event: OnceLock<OwnedFd>,
        /// Whether a foreign loop waits by `event`; written by the owner.
        listening: AtomicBool,
    }

    impl Kicker {
        pub(super) fn new() -> Self {
            Self {
                kick: OnceLock::new(),
                event: OnceLock::new(),
                listening: AtomicBool::new(false),
            }
        }

        pub(super) fn kick(&self) {
            if let Some(fd) = self.kick.get() {
                signal(fd);
            }
            if self.listening.load(Relaxed)
                && let Some(fd) = self.event.get()
            {
                signal(fd);
            }
        }

        pub(super) fn ignore_event(&self) {
            self.listening.store(false, Relaxed);
        }
    }

    fn signal(fd: &OwnedFd) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is readable for its length; the descriptor is open, as the block owns it
        // and is never freed. The result is of no use: the only failure of a non-blocking eventfd
        // is EAGAIN, and a full counter is readable already.
        unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    impl WakeBlock {
        /// The eventfd that a kick makes readable; made by `eventfd` when the block has none.
        ///
        /// It belongs to the block and passes to its next owner: it may be readable already.
        ///
        /// # Errors
        ///
        /// What `eventfd` returns.
        pub(crate) fn kick_fd(
            &'static self,
            eventfd: impl FnOnce() -> io::Result<OwnedFd>,
        ) -> io::Result<BorrowedFd<'static>> {
            given(&self.kicker.kick, eventfd)
        }

        /// The eventfd that a kick makes readable as well from now on, for a loop that does not
        /// wait in the ring: a ring does not reliably tell its registered eventfd of the
        /// completions that a write to another eventfd brings. Owner only.
        ///
        /// # Errors
        ///
        /// What `eventfd` returns.
        pub(crate) fn event_fd(
            &'static self,
            eventfd: impl FnOnce() -> io::Result<OwnedFd>,
        ) -> io::Result<BorrowedFd<'static>> {
            let event = given(&self.kicker.event, eventfd)?;
            self.kicker.listening.store(true, Relaxed);
            Ok(event)
        }
    }

    fn given(
        place: &'static OnceLock<OwnedFd>,
        eventfd: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> io::Result<BorrowedFd<'static>> {
        if place.get().is_none() {
            let fd = eventfd()?;
            place.get_or_init(|| fd);
        }
        Ok(place.get_or_init(|| unreachable!("set above")).as_fd())
    }
}

#[cfg(corelane_loom)]
mod kicker {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use super::WakeBlock;

    /// The model's eventfd.
    #[derive(Debug)]
    pub(super) struct Kicker(loom::sync::Notify);

    impl Kicker {
        pub(super) fn new() -> Self {
            Self(loom::sync::Notify::new())
        }

        pub(super) fn kick(&self) {
            self.0.notify();
        }

        pub(super) fn ignore_event(&self) {}
    }

    impl WakeBlock {
        /// A model has no descriptors: the worker, which asks for one, is built but never run.
        pub(crate) fn kick_fd(
            &'static self,
            _: impl FnOnce() -> io::Result<OwnedFd>,
        ) -> io::Result<BorrowedFd<'static>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// As `kick_fd`.
        pub(crate) fn event_fd(
            &'static self,
            _: impl FnOnce() -> io::Result<OwnedFd>,
        ) -> io::Result<BorrowedFd<'static>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Waits for a kick, as a read of the eventfd would.
        #[cfg(test)]
        pub(crate) fn wait_for_kick(&self) {
            self.kicker.0.wait();
        }
    }
}

use kicker::Kicker;

#[cfg(not(corelane_loom))]
mod pool {
    use std::sync::{Mutex, PoisonError};

    use super::WakeBlock;

    /// Blocks without an owner. A block in use is reachable from its worker and its tasks.
    static FREE: Mutex<Vec<&'static WakeBlock>> = Mutex::new(Vec::new());

    pub(super) fn take() -> Option<&'static WakeBlock> {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn give(block: &'static WakeBlock) {
        FREE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(block);
    }
}

/// A model starts from nothing each time: its atomics must not outlive one execution.
#[cfg(corelane_loom)]
mod pool {
    use super::WakeBlock;

    pub(super) fn take() -> Option<&'static WakeBlock> {
        None
    }

    pub(super) fn give(_: &'static WakeBlock) {}
}
