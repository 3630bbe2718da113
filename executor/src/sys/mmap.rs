//! An anonymous mapping that is owned.
//!
//! # Safety
//!
//! The mapping is made and unmapped here and nowhere else; its pointer is private to the value,
//! which hands out raw pointers only.
#![allow(unsafe_code, reason = "mmap and munmap")]

use std::io;
use std::ptr::{self, NonNull};

/// Anonymous, private, zeroed, page-aligned memory, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory that no thread owns; every access through the pointer is
// the business of the caller.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; a shared Mapping gives out only its address and length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes, which must not be zero, and advises huge pages for large mappings.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no
        // existing memory.
        let ptr = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ptr = NonNull::new(ptr.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        let mapping = Self { ptr, len };
        const HUGE: usize = 2 * 1024 * 1024;
        if len >= HUGE {
            // SAFETY: the range is the mapping just made. Refused advice changes nothing.
            let _ = unsafe { libc::madvise(ptr.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
        Ok(mapping)
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and is unmapped once, here.
        let _ = unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}
