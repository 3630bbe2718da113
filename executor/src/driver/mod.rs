//! The driver: a backend and the slab of operations that it works on.
//!
//! Who calls: the worker, once or more a turn, and operations when they are polled or dropped.
//! No user code (wakers, drops of buffers) runs inside: what is to be woken or dropped is handed
//! out in [`Delivery`] and happens after the borrow of the driver has ended.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Config;
use crate::error::SetupError;
use crate::op::Outcome;
use crate::op::lifecycle::{Action, Lifecycle};
use crate::op::slab::{OpKey, OpSlab, Removed, Results, Slot};
use crate::ring::{Cqe, Pending, Wait};

mod backend;
mod cancels;
mod dispatch;
mod lane;
mod multishot;
mod op;
mod registered;
#[cfg(feature = "sim")]
mod sim;
mod submit;
mod threads;
mod uring;

use lane::Lane;

pub(crate) use backend::Backend;
use cancels::Cancels;
pub(crate) use dispatch::Delivery;
pub(crate) use multishot::Multishot;
pub(crate) use op::Op;

/// Submissions whose deferred work an enter runs at the least, if so many have any (Linux 6.13; before,
/// all of them).
const DEFERRED_RUN_MIN: usize = 20;

/// A multishot operation whose consumer is this many results behind is cancelled, and armed
/// again once the consumer has caught up.
const READY_MAX: usize = 256;

/// How long the kernel is left alone after it refused an enter.
const BACKOFF: Duration = Duration::from_micros(100);

/// What the driver has done since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) enters: u64,
    pub(crate) overflows: u64,
    pub(crate) queued_high_water: usize,
    pub(crate) unknown: u64,
}

/// A backend and its operations.
#[derive(Debug)]
pub(crate) struct Driver {
    /// `None` once the driver is closed.
    backend: Option<Backend>,
    slab: OpSlab,
    lanes: [Lane; 2],
    cancels: Cancels,
    /// Bytes of reads pushed since the last enter.
    inline_bytes: u64,
    inline_bytes_max: u64,
    kick_fd: RawFd,
    kick_armed: bool,
    /// Identities of buffer groups that were given back, and the first that never was in use.
    groups_free: Vec<u16>,
    groups_next: u16,
    /// Keeps memory mapped that is registered with the ring.
    registered: Vec<Arc<dyn Any + Send + Sync>>,
    cqes: Vec<Cqe>,
    /// The waker of the task whose operation was finished last, for the next operation of the same
    /// task: most tasks ask for the next as soon as they have one. Never one of the user's own
    /// making: dispatch leaves only wakers of tasks in the slots. Gone by the next enter, or the
    /// close.
    spare: Option<Waker>,
    counters: Counters,
}

/// A driver shared by its worker and the objects made on it.
pub(crate) type DriverRef = Rc<RefCell<Driver>>;

impl Driver {
    /// Makes the backend on the calling thread. A write to the eventfd `kick_fd`, which outlives
    /// the driver, ends a wait.
    pub(crate) fn new(config: &Config, kick_fd: RawFd) -> Result<Self, SetupError> {
        let backend = Backend::new(config)?;
        let cq_entries = backend.cq_entries();
        // One completion for the kick, a few for cancels, the rest for operations.
        let cancels_max = (cq_entries / 8).clamp(1, 64);
        let credits_max = cq_entries - cancels_max - 1;
        Ok(Self {
            backend: Some(backend),
            slab: OpSlab::default(),
            lanes: [Lane::new(credits_max), Lane::new(config.peer_ops_max)],
            cancels: Cancels::new(cancels_max),
            inline_bytes: 0,
            inline_bytes_max: config.submit_bytes_max as u64,
            kick_fd,
            kick_armed: false,
            groups_free: Vec::new(),
            groups_next: 0,
            registered: Vec::new(),
            cqes: Vec::with_capacity(crate::config::REAP_BATCH),
            spare: None,
            counters: Counters::default(),
        })
    }

