//! Buffers that are counted, at addresses of their own.
//!
//! # Safety
//!
//! The bytes are a boxed slice, initialised when it is made, which the buffer alone owns.
#![allow(unsafe_code, reason = "implements the buffer traits")]

use std::cell::Cell;
use std::rc::Rc;

use corelane::SimConfig;
use corelane::buf::{IoBuf, IoBufMut};

/// Makes buffers, and counts them.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    live: Cell<usize>,
    made: Cell<u64>,
}

/// A buffer of an arena.
#[derive(Debug)]
pub(crate) struct Guarded {
    memory: Box<[u8]>,
    len: usize,
    arena: Rc<Arena>,
}

impl Arena {
    /// Makes an empty buffer.
    pub(crate) fn buf(self: &Rc<Self>, capacity: usize) -> Guarded {
        self.live.set(self.live.get() + 1);
        self.made.set(self.made.get() + 1);
        Guarded {
            memory: vec![0; capacity.max(1)].into_boxed_slice(),
            len: 0,
            arena: Rc::clone(self),
        }
    }

    /// Makes a buffer that is full of the bytes of a simulated file.
    pub(crate) fn filled(self: &Rc<Self>, capacity: usize) -> Guarded {
        let mut buf = self.buf(capacity);
        for (byte, at) in buf.memory.iter_mut().zip(0..) {
            *byte = SimConfig::byte_at(at);
        }
        buf.len = capacity;
        buf
    }

    /// Returns how many buffers are not dropped yet.
    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }

    /// Returns how many buffers were ever made.
    pub(crate) fn made(&self) -> u64 {
        self.made.get()
    }
}

impl Guarded {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.arena.live.set(self.arena.live.get() - 1);
    }
}

// SAFETY: the bytes are on the heap, owned by the value alone, and initialised.
unsafe impl IoBuf for Guarded {
    fn stable_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len
    }
}

// SAFETY: as for IoBuf, for the whole slice.
unsafe impl IoBufMut for Guarded {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }

    unsafe fn set_init(&mut self, len: usize) {
        self.len = len;
    }
}
