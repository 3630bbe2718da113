//! An intrusive stack that many threads push to and one thread takes whole, oldest first.
//!
//! # Safety
//!
//! Whoever pushes a link keeps it alive and out of other lists until the owner took it.
#![allow(
    unsafe_code,
    reason = "follows the links of entries that the pushers keep alive"
)]

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::shim::AtomicPtr;

/// The one link of an entry: `next` in whichever list the entry is in.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Link {
    next: AtomicPtr<Self>,
}

impl Link {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub(crate) fn next(&self) -> Option<NonNull<Self>> {
        NonNull::new(self.next.load(Relaxed))
    }

    #[inline]
    pub(crate) fn set_next(&self, next: Option<NonNull<Self>>) {
        self.next
            .store(next.map_or(ptr::null_mut(), NonNull::as_ptr), Relaxed);
    }
}

/// What a push found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The stack was empty: this push is the one that notifies the owner.
    First,
    /// Behind a push that notifies, and in front of the take that answers it.
    Behind,
    /// Not pushed: the stack is closed.
    Closed,
}

/// Push by compare-and-swap, take all by swap; nothing is popped one by one, so there is no ABA.
#[derive(Debug)]
pub(super) struct Stack {
    /// The newest entry; null when empty; [`closed`] for ever after `close`.
    head: AtomicPtr<Link>,
}

/// The head of a closed stack: an address that no link has, as links are aligned.
fn closed() -> *mut Link {
    ptr::without_provenance_mut(1)
}

impl Stack {
    pub(super) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Adds an entry.
    ///
    /// # Safety
    ///
    /// - `link` is in no list.
    /// - Unless `Closed` comes back, its memory stays valid until `take` or `close` returned it.
    pub(super) unsafe fn push(&self, link: NonNull<Link>) -> Pushed {
        let mut head = self.head.load(Relaxed);
        loop {
            if head == closed() {
                return Pushed::Closed;
            }
            // SAFETY: the caller keeps the link's memory valid, and it is not published yet.
            unsafe { link.as_ref() }.set_next(NonNull::new(head));
            match self
                .head
                .compare_exchange_weak(head, link.as_ptr(), Release, Relaxed)
            {
                Ok(_) if head.is_null() => return Pushed::First,
                Ok(_) => return Pushed::Behind,
                Err(now) => head = now,
            }
        }
    }

    /// Takes every entry; empty when there is none or the stack is closed.
    #[inline]
    pub(super) fn take(&self) -> Chain {
        if self.is_empty() {
            return Chain::EMPTY;
        }
        Chain::reversed(self.head.swap(ptr::null_mut(), Acquire))
    }

    /// Refuses every later push and takes what was pushed before.
    pub(super) fn close(&self) -> Chain {
        Chain::reversed(self.head.swap(closed(), AcqRel))
    }

    /// Whether a `take` would return nothing. Only the taker can act on it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let head = self.head.load(Relaxed);
        head.is_null() || head == closed()
    }
}

/// Entries taken out of a stack, oldest first. They belong to whoever holds the chain.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) first: Option<NonNull<Link>>,
    pub(crate) last: Option<NonNull<Link>>,
    pub(crate) len: usize,
}

impl Chain {
    const EMPTY: Self = Self {
        first: None,
        last: None,
        len: 0,
    };

    /// Turns the stack below `head` round.
    fn reversed(head: *mut Link) -> Self {
        let mut chain = Self::EMPTY;
        if head == closed() {
            return chain;
        }
        let mut rest = NonNull::new(head);
        chain.last = rest;
        while let Some(link) = rest {
            // SAFETY: what a stack holds is valid until taken (contract of `push`), and whoever
            // took it is still inside this function; the taking swap was an acquire.
            let entry = unsafe { link.as_ref() };
            rest = entry.next();
            entry.set_next(chain.first);
            chain.first = Some(link);
            chain.len += 1;
        }
        chain
    }
}
