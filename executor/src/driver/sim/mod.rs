//! The simulated ring: the same queues, with a kernel behind them that is as unkind as the real
//! one may be, and whose every decision comes from a seed.
//!
//! Time is counted in steps; an enter takes at least one. What a step does: operations in flight
//! touch their memory at random, those that are due complete in random order, cancels win or
//! lose (`ENOENT`, `EALREADY`), the kick's multishot poll now and then has to be armed again. A
//! completion that does not fit the queue waits outside of it and is told by `overflowed`.
//!
//! On a simulated machine ([`Simulation`](crate::sim::Simulation)) time is virtual: a step takes
//! some microseconds, a wait that nothing ends lasts until its timeout at once, and what happens
//! is in the machine's log. An operation may be held there for good: the kernel does not let go of
//! it when it is cancelled, nor when the ring is closed.
//!
//! Descriptors are real (`/dev/null`), so that leaked ones can be counted; a file's bytes are
//! [`SimConfig::byte_at`], and peers send the same from 0 on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use super::backend::next_identity;
use super::threads::{Direct, Tried};
use crate::clock;
use crate::config::{Config, SimConfig};
use crate::op::Request;
use crate::op::slab::OpKey;
use crate::ring::{Cqe, Pending, Wait};
use crate::sim::{self, Event, Machine};

mod cancel;
mod kernel;
mod rng;
mod system;
mod waiting;

use kernel::{Memory, is_multishot, waits_for_a_peer};
use rng::Rng;

/// `IORING_CQE_F_MORE`.
const MORE: u32 = 1 << 1;
const LATE: i32 = -libc::EALREADY;
const CANCELLED: i32 = -libc::ECANCELED;
/// How often operations are tried that wait for a peer of their own.
const LOOK: Duration = Duration::from_millis(1);
/// Of a hundred, how often: an operation touches its memory in a step, a multishot operation ends by
/// itself.
const TOUCH_PERCENT: u8 = 40;
const MULTISHOT_ENDS_PERCENT: u8 = 10;
/// Longest time that one step takes on a simulated machine.
const STEP_MAX_NS: u64 = 20_000;

/// A ring whose other side is simulated.
#[derive(Debug)]
pub(crate) struct Sim {
    config: SimConfig,
    rng: Rng,
    identity: usize,
    /// Pushed, not submitted.
    queued: VecDeque<Submission>,
    queued_max: usize,
    running: Vec<Running>,
    /// Completions of cancel requests: the step in which each is due, and whom it was to cancel.
    cancelled: Vec<(u64, OpKey, i32)>,
    ready: VecDeque<Cqe>,
    ready_max: usize,
    /// Completions that did not fit.
    overflow: VecDeque<Cqe>,
    kick: Option<RawFd>,
    /// The kick was armed before.
    kick_seen: bool,
    step: u64,
    /// Operations submitted so far: each is decided about by its number.
    serial: u64,
    /// One operation of this ring is held for good.
    holds: bool,
    /// The simulated machine that the ring is a part of, and its number there.
    machine: Option<(Rc<Machine>, u32)>,
}

#[derive(Debug)]
enum Submission {
    /// What is pushed is the kernel's from then on: it may look at the memory at once.
    Op(OpKey, Request, Memory),
    Cancel(OpKey),
    Kick(RawFd),
}

/// An operation in flight.
#[derive(Debug)]
struct Running {
    key: OpKey,
    request: Request,
    memory: Memory,
    rng: Rng,
    /// `None`: it ends only when it is cancelled.
    due: Option<u64>,
    /// The result that a cancel has decided.
    cancelled: bool,
    /// The kernel never lets go of it.
    held: bool,
    /// The operation itself, where it is real.
    real: Option<Direct>,
    /// It was tried, and waits for a peer.
    waits: bool,
    /// A cancel came before it was tried, and lost: it may not wait.
    doomed: bool,
    /// A cancel came while it was on its way from one place where it waits to the next: that one had no
    /// effect.
    missed: bool,
}

impl Running {
    /// Uses the memory in the middle of the operation.
    fn touch(&mut self, seed: u64) {
        if self.real.is_some() {
            self.memory.check_inputs(seed);
        } else {
            self.memory.touch(seed, &mut self.rng);
        }
    }
}

impl Sim {
    pub(super) fn new(config: SimConfig, limits: &Config) -> Self {
        Self {
            config,
            rng: Rng::new(config.seed),
            identity: next_identity(),
            queued: VecDeque::new(),
            queued_max: limits.sq_entries.next_power_of_two() as usize,
            running: Vec::new(),
            cancelled: Vec::new(),
            ready: VecDeque::new(),
            ready_max: limits.cq_entries.next_power_of_two() as usize,
            overflow: VecDeque::new(),
            kick: None,
            kick_seen: false,
            step: 0,
            serial: 0,
            holds: false,
            machine: sim::machine().map(|machine| {
                let number = machine.ring();
                (machine, number)
            }),
        }
    }

