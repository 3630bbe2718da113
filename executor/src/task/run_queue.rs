//! The owner's queue of tasks to poll: first in, first out, linked through the tasks.
//!
//! # Safety
//!
//! An entry is valid, and in no other list, from when it is pushed until it is popped.
#![allow(
    unsafe_code,
    reason = "follows the links of tasks that are in the queue"
)]

use std::cell::Cell;
use std::ptr::NonNull;

use crate::mailbox::{Chain, Link};

#[derive(Debug)]
pub(super) struct RunQueue {
    first: Cell<Option<NonNull<Link>>>,
    /// Meaningless while `first` is `None`.
    last: Cell<Option<NonNull<Link>>>,
}

impl RunQueue {
    pub(super) fn new() -> Self {
        Self {
            first: Cell::new(None),
            last: Cell::new(None),
        }
    }

    /// Adds an entry at the end.
    ///
    /// # Safety
    ///
    /// - `link` is in no list.
    /// - Its memory stays valid until `pop` returned it.
    #[inline]
    pub(super) unsafe fn push(&self, link: NonNull<Link>) {
        // SAFETY: the caller keeps it valid.
        unsafe { link.as_ref() }.set_next(None);
        // SAFETY: the same obligations, for a chain of one.
        unsafe {
            self.append(Chain {
                first: Some(link),
                last: Some(link),
                len: 1,
            })
        };
    }

    /// Adds the entries of a chain at the end.
    ///
    /// # Safety
    ///
    /// Each entry's memory stays valid until `pop` returned it.
    #[inline]
    pub(super) unsafe fn append(&self, chain: Chain) {
        if chain.first.is_none() {
            return;
        }
        match self.last.get() {
            Some(last) if self.first.get().is_some() => {
                // SAFETY: it is in the queue, so it is valid.
                unsafe { last.as_ref() }.set_next(chain.first);
            }
            _ => self.first.set(chain.first),
        }
        self.last.set(chain.last);
    }

    /// Takes the oldest entry out; its link is free for another list.
    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Link>> {
        let link = self.first.get()?;
        // SAFETY: it is in the queue, so it is valid.
        self.first.set(unsafe { link.as_ref() }.next());
        Some(link)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    #[cfg(all(test, not(corelane_loom)))]
    pub(super) fn len(&self) -> usize {
        let next = |link: &NonNull<Link>| {
            // SAFETY: an entry of the queue is valid until it is taken.
            unsafe { link.as_ref() }.next()
        };
        std::iter::successors(self.first.get(), next).count()
    }
}
