//! The owner's side of its tasks: spawn, run, complete, shut down.
//!
//! # Safety
//!
//! A scheduled task lives until its entry was taken out of the run queue. Only the owner polls,
//! cancels and completes, and never one task inside another: `running` says so.
#![allow(
    unsafe_code,
    reason = "turns queue entries into tasks and calls their tables"
)]

use std::cell::Cell;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc as Shared;

use super::cell::TaskCell;
use super::enter::{EnterGuard, enter, leave_for_good, with_current};
use super::error::JoinError;
use super::header::{TaskPtr, drop_ref, free};
use super::join::{JoinHandle, take_join_waker};
#[cfg(all(test, not(corelane_loom)))]
use super::recycle::KEPT_MAX;
use super::recycle::Recycler;
use super::registry::Registry;
use super::remote::RemoteSpawner;
use super::run_queue::RunQueue;
use super::state::{Complete, Start};
use crate::guard::guarded;
use crate::mailbox::{Chain, Link, SpawnBox, WakeBlock};
use crate::shim::{Arc, spin_loop, yield_now};
use crate::stall::Watch;
use crate::trace;

/// How often a shutdown looks for the entries that other threads are about to push.
#[cfg(not(corelane_loom))]
const OWED_LOOKS_MAX: usize = 10_000;
#[cfg(corelane_loom)]
const OWED_LOOKS_MAX: usize = usize::MAX;
/// How many of those looks do not give the processor away.
#[cfg(not(corelane_loom))]
const OWED_SPINS: usize = 64;
#[cfg(corelane_loom)]
const OWED_SPINS: usize = 0;

/// The tasks of one worker, on the thread that polls them.
///
/// Dropping it shuts it down.
#[derive(Debug)]
pub(crate) struct Local(Rc<LocalInner>);

/// What [`Local`] owns; also what the current thread is in.
#[derive(Debug)]
pub(crate) struct LocalInner {
    block: &'static WakeBlock,
    spawns: Arc<SpawnBox>,
    queue: RunQueue,
    registry: Registry,
    /// A task is being run, or all are being dropped: neither may begin inside the other.
    running: Cell<bool>,
    closed: Cell<bool>,
    /// Kicks that this thread sent to other workers while it was in this one.
    pub(super) kicks_sent: Cell<u64>,
    /// To whom each poll is told, if to anyone.
    watch: Option<Shared<Watch>>,
    /// Memory for the next tasks.
    pub(super) recycler: Recycler,
}

impl Local {
    /// Makes the task side of a worker whose mailbox holds `spawns_max` spawns.
    #[cfg(test)]
    pub(crate) fn new(spawns_max: usize) -> Self {
        Self::watched(spawns_max, None)
    }

    /// As [`new`](Self::new), but keeps the memory of tasks as a worker in use does, in any build.
    #[cfg(all(test, not(corelane_loom)))]
    pub(crate) fn recycling(spawns_max: usize) -> Self {
        Self::with_recycler(spawns_max, None, Recycler::keeping(KEPT_MAX))
    }

    /// Makes the task side of a worker whose mailbox holds `spawns_max` spawns, and that says what
    /// it polls to a `watch`.
    pub(crate) fn watched(spawns_max: usize, watch: Option<Shared<Watch>>) -> Self {
        Self::with_recycler(spawns_max, watch, Recycler::new())
    }

    fn with_recycler(spawns_max: usize, watch: Option<Shared<Watch>>, recycler: Recycler) -> Self {
        let block = WakeBlock::acquire();
        Self(Rc::new(LocalInner {
            block,
            spawns: Arc::new(SpawnBox::new(block, spawns_max)),
            queue: RunQueue::new(),
            registry: Registry::new(),
            running: Cell::new(false),
            closed: Cell::new(false),
            kicks_sent: Cell::new(0),
            watch,
            recycler,
        }))
    }

    /// Makes this the current worker of the thread until the guard is dropped.
    ///
    /// When that leaves something to run while the worker is parked, the worker is kicked.
    #[inline]
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        enter(&self.0)
    }

    /// Refuses further spawns and drops every task's future, here; their handles resolve to
    /// `WorkerGone`. Returns how many tasks there were.
    ///
    /// # Panics
    ///
    /// When called from inside a task of the same worker.
    pub(crate) fn shutdown(&self) -> usize {
        assert!(
            !self.running.replace(true),
            "a worker was shut down by one of its own tasks"
        );
        let guard = self.enter();
        self.closed.set(true);
        self.adopt(self.spawns.close());
        let mut count = 0;
        while let Some(task) = self.registry.first() {
            self.kill(task);
            count += 1;
        }
        self.bury_owed();
        drop(guard);
        self.running.set(false);
        count
    }
}

impl Deref for Local {
    type Target = LocalInner;

    #[inline(always)]
    fn deref(&self) -> &LocalInner {
        &self.0
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shutdown();
        leave_for_good(&self.0);
        // SAFETY: after a shutdown every task is complete, and no guard finds this worker again.
        unsafe { self.0.block.release() };
    }
}

