//! Spawning on a worker from another thread.
//!
//! # Safety
//!
//! A task is whole, with its references counted, before another thread can see it; its future is
//! pinned where it lies and never moves.
#![allow(
    unsafe_code,
    reason = "publishes a task to another thread; pins a future inside a task"
)]

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::cell::TaskCell;
use super::enter::{count_kick, with_current};
use super::error::SpawnError;
use super::join::JoinHandle;
use super::local::LocalInner;
use crate::mailbox::SpawnBox;
use crate::shim::Arc;
use crate::trace::{self, Traced};

/// Spawns tasks on one worker, from any thread.
///
/// It does not keep the worker alive.
#[derive(Clone)]
pub struct RemoteSpawner {
    spawns: Arc<SpawnBox>,
}

impl RemoteSpawner {
    /// Spawns a task: `closure` is called on the worker, and the future that it makes never leaves
    /// it. Nothing waits: a parked worker is kicked.
    ///
    /// # Errors
    ///
    /// The closure comes back, uncalled, when the worker's mailbox is full of spawns, or when the
    /// worker has shut down. A worker that shuts down later drops the closure on its own thread,
    /// and the handle resolves to [`JoinError::is_worker_gone`](super::JoinError::is_worker_gone).
    #[track_caller]
    pub fn spawn<C, Fut>(&self, closure: C) -> Result<JoinHandle<Fut::Output>, SpawnError<C>>
    where
        C: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        self.spawn_at(Location::caller(), closure)
    }

    /// As [`spawn`](Self::spawn), which is called elsewhere.
    ///
    /// # Errors
    ///
    /// The same.
    pub(crate) fn spawn_at<C, Fut>(
        &self,
        spawned_at: &'static Location<'static>,
        closure: C,
    ) -> Result<JoinHandle<Fut::Output>, SpawnError<C>>
    where
        C: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        if let Err(refused) = self.spawns.reserve() {
            return Err(SpawnError::new(refused, closure));
        }
        let task = TaskCell::allocate(Lazy::new(spawned_at, closure), self.spawns.block(), None);
        // SAFETY: the task is new, so its link is in no list; the reference that is meant for the
        // registry keeps it until the owner takes it. Everything in it that the owner will use is
        // `Send`: the closure, and the output for the way back.
        match unsafe { self.spawns.push(task.link()) } {
            Ok(kicked) => {
                count_kick(kicked);
                // SAFETY: the handle's reference is given out once; the type is that of the future.
                Ok(unsafe { JoinHandle::new(task) })
            }
            Err(refused) => {
                // SAFETY: a refused task was seen by nobody.
                let lazy = unsafe { TaskCell::<Lazy<C, Fut>>::into_future(task) };
                Err(SpawnError::new(refused, lazy.into_closure()))
            }
        }
    }

    pub(super) fn new(spawns: Arc<SpawnBox>) -> Self {
        Self { spawns }
    }
}

impl fmt::Debug for RemoteSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSpawner").finish_non_exhaustive()
    }
}

/// A future that is made by its first poll.
enum Lazy<C, Fut> {
    /// `None` while the closure is called, and for ever when it panicked.
    Closure(Option<C>, &'static Location<'static>),
    Future(Traced<Fut>),
}

impl<C, Fut> Lazy<C, Fut> {
    fn new(spawned_at: &'static Location<'static>, closure: C) -> Self {
        Self::Closure(Some(closure), spawned_at)
    }

    /// The closure of a `Lazy` that was not polled.
    fn into_closure(self) -> C {
        match self {
            Self::Closure(Some(closure), _) => closure,
            Self::Closure(None, _) | Self::Future(_) => unreachable!("it was never polled"),
        }
    }
}

impl<C, Fut> Future for Lazy<C, Fut>
where
    C: FnOnce() -> Fut,
    Fut: Future,
{
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fut::Output> {
        // SAFETY: only the future is pinned: it is never moved, and dropped where it lies. The
        // closure is not pinned: it is moved out to be called.
        let this = unsafe { self.get_unchecked_mut() };
        if let Self::Closure(closure, spawned_at) = this {
            let closure = closure
                .take()
                .expect("polled again after its closure panicked");
            let spawned_at = *spawned_at;
            place_polled(spawned_at);
            *this = Self::Future(trace::task(spawned_at, closure));
        }
        let Self::Future(future) = this else {
            unreachable!("made above")
        };
        // SAFETY: see above.
        unsafe { Pin::new_unchecked(future) }.poll(cx)
    }
}

/// Tells a worker that is watched where the task that it polls was spawned.
fn place_polled(spawned_at: &'static Location<'static>) {
    with_current(|local| {
        if let Some(watch) = local.and_then(LocalInner::watch) {
            watch.place_polled(spawned_at);
        }
    });
}
