//! Requests to cancel operations: those that wait to be pushed, those whose completions are due, and
//! those that are to be made once more.
//!
//! A request can meet its operation on the way from one place where the kernel lets it wait to the next,
//! and then has no effect: it finds nothing (`ENOENT`), or finds it at work (`EALREADY`). Linux tries
//! some of them again and again for as long as another one of the same file has not come to its end,
//! so that time has to pass before the next request. Disk reads miss every time, and end by themselves.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use crate::clock;
use crate::op::slab::OpKey;

/// How often an operation is asked again, and after what time first; it doubles each time, ten times at
/// most. Seven seconds in all: a helper thread of the kernel may have to wait for its core.
const AGAIN_MAX: u8 = 16;
const AGAIN_AFTER: Duration = Duration::from_millis(1);
const DOUBLED_MAX: u8 = 10;

#[derive(Debug)]
pub(super) struct Cancels {
    waiting: VecDeque<OpKey>,
    out: u32,
    out_max: u32,
    again: BinaryHeap<Reverse<(Instant, OpKey)>>,
}

impl Cancels {
    pub(super) fn new(out_max: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            out: 0,
            out_max,
            again: BinaryHeap::new(),
        }
    }

    pub(super) fn ask(&mut self, key: OpKey) {
        self.waiting.push_back(key);
    }

    /// Asks these alone.
    pub(super) fn ask_all(&mut self, keys: Vec<OpKey>) {
        self.again.clear();
        self.waiting = keys.into();
    }

    /// Says whether any is to be pushed.
    #[inline]
    pub(super) fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Says whether one can be pushed now.
    #[inline]
    pub(super) fn can_push(&self) -> bool {
        self.any_waits() && self.out < self.out_max
    }

    /// Returns the next to be pushed, if one can be.
    #[inline]
    pub(super) fn next(&self) -> Option<OpKey> {
        let key = self.waiting.front().copied();
        key.filter(|_| self.out < self.out_max)
    }

    /// The next was pushed, or has become needless.
    pub(super) fn pop(&mut self, pushed: bool) {
        self.waiting.pop_front();
        self.out += u32::from(pushed);
    }

    /// A request has completed.
    pub(super) fn ended(&mut self) {
        self.out -= 1;
    }

    /// Returns the requests whose completions are due.
    pub(super) fn out(&self) -> usize {
        self.out as usize
    }

    /// A request had no effect on `key`, as `missed` before it; asks again in some time, if there is a
    /// point in it.
    #[cold]
    pub(super) fn missed(&mut self, key: OpKey, missed: &mut u8) {
        if *missed < AGAIN_MAX {
            let after = AGAIN_AFTER * (1 << (*missed).min(DOUBLED_MAX));
            *missed += 1;
            self.again.push(Reverse((clock::now() + after, key)));
        }
    }

    /// Returns when to ask next.
    #[inline]
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.again.peek().map(|Reverse((at, _))| *at)
    }

    /// Asks those whose time has come.
    pub(super) fn ask_again(&mut self, now: Instant) {
        while let Some(Reverse((at, key))) = self.again.peek()
            && *at <= now
        {
            self.waiting.push_back(*key);
            self.again.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missed_is_asked_again_less_and_less_often_and_not_for_ever() {
        let mut cancels = Cancels::new(1);
        let [one, other] = [1, 2].map(|data| OpKey::from_user_data(data).unwrap());
        let start = Instant::now();
        let mut missed = 0;
        for round in 0..u32::from(AGAIN_MAX) {
            cancels.missed(one, &mut missed);
            let due = cancels.next_deadline().unwrap();
            let after = due.saturating_duration_since(start);
            let doubled = round.min(DOUBLED_MAX.into());
            assert!(after >= AGAIN_AFTER * 2_u32.pow(doubled), "{after:?}");
            cancels.ask_again(due - Duration::from_nanos(1));
            assert!(!cancels.any_waits());
            cancels.ask_again(due);
            assert_eq!(cancels.next(), Some(one));
            cancels.pop(true);
            cancels.ask(other);
            assert!(cancels.any_waits() && !cancels.can_push());
            cancels.ended();
            assert!(cancels.can_push());
            cancels.pop(false);
        }
        cancels.missed(one, &mut missed);
        assert_eq!((missed, cancels.next_deadline()), (AGAIN_MAX, None));
    }
}
