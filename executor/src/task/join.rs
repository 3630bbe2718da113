//! The handle that awaits, aborts or detaches a task, from any thread.
//!
//! # Safety
//!
//! Output and join waker change hands by the bits of the state: the handle takes the output of a
//! complete task only, and writes the waker only while the bit for it is not set.
#![allow(
    unsafe_code,
    reason = "takes the output and sets the join waker by the state's protocol"
)]

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use super::cell::Outcome;
use super::error::JoinError;
use super::header::{TaskPtr, drop_ref};
use super::state::{Detach, Snapshot};
use super::waker::{enqueue, identity};

/// Awaits the output of a task.
///
/// It may be awaited by any executor on any thread, and resolves even when the task's worker shuts
/// down first. Dropping it detaches the task, which runs on.
///
/// # Cancel safety
///
/// Dropping the handle, or a future that awaits `&mut` of it, loses nothing but the output.
pub struct JoinHandle<T> {
    /// `None` once the output was taken. The handle owns one reference.
    task: Option<TaskPtr>,
    /// The identity of the waker that the task holds, while `JOIN_WAKER` is set: that of a clone that is
    /// alive, so that no other waker can have the same. Only tasks' wakers have one: that of any waker
    /// takes two words, and a handle of three is moved through memory.
    registered: Option<NonNull<()>>,
    output: PhantomData<T>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<JoinHandle<()>>() == 16, "two words");

// SAFETY: the handle moves the output to its thread, so `T` is to be `Send`; everything else it
// does to the task is by the state's protocol, for any thread.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a shared handle can look at the state and abort, which any thread may.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Aborts the task: its worker drops the future where it stands, and the handle resolves to an
    /// error for which [`JoinError::is_cancelled`] holds.
    ///
    /// A task that completes first keeps its output; one that is being polled is dropped after
    /// that poll.
    pub fn abort(&self) {
        let Some(task) = self.task else { return };
        if task.state.abort() {
            // SAFETY: the abort has scheduled the task, so the entry is this call's to make.
            unsafe { enqueue(task) };
        }
    }

    /// Tells whether the task has completed, was aborted or lost its worker.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_none_or(|task| task.state.load().is_complete())
    }

    /// # Safety
    ///
    /// - The handle's reference to `task` is the caller's to give, and there is no other handle.
    /// - The output of its future is a `T`.
    #[inline(always)]
    pub(super) unsafe fn new(task: TaskPtr) -> Self {
        Self {
            task: Some(task),
            registered: None,
            output: PhantomData,
        }
    }

    /// Leaves a clone of `waker` with the task; false: the task is complete instead.
    fn register(&mut self, task: TaskPtr, seen: Snapshot, waker: &Waker) -> bool {
        let mut replaced = None;
        if seen.has_join_waker() {
            if self.registered.is_some() && self.registered == identity(waker) {
                return true;
            }
            if !task.state.unset_join_waker() {
                return false;
            }
            self.registered = None;
            // SAFETY: the bit is clear and was so before completion: the field is the handle's.
            replaced = unsafe { take_join_waker(task) };
        }
        let waker = waker.clone();
        self.registered = identity(&waker);
        // SAFETY: as above.
        task.join_waker
            .with_mut(|place| unsafe { *place = Some(waker) });
        let pending = task.state.set_join_waker();
        if !pending {
            // SAFETY: the task completed while the bit was clear: the field is still the handle's.
            drop(unsafe { take_join_waker(task) });
        }
        drop(replaced);
        pending
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let task = this
            .task
            .expect("a JoinHandle was polled after it was ready");
        let seen = task.state.load();
        if !seen.is_complete() && this.register(task, seen, cx.waker()) {
            return Poll::Pending;
        }
        this.task = None;
        // SAFETY: the task is complete, and the handle has not taken the output before.
        Poll::Ready(unsafe { take_output(task) })
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        match task.state.detach() {
            Detach::Released => {}
            // SAFETY: the task is complete, and its output the handle's and still there.
            Detach::DropOutput => drop(unsafe { take_output::<T>(task) }),
            Detach::DropWaker => {
                // SAFETY: the bit was cleared before completion: the field is the handle's.
                let waker = unsafe { take_join_waker(task) };
                // SAFETY: the handle's reference.
                unsafe { drop_ref(task) };
                drop(waker);
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Moves the output out and drops the handle's reference.
///
/// # Safety
///
/// - The task is complete, its output of type `T` is the handle's and still there.
/// - The reference is the caller's to drop.
#[inline]
unsafe fn take_output<T>(task: TaskPtr) -> Outcome<T> {
    let mut output = MaybeUninit::<Outcome<T>>::uninit();
    let take = task.vtable.take_output;
    // SAFETY: the caller's first obligation; the place is one for an outcome of `T`.
    unsafe { take(task, output.as_mut_ptr().cast()) };
    // SAFETY: the caller's second obligation.
    unsafe { drop_ref(task) };
    // SAFETY: `take_output` has written it.
    unsafe { output.assume_init() }
}

/// # Safety
///
/// The field is the caller's, by the state's protocol.
pub(super) unsafe fn take_join_waker(task: TaskPtr) -> Option<Waker> {
    // SAFETY: the caller has the field to itself.
    task.join_waker
        .with_mut(|place| unsafe { &mut *place }.take())
}