impl LocalInner {
    /// Adds a task to the run queue. After a shutdown its future is dropped at once.
    #[inline]
    #[track_caller]
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let spawned_at = Location::caller();
        self.spawn_at(spawned_at, trace::task(spawned_at, || future))
    }

    /// As [`spawn`](Self::spawn), which is called elsewhere.
    #[inline(always)]
    pub(crate) fn spawn_at<F>(
        &self,
        spawned_at: &'static Location<'static>,
        future: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let task = TaskCell::allocate(future, self.block, Some(&self.recycler));
        // SAFETY: a new task has one reference for its handle; the type is that of the future.
        let handle = unsafe { JoinHandle::new(task) };
        self.registry.add(task);
        if let Some(watch) = &self.watch {
            watch.place(task.address(), spawned_at);
        }
        if self.closed.get() {
            task.state.start();
            self.kill(task);
        } else {
            // SAFETY: a task is born scheduled, and this is the entry for it.
            unsafe { self.push(task) };
        }
        handle
    }

    /// Runs the oldest entry of the run queue; false when there is none.
    ///
    /// # Panics
    ///
    /// When called from inside a task of the same worker.
    #[inline(always)]
    pub(crate) fn run_one(&self) -> bool {
        assert!(
            !self.running.get(),
            "a worker was re-entered by one of its own tasks"
        );
        let Some(link) = self.queue.pop() else {
            return false;
        };
        self.running.set(true);
        // SAFETY: it was just taken out of the queue.
        let task = unsafe { task_of(link) };
        match &self.watch {
            None => self.run(task),
            Some(watch) => self.run_watched(watch, task),
        }
        self.running.set(false);
        true
    }

    /// Runs an entry that was taken out of the run queue.
    #[inline(always)]
    fn run(&self, task: TaskPtr) {
        match task.state.start() {
            Start::Poll => {
                let poll = task.vtable.poll;
                // SAFETY: this is the owner; the task is not complete, and `running` says that no
                // other poll is under way.
                if unsafe { poll(task) } {
                    self.finish(task);
                }
            }
            Start::Cancel => self.cancel(task, JoinError::cancelled()),
            Start::Zombie => self.bury(task),
        }
    }

    /// As [`run`](Self::run), and says so. Apart, so that other workers' loops stay as they are.
    #[inline(never)]
    fn run_watched(&self, watch: &Watch, task: TaskPtr) {
        let _polling = watch.poll(task.address());
        self.run(task);
    }

    /// To whom each poll is told, if to anyone.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_deref()
    }

    /// Moves what other threads woke and spawned to the end of the run queue; returns how many.
    ///
    /// Bounded by the live tasks and the mailbox's spawns.
    #[inline]
    pub(crate) fn take_remote(&self) -> usize {
        let woken = self.block.take_wakes();
        let count = woken.len;
        // SAFETY: a scheduled task lives until its entry was taken out of the run queue.
        unsafe { self.queue.append(woken) };
        count + self.adopt(self.spawns.take())
    }

    /// Whether the run queue is empty. Other threads' wakes are seen by `take_remote` only.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The entries of the run queue.
    #[cfg(all(test, not(corelane_loom)))]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The tasks that are not complete, without the spawns that still wait in the mailbox.
    #[inline]
    pub(crate) fn task_count(&self) -> usize {
        self.registry.len()
    }

    /// Announces that the worker is about to wait; false when there is something to run instead.
    ///
    /// `others_empty` looks at what else may have been left for the worker; it is called after the
    /// announcement is visible.
    pub(crate) fn prepare_park(&self, others_empty: impl FnOnce() -> bool) -> bool {
        self.queue.is_empty()
            && self
                .block
                .prepare_park(|| self.spawns.is_empty() && others_empty())
    }

    /// The kicks that this worker's tasks and code sent to other workers.
    pub(crate) fn kicks_sent(&self) -> u64 {
        self.kicks_sent.get()
    }

    /// Ends a park, at the start of a turn; true when a kick was sent for it.
    #[inline]
    pub(crate) fn unpark(&self) -> bool {
        self.block.unpark()
    }

    /// The worker's side that other threads see.
    #[inline]
    pub(crate) fn block(&self) -> &'static WakeBlock {
        self.block
    }

    /// A spawner for other threads.
    pub(crate) fn spawner(&self) -> RemoteSpawner {
        RemoteSpawner::new(Arc::clone(&self.spawns))
    }

    /// Refuses further spawns from other threads; those in the mailbox are taken.
    pub(crate) fn close_spawns(&self) {
        self.adopt(self.spawns.close());
    }

    /// Whether this is the worker that polls `task`.
    #[inline(always)]
    pub(super) fn owns(&self, task: TaskPtr) -> bool {
        ptr::eq(self.block, task.owner)
    }

    /// Adds a task's entry to the run queue.
    ///
    /// # Safety
    ///
    /// The caller owes the entry, and this worker owns the task.
    #[inline(always)]
    pub(super) unsafe fn push(&self, task: TaskPtr) {
        // SAFETY: the entry is owed, so the link is in no list; a scheduled task lives until its
        // entry was taken.
        unsafe { self.queue.push(task.link()) };
    }

    /// Makes a foreign event loop look at the worker when this thread left it something to run.
    pub(super) fn kick_self_if_due(&self) {
        if !self.queue.is_empty() && self.block.is_parked() {
            self.block.notify();
        }
    }

    /// Takes spawned tasks into the registry and the run queue.
    fn adopt(&self, spawned: Chain) -> usize {
        let mut rest = spawned.first;
        while let Some(link) = rest {
            // SAFETY: a spawned task has a reference for the registry to come.
            let task = unsafe { task_of(link) };
            self.registry.add(task);
            // SAFETY: as above.
            rest = unsafe { link.as_ref() }.next();
        }
        let count = spawned.len;
        // SAFETY: they are born scheduled, and live until their entries are taken.
        unsafe { self.queue.append(spawned) };
        count
    }

    /// Drops the future of a live task that is not being polled.
    fn cancel(&self, task: TaskPtr, error: JoinError) {
        let cancel = task.vtable.cancel;
        // SAFETY: this is the owner; the task is not complete and not being polled.
        unsafe { cancel(task, error) };
        self.finish(task);
    }

    fn kill(&self, task: TaskPtr) {
        self.cancel(task, JoinError::worker_gone());
    }

    /// Completes a task whose output is stored.
    #[inline]
    fn finish(&self, task: TaskPtr) {
        self.registry.remove(task);
        if let Some(watch) = &self.watch {
            watch.forget(task.address());
        }
        let mut stored = true;
        let seen = loop {
            let seen = task.state.load();
            if stored && !seen.has_join_interest() {
                let drop_output = task.vtable.drop_output;
                // SAFETY: nobody else has the output, nor will: the interest does not come back.
                guarded(|| unsafe { drop_output(task) });
                stored = false;
            }
            match task.state.complete(seen) {
                Complete::Retry => {}
                Complete::Released => return,
                // SAFETY: only the registry's reference was left; the output was dropped, as a
                // handle would have another.
                Complete::Last => return unsafe { free(task) },
                Complete::Kept => break seen,
            }
        };
        if seen.is_scheduled() {
            // The reference goes with the entry, so the task outlives this function.
            self.block.owe();
        }
        if seen.has_join_waker() {
            // SAFETY: the task was completed with the bit set: the field is the owner's.
            if let Some(waker) = unsafe { take_join_waker(task) } {
                guarded(|| waker.wake());
            }
        }
        if !seen.is_scheduled() {
            // SAFETY: the registry's reference, which was kept.
            unsafe { drop_ref(task) };
        }
    }

    /// Drops the reference of the entry of a complete task.
    #[cold]
    fn bury(&self, task: TaskPtr) {
        self.block.paid();
        // SAFETY: the entry was taken, and its reference with it.
        unsafe { drop_ref(task) };
    }

    /// Takes the entries of complete tasks, also those that other threads are about to push.
    ///
    /// A thread may be stopped between scheduling and pushing for as long as it likes. What it
    /// owes then goes to the block's next owner, who buries it.
    fn bury_owed(&self) {
        for look in 0..OWED_LOOKS_MAX {
            // SAFETY: a scheduled task lives until its entry was taken.
            unsafe { self.queue.append(self.block.take_wakes()) };
            while let Some(link) = self.queue.pop() {
                // SAFETY: it was just taken out of the queue.
                self.bury(unsafe { task_of(link) });
            }
            if self.block.owed() == 0 {
                return;
            }
            if look < OWED_SPINS {
                spin_loop()
            } else {
                yield_now()
            }
        }
    }
}

/// Says whether this thread is in a worker that takes tasks.
#[inline]
pub(crate) fn current_takes_tasks() -> bool {
    with_current(|local| local.is_some_and(|local| !local.closed.get()))
}

/// Adds a task to the worker that this thread is in.
///
/// # Panics
///
/// When [`current_takes_tasks`] says that there is none.
#[inline(always)]
pub(crate) fn spawn_current<F>(
    spawned_at: &'static Location<'static>,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    with_current(|local| {
        let local = local.filter(|local| !local.closed.get());
        // It takes the task, so that no future is dropped: no code of the user's runs.
        let local = local.expect("the caller has seen that there is one");
        local.spawn_at(spawned_at, future)
    })
}

/// # Safety
///
/// The link is that of a task of this worker, which a reference or a queue entry keeps alive.
#[inline(always)]
unsafe fn task_of(link: NonNull<Link>) -> TaskPtr {
    // SAFETY: only `TaskPtr::link` makes links that get into a worker's lists.
    unsafe { TaskPtr::from_raw(link.cast()) }
}
