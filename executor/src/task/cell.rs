//! The allocation of a task, and all that depends on the type of its future.
//!
//! # Safety
//!
//! Future and output share the memory of the stage. The state says which of them is there and who may
//! touch it: the owner while the task is not complete, the holder of the join interest afterwards.
#![allow(
    unsafe_code,
    reason = "future and output share the memory of the stage"
)]

use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

#[cfg(not(corelane_loom))]
use super::enter::with_current;
use super::error::JoinError;
use super::header::{Header, TaskPtr, Vtable};
use super::recycle::{self, Recycler};
use super::waker::with_borrowed_waker;
use crate::guard::guarded;
use crate::mailbox::WakeBlock;
use crate::shim::UnsafeCell;

/// A task: the header, then the future, which its output replaces.
#[repr(C)]
pub(super) struct TaskCell<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

/// Which of the two it holds follows from the state and from who has taken the output.
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Outcome<F::Output>>,
}

/// What a handle resolves to.
pub(super) type Outcome<T> = Result<T, JoinError>;

impl<F: Future + 'static> TaskCell<F> {
    const VTABLE: Vtable = Vtable {
        poll: poll::<F>,
        cancel: cancel::<F>,
        take_output: take_output::<F>,
        drop_output: drop_output::<F>,
        free: free::<F>,
    };

    /// Makes a scheduled task with two references: the registry's and the handle's.
    #[inline(always)]
    pub(super) fn allocate(
        future: F,
        owner: &'static WakeBlock,
        recycler: Option<&Recycler>,
    ) -> TaskPtr {
        let stage = UnsafeCell::new(Stage {
            future: ManuallyDrop::new(future),
        });
        let cell = Self {
            header: Header::new(&Self::VTABLE, owner),
            stage,
        };
        let cell = match recycler {
            Some(recycler) => recycler.place(cell),
            None => recycle::place(cell),
        };
        // SAFETY: the pointer is one to the whole cell, whose first field is the header; the
        // state begins with two references.
        unsafe { TaskPtr::from_raw(cell.cast()) }
    }

    /// Gives back the future of a task that nobody else has seen, and frees the task.
    ///
    /// # Safety
    ///
    /// `task` comes from `allocate` of this type, and no reference to it was handed out.
    pub(super) unsafe fn into_future(task: TaskPtr) -> F {
        // SAFETY: the type is right and the task alive.
        let stage = unsafe { stage::<F>(task) };
        let future = stage.with_mut(|stage| {
            // SAFETY: nobody else has the stage.
            let stage = unsafe { &mut *stage };
            // SAFETY: a new stage holds the future, which was never pinned by a poll; it is not
            // used again.
            unsafe { ManuallyDrop::take(&mut stage.future) }
        });
        // SAFETY: the type is right, the stage empty, and both references are the caller's.
        unsafe { free::<F>(task) };
        future
    }
}

/// # Safety
///
/// - `task` was made for `F`.
/// - A reference keeps it alive for `'a`.
#[inline(always)]
unsafe fn stage<'a, F: Future>(task: TaskPtr) -> &'a UnsafeCell<Stage<F>> {
    // SAFETY: the pointer is good for the whole cell, whose type and life the caller vouches for.
    let cell = unsafe { task.as_raw().cast::<TaskCell<F>>().as_ref() };
    &cell.stage
}

/// See [`Vtable::poll`].
unsafe fn poll<F: Future>(task: TaskPtr) -> bool {
    // SAFETY: the table's obligation; the registry keeps the task alive.
    let stage = unsafe { stage::<F>(task) };
    let polled = catch_unwind(AssertUnwindSafe(|| {
        with_borrowed_waker(task, |waker| {
            stage.with_mut(|stage| {
                // SAFETY: the stage is the owner's until the task is complete, and only this call
                // polls it.
                let stage = unsafe { &mut *stage };
                // SAFETY: the task is not complete, so it is the future that is there.
                let future = unsafe { &mut *stage.future };
                // SAFETY: it is dropped where it lies, and the cell never moves.
                let future = unsafe { Pin::new_unchecked(future) };
                future.poll(&mut Context::from_waker(waker))
            })
        })
    }));
    let outcome = match polled {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(payload) => Err(JoinError::panic(payload)),
    };
    // SAFETY: as above; the poll has ended.
    unsafe { finish::<F>(stage, outcome) };
    true
}

