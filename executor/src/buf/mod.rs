//! Buffers that operations own while the kernel works on them.
//!
//! An operation takes a buffer by value and gives it back with its result, error or not. In
//! between the buffer lies, erased to plain words, in a slot of the worker's operation slab, so
//! that dropping, leaking or aborting the future never frees memory that the kernel may touch.
//!
//! # Safety
//!
//! [`IoBuf`] and [`IoBufMut`] are the promises that the rest relies on: what they point to stays
//! where it is when the value moves. Each implementation here is over heap memory, a mapping, or
//! `'static` data.
#![allow(unsafe_code, reason = "the buffer traits and their implementations")]

use std::mem::MaybeUninit;
use std::ops::RangeBounds;

mod aligned;
#[cfg(feature = "bytes")]
mod bytes;
mod erased;
#[cfg(all(test, corelane_loom))]
mod loom_tests;
pub(crate) mod pool;
mod slice;
pub(crate) mod waiting;

pub use aligned::AlignedBuf;
pub(crate) use erased::{Erased, Loose};
pub use pool::PoolBuf;
pub use slice::Slice;

/// The result of an operation and the buffer it was given.
pub type BufResult<T, B> = (std::io::Result<T>, B);

/// An owned buffer that the kernel may read from.
///
/// # Safety
///
/// - `stable_ptr` points to at least `init_len` initialised bytes.
/// - The bytes stay valid and at that address while the value is moved, and until it is dropped
///   or changed through `&mut`; asked again meanwhile, both methods give the same answer.
/// - Nothing else writes the bytes for as long.
pub unsafe trait IoBuf: Sized + 'static {
    /// Returns where the bytes begin.
    fn stable_ptr(&self) -> *const u8;

    /// Returns how many bytes are initialised.
    fn init_len(&self) -> usize;

    /// Restricts operations to a part of the buffer.
    ///
    /// # Panics
    ///
    /// Panics when the range is decreasing, or begins behind the initialised bytes: reading into
    /// it would leave a hole. A range that ends behind the buffer is cut by the operation.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        Slice::new(self, range)
    }

    /// Returns the index under which the memory is registered with the ring of the worker that
    /// `owner` identifies.
    #[doc(hidden)]
    fn fixed_index(&self, owner: usize) -> Option<u16> {
        let _ = owner;
        None
    }
}

/// An owned buffer that the kernel may write to.
///
/// # Safety
///
/// - As for [`IoBuf`], for the `capacity` bytes at `stable_mut_ptr`, initialised or not. It is the
///   address of `stable_ptr`, and `init_len` is at most `capacity`.
/// - Nothing else reads or writes these bytes while the value is not used.
/// - `stable_mut_ptr` and `set_init`, although they take `&mut`, change neither address nor
///   capacity.
/// - Without a call of `set_init` the value does not treat more bytes as initialised than before.
pub unsafe trait IoBufMut: IoBuf {
    /// Returns where the bytes begin.
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// Returns how many bytes may be written.
    fn capacity(&self) -> usize;

    /// Records that the first `len` bytes have been initialised; the buffer then holds at least
    /// those, and exactly those where it has a length to set (a `Vec`).
    ///
    /// # Safety
    ///
    /// - `len` is at most `capacity`.
    /// - The first `len` bytes are initialised.
    unsafe fn set_init(&mut self, len: usize);
}

// SAFETY: the bytes are on the heap, owned by the vector alone.
unsafe impl IoBuf for Vec<u8> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: as for IoBuf; the spare capacity is the vector's own.
unsafe impl IoBufMut for Vec<u8> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller promises `len` initialised bytes within the capacity.
        unsafe { self.set_len(len) };
    }
}

// SAFETY: the bytes are on the heap, owned by the box alone.
unsafe impl IoBuf for Box<[u8]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: as for IoBuf; every byte is always initialised.
unsafe impl IoBufMut for Box<[u8]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.len()
    }

    unsafe fn set_init(&mut self, _len: usize) {}
}

// SAFETY: the bytes are on the heap, owned by the box alone; none counts as initialised.
unsafe impl IoBuf for Box<[MaybeUninit<u8>]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr().cast()
    }

    fn init_len(&self) -> usize {
        0
    }
}

// SAFETY: as for IoBuf; the type itself never claims that a byte is initialised.
unsafe impl IoBufMut for Box<[MaybeUninit<u8>]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr().cast()
    }

    fn capacity(&self) -> usize {
        self.len()
    }

    unsafe fn set_init(&mut self, _len: usize) {}
}

// SAFETY: static bytes live for ever and are never written.
unsafe impl IoBuf for &'static [u8] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: static bytes live for ever and are never written.
unsafe impl IoBuf for &'static str {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: the bytes are on the heap, owned by the string alone.
unsafe impl IoBuf for String {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}
