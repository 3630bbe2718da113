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
    waiting: VecDeque<Waiting>,
    /// How many of those went away and are skipped.
    dead: usize,
    /// Operations that may still be submitted.
    credits: u32,
    credits_max: u32,
}

/// An operation in line.
///
/// That it went away is noted here, when it does, and not asked of the slab later: its request
/// points to memory that is gone, and keys repeat after 2^31 operations.
#[derive(Debug)]
struct Waiting {
    key: OpKey,
    request: Request,
    dead: bool,
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

    /// Says whether the backend works on none of its operations.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.credits == self.credits_max
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
        self.waiting.push_back(Waiting {
            key,
            request,
            dead: false,
        });
    }

    /// Returns the foremost operation that has not gone away.
    #[inline]
    pub(super) fn front(&mut self) -> Option<(OpKey, Request)> {
        while self.waiting.front().is_some_and(|waiting| waiting.dead) {
            self.waiting.pop_front();
            self.dead -= 1;
        }
        let waiting = self.waiting.front()?;
        Some((waiting.key, waiting.request))
    }

    /// Takes the operation out that `front` has returned.
    pub(super) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    /// Notes that a waiting operation went away, and keeps a lane whose operations were all
    /// dropped from growing.
    pub(super) fn bury(&mut self, key: OpKey) {
        let at = self.position(key).expect("a queued operation is in line");
        self.waiting[at].dead = true;
        self.dead += 1;
        if self.dead > self.waiting.len() / 2 {
            self.waiting.retain(|waiting| !waiting.dead);
            self.dead = 0;
        }
    }

    /// Finds a live operation: keys grow along the line, but for the wrap of their generations,
    /// which an operation may have waited for.
    fn position(&self, key: OpKey) -> Option<usize> {
        let first = self.waiting.front()?.key;
        let is = |waiting: &Waiting| !waiting.dead && waiting.key == key;
        let at = self
            .waiting
            .partition_point(|waiting| waiting.key.age_since(first) < key.age_since(first));
        if self.waiting.get(at).is_some_and(is) {
            return Some(at);
        }
        self.waiting.iter().position(is)
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = OpKey> + use<> {
        self.dead = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting.filter_map(|waiting| (!waiting.dead).then_some(waiting.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(generation: u32, slot: u32) -> OpKey {
        let user_data = u64::from(generation) << 32 | u64::from(slot);
        OpKey::from_user_data(user_data).unwrap()
    }

    fn request(fd: i32) -> Request {
        Request::Close { fd }
    }

    fn fd_of(front: Option<(OpKey, Request)>) -> Option<i32> {
        front.map(|(_, request)| match request {
            Request::Close { fd } => fd,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_request_of_one_that_went_away_is_not_taken_for_that_of_a_later_one_of_its_key() {
        let mut lane = Lane::new(1);
        for (fd, generation) in [(1, 5), (2, 6), (3, 7)] {
            lane.wait(key(generation, 0), request(fd));
        }
        lane.bury(key(6, 0));
        // 2^31 operations later, while the first one still waits.
        lane.wait(key(6, 0), request(4));
        assert_eq!(lane.waiting(), 3);
        let mut taken = Vec::new();
        while let Some(fd) = fd_of(lane.front()) {
            taken.push(fd);
            lane.pop();
        }
        assert_eq!(taken, [1, 3, 4]);
        lane.wait(key(6, 0), request(5));
        lane.wait(key(7, 0), request(6));
        lane.wait(key(6, 1), request(7));
        lane.bury(key(6, 1));
        assert_eq!(lane.drain().collect::<Vec<_>>(), [key(6, 0), key(7, 0)]);
    }

    #[test]
    fn those_that_went_away_are_found_on_either_side_of_the_wrap() {
        let last = u32::MAX >> 1;
        let generations = [last - 2, last - 1, last, 0, 1, 2];
        for gone in 0..generations.len() {
            let mut lane = Lane::new(1);
            for (fd, generation) in (0..).zip(generations) {
                lane.wait(key(generation, 3), request(fd));
            }
            lane.bury(key(generations[gone], 3));
            let mut left = Vec::new();
            while let Some(fd) = fd_of(lane.front()) {
                left.push(usize::try_from(fd).unwrap());
                lane.pop();
            }
            let expected: Vec<_> = (0..generations.len()).filter(|at| *at != gone).collect();
            assert_eq!(left, expected);
            assert_eq!(lane.waiting(), 0);
        }
    }

    #[test]
    fn a_line_of_which_most_went_away_does_not_grow() {
        let mut lane = Lane::new(1);
        for generation in 0..1000 {
            lane.wait(key(generation, 0), request(0));
            if generation > 0 {
                lane.bury(key(generation, 0));
            }
            assert!(lane.waiting.len() <= 3);
        }
        assert_eq!(lane.waiting(), 1);
    }
}
