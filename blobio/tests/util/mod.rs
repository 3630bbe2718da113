//! What the test files share: content that tells its position, odd blobs, the two suites.
#![allow(dead_code, reason = "each test file uses a part of this module")]

pub(crate) mod async_suite;
pub(crate) mod blobs;
pub(crate) mod bomb;
#[cfg(feature = "executor")]
pub(crate) mod hinting;
#[cfg(feature = "executor")]
pub(crate) mod into_suite;
#[cfg(feature = "pack")]
pub(crate) mod packs;
#[cfg(feature = "executor")]
pub(crate) mod queue_blobs;
pub(crate) mod sync_suite;
pub(crate) mod zips;

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;

use blobio::RandomReadBlob;

/// Bytes of which any run of a few tells where it is from.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len as u64).map(pattern_at).collect()
}

/// The byte that [`content`] has at `pos`.
pub(crate) fn pattern_at(pos: u64) -> u8 {
    let mixed = (pos / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[(pos % 8) as usize] ^ (pos % 251) as u8
}

/// A file of `bytes`; it is gone when the handle is dropped.
pub(crate) fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Reads with `read` into memory that holds a mark, and gives all of that memory and the count.
pub(crate) fn read_marked(
    blob: &(impl RandomReadBlob + ?Sized),
    pos: u64,
    len: usize,
) -> (usize, Vec<u8>) {
    let mut memory = vec![MaybeUninit::new(MARK); len];
    let got = blob.read(pos, &mut memory).unwrap();
    (got, take_init(memory))
}

/// What memory holds before a read.
pub(crate) const MARK: u8 = 0xa5;

/// Turns memory that was initialised from the start into bytes.
#[allow(unsafe_code, reason = "MaybeUninit has no safe way out")]
pub(crate) fn take_init(memory: Vec<MaybeUninit<u8>>) -> Vec<u8> {
    // SAFETY: the callers initialise every byte before they hand the memory to a reader, and a
    // reader under test writes bytes or nothing.
    memory
        .into_iter()
        .map(|byte| unsafe { byte.assume_init() })
        .collect()
}

/// Lends `parts` as the slices of a vectored read.
pub(crate) fn slices(parts: &mut [Vec<u8>]) -> Vec<IoSliceMut<'_>> {
    parts.iter_mut().map(|part| IoSliceMut::new(part)).collect()
}
