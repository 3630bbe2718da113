//! Who wants to know that the worker has nothing to do.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::guard::guarded_each;

/// Those who wait for the worker to be idle.
#[derive(Debug, Default)]
pub(crate) struct Idlers {
    waiting: RefCell<Vec<Idler>>,
    /// How many there may be before those are looked for that are gone.
    sweep_at: Cell<usize>,
}

/// How many there are at least before those are looked for that are gone.
const SWEEP_MIN: usize = 16;

#[derive(Debug)]
struct Idler {
    /// Set for good when the worker was idle; shared with the future.
    was_idle: Arc<AtomicBool>,
    waker: Waker,
}

impl Idler {
    /// Whether its future is still there.
    fn is_there(&self) -> bool {
        Arc::strong_count(&self.was_idle) > 1
    }
}

impl Idlers {
    /// Adds one, in the place of what it has left with this worker before; the flag is set before the
    /// waker is woken.
    pub(crate) fn add(&self, was_idle: Arc<AtomicBool>, waker: Waker, is_again: bool) {
        let mut waiting = self.waiting.borrow_mut();
        let mut left: Vec<Idler> = Vec::new();
        if is_again {
            left.extend(waiting.extract_if(.., |idler| Arc::ptr_eq(&idler.was_idle, &was_idle)));
        }
        if waiting.len() >= self.sweep_at.get().max(SWEEP_MIN) {
            left.extend(waiting.extract_if(.., |idler| !idler.is_there()));
            self.sweep_at.set(waiting.len() * 2);
        }
        waiting.push(Idler { was_idle, waker });
        // Wakers are dropped when the list is free again.
        drop(waiting);
        guarded_each(left.into_iter(), drop);
    }

    /// Wakes those whose futures are still there; true if there were any.
    pub(super) fn wake(&self) -> bool {
        if self.waiting.borrow().is_empty() {
            return false;
        }
        let any = Cell::new(false);
        guarded_each(self.waiting.take().into_iter(), |idler| {
            if idler.is_there() {
                any.set(true);
                idler.was_idle.store(true, Ordering::Release);
                idler.waker.wake();
            }
        });
        any.get()
    }
}
