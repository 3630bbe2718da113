//! Wakers: a counted reference to a task, for any thread and any time.
//!
//! # Safety
//!
//! The data of a waker is a task, of which the waker holds one reference.
#![allow(unsafe_code, reason = "a raw waker's data pointer is a task")]

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::enter::{count_kick, with_current};
use super::header::{TaskPtr, drop_ref, free};
use super::local::LocalInner;
use super::state::Wake;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// Lends `access` a waker for the task without counting it.
#[inline(always)]
pub(super) fn with_borrowed_waker<R>(task: TaskPtr, access: impl FnOnce(&Waker) -> R) -> R {
    // SAFETY: the table's functions keep the contract of `RawWaker`: they are thread-safe, and
    // each wants a pointer to a task that the waker keeps alive. This waker borrows the caller's
    // reference and is neither dropped nor woken by value, as `access` sees it by reference.
    let waker = unsafe { Waker::new(task.as_raw().as_ptr().cast(), &VTABLE) };
    access(&ManuallyDrop::new(waker))
}

/// Returns what tells a waker of this module from all others that are alive; `None` for other modules'.
#[inline]
pub(super) fn identity(waker: &Waker) -> Option<NonNull<()>> {
    let own = ptr::eq(waker.vtable(), &raw const VTABLE);
    NonNull::new(waker.data().cast_mut()).filter(|_| own)
}

/// Wakes a task of the worker that this thread is in, which runs no code of the user's; false,
/// and nothing done, for any other waker.
#[inline]
pub(crate) fn wake_own(waker: &Waker) -> bool {
    if !ptr::eq(waker.vtable(), &raw const VTABLE) {
        return false;
    }
    // SAFETY: the table says that it is a waker of this module.
    let task = unsafe { task_of(waker.data()) };
    // SAFETY: this is the thread's worker; the waker keeps the task alive.
    with_current(|local| local.is_some_and(|local| unsafe { wake_on_owner(local, task) }))
}

/// Wakes a task that `local` owns; false, and nothing done, for any other.
///
/// # Safety
///
/// This thread is in `local`, and a reference keeps the task alive.
#[inline]
unsafe fn wake_on_owner(local: &LocalInner, task: TaskPtr) -> bool {
    if !local.owns(task) {
        return false;
    }
    if task.state.wake_on_owner() {
        // SAFETY: the wake is this call's, and this is the owner's thread.
        unsafe { local.push(task) };
    }
    true
}

/// Puts a task that the caller has scheduled where its owner will find it.
///
/// # Safety
///
/// The caller owes the queue entry: it set `SCHEDULED` on a task that was not complete.
#[inline]
pub(super) unsafe fn enqueue(task: TaskPtr) {
    let queued = with_current(|local| match local {
        Some(local) if local.owns(task) => {
            // SAFETY: the entry is the caller's to make; the worker is the task's owner.
            unsafe { local.push(task) };
            true
        }
        _ => false,
    });
    if !queued {
        // SAFETY: the entry is the caller's to make.
        unsafe { enqueue_remote(task) };
    }
}

/// # Safety
///
/// As [`enqueue`].
#[cold]
#[inline(never)]
unsafe fn enqueue_remote(task: TaskPtr) {
    let owner = task.owner;
    // SAFETY: `SCHEDULED` gives the caller the link. The task stays until its entry is taken:
    // a live one is the registry's, a complete one the entry's.
    let kicked = unsafe { owner.push_wake(task.link()) };
    count_kick(kicked);
}

/// # Safety
///
/// `data` is that of a waker of this module, which is alive in the call.
#[inline(always)]
unsafe fn task_of(data: *const ()) -> TaskPtr {
    // SAFETY: the data is never null: it was made from a `NonNull`.
    let header = unsafe { NonNull::new_unchecked(data.cast_mut().cast()) };
    // SAFETY: it came from `as_raw`, and the waker keeps the task alive.
    unsafe { TaskPtr::from_raw(header) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the contract of the table.
    unsafe { task_of(data) }.state.add_ref();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the contract of the table.
    let task = unsafe { task_of(data) };
    // SAFETY: this is the thread's worker; the waker keeps the task alive.
    let on_owner =
        with_current(|local| local.is_some_and(|local| unsafe { wake_on_owner(local, task) }));
    if !on_owner && task.state.wake() {
        // SAFETY: the wake is this call's.
        unsafe { enqueue_remote(task) };
    }
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the contract of the table.
    let task = unsafe { task_of(data) };
    match task.state.wake_by_value() {
        // SAFETY: the wake is this call's. Its reference is gone, but a scheduled task lives until
        // its entry was taken, and nobody takes it before it is made.
        Wake::Enqueue => unsafe { enqueue(task) },
        Wake::Nothing => {}
        // SAFETY: the last reference to a complete task was this waker's; see `drop_ref`.
        Wake::Last => unsafe { free(task) },
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the contract of the table.
    let task = unsafe { task_of(data) };
    // SAFETY: the waker owned a reference and is gone; a live task has the registry's as well.
    unsafe { drop_ref(task) };
}
