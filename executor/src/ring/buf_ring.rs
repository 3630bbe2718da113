//! A ring of provided buffers: memory from which the kernel picks a buffer per completion.
//!
//! # Safety
//!
//! The memory holds the entry array first and the buffers behind it, and is owned by
//! [`BufRingMemory`] alone. An entry is written only while its buffer is ours; the tail is
//! published with release, so that the kernel sees the entry before the tail.
#![allow(unsafe_code, reason = "writing the entries that the kernel reads")]

use std::cell::Cell;
use std::io;

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::Ring;
use crate::sys::mmap::Mapping;

const PAGE: usize = 4096;

/// The memory of a provided-buffer ring.
#[derive(Debug)]
pub(crate) struct BufRingMemory {
    memory: Mapping,
    /// Offset of the first buffer in the memory.
    buffers_at: usize,
    entries: u16,
    buffer_len: u32,
    /// The next entry to write; wraps.
    tail: Cell<u16>,
}

impl BufRingMemory {
    /// Maps the memory of a ring of `entries` buffers of `buffer_len` bytes each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `entries` is a power of two of at most 32,768 and `buffer_len` is
    /// not zero; the error of mmap(2).
    pub(crate) fn new(entries: u16, buffer_len: u32) -> io::Result<Self> {
        if !entries.is_power_of_two() || entries > 1 << 15 || buffer_len == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a buffer ring needs a power of two of at most 32768 buffers, not {entries}, \
                     of at least one byte, not {buffer_len}"
                ),
            ));
        }
        let buffers_at = (usize::from(entries) * size_of::<BufRingEntry>()).next_multiple_of(PAGE);
        // As many bytes as a machine of 32 bits cannot address.
        let len = usize::from(entries)
            .checked_mul(buffer_len as usize)
            .and_then(|buffers_len| buffers_len.checked_add(buffers_at))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = Mapping::new(len)?;
        let ring = Self {
            memory,
            buffers_at,
            entries,
            buffer_len,
            tail: Cell::new(0),
        };
        for id in 0..entries {
            ring.provide(id);
        }
        Ok(ring)
    }

    pub(crate) fn buffer_len(&self) -> usize {
        self.buffer_len as usize
    }

    /// Returns where the buffer `id` begins.
    ///
    /// # Panics
    ///
    /// Panics when there is no such buffer.
    pub(crate) fn buffer(&self, id: u16) -> *mut u8 {
        assert!(
            id < self.entries,
            "buffer {id} of a ring of {}",
            self.entries
        );
        let at = self.buffers_at + usize::from(id) * self.buffer_len();
        // SAFETY: `id` is below `entries`, so the buffer lies inside of the mapping.
        unsafe { self.memory.as_ptr().add(at) }
    }

    /// Gives the buffer `id` to the kernel, which may write it from now on.
    pub(crate) fn provide(&self, id: u16) {
        let buffer = self.buffer(id);
        let tail = self.tail.get();
        let index = usize::from(tail & (self.entries - 1));
        let base = self.memory.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the index is masked to the entries, which lie at the head of the mapping.
        let entry = unsafe { base.add(index) };
        // SAFETY: the entry is inside of the mapping, aligned, zeroed memory or an earlier
        // entry, and the kernel does not read past the tail, which is not published yet.
        let entry = unsafe { &mut *entry };
        entry.set_addr(buffer as u64);
        entry.set_len(self.buffer_len);
        entry.set_bid(id);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: `base` is the start of the entries, where the tail lives.
        let shared = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the tail is an aligned u16 inside of the mapping that the kernel only reads.
        let shared = unsafe { AtomicU16::from_ptr(shared.cast_mut()) };
        shared.store(tail.wrapping_add(1), Ordering::Release);
    }

    fn base(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// Makes the side that takes buffers, for a backend that does what the kernel does with them.
    ///
    /// # Safety
    ///
    /// - The memory stays mapped as long as the consumer is used.
    /// - There is one consumer, and the memory is not registered with a ring.
    pub(crate) unsafe fn consumer(&self) -> Consumer {
        Consumer {
            base: self.base().cast(),
            entries: self.entries,
            head: 0,
        }
    }
}

