//! The process's allocator: small blocks that are freed are filled with a canary and kept for a
//! while, so that who uses one later is found, and harms nobody else.
//!
//! # Safety
//!
//! Memory is the system allocator's. A block is given back to it once, with the layout it was made
//! with: by its entry here, when that is the oldest, or at once where it is large. Between, nobody
//! owns it but the entry.
#![allow(unsafe_code, reason = "is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

const CANARY: u8 = 0xa5;
/// Longest block that is kept, and how many are.
const LEN_MAX: usize = 4096;
const KEPT_MAX: usize = 2048;

#[global_allocator]
static QUARANTINE: Quarantine = Quarantine {
    kept: Mutex::new(Kept {
        blocks: [None; KEPT_MAX],
        next: 0,
    }),
    late: AtomicUsize::new(0),
};

struct Quarantine {
    kept: Mutex<Kept>,
    /// The length of a block that was written late; zero: none.
    late: AtomicUsize,
}

struct Kept {
    blocks: [Option<Block>; KEPT_MAX],
    /// The oldest, which makes room for the next.
    next: usize,
}

#[derive(Clone, Copy)]
struct Block {
    ptr: *mut u8,
    layout: Layout,
}

// SAFETY: the block is owned by the entry alone.
unsafe impl Send for Block {}

impl Block {
    fn is_clean(&self) -> bool {
        const CLEAN: [u8; LEN_MAX] = [CANARY; LEN_MAX];
        // What was written through another pointer is to be seen: no cached value may answer.
        let ptr = std::hint::black_box(self.ptr);
        // SAFETY: the block has this length, is filled, and is owned by the entry.
        let bytes = unsafe { slice::from_raw_parts(ptr, self.layout.size()) };
        bytes == &CLEAN[..bytes.len()]
    }
}

impl Quarantine {
    fn check(&self, block: &Block) {
        if !block.is_clean() {
            self.late.store(block.layout.size(), Ordering::Relaxed);
        }
    }
}

// SAFETY: a layer over the system's allocator that delays `dealloc`.
unsafe impl GlobalAlloc for Quarantine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let mut oldest = Some(Block { ptr, layout });
        if layout.size() <= LEN_MAX {
            // SAFETY: the block has this length, and its owner has given it up.
            unsafe { ptr.write_bytes(CANARY, layout.size()) };
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let next = kept.next;
            oldest = std::mem::replace(&mut kept.blocks[next], oldest);
            kept.next = (next + 1) % KEPT_MAX;
            oldest.iter().for_each(|block| self.check(block));
        }
        if let Some(Block { ptr, layout }) = oldest {
            // SAFETY: made with this layout, and taken out of the list: nobody frees it again.
            unsafe { System.dealloc(ptr, layout) };
        }
    }
}

/// Looks at all blocks that are kept; the length of one that was written after it was freed.
pub(crate) fn find_late_write() -> Option<usize> {
    let kept = &QUARANTINE.kept;
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    for block in kept.blocks.iter().flatten() {
        QUARANTINE.check(block);
    }
    drop(kept);
    Some(QUARANTINE.late.load(Ordering::Relaxed)).filter(|len| *len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_write_is_found() {
        let layout = Layout::new::<[u8; 100]>();
        // Not by way of the language's own allocation, whose pointers end with it.
        // SAFETY: the layout is not empty.
        let ptr = unsafe { QUARANTINE.alloc(layout) };
        // SAFETY: it was allocated above, of this layout.
        unsafe { QUARANTINE.dealloc(ptr, layout) };
        assert_eq!(find_late_write(), None);
        // SAFETY: within the block, which the quarantine keeps.
        let middle = unsafe { ptr.add(50) };
        // SAFETY: nobody else has the block.
        unsafe { middle.write_volatile(1) };
        assert_eq!(find_late_write(), Some(100));
        // SAFETY: as above; the block is as it was.
        unsafe { middle.write_volatile(CANARY) };
        QUARANTINE.late.store(0, Ordering::Relaxed);
    }
}
