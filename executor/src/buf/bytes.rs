//! The buffer traits for the types of the `bytes` crate.
//!
//! # Safety
//!
//! Both types keep their bytes on the heap or in statics, shared but never written through
//! another handle.
#![allow(unsafe_code, reason = "implements the buffer traits")]

use bytes::{Bytes, BytesMut};

use super::{IoBuf, IoBufMut};

// SAFETY: the bytes are shared, immutable, and stay where they are while a handle lives.
unsafe impl IoBuf for Bytes {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: the handle is the only one that reaches its part of the allocation.
unsafe impl IoBuf for BytesMut {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: as for IoBuf, for the whole capacity of the handle's part.
unsafe impl IoBufMut for BytesMut {
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
