//! From completions to wakers: results go into their slots, and what is to be woken or dropped
//! into a list, so that user code runs after the borrow of the driver has ended.

use std::task::Waker;

use super::{Driver, READY_MAX};
use crate::config::REAP_BATCH;
use crate::guard::guarded_each;
use crate::op::Outcome;
use crate::op::lifecycle::Action;
use crate::op::slab::{KICK, OpKey, Removed, Results};
use crate::ring::Cqe;
use crate::task;

/// What a dispatch leaves to be done outside of the driver's borrow.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) dropped: Vec<Removed>,
}

impl Delivery {
    /// Has room for one batch of completions, so that a larger batch than any before allocates
    /// nothing.
    pub(crate) fn new() -> Self {
        Self {
            wakers: Vec::with_capacity(REAP_BATCH),
            dropped: Vec::with_capacity(REAP_BATCH),
        }
    }

    /// Wakes and drops. Runs user code: no borrow of the driver may be held.
    pub(crate) fn run(&mut self) {
        guarded_each(self.dropped.drain(..), drop);
        guarded_each(self.wakers.drain(..), Waker::wake);
    }
}

impl Driver {
    /// Takes one batch of completions and returns how many there were.
    pub(crate) fn dispatch(&mut self, delivery: &mut Delivery) -> usize {
        let Some(backend) = &mut self.backend else {
            return 0;
        };
        let mut cqes = std::mem::take(&mut self.cqes);
        let count = backend.reap(&mut cqes);
        for cqe in cqes.drain(..) {
            self.complete(cqe, delivery);
        }
        self.cqes = cqes;
        count
    }

    fn complete(&mut self, cqe: Cqe, delivery: &mut Delivery) {
        let Some(key) = OpKey::from_user_data(cqe.user_data) else {
            return self.complete_control(cqe);
        };
        let Some(slot) = self.slab.get_mut(key) else {
            // No operation has this key, which only a bug could bring about.
            self.counters.unknown += 1;
            debug_assert!(
                false,
                "a completion for an operation that does not exist: {cqe:?}"
            );
            return;
        };
        self.counters.completed += 1;
        let outcome = Outcome {
            result: cqe.result,
            flags: cqe.flags,
        };
        let last = !cqe.more();
        let lane = slot.lane;
        let (lifecycle, action) = slot.lifecycle.completed(last);
        slot.lifecycle = lifecycle;
        match action {
            Action::Deliver => {
                slot.push_result(outcome);
                let count = slot.results.len();
                // Nobody waits where results are left: the first of them has woken. A task of this
                // worker goes into the run queue, which runs no code of the user's; its waker stays
                // for its next operation.
                let woken = |waker: &Waker| task::wake_own(waker);
                if count == 1 && !slot.waker.as_ref().is_some_and(woken) {
                    delivery.wakers.extend(slot.waker.take());
                }
                let behind = count >= READY_MAX && !last && !slot.paused;
                if behind && matches!(slot.results, Results::Many(_)) {
                    slot.paused = true;
                    self.cancel(key);
                }
            }
            Action::Dispose => self.slab.dispose_of(key, outcome),
            Action::Free => {
                self.slab.dispose_of(key, outcome);
                delivery.dropped.extend(self.slab.remove(key));
            }
            Action::Keep | Action::Cancel => unreachable!("not an answer to a completion"),
        }
        if last {
            self.lanes[lane as usize].refund();
        }
    }

    fn complete_control(&mut self, cqe: Cqe) {
        if cqe.user_data == KICK {
            self.kick_armed = cqe.more();
            return;
        }
        self.cancels.ended();
        if matches!(-cqe.result, libc::ENOENT | libc::EALREADY)
            && let Some(key) = OpKey::from_cancel_data(cqe.user_data)
            && let Some(slot) = self.slab.get_mut(key)
            && slot.lifecycle.is_in_flight()
        {
            self.cancels.missed(key, &mut slot.missed);
        }
    }
}