    pub(super) fn cq_entries(&self) -> u32 {
        u32::try_from(self.ready_max).expect("made of a u32")
    }

    pub(super) fn identity(&self) -> usize {
        self.identity
    }

    pub(super) fn is_full(&mut self) -> bool {
        self.queued.len() >= self.queued_max
    }

    pub(super) fn push(&mut self, key: OpKey, request: &Request) -> bool {
        if self.is_full() {
            self.count(|counters| counters.queue_full += 1);
            return false;
        }
        self.queue(Submission::Op(key, *request, Memory::of(request)))
    }

    pub(super) fn cancel(&mut self, key: OpKey) -> bool {
        self.queue(Submission::Cancel(key))
    }

    pub(super) fn arm_kick(&mut self, eventfd: RawFd) -> bool {
        self.queue(Submission::Kick(eventfd))
    }

    pub(super) fn queued(&mut self) -> usize {
        self.queued.len()
    }

    /// As on a ring with deferred task work, completions appear when the ring is entered.
    pub(super) fn pending(&mut self) -> Pending {
        let next = self.step + 1;
        let due = self
            .running
            .iter()
            .any(|op| op.due.is_some_and(|due| due <= next))
            || self.cancelled.iter().any(|(due, ..)| *due <= next);
        Pending {
            ready: !self.ready.is_empty(),
            deferred: due || self.overflowed(),
        }
    }

    /// Says whether only an enter can tell if something has come: where operations are real, time
    /// passes for them while tasks run.
    pub(super) fn wants_look(&self) -> bool {
        self.config.system && !(self.running.is_empty() && self.cancelled.is_empty())
    }

    pub(super) fn overflowed(&mut self) -> bool {
        !self.overflow.is_empty()
    }

