//! Who wants to know that the worker has nothing to do.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::guard::guarded_each;

/// Those who wait for the worker to be idle.
#[derive(Debug, Default)]
pub(crate) struct Idlers {
    waiting: RefCell<Vec<Idler>>,
}

#[derive(Debug)]
struct Idler {
    /// Set for good when the worker was idle; shared with the future.
    was_idle: Arc<AtomicBool>,
    waker: Waker,
}

impl Idlers {
    /// Adds one; the flag is set before the waker is woken.
    pub(crate) fn add(&self, was_idle: Arc<AtomicBool>, waker: Waker) {
        self.waiting.borrow_mut().push(Idler { was_idle, waker });
    }

    /// Wakes those whose futures are still there; true if there were any.
    pub(super) fn wake(&self) -> bool {
        if self.waiting.borrow().is_empty() {
            return false;
        }
        let mut waiting = self.waiting.take();
        waiting.retain(|idler| Arc::strong_count(&idler.was_idle) > 1);
        let any = !waiting.is_empty();
        guarded_each(waiting.into_iter(), |idler| {
            idler.was_idle.store(true, Ordering::Release);
            idler.waker.wake();
        });
        any
    }
}
