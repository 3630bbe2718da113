//! A first-in, first-out queue of waiting futures. Pure: it hands wakers out and never calls one.

use std::task::Waker;

use slab::Slab;

use crate::guard::guarded_each;

const NIL: usize = usize::MAX;

/// The futures that wait for something, and those it was granted to but that have not run yet.
///
/// A future owns its entry: nobody else removes it, so a key cannot go stale.
#[derive(Debug)]
pub(crate) struct Waiters {
    entries: Slab<Waiter>,
    /// Ends of the queue of `State::Waiting` entries.
    head: usize,
    tail: usize,
    /// How many are in the queue. Counted by `push_back` and `unlink`.
    waiting_count: usize,
}

#[derive(Debug)]
struct Waiter {
    state: State,
    /// How much it waits for.
    need: usize,
    previous: usize,
    next: usize,
}

#[derive(Debug)]
enum State {
    /// In the queue. Leaves by `grant_front` or `remove`.
    Waiting(Waker),
    /// Out of the queue, with what it waited for. Leaves by `remove`.
    Granted(Grant),
}

/// What becomes of a grant whose future is dropped before it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It goes back, to the next in the queue.
    PassOn,
    /// It was meant for this waiter alone.
    Keep,
}

/// What a future left behind.
#[derive(Debug)]
pub(crate) enum Removed {
    /// It was still waiting. The waker is to be dropped outside of the lock.
    Waiting(#[expect(dead_code, reason = "carried out of the lock to be dropped")] Waker),
    Granted(Grant),
}

impl Waiters {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            head: NIL,
            tail: NIL,
            waiting_count: 0,
        }
    }

    /// Says whether nobody is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// Returns how many are in the queue.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting_count
    }

    /// Returns how many are out of the queue, and have not been removed.
    pub(crate) fn granted_count(&self) -> usize {
        self.entries.len() - self.waiting_count
    }

    /// Returns what the first in the queue needs.
    pub(crate) fn front_need(&self) -> Option<usize> {
        self.entries.get(self.head).map(|waiter| waiter.need)
    }

    /// Puts a future at the end of the queue.
    pub(crate) fn push_back(&mut self, waker: Waker, need: usize) -> usize {
        let waiter = Waiter {
            state: State::Waiting(waker),
            need,
            previous: self.tail,
            next: NIL,
        };
        let key = self.entries.insert(waiter);
        match self.tail {
            NIL => self.head = key,
            tail => self.entries[tail].next = key,
        }
        self.tail = key;
        self.waiting_count += 1;
        key
    }

    /// Takes the first out of the queue and returns its waker, to be called outside of the lock.
    pub(crate) fn grant_front(&mut self, grant: Grant) -> Option<Waker> {
        let key = self.head;
        if key == NIL {
            return None;
        }
        self.unlink(key);
        match std::mem::replace(&mut self.entries[key].state, State::Granted(grant)) {
            State::Waiting(waker) => Some(waker),
            State::Granted(_) => unreachable!("the queue holds waiting entries only"),
        }
    }

    pub(crate) fn is_granted(&self, key: usize) -> bool {
        matches!(self.entries[key].state, State::Granted(_))
    }

    /// Says whether the entry's waker wakes the same task as `waker`.
    pub(crate) fn will_wake(&self, key: usize, waker: &Waker) -> bool {
        matches!(&self.entries[key].state, State::Waiting(stored) if stored.will_wake(waker))
    }

    /// Exchanges the waker of a waiting entry; `spare` leaves with the former one.
    pub(crate) fn swap_waker(&mut self, key: usize, spare: &mut Waker) {
        if let State::Waiting(stored) = &mut self.entries[key].state {
            std::mem::swap(stored, spare);
        }
    }

    /// Removes an entry, whose key is used no more.
    pub(crate) fn remove(&mut self, key: usize) -> Removed {
        if !self.is_granted(key) {
            self.unlink(key);
        }
        match self.entries.remove(key).state {
            State::Waiting(waker) => Removed::Waiting(waker),
            State::Granted(grant) => Removed::Granted(grant),
        }
    }

    fn unlink(&mut self, key: usize) {
        self.waiting_count -= 1;
        let Waiter { previous, next, .. } = self.entries[key];
        match previous {
            NIL => self.head = next,
            previous => self.entries[previous].next = next,
        }
        match next {
            NIL => self.tail = previous,
            next => self.entries[next].previous = previous,
        }
    }
}

/// Wakers on their way out of a lock. Bounded, so that it lives on the stack.
#[derive(Debug, Default)]
pub(crate) struct WakeList {
    wakers: [Option<Waker>; Self::CAPACITY],
    len: usize,
}

impl WakeList {
    const CAPACITY: usize = 16;

    pub(crate) fn is_full(&self) -> bool {
        self.len == Self::CAPACITY
    }

    /// Adds a waker; the list must not be full.
    pub(crate) fn push(&mut self, waker: Waker) {
        self.wakers[self.len] = Some(waker);
        self.len += 1;
    }

    /// Calls and forgets the wakers, first in first, also those behind one that panics.
    pub(crate) fn wake_all(&mut self) {
        let count = std::mem::take(&mut self.len);
        let wakers = self.wakers[..count].iter_mut().filter_map(Option::take);
        guarded_each(wakers, Waker::wake);
    }
}
