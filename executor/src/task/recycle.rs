//! Memory of tasks that are gone, kept for the next tasks of their size.
//!
//! An allocator is asked for every task otherwise, which takes a third of a spawn's time as soon as
//! there are more of them than it keeps at hand for a thread.
//!
//! # Safety
//!
//! A block in a list is nobody's, and of that list's layout; whoever takes one out owns it.
#![allow(unsafe_code, reason = "links free memory through itself")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;

/// Bytes that a worker keeps at most.
pub(super) const KEPT_MAX: usize = 64 << 10;

/// What a worker of this build keeps. Nothing where tools look for uses of freed memory, unless
/// they are told what is free (`corelane_asan`).
const KEPT: usize = if cfg!(corelane_asan) {
    KEPT_MAX
} else if cfg!(any(debug_assertions, corelane_loom, feature = "sim")) {
    0
} else {
    KEPT_MAX
};

/// Sizes in one list: those that an allocator with a granule of sixteen bytes and a word of its own
/// does not tell apart.
const GRANULE: usize = 16;
const WORD: usize = size_of::<usize>();
/// Larger blocks are not kept.
const LISTS: usize = 32;

/// Blocks of a worker's thread. Not shared.
pub(super) struct Recycler {
    lists: [Cell<Option<NonNull<Free>>>; LISTS],
    kept: Cell<usize>,
    #[cfg_attr(
        corelane_loom,
        expect(dead_code, reason = "a model gives every block back to the system")
    )]
    kept_max: usize,
}

/// A block that is nobody's.
struct Free {
    next: Option<NonNull<Self>>,
}

/// The list for values of a type; `None` when they are not kept.
const fn list_of<T>() -> Option<usize> {
    let list = (size_of::<T>() + WORD).div_ceil(GRANULE);
    if align_of::<T>() <= WORD && size_of::<T>() >= size_of::<Free>() && list < LISTS {
        Some(list)
    } else {
        None
    }
}

const fn list_layout(list: usize) -> Layout {
    match Layout::from_size_align(list * GRANULE - WORD, WORD) {
        Ok(layout) => layout,
        Err(_) => panic!("a list's blocks are small"),
    }
}

/// The layout of the block for a value of a type.
const fn layout_of<T>() -> Layout {
    match list_of::<T>() {
        Some(list) => list_layout(list),
        None => Layout::new::<T>(),
    }
}

impl Recycler {
    pub(super) fn new() -> Self {
        Self::keeping(KEPT)
    }

    /// Keeps so many bytes at most.
    pub(super) fn keeping(kept_max: usize) -> Self {
        Self {
            lists: [const { Cell::new(None) }; LISTS],
            kept: Cell::new(0),
            kept_max,
        }
    }

    /// Puts a value where one of its size was, or into a new block.
    #[inline(always)]
    pub(super) fn place<T>(&self, value: T) -> NonNull<T> {
        match self.take::<T>() {
            Some(block) => {
                // SAFETY: the block is the caller's, and fits the type.
                unsafe { block.write(value) };
                block
            }
            None => place(value),
        }
    }

    #[inline(always)]
    fn take<T>(&self) -> Option<NonNull<T>> {
        let list = const { list_of::<T>() }?;
        let block = self.lists[list].get()?;
        shadow::show(block, list);
        // SAFETY: what is in a list is a `Free` that is nobody's.
        let next = unsafe { block.as_ref() }.next;
        self.lists[list].set(next);
        let size = const { layout_of::<T>().size() };
        self.kept.set(self.kept.get() - size);
        Some(block.cast())
    }

    /// Keeps a block, or frees it.
    ///
    /// # Safety
    ///
    /// - `block` comes from a `place`, of a `T`, of this module, and is the caller's.
    /// - There is no value in it.
    #[cfg(not(corelane_loom))]
    #[inline(always)]
    pub(super) unsafe fn give<T>(&self, block: NonNull<T>) {
        let kept = self.kept.get() + const { layout_of::<T>().size() };
        match const { list_of::<T>() } {
            Some(list) if kept <= self.kept_max => {
                let block = block.cast::<Free>();
                let next = self.lists[list].get();
                // SAFETY: the block is the caller's, and of a list's size and alignment.
                unsafe { block.write(Free { next }) };
                shadow::hide(block, list);
                self.lists[list].set(Some(block));
                self.kept.set(kept);
            }
            // SAFETY: the caller's obligations.
            _ => unsafe { free(block) },
        }
    }
}

