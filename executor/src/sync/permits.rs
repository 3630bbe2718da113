//! A counter that futures wait on in turn: what a semaphore and a channel's free places have in
//! common. Pure.

use std::task::{Context, Poll, Waker};

use super::lock::Lock;
use super::waiters::{Grant, Removed, Waiters, WakeList};
use crate::guard::guarded;

#[derive(Debug)]
pub(crate) struct Permits {
    available: usize,
    waiters: Waiters,
}

/// A state that has permits in it.
pub(crate) trait HasPermits {
    fn permits(&mut self) -> &mut Permits;
}

/// What one look at the permits gave.
pub(crate) enum Look {
    Ready,
    Pending,
    /// Look again with a clone of the waker in `spare`.
    NeedWaker,
}

impl Permits {
    pub(crate) const fn new(available: usize) -> Self {
        Self {
            available,
            waiters: Waiters::new(),
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.available
    }

    /// Says how many are available, where that is counted elsewhere; what was granted and not picked up
    /// is not among them.
    pub(crate) fn set_available(&mut self, available: usize) {
        self.available = available;
    }

    /// How many were served and have not picked up what they were granted.
    pub(crate) fn granted_count(&self) -> usize {
        self.waiters.granted_count()
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Takes `need` permits unless they are lacking or others wait for theirs.
    pub(crate) fn try_acquire(&mut self, need: usize) -> bool {
        let free = self.waiters.is_empty() && self.available >= need;
        if free {
            self.available -= need;
        }
        free
    }

    /// Takes `need` permits in turn. Leaves a waker to be dropped outside of the lock in `spare`.
    pub(crate) fn look(
        &mut self,
        key: &mut Option<usize>,
        need: usize,
        waker: &Waker,
        spare: &mut Option<Waker>,
    ) -> Look {
        let Some(entry) = *key else {
            if self.try_acquire(need) {
                return Look::Ready;
            }
            let Some(waker) = spare.take() else {
                return Look::NeedWaker;
            };
            *key = Some(self.waiters.push_back(waker, need));
            return Look::Pending;
        };
        if self.waiters.is_granted(entry) {
            *key = None;
            self.waiters.remove(entry);
            return Look::Ready;
        }
        if self.waiters.will_wake(entry, waker) {
            return Look::Pending;
        }
        let Some(spare) = spare else {
            return Look::NeedWaker;
        };
        self.waiters.swap_waker(entry, spare);
        Look::Pending
    }

    /// Gives permits back without looking for who waits; [`Permits::grant`] must follow.
    ///
    /// # Panics
    ///
    /// Panics when the count overflows.
    pub(crate) fn put(&mut self, count: usize) {
        self.available = self
            .available
            .checked_add(count)
            .expect("more than usize::MAX permits");
    }

    /// Serves those who wait, in turn; returns false when the list filled up before.
    pub(crate) fn grant(&mut self, wakes: &mut WakeList) -> bool {
        while let Some(need) = self
            .waiters
            .front_need()
            .filter(|need| *need <= self.available)
        {
            if wakes.is_full() {
                return false;
            }
            self.available -= need;
            wakes.push(
                self.waiters
                    .grant_front(Grant::PassOn)
                    .expect("the front is there"),
            );
        }
        true
    }

    /// Lets everybody go, whatever is available; returns false when the list filled up before.
    pub(crate) fn release_all(&mut self, wakes: &mut WakeList) -> bool {
        while !wakes.is_full() {
            let Some(waker) = self.waiters.grant_front(Grant::Keep) else {
                return true;
            };
            wakes.push(waker);
        }
        self.waiters.is_empty()
    }

    /// Removes the entry of a future; what was granted to it goes back.
    pub(crate) fn cancel(&mut self, key: usize, need: usize) -> Removed {
        let removed = self.waiters.remove(key);
        if matches!(removed, Removed::Granted(Grant::PassOn)) {
            self.put(need);
        }
        removed
    }
}

/// Polls a look until it has the waker it needs; everything it leaves behind is dropped outside.
pub(crate) fn poll_look<S, R>(
    lock: &impl Lock<S>,
    context: &Context<'_>,
    mut look: impl FnMut(&mut S, &Waker, &mut Option<Waker>) -> (Look, R),
) -> Poll<R> {
    let mut spare = None;
    loop {
        match lock.with(|state| look(state, context.waker(), &mut spare)) {
            (Look::Ready, value) => {
                if let Some(spare) = spare {
                    drop_spare(spare);
                }
                return Poll::Ready(value);
            }
            (Look::Pending, _) => return Poll::Pending,
            (Look::NeedWaker, _) => spare = Some(context.waker().clone()),
        }
    }
}

/// Drops a waker that was not needed: what was taken is not lost where that panics.
#[cold]
fn drop_spare(spare: Waker) {
    guarded(|| drop(spare));
}

/// Puts `count` permits back and wakes those they serve, outside of the lock.
pub(crate) fn put_and_wake<S: HasPermits>(lock: &impl Lock<S>, count: usize) {
    let waited_for = lock.with(|state| {
        let permits = state.permits();
        permits.put(count);
        permits.is_waited_for()
    });
    if waited_for {
        wake_granted(lock);
    }
}

/// Wakes those whom the available permits serve, outside of the lock.
pub(crate) fn wake_granted<S: HasPermits>(lock: &impl Lock<S>) {
    wake_in_parts(lock, |state: &mut S, wakes| state.permits().grant(wakes));
}

/// Fills a list under the lock and calls it outside, until `fill` says that it is done.
pub(crate) fn wake_in_parts<S>(
    lock: &impl Lock<S>,
    mut fill: impl FnMut(&mut S, &mut WakeList) -> bool,
) {
    let mut wakes = WakeList::default();
    loop {
        let done = lock.with(|state| fill(state, &mut wakes));
        wakes.wake_all();
        if done {
            return;
        }
    }
}

/// Removes the entry of a dropped future; a grant it did not use goes to the next.
pub(crate) fn abandon<S: HasPermits>(lock: &impl Lock<S>, key: usize, need: usize) {
    let removed = lock.with(|state| state.permits().cancel(key, need));
    // Also when it was still waiting: it may have needed more than those behind it.
    wake_granted(lock);
    // The last, as dropping a waker may panic.
    drop(removed);
}