/// The side of a ring of provided buffers that takes them, where that is not the kernel's.
#[derive(Debug)]
pub(crate) struct Consumer {
    base: *mut BufRingEntry,
    entries: u16,
    /// The next entry to take; wraps.
    head: u16,
}

/// A buffer that was provided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provided {
    pub(crate) id: u16,
    pub(crate) ptr: *mut u8,
    pub(crate) len: u32,
}

impl Consumer {
    /// Returns the foremost buffer, which stays where it is until it is taken.
    pub(crate) fn peek(&self) -> Option<Provided> {
        // SAFETY: `base` is the start of the entries, where the tail lives.
        let tail = unsafe { BufRingEntry::tail(self.base) };
        // SAFETY: the tail is an aligned u16 inside of the mapping, which is still mapped.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        if tail.load(Ordering::Acquire) == self.head {
            return None;
        }
        let index = usize::from(self.head & (self.entries - 1));
        // SAFETY: the index is masked to the entries, which lie at the head of the mapping.
        let entry = unsafe { self.base.add(index) };
        // SAFETY: the entry was written before the tail was published, and is not written again
        // before its buffer was taken.
        let entry = unsafe { &*entry };
        Some(Provided {
            id: entry.bid(),
            ptr: entry.addr() as *mut u8,
            len: entry.len(),
        })
    }

    /// Takes the foremost buffer: it belongs to who is told of it.
    pub(crate) fn take(&mut self) {
        self.head = self.head.wrapping_add(1);
    }
}

impl Ring {
    /// Registers `memory` as the buffer group `group`.
    ///
    /// # Safety
    ///
    /// - `memory` stays mapped until the group is unregistered, or the ring is closed and
    ///   drained.
    pub(crate) unsafe fn register_buf_ring(
        &self,
        memory: &BufRingMemory,
        group: u16,
    ) -> io::Result<()> {
        let base = memory.base() as u64;
        // SAFETY: the memory holds `entries` entries, and the caller keeps it mapped.
        unsafe {
            self.inner
                .submitter()
                .register_buf_ring_with_flags(base, memory.entries, group, 0)
        }
    }

    pub(crate) fn unregister_buf_ring(&self, group: u16) -> io::Result<()> {
        self.inner.submitter().unregister_buf_ring(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_wraps() {
        let ring = BufRingMemory::new(4, 64).unwrap();
        ring.tail.set(u16::MAX);
        ring.provide(3);
        assert_eq!(ring.tail.get(), 0);
        // SAFETY: the mapping begins with four entries.
        let entry = unsafe { ring.base().cast::<BufRingEntry>().add(3) };
        // SAFETY: entry 3 was written above: index 65,535 is masked to it. Nobody writes it now.
        let entry = unsafe { &*entry };
        assert_eq!((entry.bid(), entry.len()), (3, 64));
    }

    #[test]
    fn buffers_are_taken_in_the_order_they_were_provided() {
        let ring = BufRingMemory::new(4, 64).unwrap();
        // SAFETY: the memory outlives the consumer, the only one, and no ring knows it.
        let mut consumer = unsafe { ring.consumer() };
        for id in [0, 1, 2, 3] {
            let buffer = consumer.peek().unwrap();
            assert_eq!((buffer.id, buffer.len), (id, 64));
            assert_eq!(buffer.ptr, ring.buffer(id));
            consumer.take();
        }
        assert!(consumer.peek().is_none());
        ring.provide(2);
        assert_eq!(consumer.peek().unwrap().id, 2);
        consumer.take();
        assert!(consumer.peek().is_none());
    }

    #[test]
    fn sizes_are_checked() {
        for (entries, len) in [(0, 64), (3, 64), (4, 0)] {
            let error = BufRingMemory::new(entries, len).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
