//! The part of a task that does not depend on its future.
//!
//! # Safety
//!
//! A header is the first field of its task, so that a pointer to one stands for the whole. It is
//! counted: whoever holds a [`TaskPtr`] across calls holds a reference, or the entry in a queue.
#![allow(
    unsafe_code,
    reason = "a pointer to a header stands for its whole task"
)]

use std::cell::Cell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::Waker;

use super::error::JoinError;
use super::state::State;
use crate::mailbox::{Link, WakeBlock};
use crate::shim::UnsafeCell;

/// What the owner's queues, the wakers and the handle need of a task.
#[repr(C)]
pub(super) struct Header {
    /// First, so that the address of the link is the address of the task.
    link: Link,
    pub(super) state: State,
    pub(super) vtable: &'static Vtable,
    /// The block of the worker that polls the task.
    pub(super) owner: &'static WakeBlock,
    /// Neighbours in the owner's registry. Owner only.
    pub(super) previous: Cell<Option<TaskPtr>>,
    pub(super) next: Cell<Option<TaskPtr>>,
    /// Who awaits the handle; `state` says who may touch it. `None` while `JOIN_WAKER` is clear,
    /// but for the moments in which the handle sets it.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    /// Lets a model see a task that is never freed.
    #[cfg(corelane_loom)]
    track: loom::alloc::Track<()>,
}

#[cfg(not(corelane_loom))]
const _: () = assert!(
    size_of::<Header>() <= 64,
    "the header fits into one cache line"
);

impl Header {
    #[inline]
    pub(super) fn new(vtable: &'static Vtable, owner: &'static WakeBlock) -> Self {
        Self {
            link: Link::new(),
            state: State::new(),
            vtable,
            owner,
            previous: Cell::new(None),
            next: Cell::new(None),
            join_waker: UnsafeCell::new(None),
            #[cfg(corelane_loom)]
            track: loom::alloc::Track::new(()),
        }
    }
}

/// What depends on the type of the future.
///
/// Each function wants a pointer to a task with the future type that the table was made for, and
/// the right to the stage that is named here.
pub(super) struct Vtable {
    /// Polls the future; true: it was dropped, and the output stored in its place.
    /// The caller is the owner, the task is not complete and not being polled.
    pub(super) poll: unsafe fn(TaskPtr) -> bool,
    /// Drops the future and stores the error in its place. The same obligations.
    pub(super) cancel: unsafe fn(TaskPtr, JoinError),
    /// Moves the output to `*mut Result<T, JoinError>`.
    /// The stage holds the output, which is the caller's and is not there afterwards.
    pub(super) take_output: unsafe fn(TaskPtr, *mut ()),
    /// Drops the output. The same obligations.
    pub(super) drop_output: unsafe fn(TaskPtr),
    /// Frees the task. The stage is empty and the caller held the last reference.
    pub(super) free: unsafe fn(TaskPtr),
}

/// A pointer to a task, good for the whole allocation.
///
/// Whoever has one also has, or borrows, a reference to the task for as long as any copy is
/// used: that is what makes `Deref` sound. See the module's list of who owns references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct TaskPtr(NonNull<Header>);

impl TaskPtr {
    /// # Safety
    ///
    /// - `header` was made from a pointer to a whole `TaskCell`, or comes from `as_raw` or `link`.
    /// - A reference keeps the task alive while the result or a copy of it is used.
    #[inline(always)]
    pub(super) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    #[inline(always)]
    pub(super) fn as_raw(self) -> NonNull<Header> {
        self.0
    }

    /// A number that no other live task has.
    #[inline(always)]
    pub(super) fn address(self) -> usize {
        self.0.addr().get()
    }

    /// The task's entry for a queue.
    #[inline(always)]
    pub(super) fn link(self) -> NonNull<Link> {
        self.0.cast()
    }
}

impl Deref for TaskPtr {
    type Target = Header;

    #[inline(always)]
    fn deref(&self) -> &Header {
        // SAFETY: it points to a task (`from_raw`), which a reference keeps alive (the type's
        // invariant); what changes in a header is behind atomics and cells.
        unsafe { self.0.as_ref() }
    }
}

/// Frees a task.
///
/// # Safety
///
/// - The caller held the last reference and uses no copy of `task` afterwards.
/// - The stage is empty: the future and the output were dropped or moved out.
pub(super) unsafe fn free(task: TaskPtr) {
    let free = task.vtable.free;
    // SAFETY: the table is this task's own; the rest is the caller's obligation.
    unsafe { free(task) }
}

/// Drops one reference, and the task with the last one.
///
/// # Safety
///
/// - The caller owned the reference and uses no copy of `task` that relied on it afterwards.
/// - A task that is not complete has another reference.
#[inline]
pub(super) unsafe fn drop_ref(task: TaskPtr) {
    if task.state.drop_ref() {
        // SAFETY: the last reference is gone, so the task is complete; its handle is gone with
        // the output, or the owner has dropped that.
        unsafe { free(task) }
    }
}
