//! Which worker this thread is in.
//!
//! # Safety
//!
//! A worker is taken out of the list, and out of `CURRENT`, before it is dropped; the list belongs to
//! one thread.
#![allow(
    unsafe_code,
    reason = "the current worker is a raw pointer in a thread-local"
)]

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

use super::local::LocalInner;
use crate::shim::const_thread_local;

const_thread_local! {
    /// The innermost worker that this thread has entered, or null. It has no destructor, so it can
    /// be read at any time.
    static CURRENT: Cell<*const LocalInner> = Cell::new(ptr::null());
    /// Every worker that this thread is in; `CURRENT` is the last.
    static ENTERED: Entered = Entered::new();
}

/// Entries by number, so that guards may be dropped in any order or not at all.
#[derive(Debug)]
struct Entered {
    next_number: Cell<u64>,
    entries: RefCell<Vec<(u64, *const LocalInner)>>,
}

impl Entered {
    const fn new() -> Self {
        Self {
            next_number: Cell::new(0),
            entries: RefCell::new(Vec::new()),
        }
    }

    fn add(&self, local: *const LocalInner) -> u64 {
        let number = self.next_number.replace(self.next_number.get() + 1);
        self.entries.borrow_mut().push((number, local));
        CURRENT.with(|current| current.set(local));
        number
    }

    fn retain(&self, keep: impl Fn(u64, *const LocalInner) -> bool) {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|&(number, local)| keep(number, local));
        let last = entries.last().map_or(ptr::null(), |&(_, local)| local);
        CURRENT.with(|current| current.set(last));
    }
}

impl Drop for Entered {
    /// The thread ends: nothing is current for the destructors that follow.
    fn drop(&mut self) {
        // It fails in a model only, whose thread-locals all have an end.
        let _ = CURRENT.try_with(|current| current.set(ptr::null()));
    }
}

/// Returns the worker that this thread is in.
#[cfg(all(test, not(corelane_loom)))]
pub(crate) fn current() -> Option<Rc<LocalInner>> {
    let current = CURRENT.with(Cell::get);
    if current.is_null() {
        return None;
    }
    // SAFETY: the pointer came from `Rc::as_ptr`, and the worker has not been dropped: see
    // `with_current`.
    unsafe { Rc::increment_strong_count(current) };
    // SAFETY: as above; the count was just taken.
    Some(unsafe { Rc::from_raw(current) })
}

/// Calls `access`, which runs no code of the user's, with the worker that this thread is in.
#[inline(always)]
pub(super) fn with_current<R>(access: impl FnOnce(Option<&LocalInner>) -> R) -> R {
    let current = CURRENT.with(Cell::get);
    // SAFETY: null, or a worker of this thread that has not been dropped: `leave_for_good` takes it
    // out of `CURRENT` first. Nor is it dropped inside `access`, as only code of the user's could.
    access(unsafe { current.as_ref() })
}

/// Counts a kick for the worker that this thread is in.
#[inline]
pub(crate) fn count_kick(kicked: bool) {
    if kicked {
        with_current(|local| {
            if let Some(local) = local {
                local.kicks_sent.set(local.kicks_sent.get() + 1);
            }
        });
    }
}

/// The thread is in a worker until this is dropped: wakes and spawns use the worker's own queue.
#[derive(Debug)]
#[must_use = "the worker is left when the guard is dropped"]
pub(crate) struct EnterGuard<'a> {
    local: &'a LocalInner,
    number: u64,
    /// It belongs to one thread.
    not_send: PhantomData<*const ()>,
}

/// Makes `local` the current worker of this thread.
#[inline]
pub(super) fn enter(local: &Rc<LocalInner>) -> EnterGuard<'_> {
    // Without the list (the thread ends) wakes go the way of other threads.
    let number = ENTERED
        .try_with(|entered| entered.add(Rc::as_ptr(local)))
        .unwrap_or(u64::MAX);
    EnterGuard {
        local,
        number,
        not_send: PhantomData,
    }
}

/// Takes a worker that is about to be dropped out of its thread's list: a guard of its may have
/// been leaked.
pub(super) fn leave_for_good(local: &LocalInner) {
    let gone = ptr::from_ref(local);
    // Without the list (the thread ends) there is no current worker either.
    let _ = ENTERED.try_with(|entered| entered.retain(|_, local| !ptr::eq(local, gone)));
}

impl Drop for EnterGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ = ENTERED.try_with(|entered| entered.retain(|number, _| number != self.number));
        self.local.kick_self_if_due();
    }
}
