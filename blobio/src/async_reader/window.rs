//! A part of a destination, as the destination of one read of several.
//!
//! # Safety
//!
//! A window lies within the capacity of its destination, and begins where the bytes end that the
//! destination counts as initialised, or before; a region counts none, and needs none. So what a
//! read initialises in the window follows on what is there, and may be claimed of the whole.
#![allow(unsafe_code, reason = "implements corelane's buffer traits")]

use corelane::buf::{IoBuf, IoBufMut};

use super::Destination;

/// A part of a destination. One word, so that it fits an operation's slot.
#[derive(Debug)]
pub struct Window {
    parts: Box<Parts>,
}

#[derive(Debug)]
struct Parts {
    whole: Destination,
    // At most the initialised length of `whole` if that is no region, and at most `end`.
    begin: usize,
    // At most the capacity of `whole`.
    end: usize,
}

impl Destination {
    /// Makes a destination of the `len` bytes from `begin` on, which are written as they are read;
    /// those before it stay.
    ///
    /// # Panics
    ///
    /// When the window ends behind the capacity, or begins behind the bytes read so far, where
    /// those are counted.
    pub(crate) fn into_window(self, begin: usize, len: usize) -> Self {
        let end = begin.checked_add(len);
        let end = end.filter(|end| *end <= self.capacity());
        let end = end.expect("a window lies within its destination");
        let follows = matches!(self, Self::Region(_)) || begin <= self.init_len();
        assert!(follows, "a window follows on the bytes that are there");
        Self::Window(Window {
            parts: Box::new(Parts {
                whole: self,
                begin,
                end,
            }),
        })
    }

    /// Gives the destination that a window is of, or the destination itself.
    pub(crate) fn into_whole(self) -> Self {
        match self {
            Self::Window(window) => window.parts.whole,
            whole => whole,
        }
    }
}

impl Window {
    /// Gives the bytes that have been read into the window; none of a region.
    pub(super) fn bytes(&self) -> &[u8] {
        let Parts { whole, begin, end } = &*self.parts;
        let bytes = whole.bytes();
        bytes.get(*begin..bytes.len().min(*end)).unwrap_or(&[])
    }

    /// Copies `bytes`, which fit, to `at` of the window.
    pub(super) fn copy_at(&mut self, at: usize, bytes: &[u8]) {
        let Parts { whole, begin, .. } = &mut *self.parts;
        whole.copy_at(*begin + at, bytes);
    }

    /// Forgets the bytes behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        let Parts { whole, begin, .. } = &mut *self.parts;
        whole.truncate(begin.saturating_add(len));
    }
}

// SAFETY: the address is that of the destination, which is stable, with `begin` added, which is
// at most the capacity; the bytes claimed are claimed by the destination.
unsafe impl IoBuf for Window {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is at most the capacity of the destination.
        unsafe { self.parts.whole.stable_ptr().add(self.parts.begin) }
    }

    fn init_len(&self) -> usize {
        let Parts { whole, begin, end } = &*self.parts;
        whole.init_len().min(*end).saturating_sub(*begin)
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        self.parts.whole.fixed_index(owner)
    }
}

// SAFETY: as for IoBuf, within the capacity of the destination; nothing is claimed without
// set_init.
unsafe impl IoBufMut for Window {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is at most the capacity of the destination.
        unsafe { self.parts.whole.stable_mut_ptr().add(self.parts.begin) }
    }

    fn capacity(&self) -> usize {
        self.parts.end - self.parts.begin
    }

    unsafe fn set_init(&mut self, len: usize) {
        let end = self.parts.begin + len;
        // SAFETY: the caller has initialised `len` bytes from `begin`, within `end`; those before
        // `begin` were initialised when the window was made, or belong to a region, which counts
        // none, and are not forgotten while it lives: `truncate` keeps them.
        unsafe { self.parts.whole.set_init(end) };
    }
}
