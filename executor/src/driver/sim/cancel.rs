//! Cancelling in the simulated ring, as little to be relied on as in the real one.

use super::{Running, Sim, is_multishot, kernel};
use crate::op::slab::OpKey;

/// Of a hundred cancels, how many win, and how many come while their operation is on its way from one
/// place where it waits to the next.
const WINS_PERCENT: u8 = 70;
const MISSES_PERCENT: u8 = 10;
/// A queue that is shorter than this has no credit to spare for an operation that never ends.
const HELD_CQ_MIN: usize = 8;

impl Sim {
    pub(super) fn find(&mut self, key: OpKey) -> Option<&mut Running> {
        self.running.iter_mut().find(|op| op.key == key)
    }

    /// Decides which of a cancel and its operation wins; the cancelled one completes when it
    /// likes, and uses its memory until then.
    pub(super) fn try_cancel(&mut self, key: OpKey) -> i32 {
        let (wins, lost) = (self.rng.percent(WINS_PERCENT), self.rng.percent(50));
        let due = self.step + self.rng.below(3);
        let misses = self.rng.percent(MISSES_PERCENT);
        let may_hold = !self.holds && self.ready_max >= HELD_CQ_MIN;
        let holds = may_hold && self.rng.percent(self.config.hold_percent);
        let Some(op) = self.find(key) else {
            return -libc::ENOENT;
        };
        if op.cancelled || op.held {
            return -libc::EALREADY;
        }
        if misses && !op.missed && !is_multishot(&op.request) {
            op.missed = true;
            return if lost { -libc::ENOENT } else { -libc::EALREADY };
        }
        if holds && kernel::may_be_held(&op.request) {
            op.held = true;
            op.due = None;
            self.holds = true;
            self.count(|counters| counters.held += 1);
            return -libc::EALREADY;
        }
        // Where peers are real, none is faster than a cancel of what waits for one.
        if wins || op.waits {
            op.cancelled = true;
            op.due = Some(due);
            return 0;
        }
        // The peer was faster, or is asked once more.
        op.due.get_or_insert(due);
        op.doomed = true;
        // A multishot operation is found by every cancel, and must end by one.
        if is_multishot(&op.request) {
            op.cancelled = true;
            return -libc::EALREADY;
        }
        if lost { -libc::ENOENT } else { -libc::EALREADY }
    }
}
