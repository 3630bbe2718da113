//! Mapped views of files.
//!
//! # Safety
//!
//! The room has one obligation, that of `memmap2`: nobody may change or truncate the mapped file
//! while the mapping lives. This module does *not* meet it, and safe code can break it: the
//! functions that map are safe all the same, and ask it of their user in the documentation of
//! [`Mapping`]. `docs/decisions/0009-mappings-are-safe-functions.md` says why. What this module
//! does see to: a mapping is read-only, checked against the length of the file when made, and
//! unmapped exactly once, when dropped.
#![allow(unsafe_code, reason = "mapping a file is the purpose of this module")]

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::traits::unexpected_eof;

/// A read-only view of a range of a file; it derefs to the bytes and unmaps when dropped.
///
/// # Changes underneath
///
/// A mapping shares pages with the file. Map only files that nobody writes to while the mapping
/// lives: installed assets, or files that are replaced by renaming a new one over them. Should
/// the file be
///
/// - *truncated* below the mapped range, touching a page past the new end raises `SIGBUS`, which
///   ends the process unless it has a handler;
/// - *written to*, bytes of the view change while they are looked at, which breaks what Rust
///   assumes of `&[u8]`: it is undefined behaviour, although mapping is a safe function.
///
/// Use a positional read where neither can be ruled out.
pub struct Mapping {
    // None is the empty mapping: the kernel has no mappings of length 0.
    view: Option<memmap2::Mmap>,
}

/// How a mapping is going to be used; a hint to the kernel, see `madvise(2)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// No particular pattern: moderate read-ahead.
    Normal,
    /// In no order: no read-ahead.
    Random,
    /// From start to end: aggressive read-ahead.
    Sequential,
    /// Soon: read ahead now.
    WillNeed,
}

impl Mapping {
    /// Maps `len` bytes from `offset` of `file`, which is `file_len` bytes long.
    pub(crate) fn of_file(
        file: BorrowedFd<'_>,
        file_len: u64,
        offset: u64,
        len: usize,
    ) -> io::Result<Self> {
        let there = file_len.saturating_sub(offset);
        if len as u64 > there || offset > file_len {
            return Err(unexpected_eof(offset, len as u64, there));
        }
        if len == 0 {
            return Ok(Self { view: None });
        }
        let mut options = memmap2::MmapOptions::new();
        options.offset(offset).len(len);
        // SAFETY: not proven here. `memmap2` asks that the file is neither changed nor truncated
        // while it is mapped; no process can see to that, and the documentation of `Mapping` asks
        // it of the user of a safe function (decision 9). The range was inside of the file just
        // now, so that without such a change every page of the view is there.
        let view = unsafe { options.map(file.as_raw_fd()) }?;
        Ok(Self { view: Some(view) })
    }

    /// Tells the kernel how the whole view is going to be used.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the advice; the view stays as it was.
    pub fn advise(&self, advice: Advice) -> io::Result<()> {
        self.advise_range(advice, 0, self.len())
    }

    /// Tells the kernel how `len` bytes of the view from `offset` are going to be used.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the range is not inside of the view; otherwise when the kernel refuses
    /// the advice.
    pub fn advise_range(&self, advice: Advice, offset: usize, len: usize) -> io::Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "advice for {len} bytes at {offset} of a mapping of {}",
                    self.len()
                ),
            ));
        }
        let advice = match advice {
            Advice::Normal => memmap2::Advice::Normal,
            Advice::Random => memmap2::Advice::Random,
            Advice::Sequential => memmap2::Advice::Sequential,
            Advice::WillNeed => memmap2::Advice::WillNeed,
        };
        match &self.view {
            Some(view) if len > 0 => view.advise_range(advice, offset, len),
            _ => Ok(()),
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.view.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