/// Puts a value into a new block.
#[inline]
pub(super) fn place<T>(value: T) -> NonNull<T> {
    let layout = const { layout_of::<T>() };
    const { assert!(size_of::<T>() > 0, "nothing to place") };
    // SAFETY: the layout is not empty.
    let block = unsafe { alloc(layout) };
    let Some(block) = NonNull::new(block.cast::<T>()) else {
        handle_alloc_error(layout)
    };
    // SAFETY: new memory of the type's layout or a larger one.
    unsafe { block.write(value) };
    block
}

/// Frees a block.
///
/// # Safety
///
/// As [`Recycler::give`].
#[inline]
pub(super) unsafe fn free<T>(block: NonNull<T>) {
    // SAFETY: it was allocated with this layout, and is the caller's.
    unsafe { dealloc(block.as_ptr().cast(), const { layout_of::<T>() }) };
}

impl Drop for Recycler {
    fn drop(&mut self) {
        for (number, list) in self.lists.iter().enumerate() {
            while let Some(block) = list.get() {
                shadow::show(block, number);
                // SAFETY: what is in a list is a `Free` that is nobody's.
                list.set(unsafe { block.as_ref() }.next);
                // SAFETY: it was allocated with its list's layout, and is in the list no more.
                unsafe { dealloc(block.as_ptr().cast(), list_layout(number)) };
            }
        }
    }
}

impl fmt::Debug for Recycler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recycler")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

/// What AddressSanitizer is told of blocks in a list, in builds for it (`--cfg corelane_asan`): a
/// use of one is then reported as that of any freed memory.
mod shadow {
    use std::ptr::NonNull;

    use super::Free;
    #[cfg(corelane_asan)]
    use super::list_layout;

    #[cfg(corelane_asan)]
    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const u8, len: usize);
        fn __asan_unpoison_memory_region(start: *const u8, len: usize);
    }

    #[cfg(not(corelane_loom))]
    #[inline(always)]
    pub(super) fn hide(block: NonNull<Free>, list: usize) {
        #[cfg(corelane_asan)]
        // SAFETY: a block of the list's size, which nobody uses until it is shown again.
        unsafe {
            __asan_poison_memory_region(block.as_ptr().cast(), list_layout(list).size());
        }
        let _ = (block, list);
    }

    #[inline(always)]
    pub(super) fn show(block: NonNull<Free>, list: usize) {
        #[cfg(corelane_asan)]
        // SAFETY: a block of the list's size, which was hidden.
        unsafe {
            __asan_unpoison_memory_region(block.as_ptr().cast(), list_layout(list).size());
        }
        let _ = (block, list);
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn give<T>(recycler: &Recycler, block: NonNull<T>) {
        // SAFETY: the tests' blocks were placed, hold plain numbers and are given once.
        unsafe { recycler.give(block) };
    }

    #[test]
    fn a_block_comes_back_for_any_type_of_its_size_and_no_other() {
        let recycler = Recycler::keeping(1 << 10);
        let first = recycler.place([1_u64; 11]);
        give(&recycler, first);
        let other = recycler.place([2_u64; 13]);
        assert_ne!(first.addr(), other.addr());
        // 88 bytes and 80 bytes are one size to the allocator.
        let again = recycler.place([3_u64; 10]);
        assert_eq!(first.addr(), again.addr());
        assert_eq!(recycler.kept.get(), 0);
        // SAFETY: just placed.
        assert_eq!(unsafe { again.read() }, [3; 10]);
        give(&recycler, again);
        give(&recycler, other);
        assert_eq!(recycler.kept.get(), 88 + 104);
    }

    #[test]
    fn no_more_is_kept_than_told_and_nothing_large_or_aligned() {
        #[repr(align(64))]
        struct Aligned([u8; 64]);

        let recycler = Recycler::keeping(200);
        let blocks = [(); 4].map(|()| recycler.place([0_u64; 11]));
        for block in blocks {
            give(&recycler, block);
        }
        assert_eq!(recycler.kept.get(), 2 * 88);
        give(&recycler, recycler.place([0_u8; 4096]));
        let aligned = recycler.place(Aligned([7; 64]));
        assert_eq!(aligned.addr().get() % 64, 0);
        // SAFETY: just placed.
        assert_eq!(unsafe { aligned.as_ref() }.0[63], 7);
        give(&recycler, aligned);
        assert_eq!(recycler.kept.get(), 2 * 88);
    }
}
