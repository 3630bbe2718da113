//! A part of a buffer as a buffer.
//!
//! # Safety
//!
//! The bounds are clamped to the inner buffer at every use, so that every pointer stays inside.
#![allow(unsafe_code, reason = "implements the buffer traits")]

use std::ops::{Bound, RangeBounds};

use super::{IoBuf, IoBufMut};

/// A part of a buffer; made by [`IoBuf::slice`].
///
/// Reads fill the part and leave what lies before it alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Slice<B> {
    inner: B,
    begin: usize,
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(inner: B, range: impl RangeBounds<usize>) -> Self {
        let begin = match range.start_bound() {
            Bound::Included(&begin) => begin,
            Bound::Excluded(&begin) => begin.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        assert!(
            begin <= end,
            "the slice begins at {begin} but ends at {end}"
        );
        Self::checked(inner, begin, end)
    }

    /// The only way to make one: `set_init` relies on what is checked here.
    fn checked(inner: B, begin: usize, end: usize) -> Self {
        let init_len = inner.init_len();
        assert!(
            begin <= init_len,
            "the slice begins at {begin}, behind the {init_len} initialised bytes of its buffer"
        );
        Self { inner, begin, end }
    }

    /// Gives the whole buffer back.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Borrows the whole buffer.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Returns where the part begins.
    #[must_use]
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// Returns `begin` cut to `len`, and how many bytes follow within both.
    fn window(&self, len: usize) -> (usize, usize) {
        let begin = self.begin.min(len);
        (begin, self.end.min(len) - begin)
    }
}

/// The same part of a clone of the buffer.
///
/// # Panics
///
/// Panics when the buffer's clone has fewer initialised bytes than lie before the part: what clones
/// have is up to their type.
impl<B: IoBuf + Clone> Clone for Slice<B> {
    fn clone(&self) -> Self {
        Self::checked(self.inner.clone(), self.begin, self.end)
    }
}

// SAFETY: the window lies within the initialised bytes of the inner buffer.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        let (begin, _) = self.window(self.inner.init_len());
        // SAFETY: `begin` is at most the initialised length.
        unsafe { self.inner.stable_ptr().add(begin) }
    }

    fn init_len(&self) -> usize {
        self.window(self.inner.init_len()).1
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        self.inner.fixed_index(owner)
    }
}

// SAFETY: the window lies within the capacity of the inner buffer.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        let (begin, _) = self.window(self.inner.capacity());
        // SAFETY: `begin` is at most the capacity.
        unsafe { self.inner.stable_mut_ptr().add(begin) }
    }

    fn capacity(&self) -> usize {
        self.window(self.inner.capacity()).1
    }

    unsafe fn set_init(&mut self, len: usize) {
        let (begin, _) = self.window(self.inner.capacity());
        let total = (begin + len).max(self.inner.init_len());
        // SAFETY: the bytes before `begin` are initialised, as `checked` has seen; the
        // caller promises the `len` behind them, which lie within the capacity.
        unsafe { self.inner.set_init(total) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_to_the_buffer() {
        let slice = vec![1u8, 2, 3, 4].slice(1..3);
        assert_eq!((slice.init_len(), slice.begin()), (2, 1));
        assert_eq!(vec![0u8; 4].slice(2..).init_len(), 2);
        assert_eq!(vec![0u8; 4].slice(4..20).init_len(), 0);
        assert_eq!(vec![0u8; 4].slice(..=1).init_len(), 2);
    }

    #[test]
    #[should_panic(expected = "behind the 2 initialised bytes")]
    fn a_hole_before_the_part_is_refused() {
        let mut buf = Vec::with_capacity(10);
        buf.extend([1u8, 2]);
        let _ = buf.slice(5..);
    }

    /// Its clones are empty.
    struct Forgetful(Vec<u8>);

    impl Clone for Forgetful {
        fn clone(&self) -> Self {
            Self(Vec::with_capacity(self.0.capacity()))
        }
    }

    // SAFETY: as the vector's.
    unsafe impl IoBuf for Forgetful {
        fn stable_ptr(&self) -> *const u8 {
            self.0.stable_ptr()
        }

        fn init_len(&self) -> usize {
            self.0.init_len()
        }
    }

    #[test]
    #[should_panic(expected = "behind the 0 initialised bytes")]
    fn a_hole_that_a_clone_would_make_is_refused() {
        let slice = Forgetful(vec![1, 2, 3, 4]).slice(2..);
        let _ = slice.clone();
    }

    #[test]
    fn a_clone_is_the_same_part() {
        let slice = vec![1u8, 2, 3, 4].slice(1..3);
        assert_eq!(slice.clone(), slice);
    }

    #[test]
    fn filling_a_part_keeps_what_is_around_it() {
        let mut slice = vec![1u8, 2, 3, 4].slice(1..3);
        // SAFETY: one byte at the start of a part of capacity two.
        unsafe { slice.stable_mut_ptr().write(9) };
        // SAFETY: that byte has just been written.
        unsafe { slice.set_init(1) };
        assert_eq!(slice.into_inner(), [1, 9, 3, 4]);
    }
}
