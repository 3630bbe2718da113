//! How much memory the allocator has given out.
//!
//! # Safety
//!
//! mallinfo2(3) touches the allocator's own state alone, and takes its locks.
#![allow(unsafe_code, reason = "asks the allocator")]

/// Bytes of the heap that are in use, with what the allocator adds to each block; `None` where the
/// C library cannot say.
pub(crate) fn in_use() -> Option<usize> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes no argument, and returns a plain value.
        let info = unsafe { libc::mallinfo2() };
        Some(info.uordblks + info.hblkhd)
    }
    #[cfg(not(target_env = "gnu"))]
    None
}
