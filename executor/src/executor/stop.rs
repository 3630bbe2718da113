//! The word to end, from an executor to the threads of its workers, and how these end.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use crate::worker::ShutdownReport;

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

/// The end of a worker's thread.
#[derive(Debug)]
pub(super) struct WorkerEnd {
    thread: thread::JoinHandle<()>,
    /// What the worker left behind. Locked by nobody: an executor is shared between threads, and
    /// a receiver cannot be.
    report: Mutex<mpsc::Receiver<ShutdownReport>>,
}

impl WorkerEnd {
    pub(super) fn new(
        thread: thread::JoinHandle<()>,
        report: mpsc::Receiver<ShutdownReport>,
    ) -> Self {
        Self {
            thread,
            report: Mutex::new(report),
        }
    }

    /// Waits until the worker has ended; for its thread as well, unless the kernel is still in a
    /// call of it, which the thread would wait for.
    pub(super) fn wait(self) -> ShutdownReport {
        let report = self.report.into_inner();
        match report.unwrap_or_else(PoisonError::into_inner).recv() {
            Ok(report) if report.ops_leaked > 0 => report,
            Ok(report) => {
                // It has returned all but its thread-locals, whose panics end the process.
                let _ = self.thread.join();
                report
            }
            Err(mpsc::RecvError) => ShutdownReport {
                workers_panicked: 1,
                ..ShutdownReport::default()
            },
        }
    }

    pub(super) fn is_current(&self) -> bool {
        self.thread.thread().id() == thread::current().id()
    }
}
