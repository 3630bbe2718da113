//! The order of one turn.
//!
//! 1. Take what other threads woke and spawned, and the pool buffers they dropped.
//! 2. Expire timers.
//! 3. Poll tasks up to the budget; look at the completion queue after every poll.
//! 4. Submit what the tasks asked for, in one enter.
//! 5. Reap, end every borrow, wake.
//!
//! Nothing is called back from inside but tasks' polls, wakers and drops; none of these finds a
//! borrow of the worker's state.

use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use super::context::Entered;
use super::policy::{Look, TurnBudget, look};
use super::{Core, stats};
use crate::clock;
use crate::config::EXPIRE_BATCH;
use crate::guard::guarded_each;
use crate::ring::Wait;

/// Enters that one turn makes at most to fetch what the kernel deferred, as long as they bring
/// completions.
const DEFERRED_ENTERS_MAX: usize = 64;

/// What an end of a turn brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reaped {
    pub(super) completions: usize,
    /// Everything that the kernel deferred until then has run, whatever its flag says.
    fetched_all: bool,
}

/// What a turn did and what it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnReport {
    /// Tasks polled.
    pub polls: usize,
    /// Completions delivered.
    pub completions: usize,
    /// When the next timer is due; sometimes a bit of work of the worker's own.
    pub next_deadline: Option<Instant>,
    /// Whether the next turn has something to do now. Where it is false, waiting loses nothing:
    /// whatever happens makes the worker's descriptor readable and ends a park.
    pub more_work: bool,
}

/// Forbids that a turn, a park or a root poll begins inside another of the same worker.
pub(super) struct Turning<'a>(&'a Core);

impl<'a> Turning<'a> {
    #[track_caller]
    pub(super) fn begin(core: &'a Core) -> Self {
        assert!(
            !core.turning.replace(true),
            "a worker was driven from inside of one of its own tasks: turn, park, block_on, run \
             and shutdown belong to the code that owns the worker"
        );
        Self(core)
    }
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.0.turning.set(false);
    }
}

impl Core {
    /// Does one turn.
    #[track_caller]
    pub(crate) fn turn(self: &Rc<Self>, budget: TurnBudget) -> TurnReport {
        let _turning = Turning::begin(self);
        let _entered = Entered::new(self);
        let mut report = self.turn_entered(budget);
        report.more_work = report.more_work || self.idlers.wake();
        report
    }

    /// Does one turn of a worker that is entered already.
    pub(super) fn turn_entered(&self, budget: TurnBudget) -> TurnReport {
        self.begin_turn();
        let timers_left = self.expire_timers();
        let (polls, mut completions) = self.poll_tasks(budget);
        let reaped = self.submit_and_reap();
        completions += reaped.completions;
        stats::add(&self.meter.turns, 1);
        stats::add(&self.meter.polls, polls);
        let left = self.left_to_do(reaped.fetched_all) || timers_left;
        let more_work = left || !self.prepare_park();
        let next_deadline = self.next_deadline();
        self.publish_stats();
        TurnReport {
            polls,
            completions,
            next_deadline,
            more_work,
        }
    }

    /// Takes what other threads left.
    fn begin_turn(&self) {
        self.unpark();
        self.drain_event_fd();
        self.local.take_remote();
        if let Some(pool) = self.pool_if_made() {
            pool.take_home();
        }
    }

    /// Ends a park; what is woken on this thread needs no kick from now on.
    pub(super) fn unpark(&self) {
        let kicked = self.local.unpark();
        stats::add(&self.meter.kicks, usize::from(kicked));
        self.spinning.unpark(kicked);
    }

    /// Says whether the ring has something for the worker, or the worker for the ring, that is
    /// not done by waiting. What is deferred does not count where it `is_seen_to`.
    pub(super) fn left_to_do(&self, is_seen_to: bool) -> bool {
        let mut driver = self.driver.borrow_mut();
        let pending = driver.pending();
        pending.ready || pending.deferred && !is_seen_to || driver.can_progress()
    }

