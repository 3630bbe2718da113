//! The word to end, from an executor to the threads of its workers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// How a worker is told to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// With the tasks aborted that have not finished by `tasks`, and the operations leaked that
    /// the kernel has not let go of by `drain`.
    Deadline { tasks: Instant, drain: Instant },
    /// When no task is left.
    WhenIdle,
}

/// The word to end, from the executor to a worker.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<(Option<End>, Option<Waker>)>);

impl Stop {
    fn lock(&self) -> MutexGuard<'_, (Option<End>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, end: End) {
        let waker = {
            let mut state = self.lock();
            state.0 = Some(end);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<End> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if let Some(end) = state.0 {
            return Poll::Ready(end);
        }
        let replaced = state.1.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}
