//! Spawning onto the current worker, and giving way to its other tasks.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crate::blocking::BlockingHandle;
use crate::executor::own_blocking_pool;
use crate::task::{self, JoinHandle, RemoteSpawner};
use crate::trace;
use crate::worker::{Stats, context};

/// Adds a task to the current worker.
///
/// # Panics
///
/// Panics outside of a worker.
///
/// # Examples
///
/// ```
/// # #[corelane::main]
/// # async fn main() {
/// let task = corelane::spawn_local(async { 2 + 2 });
/// assert_eq!(task.await.unwrap(), 4);
/// # }
/// ```
#[inline(always)]
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let spawned_at = Location::caller();
    // A subscriber's code may run here, and change the current worker.
    let future = trace::task(spawned_at, || future);
    if task::current_takes_tasks() {
        return task::spawn_current(spawned_at, future);
    }
    context::current().local.spawn_at(spawned_at, future)
}

/// Runs `work` on a thread that may block, off the workers' cores where there are others.
///
/// The pool is bounded: where all its threads are busy and its queue is full, the work starts its
/// way when the handle is polled. A panic of the work reaches who awaits the handle. The handle
/// can be awaited on any executor.
///
/// # Panics
///
/// Panics outside of a worker.
///
/// # Cancel safety
///
/// Dropping the handle cancels work that has not started; other work goes on to its end.
#[track_caller]
pub fn spawn_blocking<T, W>(work: W) -> BlockingHandle<T>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    context::current().blocking(own_blocking_pool).spawn(work)
}

/// Returns a handle with which other threads spawn onto the current worker.
///
/// # Panics
///
/// Panics outside of a worker.
#[must_use]
#[track_caller]
pub fn spawner() -> RemoteSpawner {
    context::current().local.spawner()
}

/// Returns the number of the current worker in its executor; zero for a worker of its own.
///
/// # Panics
///
/// Panics outside of a worker.
#[must_use]
#[track_caller]
pub fn current_worker() -> usize {
    context::current().index.get()
}

/// Returns the counters of the current worker.
///
/// # Panics
///
/// Panics outside of a worker.
#[must_use]
#[track_caller]
pub fn stats() -> Stats {
    context::current().stats()
}

/// Says whether the running task has had its share: completions are waiting, or
/// [`Config::reap_interval`](crate::Config::reap_interval) has passed since the worker last
/// looked for some. False outside of a worker.
///
/// A long computation asks now and then, and awaits [`yield_now`] when the answer is yes.
#[must_use]
pub fn need_preempt() -> bool {
    context::try_with(|core| core.need_preempt()).unwrap_or(false)
}

/// Says whether the calling thread is on a worker.
#[must_use]
pub fn on_worker() -> bool {
    context::try_with(|_| ()).is_some()
}

/// Waits until the worker would otherwise wait itself: no task of it can run, and no completion is
/// there.
///
/// For work that can be put off, in pieces that are short: between two of them, await it again. A
/// worker in somebody else's loop ([`Worker::turn`](crate::Worker::turn)) takes the time for it
/// out of that loop's budget.
///
/// # Panics
///
/// The future panics when it is first polled outside of a worker.
///
/// # Cancel safety
///
/// Nothing is lost.
///
/// ```
/// # #[corelane::main]
/// # async fn main() {
/// for _piece in 0..3 {
///     corelane::idle().await;
///     // Nobody else wants the core now.
/// }
/// # }
/// ```
pub fn idle() -> Idle {
    Idle {
        was_idle: None,
        waker: None,
    }
}

/// The future of [`idle`].
#[derive(Debug)]
#[must_use = "waiting does nothing unless it is awaited"]
pub struct Idle {
    /// Set by the worker that was asked.
    was_idle: Option<Arc<AtomicBool>>,
    /// The waker that the worker has.
    waker: Option<Waker>,
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let was_idle = Arc::clone(self.was_idle.get_or_insert_default());
        if was_idle.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let known = self.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            let core = context::current();
            let (known, waker) = (cx.waker().clone(), cx.waker().clone());
            let is_again = self.waker.is_some();
            core.idlers.add(was_idle, waker, is_again);
            self.waker = Some(known);
        }
        Poll::Pending
    }
}

/// Lets the other tasks of the worker run before the caller goes on.
///
/// # Cancel safety
///
/// Nothing is lost.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a yield does nothing unless it is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
