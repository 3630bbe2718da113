//! Heap memory with an alignment, as direct I/O asks for.
//!
//! # Safety
//!
//! The allocation is made, used and freed with one layout; `len` bytes of it are initialised.
#![allow(
    unsafe_code,
    reason = "allocates with an alignment, implements the buffer traits"
)]

use std::alloc::{self, Layout};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::{IoBuf, IoBufMut};

/// A buffer of a fixed capacity whose address is a multiple of an alignment.
///
/// Reads fill it from the start and set its length; it derefs to the initialised bytes.
///
/// ```
/// let buf = corelane::buf::AlignedBuf::new(8192, 4096);
/// assert_eq!((buf.capacity(), buf.len(), buf.as_ptr().addr() % 4096), (8192, 0, 0));
/// ```
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    layout: Layout,
    len: usize,
}

// SAFETY: the allocation is owned by the value alone.
unsafe impl Send for AlignedBuf {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// Allocates `capacity` bytes at a multiple of `align`.
    ///
    /// # Panics
    ///
    /// Panics when `capacity` is zero, `align` is not a power of two, or their sum overflows.
    #[must_use]
    pub fn new(capacity: usize, align: usize) -> Self {
        assert!(capacity > 0, "an aligned buffer needs a capacity");
        let layout = Layout::from_size_align(capacity, align).unwrap_or_else(|_| {
            panic!("no buffer of {capacity} bytes can be aligned to {align}, a power of two")
        });
        // SAFETY: the layout's size is not zero.
        let ptr = unsafe { alloc::alloc(layout) };
        let ptr = NonNull::new(ptr).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self {
            ptr,
            layout,
            len: 0,
        }
    }

    /// Returns how many bytes fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// Returns the alignment.
    #[must_use]
    pub fn align(&self) -> usize {
        self.layout.align()
    }

    /// Forgets the bytes behind `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends what fits of `bytes` and returns how many did.
    pub fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.capacity() - self.len);
        // SAFETY: `len` is at most the capacity.
        let end = unsafe { self.ptr.add(self.len) };
        // SAFETY: `count` bytes fit behind `len`, and a borrowed slice cannot overlap memory
        // that this value owns exclusively.
        unsafe { end.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
        self.len += count;
        count
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout and is freed once.
        unsafe { alloc::dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes are initialised.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: `len` bytes are initialised, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("capacity", &self.capacity())
            .field("align", &self.align())
            .field("len", &self.len)
            .finish()
    }
}

// SAFETY: the allocation does not move with the value; `len` bytes are initialised.
unsafe impl IoBuf for AlignedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len
    }
}

// SAFETY: as for IoBuf, for the whole capacity.
unsafe impl IoBufMut for AlignedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    fn capacity(&self) -> usize {
        self.layout.size()
    }

    unsafe fn set_init(&mut self, len: usize) {
        self.len = len;
    }
}
