//! Where operations wait for their turn: two lanes, so that what waits for a peer never holds up
//! what does not.
//!
//! A file operation ends by itself, and is charged to the completion queue: as many are in flight
//! as it has room for. A socket operation may wait for its peer for ever; ten thousand idle
//! connections must not use up the queue's room. They are bounded by a limit of their own, and
//! should more of them complete at once than the queue holds, the kernel keeps the rest
//! (`IORING_FEAT_NODROP`) until the next enter.

use std::collections::VecDeque;

use crate::op::Request;
use crate::op::slab::OpKey;

/// The operations of one lane that wait for a credit or for room, in the order they were asked
/// for.
#[derive(Debug)]
pub(super) struct Lane {
    waiting: VecDeque<(OpKey, Request)>,
    /// How many of those went away and are skipped.
    dead: usize,
    /// Operations that may still be submitted.
    credits: u32,
    credits_max: u32,
}

impl Lane {
    pub(super) fn new(credits_max: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            dead: 0,
            credits: credits_max,
            credits_max,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        (self.credits_max - self.credits) as usize
    }

    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() - self.dead
    }

    #[inline]
    pub(super) fn has_credit(&self) -> bool {
        self.credits > 0
    }

    #[inline]
    pub(super) fn charge(&mut self) {
        self.credits -= 1;
    }

    #[inline]
    pub(super) fn refund(&mut self) {
        self.credits += 1;
    }

    pub(super) fn refund_all(&mut self) {
        self.credits = self.credits_max;
    }

    pub(super) fn wait(&mut self, key: OpKey, request: Request) {
        self.waiting.push_back((key, request));
    }

    #[inline]
    pub(super) fn front(&self) -> Option<(OpKey, Request)> {
        self.waiting.front().copied()
    }

    pub(super) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    /// Skips the foremost operation, which has gone away.
    pub(super) fn pop_dead(&mut self) {
        self.waiting.pop_front();
        self.dead -= 1;
    }

    /// Notes that a waiting operation went away, and keeps a lane whose operations were all
    /// dropped from growing.
    pub(super) fn bury(&mut self, mut is_waiting: impl FnMut(OpKey) -> bool) {
        self.dead += 1;
        if self.dead > self.waiting.len() / 2 {
            self.waiting.retain(|(key, _)| is_waiting(*key));
            self.dead = 0;
        }
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> VecDeque<(OpKey, Request)> {
        self.dead = 0;
        std::mem::take(&mut self.waiting)
    }
}
