//! Futures that wait for the same thing: one waker of each.

use std::task::Waker;

/// Names a future among those that wait.
pub(super) type Waiter = u64;

/// The wakers, by future.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: Vec<(Waiter, Waker)>,
    next: Waiter,
}

impl Waiters {
    /// Names another future.
    pub(super) fn add(&mut self) -> Waiter {
        self.next += 1;
        self.next
    }

    /// Leaves the waker of a future, and gives the one that it replaces.
    pub(super) fn put(&mut self, waiter: Waiter, waker: Waker) -> Option<Waker> {
        let known = self.waiting.iter_mut().find(|(known, _)| *known == waiter);
        if let Some((_, known)) = known {
            return Some(std::mem::replace(known, waker));
        }
        self.waiting.push((waiter, waker));
        None
    }

    /// Takes the waker of a future that does not wait any more.
    pub(super) fn remove(&mut self, waiter: Waiter) -> Option<Waker> {
        let index = self
            .waiting
            .iter()
            .position(|(known, _)| *known == waiter)?;
        Some(self.waiting.swap_remove(index).1)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes all of them, to be woken.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.waiting.drain(..).map(|(_, waker)| waker)
    }
}