    /// Submits what was pushed, lets time pass, and waits as told.
    ///
    /// # Errors
    ///
    /// `EAGAIN` and `EBUSY`, at random where errors are asked for; the submissions stay queued.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if self.rng.percent(self.config.error_percent) {
            let errno = [libc::EAGAIN, libc::EBUSY][self.rng.index(2)];
            self.log(|ring| Event::EnterRefused { ring, errno });
            self.count(|counters| counters.enters_refused += 1);
            return Err(io::Error::from_raw_os_error(errno));
        }
        while let Some(submission) = self.queued.pop_front() {
            self.submit(submission);
        }
        self.pass();
        self.poll_kick(Some(Duration::ZERO));
        match wait {
            Wait::No => {}
            Wait::Completion => self.wait(None),
            Wait::Timeout(timeout) => self.wait(Some(timeout)),
        }
        Ok(())
    }

    pub(super) fn reap(&mut self, out: &mut Vec<Cqe>) -> usize {
        let room = out.capacity() - out.len();
        let count = room.min(self.ready.len());
        out.extend(self.ready.drain(..count));
        count
    }

    fn queue(&mut self, submission: Submission) -> bool {
        let room = !self.is_full();
        if room {
            self.queued.push_back(submission);
        } else {
            self.count(|counters| counters.queue_full += 1);
        }
        room
    }

    fn submit(&mut self, submission: Submission) {
        match submission {
            Submission::Op(key, request, memory) => {
                memory.check_inputs(self.config.seed);
                assert!(
                    self.find(key).is_none(),
                    "{self}: two operations with one key"
                );
                self.serial += 1;
                let mut rng = Rng::derived(self.config.seed, self.serial);
                let stuck = !self.config.system
                    && waits_for_a_peer(&request)
                    && rng.percent(self.config.stuck_percent);
                let due = self.step + 1 + rng.below(u64::from(self.config.delay_max) + 1);
                let due = (!stuck).then_some(due);
                self.running.push(Running {
                    key,
                    request,
                    memory,
                    rng,
                    due,
                    cancelled: false,
                    held: false,
                    real: self.config.system.then(|| system::begin(request)),
                    waits: false,
                    doomed: false,
                    missed: false,
                });
                self.count(|counters| counters.submitted += 1);
                let (key, kind) = (key.user_data(), kernel::name(&request));
                self.log(|ring| Event::Submitted {
                    ring,
                    key,
                    kind,
                    due,
                });
            }
            Submission::Cancel(key) => {
                let result = self.try_cancel(key);
                let due = self.step + self.rng.below(4);
                self.cancelled.push((due, key, result));
                self.log(|ring| Event::CancelAsked {
                    ring,
                    key: key.user_data(),
                    result,
                });
                self.count(|counters| match result {
                    0 => counters.cancels_won += 1,
                    LATE => counters.cancels_late += 1,
                    _ => counters.cancels_missed += 1,
                });
            }
            Submission::Kick(eventfd) => {
                assert!(self.kick.is_none(), "{self}: the kick is armed twice");
                if self.machine.is_some() && !std::mem::replace(&mut self.kick_seen, true) {
                    // What an earlier owner of the descriptor was sent is none of this run's.
                    kernel::take_kick(Some(eventfd), Some(Duration::ZERO));
                }
                self.kick = Some(eventfd);
            }
        }
    }

    /// Lets one step pass.
    fn pass(&mut self) {
        self.step += 1;
        if self.machine.is_some() {
            clock::pause(Duration::from_nanos(self.rng.below(STEP_MAX_NS)));
        }
        while self.ready.len() < self.ready_max
            && let Some(cqe) = self.overflow.pop_front()
        {
            self.ready.push_back(cqe);
        }
        let step = self.step;
        let mut posted = Vec::new();
        self.cancelled.retain(|&(due, key, result)| {
            let held = due > step;
            if !held {
                posted.push(Cqe {
                    user_data: key.cancel_data(),
                    result,
                    flags: 0,
                });
            }
            held
        });
        for op in &mut self.running {
            if op.rng.percent(TOUCH_PERCENT) {
                op.touch(self.config.seed);
            }
            if op.waits {
                op.due.get_or_insert(step);
            }
        }
        while let Some(at) = self.pick_due() {
            posted.extend(self.complete(at, posted.len()));
        }
        // Neither due times nor the order of submission decide the order; but one operation's
        // completions stay in theirs.
        while !posted.is_empty() {
            let user_data = posted[self.rng.index(posted.len())].user_data;
            let first = posted.iter().position(|cqe| cqe.user_data == user_data);
            let cqe = posted.remove(first.expect("the picked one has it"));
            self.post(cqe);
        }
    }

    fn pick_due(&self) -> Option<usize> {
        self.running
            .iter()
            .position(|op| op.due.is_some_and(|due| due <= self.step))
    }

    /// Ends the operation that is due; `None` when it waits for a peer.
    fn complete(&mut self, at: usize, posted: usize) -> Option<Cqe> {
        let (config, step) = (self.config, self.step);
        let full = self.ready.len() + posted >= self.ready_max || self.overflowed();
        let op = &mut self.running[at];
        let user_data = op.key.user_data();
        let result = if op.cancelled {
            op.touch(config.seed);
            op.real.as_ref().map_or(-libc::ECANCELED, Direct::cancelled)
        } else if let Some(real) = &mut op.real {
            match real.attempt() {
                Tried::Done(result) | Tried::More(result) => result,
                Tried::Waits if op.doomed => real.cancelled(),
                Tried::Waits => {
                    op.waits = true;
                    op.due = None;
                    return None;
                }
            }
        } else {
            kernel::finish(&op.request, &mut op.memory, &mut op.rng, &config)
        };
        let yields_descriptor = matches!(op.request, Request::Open { .. } | Request::Accept { .. });
        let short = op
            .memory
            .counted()
            .is_some_and(|asked| usize::try_from(result).is_ok_and(|result| result < asked));
        let goes_on = is_multishot(&op.request)
            && result >= 0
            && !full
            && !op.rng.percent(MULTISHOT_ENDS_PERCENT);
        if goes_on {
            // In the same step, at times: they come in bursts.
            op.due = Some(step + op.rng.below(u64::from(config.delay_max) + 1));
        } else {
            self.running.swap_remove(at);
        }
        self.log(|ring| Event::Completed {
            ring,
            key: user_data,
            // The number of a descriptor is nobody's decision.
            result: if yields_descriptor {
                result.min(0)
            } else {
                result
            },
            more: goes_on,
        });
        self.count(|counters| match result {
            CANCELLED => counters.cancelled += 1,
            ..0 => counters.failed += 1,
            _ if short => counters.short += 1,
            _ => counters.completed += 1,
        });
        Some(Cqe {
            user_data,
            result,
            flags: if goes_on { MORE } else { 0 },
        })
    }

    fn post(&mut self, cqe: Cqe) {
        if self.ready.len() < self.ready_max && self.overflow.is_empty() {
            self.ready.push_back(cqe);
        } else {
            self.overflow.push_back(cqe);
            self.count(|counters| counters.overflowed += 1);
        }
    }
}

impl Drop for Sim {
    /// Closing a ring stops none of its operations.
    fn drop(&mut self) {
        let in_flight = self.running.len();
        self.log(|ring| Event::Closed { ring, in_flight });
        let Some((machine, _)) = &self.machine else {
            return;
        };
        let seed = self.config.seed;
        for mut op in self.running.drain(..) {
            machine.add_late(Box::new(move || op.touch(seed)));
        }
    }
}

impl std::fmt::Display for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "simulated ring, seed {}, step {}",
            self.config.seed, self.step
        )
    }
}
