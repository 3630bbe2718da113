//! From requests to submissions: credits, the backlog, cancels, and the only call of
//! [`Ring::push`].
//!
//! # Safety
//!
//! [`push`] discharges the contract of [`Ring::push`] for all of the crate: an operation's
//! request points only into its slot's memory ([`Kind`](crate::op::Kind)), and the slab frees a
//! slot that was submitted only after its last completion ([`Lifecycle`]); if that never
//! comes, the slab is leaked (`Driver::close`). Control submissions have no pointer, and the
//! eventfd they poll outlives the driver.
#![allow(unsafe_code, reason = "the call of Ring::push")]

use std::task::Waker;

use super::{Driver, describe, is_backpressure};
use crate::op::lifecycle::Lifecycle;
use crate::op::slab::{OpKey, Slot};
use crate::op::{Kind, Request};
use crate::ring::{Ring, Sqe, Wait};

/// Gives a submission to the ring, or back when the ring is full.
pub(super) fn push(ring: &mut Ring, sqe: Sqe) -> Result<(), Sqe> {
    // SAFETY: see the module's safety paragraph.
    unsafe { ring.push(sqe) }
}

impl Driver {
    /// Starts an operation. Without a credit, or behind others that have none, it waits in line.
    ///
    /// A closed driver gives the slot back.
    #[allow(
        clippy::result_large_err,
        reason = "moved on a path that is taken after the end of a worker only"
    )]
    pub(super) fn submit<K: Kind>(
        &mut self,
        kind: &K,
        slot: Slot,
        waker: Waker,
    ) -> Result<OpKey, (Slot, Waker)> {
        if self.backend.is_none() {
            return Err((slot, waker));
        }
        let owner = self.identity();
        let key = self.slab.insert(slot);
        let slot = self
            .slab
            .get_mut(key)
            .expect("the slot has just been inserted");
        slot.waker = Some(waker);
        let request = describe(kind, slot, owner);
        if !self.backlog.is_empty() || !self.has_room(&request) || !self.push(key, &request) {
            self.backlog.push_back((key, request));
            let waiting = self.backlog.len() - self.backlog_dead;
            let high_water = &mut self.counters.queued_high_water;
            *high_water = waiting.max(*high_water);
        }
        Ok(key)
    }

    /// Identifies the driver to buffers that are registered with one.
    pub(crate) fn identity(&self) -> usize {
        self.backend.as_ref().map_or(0, super::Backend::identity)
    }

    /// Pushes cancels, the kick and the backlog as far as credits and room allow.
    pub(super) fn pump(&mut self) {
        self.pump_cancels();
        if !self.kick_armed {
            let fd = self.kick_fd;
            self.kick_armed = self.push_control(|backend| backend.arm_kick(fd));
        }
        while let Some(&(key, request)) = self.backlog.front() {
            if !self
                .slab
                .get_mut(key)
                .is_some_and(|slot| slot.lifecycle == Lifecycle::Queued)
            {
                self.backlog.pop_front();
                self.backlog_dead -= 1;
                continue;
            }
            if !self.has_room(&request) || !self.push(key, &request) {
                break;
            }
            self.backlog.pop_front();
        }
    }

    fn pump_cancels(&mut self) {
        while self.cancels_out < self.cancels_max {
            let Some(&key) = self.cancels.front() else {
                return;
            };
            let wanted = self
                .slab
                .get_mut(key)
                .is_some_and(|slot| slot.lifecycle.is_in_flight());
            if wanted {
                if !self.push_control(|backend| backend.cancel(key)) {
                    return;
                }
                self.cancels_out += 1;
            }
            self.cancels.pop_front();
        }
    }

    fn has_room(&self, request: &Request) -> bool {
        let bytes = request.inline_bytes();
        let fits = bytes == 0
            || self.inline_bytes == 0
            || self.inline_bytes + bytes <= self.inline_bytes_max;
        self.credits > 0 && fits
    }

    /// Pushes a request; `false` when the kernel takes no more for now.
    fn push(&mut self, key: OpKey, request: &Request) -> bool {
        if !self.push_control(|backend| backend.push(key, request)) {
            return false;
        }
        let slot = self.slab.get_mut(key).expect("a request belongs to a slot");
        slot.lifecycle = slot.lifecycle.pushed();
        self.credits -= 1;
        self.inline_bytes += request.inline_bytes();
        self.counters.submitted += 1;
        true
    }

    /// Pushes with `push`; when the submission queue is full, submits it and tries again.
    fn push_control(&mut self, mut push: impl FnMut(&mut super::Backend) -> bool) -> bool {
        let Some(backend) = &mut self.backend else {
            return false;
        };
        if push(backend) {
            return true;
        }
        self.counters.enters += 1;
        match backend.enter(Wait::No) {
            Ok(()) => {}
            Err(error) if is_backpressure(&error) => {}
            // Reported again by the next enter, which the worker makes.
            Err(_) => return false,
        }
        self.inline_bytes = 0;
        push(backend)
    }
}