/// See [`Vtable::cancel`].
unsafe fn cancel<F: Future>(task: TaskPtr, error: JoinError) {
    // SAFETY: the table's obligation; the registry keeps the task alive.
    let stage = unsafe { stage::<F>(task) };
    // SAFETY: the caller is the owner, the task not complete and not being polled.
    unsafe { finish::<F>(stage, Err(error)) };
}

/// Drops the future, panic or not, and stores the outcome; the panic of a future that had not
/// panicked before becomes the outcome.
///
/// # Safety
///
/// The stage holds the future and is the caller's.
#[inline]
unsafe fn finish<F: Future>(stage: &UnsafeCell<Stage<F>>, mut outcome: Outcome<F::Output>) {
    if mem::needs_drop::<F>() {
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            stage.with_mut(|stage| {
                // SAFETY: the stage is the caller's.
                let stage = unsafe { &mut *stage };
                // SAFETY: it holds the future, which is not used again: even when its drop
                // panics, the output is written over what is left.
                unsafe { ManuallyDrop::drop(&mut stage.future) };
            });
        }));
        if let Err(payload) = dropped {
            let first_panic = outcome.as_ref().is_err_and(JoinError::is_panic);
            if first_panic {
                discard(payload);
            } else {
                discard(mem::replace(&mut outcome, Err(JoinError::panic(payload))));
            }
        }
    }
    let output = Stage {
        output: ManuallyDrop::new(outcome),
    };
    // SAFETY: the stage is the caller's, and the future in it was dropped.
    stage.with_mut(|stage| unsafe { ptr::write(stage, output) });
}

/// See [`Vtable::take_output`].
unsafe fn take_output<F: Future>(task: TaskPtr, into: *mut ()) {
    // SAFETY: the table's obligation; the caller's reference keeps the task alive.
    let stage = unsafe { stage::<F>(task) };
    let output = stage.with_mut(|stage| {
        // SAFETY: the stage is the caller's.
        let stage = unsafe { &mut *stage };
        // SAFETY: it holds the output, which is not used again.
        unsafe { ManuallyDrop::take(&mut stage.output) }
    });
    // SAFETY: the caller passes a place for a value of this type.
    unsafe { into.cast::<Outcome<F::Output>>().write(output) };
}

/// See [`Vtable::drop_output`].
unsafe fn drop_output<F: Future>(task: TaskPtr) {
    // SAFETY: the table's obligation; the caller's reference keeps the task alive.
    let stage = unsafe { stage::<F>(task) };
    stage.with_mut(|stage| {
        // SAFETY: the stage is the caller's.
        let stage = unsafe { &mut *stage };
        // SAFETY: it holds the output, which is not used again.
        unsafe { ManuallyDrop::drop(&mut stage.output) };
    });
}

/// See [`Vtable::free`].
unsafe fn free<F: Future>(task: TaskPtr) {
    let cell = task.as_raw().cast::<TaskCell<F>>();
    // In a model: whoever frees must have seen every other access.
    #[cfg(corelane_loom)]
    {
        // SAFETY: as below.
        let cell = unsafe { cell.as_ref() };
        cell.stage.with_mut(|_| ());
        cell.header.join_waker.with_mut(|_| ());
    }
    // SAFETY: the last reference is gone, and with it every other pointer to the task.
    unsafe { cell.drop_in_place() };
    #[cfg(not(corelane_loom))]
    with_current(|local| match local {
        // SAFETY: `allocate` placed it, as this type, and nothing is in it any more.
        Some(local) => unsafe { local.recycler.give(cell) },
        // SAFETY: as above.
        None => unsafe { recycle::free(cell) },
    });
    // A model's thread may have no current worker any more.
    #[cfg(corelane_loom)]
    // SAFETY: as above.
    unsafe {
        recycle::free(cell)
    };
}

/// Drops a value of the user's, whose drop may panic: with nobody left to tell, that is the end
/// of it.
pub(super) fn discard<V>(value: V) {
    guarded(|| drop(value));
}