    pub(crate) fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }

    pub(crate) fn backend_mut(&mut self) -> Option<&mut Backend> {
        self.backend.as_mut()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how many operations the backend works on.
    pub(crate) fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight).sum()
    }

    /// Returns how many slots are in use, and the most that ever were.
    pub(crate) fn slots(&self) -> (usize, usize) {
        (self.slab.len(), self.slab.high_water())
    }

    /// Says whether operations, cancels or the kick wait to be pushed, or pushed ones to be
    /// submitted. Without the kick in place nobody could tell a worker that only turns, and is
    /// waited for by its descriptor.
    #[inline]
    pub(crate) fn has_unsubmitted(&mut self) -> bool {
        let Some(backend) = &mut self.backend else {
            return false;
        };
        !self.kick_armed
            || self.lanes.iter().any(|lane| lane.waiting() > 0)
            || self.cancels.any_waits()
            || backend.queued() > 0
            || backend.wants_look()
    }

    /// Says whether an enter has something to submit now.
    #[inline]
    pub(crate) fn can_progress(&mut self) -> bool {
        let Some(backend) = &mut self.backend else {
            return false;
        };
        let waiting = |lane: &Lane| lane.waiting() > 0 && lane.has_credit();
        self.cancels.can_push() || self.lanes.iter().any(waiting) || backend.queued() > 0
    }

    /// Returns when operations are to be asked once more to stop.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.cancels.next_deadline()
    }

    /// Asks those operations once more to stop whose time has come.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.cancels.ask_again(now);
    }

    /// Looks for completions without a system call.
    #[inline]
    pub(crate) fn pending(&mut self) -> Pending {
        match &mut self.backend {
            Some(backend) => backend.pending(),
            None => Pending::NOTHING,
        }
    }

    /// As [`pending`](Self::pending), for a worker that does not come to wait: where only an
    /// enter can tell, it may have something; and a ring that works on no operation has nothing
    /// that would not wait for the end of the turn.
    #[inline]
    pub(crate) fn pending_or_unseen(&mut self) -> Pending {
        let idle = self.lanes.iter().all(Lane::is_idle);
        match &mut self.backend {
            Some(Backend::Uring(uring)) if !idle => uring.pending(),
            None | Some(Backend::Uring(_)) => Pending::NOTHING,
            Some(backend) => {
                let mut pending = backend.pending();
                pending.deferred |= backend.wants_look();
                pending
            }
        }
    }

    /// Says whether a wait runs what is deferred before it waits, and while it does.
    pub(crate) fn wait_fetches_deferred(&self) -> bool {
        matches!(self.backend, Some(Backend::Uring(_)))
    }

    /// Says whether `enters` one after the other that brought no completion have run everything that
    /// was deferred before: the kernel defers each submission at most once at a time, and an enter runs
    /// no fewer than [`DEFERRED_RUN_MIN`] of them.
    pub(crate) fn has_fetched_all(&self, enters: usize) -> bool {
        // The kick is a submission as well.
        let submissions = self.in_flight() + self.cancels.out() + 1;
        self.wait_fetches_deferred() && enters > submissions.div_ceil(DEFERRED_RUN_MIN)
    }

    /// Pushes what waits, submits it, and waits as told.
    ///
    /// # Errors
    ///
    /// `EBADR`: the kernel lost a completion; no operation can be relied on any more.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.spare = None;
        self.pump();
        let Some(backend) = &mut self.backend else {
            return Ok(());
        };
        self.counters.enters += 1;
        self.counters.overflows += u64::from(backend.overflowed());
        self.inline_bytes = 0;
        match backend.enter(wait) {
            Err(error) if is_backpressure(&error) => {
                // The kernel cannot take more now, whether it was to wait or not: do not ask at once again.
                if !backend.pending().ready {
                    clock::pause(BACKOFF);
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Returns what an operation needs to know before it is submitted: the driver's identity, and
    /// the waker of the task that `waker` belongs to, if it is at hand.
    #[inline]
    fn start(&mut self, waker: &Waker) -> (usize, Option<Waker>) {
        let spare = self.spare.take_if(|spare| spare.will_wake(waker));
        (self.identity(), spare)
    }

    /// Takes a result of `key`, or says whether `waker` is in place to be woken when there is one.
    /// After the last result, [`finish`](Self::finish) takes the rest.
    #[inline]
    fn poll(&mut self, key: OpKey, waker: &Waker) -> Polled {
        let Some(slot) = self.slab.get_mut(key) else {
            return Polled::Gone;
        };
        if let Some(outcome) = slot.pop_result() {
            return Polled::Ready {
                outcome,
                last: slot.lifecycle == Lifecycle::Completed && slot.results.len() == 0,
                paused: slot.paused,
            };
        }
        match &slot.waker {
            // The planted bug: whoever polled first is woken, whoever waits.
            #[cfg(corelane_planted = "lost_wake")]
            Some(_) => Polled::Pending,
            Some(current) if current.will_wake(waker) => Polled::Pending,
            _ => Polled::NeedsWaker,
        }
    }

    /// Takes the memory of an operation whose last result was taken; its slot is free.
    #[inline(always)]
    fn finish<M: 'static>(&mut self, key: OpKey) -> M {
        let (memory, waker) = self.slab.finish(key);
        // The waker that is replaced is a task's: dropping it runs no code of the user's.
        self.spare = waker;
        memory
    }

    /// Takes back what an operation brought to a closed driver. Its waker may be anybody's: it is
    /// dropped by the caller, after the borrow.
    fn give_back<M: 'static>(&mut self, key: OpKey) -> (M, Option<Waker>) {
        self.slab.finish(key)
    }

    /// Leaves `waker` in the slot and returns the one that was there, or `waker` itself when a
    /// result has arrived meanwhile. Either is dropped by the caller, after the borrow.
    fn set_waker(&mut self, key: OpKey, waker: Waker) -> WakerSet {
        match self.slab.get_mut(key) {
            Some(slot) if slot.results.len() == 0 => WakerSet::Set {
                replaced: slot.waker.replace(waker),
            },
            _ => WakerSet::Refused { waker },
        }
    }

    /// Lets go of an operation. What is returned is dropped by the caller, after the borrow.
    fn ignore(&mut self, key: OpKey) -> (Option<Removed>, Option<Waker>) {
        let Some(slot) = self.slab.get_mut(key) else {
            return (None, None);
        };
        let was_queued = slot.lifecycle == Lifecycle::Queued;
        let (lifecycle, action) = slot.lifecycle.ignored();
        slot.lifecycle = lifecycle;
        match action {
            Action::Free => {
                let lane = slot.lane;
                let removed = self.slab.remove(key);
                if was_queued {
                    self.lanes[lane as usize].bury(key);
                }
                (removed, None)
            }
            Action::Cancel => {
                let waker = slot.waker.take();
                while let Some(outcome) = self.slab.get_mut(key).and_then(Slot::pop_result) {
                    self.slab.dispose_of(key, outcome);
                }
                #[cfg(corelane_planted = "free_on_drop")]
                {
                    // The planted bug that the tests of dropping must find.
                    self.slab.plant_free(key);
                }
                self.cancel(key);
                (None, waker)
            }
            Action::Keep | Action::Deliver | Action::Dispose => (None, None),
        }
    }

    /// Asks the backend to stop an operation; its completions still come. Returns the waker of
    /// an operation that had not been submitted yet and is over now.
    fn cancel(&mut self, key: OpKey) -> Option<Waker> {
        let slot = self.slab.get_mut(key)?;
        if slot.lifecycle == Lifecycle::Queued {
            slot.lifecycle = Lifecycle::Completed;
            slot.push_result(Outcome::gone());
            let waker = slot.waker.take();
            let lane = slot.lane;
            self.lanes[lane as usize].bury(key);
            return waker;
        }
        if self.backend.is_some() {
            self.cancels.ask(key);
        }
        None
    }

    /// Cancels everything and reaps until the kernel has let go of all memory or the deadline
    /// has passed; then closes the backend. Results are delivered into `delivery` as ever.
    ///
    /// Returns how many operations, and with them their memory, had to be leaked.
    pub(crate) fn close(&mut self, deadline: Instant, delivery: &mut Delivery) -> usize {
        const STEP: Duration = Duration::from_millis(50);
        self.close_lanes(delivery);
        let mut progress = 0;
        while self.in_flight() > 0 {
            if progress == 0 {
                // Again, too, when a step has brought nothing: a cancel that found its operation
                // at work has no effect (`EALREADY`), and the operation may wait again since.
                self.cancels.ask_all(self.slab.in_flight());
            }
            let now = clock::now();
            let wait = deadline.saturating_duration_since(now).min(STEP);
            let entered = self.enter(if wait.is_zero() {
                Wait::No
            } else {
                Wait::Timeout(wait)
            });
            progress = self.dispatch(delivery);
            if entered.is_err() || (progress == 0 && now >= deadline) {
                break;
            }
        }
        let leaked = self.in_flight();
        // The kernel may still write: neither these slots nor their memory may ever be freed.
        self.slab.leak_in_flight(&mut delivery.wakers);
        self.backend = None;
        self.spare = None;
        for lane in &mut self.lanes {
            lane.refund_all();
        }
        leaked
    }

    /// Ends the operations that wait in line: nothing may start that nobody would cancel.
    fn close_lanes(&mut self, delivery: &mut Delivery) {
        for lane in &mut self.lanes {
            for key in lane.drain() {
                let slot = self.slab.get_mut(key);
                let slot = slot.expect("what waits in line has a slot");
                slot.lifecycle = Lifecycle::Completed;
                slot.push_result(Outcome::gone());
                delivery.wakers.extend(slot.waker.take());
            }
        }
    }
}

impl Drop for Driver {
    /// A driver that was not closed may not free what the kernel may touch.
    fn drop(&mut self) {
        if self.backend.is_some() {
            self.slab.leak_in_flight(&mut Vec::new());
        }
    }
}

/// The answer to a poll of an operation.
enum Polled {
    /// A result; no more follow if it is the last.
    Ready {
        outcome: Outcome,
        last: bool,
        paused: bool,
    },
    /// Nothing yet; the waker is in place.
    Pending,
    /// Nothing yet; the caller's waker must be cloned (outside of the borrow) and set.
    NeedsWaker,
    /// The operation's slot was leaked when the driver was closed.
    Gone,
}

/// The answer to a waker that was to be left in a slot.
enum WakerSet {
    Set { replaced: Option<Waker> },
    Refused { waker: Waker },
}

/// Says whether an enter failed only because the kernel cannot take more for now.
fn is_backpressure(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY))
}

/// Makes the ready queue of a multishot operation.
fn ready_queue() -> Results {
    Results::Many(Box::new(VecDeque::with_capacity(READY_MAX + READY_MAX / 4)))
}
