//! From requests to submissions: credits, the backlog, cancels, and the only call of
//! [`Ring::push`].
//!
//! # Safety
//!
//! [`push`] discharges the contract of [`Ring::push`] for all of the crate: an operation's
//! request points only into its slot's memory ([`Kind`](crate::op::Kind)), and the slab frees a
//! slot that was submitted only after its last completion ([`Lifecycle`]); if that never
//! comes, the slot is leaked (`Driver::close`, and the driver's drop). Control submissions have no pointer, and the
//! eventfd they poll outlives the driver.
#![allow(unsafe_code, reason = "the call of Ring::push")]

use std::os::fd::OwnedFd;
use std::task::Waker;

use super::lane::Lane;
use super::{Driver, is_backpressure};
use crate::buf::Loose;
use crate::op::kinds::close::{Close, Closing};
use crate::op::lifecycle::Lifecycle;
use crate::op::request::LaneId;
use crate::op::slab::{NewOp, OpKey, Results};
use crate::op::{Kind as _, Request};
use crate::ring::{Ring, Sqe, Wait};

/// Gives a submission to the ring; `false` when the ring is full.
#[inline(always)]
pub(super) fn push(ring: &mut Ring, sqe: &Sqe) -> bool {
    // SAFETY: pointers: an operation's point to bytes that its slot's memory owns, and that stay
    // where they are when the slab grows and moves that memory's words (`Kind`); the slab keeps it
    // until the last completion, or for ever (`leak_in_flight`). A control submission has none. Descriptors: the memory of an operation holds its own; the kick's is never closed.
    unsafe { ring.push(sqe) }
}

/// What became of an operation that was to be started.
pub(super) enum Submitted {
    /// Its results will come.
    Open(OpKey),
    /// The driver is closed, and the operation over: what it brought waits to be taken back.
    Closed(OpKey),
}

impl Driver {
    /// Starts an operation, which `request` describes. Without a credit, or behind others that have
    /// none, it waits in line.
    #[inline(always)]
    pub(super) fn submit<M: 'static>(
        &mut self,
        request: &Request,
        new: NewOp,
        memory: Loose<M>,
        waker: Waker,
    ) -> Submitted {
        let lane = LaneId::of(request);
        let first = self.lanes[lane as usize].waiting() == 0;
        let free = first && self.has_room(lane, request) && self.make_room();
        let (key, slot) = self.slab.insert(new, memory, lane, waker);
        let Some(backend) = &mut self.backend else {
            slot.lifecycle = Lifecycle::Completed;
            return Submitted::Closed(key);
        };
        if free && backend.push(key, request) {
            slot.lifecycle = slot.lifecycle.pushed();
            self.pushed(lane, request);
        } else {
            self.wait(key, lane, *request);
        }
        Submitted::Open(key)
    }

    /// Has the backend close `fd`, for nobody who waits for it: only the driver's own end cancels
    /// it. Gives `fd` back where it would have to wait in line, and where the driver is closed.
    pub(crate) fn close_behind(&mut self, fd: OwnedFd) -> Result<(), OwnedFd> {
        let lane = LaneId::Prompt;
        let line = &self.lanes[lane as usize];
        if line.waiting() > 0 || !line.has_credit() || !self.make_room() {
            return Err(fd);
        }
        let owner = self.identity();
        let mut memory = Loose::new(Closing::of_file(fd, true));
        let request = Close.request(memory.get_mut(), owner);
        let new = NewOp {
            dispose: Close::DISPOSE,
            results: Results::One(None),
        };
        // Nobody is woken.
        let waker = Waker::noop().clone();
        let (key, slot) = self.slab.insert(new, memory, lane, waker);
        slot.waker = None;
        if self
            .backend
            .as_mut()
            .is_some_and(|it| it.push(key, &request))
        {
            // The answer to a future that goes away is a cancel; this one was never there.
            slot.lifecycle = slot.lifecycle.pushed().ignored().0;
            self.pushed(lane, &request);
            return Ok(());
        }
        slot.lifecycle = Lifecycle::Completed;
        let (closing, _no_waker) = self.give_back::<Closing>(key);
        closing.into_fd().map_or(Ok(()), Err)
    }

    /// Lets an operation wait in line.
    #[cold]
    fn wait(&mut self, key: OpKey, lane: LaneId, request: Request) {
        self.lanes[lane as usize].wait(key, request);
        let waiting: usize = self.lanes.iter().map(Lane::waiting).sum();
        let high_water = &mut self.counters.queued_high_water;
        *high_water = waiting.max(*high_water);
    }

    /// Identifies the driver to buffers that are registered with one.
    #[inline]
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
        for lane in LaneId::ALL {
            self.pump_lane(lane);
        }
    }

    fn pump_lane(&mut self, lane: LaneId) {
        while let Some((key, request)) = self.lanes[lane as usize].front() {
            if !self.has_room(lane, &request) || !self.push(key, lane, &request) {
                return;
            }
            self.lanes[lane as usize].pop();
        }
    }

    fn pump_cancels(&mut self) {
        while let Some(key) = self.cancels.next() {
            let wanted = self
                .slab
                .get_mut(key)
                .is_some_and(|slot| slot.lifecycle.is_in_flight());
            if wanted && !self.push_control(|backend| backend.cancel(key)) {
                return;
            }
            self.cancels.pop(wanted);
        }
    }

    #[inline(always)]
    fn has_room(&self, lane: LaneId, request: &Request) -> bool {
        let bytes = request.inline_bytes();
        let fits = bytes == 0
            || self.inline_bytes == 0
            || self.inline_bytes + bytes <= self.inline_bytes_max;
        self.lanes[lane as usize].has_credit() && fits
    }

    /// Pushes a request that waited; `false` when the kernel takes no more for now.
    fn push(&mut self, key: OpKey, lane: LaneId, request: &Request) -> bool {
        if !self.push_control(|backend| backend.push(key, request)) {
            return false;
        }
        let slot = self.slab.get_mut(key).expect("a request belongs to a slot");
        slot.lifecycle = slot.lifecycle.pushed();
        self.pushed(lane, request);
        true
    }

    /// Accounts for a request that was pushed.
    #[inline(always)]
    fn pushed(&mut self, lane: LaneId, request: &Request) {
        self.lanes[lane as usize].charge();
        self.inline_bytes += request.inline_bytes();
        self.counters.submitted += 1;
    }

    fn push_control(&mut self, push: impl FnOnce(&mut super::Backend) -> bool) -> bool {
        self.make_room() && self.backend.as_mut().is_some_and(push)
    }

    /// Submits what is in a full submission queue; `false` when nothing can be pushed.
    #[inline]
    fn make_room(&mut self) -> bool {
        match self.backend.as_mut().map(super::Backend::is_full) {
            Some(full) => !full || self.empty_queue(),
            None => false,
        }
    }

    #[cold]
    fn empty_queue(&mut self) -> bool {
        let Some(backend) = &mut self.backend else {
            return false;
        };
        self.counters.enters += 1;
        match backend.enter(Wait::No) {
            Ok(()) => {}
            Err(error) if is_backpressure(&error) => {}
            // Reported again by the next enter, which the worker makes.
            Err(_) => return false,
        }
        self.inline_bytes = 0;
        true
    }
}
