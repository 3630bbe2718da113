//! Buffers whose memory, once dropped, is filled with a canary and kept: whoever writes there
//! later is found.
//!
//! # Safety
//!
//! Each allocation is made and freed with one layout: owned by its [`Guarded`], then by its
//! entry in the quarantine, which frees it when it has been checked the last time. It is zeroed
//! when made, so all of it is initialised.
#![allow(unsafe_code, reason = "allocates, implements the buffer traits")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corelane::buf::{IoBuf, IoBufMut};

const CANARY: u8 = 0xa5;
/// Most bytes in quarantine before the oldest buffers are freed.
const BYTES_MAX: usize = 128 << 20;
const COUNT_MAX: usize = 512;

/// A buffer aligned for direct I/O.
#[derive(Debug)]
pub struct Guarded {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
struct Memory {
    ptr: *mut u8,
    layout: Layout,
}

// SAFETY: the memory is owned by the value alone.
unsafe impl Send for Memory {}

impl Memory {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation has this size, is initialised, and is borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.ptr, self.layout.size()) }
    }

    fn check(&self) {
        // What the kernel or another thread wrote is to be seen: no cached value may answer.
        std::hint::black_box(self.ptr);
        const CLEAN: [u8; 4096] = [CANARY; 4096];
        for (page, bytes) in self.bytes().chunks(CLEAN.len()).enumerate() {
            assert!(
                bytes == &CLEAN[..bytes.len()],
                "LATE WRITE: page {page} of a buffer of {} bytes was written after its drop",
                self.layout.size()
            );
        }
    }
}

impl Guarded {
    pub fn new(capacity: usize) -> Self {
        let layout = Layout::from_size_align(capacity.max(1), 4096).unwrap();
        // SAFETY: the size is not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        assert!(!ptr.is_null(), "no memory");
        Self {
            memory: Memory { ptr, layout },
            len: 0,
        }
    }

    /// A buffer that is full of the pattern.
    pub fn filled(capacity: usize) -> Self {
        let mut buf = Self::new(capacity);
        // SAFETY: the allocation has this size, is initialised, and nobody else has it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buf.memory.ptr, capacity) };
        bytes.copy_from_slice(&super::pattern(capacity));
        buf.len = capacity;
        buf
    }

    pub fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[..self.len]
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Memory { ptr, layout } = self.memory;
        // SAFETY: the allocation has this size and is this value's own.
        unsafe { ptr.write_bytes(CANARY, layout.size()) };
        let mut quarantine = lock();
        quarantine.bytes += layout.size();
        quarantine.dropped += 1;
        quarantine.entries.push_back(Memory { ptr, layout });
        while quarantine.bytes > BYTES_MAX || quarantine.entries.len() > COUNT_MAX {
            quarantine.release_oldest();
        }
    }
}

// SAFETY: the bytes are on the heap, owned by the value alone, and initialised.
unsafe impl IoBuf for Guarded {
    fn stable_ptr(&self) -> *const u8 {
        self.memory.ptr
    }

    fn init_len(&self) -> usize {
        self.len
    }
}

// SAFETY: as for IoBuf, for the whole allocation.
unsafe impl IoBufMut for Guarded {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory.ptr
    }

    fn capacity(&self) -> usize {
        self.memory.layout.size()
    }

    unsafe fn set_init(&mut self, len: usize) {
        self.len = len;
    }
}

#[derive(Debug)]
struct Quarantine {
    entries: VecDeque<Memory>,
    bytes: usize,
    dropped: u64,
}

static QUARANTINE: Mutex<Quarantine> = Mutex::new(Quarantine {
    entries: VecDeque::new(),
    bytes: 0,
    dropped: 0,
});

impl Quarantine {
    fn release_oldest(&mut self) {
        if let Some(memory) = self.entries.pop_front() {
            self.bytes -= memory.layout.size();
            memory.check();
            // SAFETY: made with this layout, owned by the entry that has just been taken out.
            unsafe { dealloc(memory.ptr, memory.layout) };
        }
    }
}

fn lock() -> MutexGuard<'static, Quarantine> {
    QUARANTINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks every buffer in quarantine; returns how many there are.
pub fn check() -> usize {
    let quarantine = lock();
    for memory in &quarantine.entries {
        memory.check();
    }
    quarantine.entries.len()
}

/// Checks every buffer and frees all of them.
pub fn release() {
    let mut quarantine = lock();
    while !quarantine.entries.is_empty() {
        quarantine.release_oldest();
    }
}

/// How many buffers were ever dropped.
pub fn dropped() -> u64 {
    lock().dropped
}