    /// Returns when the next timer is due, or the driver has something to do that waits for a time.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let timers = self.timers.borrow().next_deadline();
        let driver = self.driver.borrow().next_deadline();
        timers.into_iter().chain(driver).min()
    }

    /// Wakes the tasks whose timers are due, a batch and no more than a turn polls; true when some
    /// may be left. The clock is read only when a timer is set.
    pub(super) fn expire_timers(&self) -> bool {
        if self.next_deadline().is_none() {
            return false;
        }
        let now = clock::now();
        self.driver.borrow_mut().expire(now);
        let limit = self.config.poll_budget.min(EXPIRE_BATCH);
        let mut expired = self.expired.take();
        let fired = self.timers.borrow_mut().expire(now, limit, &mut expired);
        stats::add(&self.meter.timers_fired, fired);
        guarded_each(expired.drain(..), Waker::wake);
        self.expired.replace(expired);
        fired == limit
    }

    /// Polls tasks until the run queue or the budget is empty. Returns the polls, and the
    /// completions that were delivered in between.
    fn poll_tasks(&self, budget: TurnBudget) -> (usize, usize) {
        let start = clock::now();
        let end = budget.end(start);
        let polls_max = budget.polls_max(self.config.poll_budget);
        let mut completions = 0;
        let mut polls = 0;
        let mut enter_start = start;
        let mut polls_since_enter = 0;
        let mut look_at_clock = if budget.is_default() {
            self.config.poll_batch
        } else {
            usize::MAX
        };
        self.slice_start.set(start);
        while polls < polls_max {
            if end.is_some_and(|end| polls > 0 && clock::now() >= end) || !self.local.run_one() {
                break;
            }
            polls += 1;
            polls_since_enter += 1;
            let pending = self.driver.borrow_mut().pending_or_unseen();
            let config = &self.config;
            let elapsed = || clock::elapsed(enter_start);
            match look(
                pending,
                polls_since_enter,
                config.poll_batch,
                config.reap_interval,
                elapsed,
            ) {
                Look::Pass => {}
                Look::Reap => completions += self.reap(),
                Look::EnterAndReap => {
                    self.enter(Wait::No);
                    completions += self.reap();
                    polls_since_enter = 0;
                    enter_start = clock::now();
                    self.slice_start.set(enter_start);
                }
            }
            if polls == look_at_clock {
                look_at_clock += config.poll_batch;
                if clock::elapsed(start) >= config.reap_interval {
                    // Timers and messages wait for the next turn.
                    break;
                }
            }
        }
        (polls, completions)
    }

    /// Submits in one enter and reaps what is there; enters again while the kernel holds
    /// completions back.
    ///
    /// One enter runs a bounded part of what the kernel deferred, and that part may come to nothing.
    /// After as many in vain as all of it takes, the kernel's flag is of no account: it stays set, with
    /// nothing deferred, when an enter came between a completion on another core and its setting of the
    /// flag, until the next completion.
    pub(super) fn submit_and_reap(&self) -> Reaped {
        let unsubmitted = self.driver.borrow_mut().has_unsubmitted();
        if unsubmitted || self.driver.borrow_mut().pending().deferred {
            self.enter(Wait::No);
        }
        let mut completions = self.reap_all();
        let (mut fruitful, mut in_vain) = (0, 0);
        while fruitful < DEFERRED_ENTERS_MAX && self.driver.borrow_mut().pending().deferred {
            if self.driver.borrow().has_fetched_all(in_vain) {
                return Reaped {
                    completions,
                    fetched_all: true,
                };
            }
            self.enter(Wait::No);
            let reaped = self.reap_all();
            if reaped == 0 {
                in_vain += 1;
            } else {
                completions += reaped;
                fruitful += 1;
                in_vain = 0;
            }
        }
        Reaped {
            completions,
            fetched_all: false,
        }
    }

    /// Enters the ring.
    ///
    /// # Panics
    ///
    /// Panics when the kernel reports that it lost a completion (`EBADR`, out of memory), or
    /// that the ring is unusable: operations whose completion never comes would hang, silently.
    pub(super) fn enter(&self, wait: Wait) {
        let entered = self.driver.borrow_mut().enter(wait);
        if let Err(error) = entered {
            panic!("entering the backend failed beyond repair: {error}");
        }
    }

    /// Gives when the worker last began to poll tasks, or looked for completions in between.
    pub(crate) fn slice_start(&self) -> Instant {
        self.slice_start.get()
    }

    /// Says whether the running task has had its share.
    pub(crate) fn need_preempt(&self) -> bool {
        let pending = self.driver.borrow_mut().pending();
        pending.ready || clock::elapsed(self.slice_start.get()) >= self.config.reap_interval
    }
}
