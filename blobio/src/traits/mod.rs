//! What a blob can be asked: its length, reads by position, a mapping.
//!
//! One contract holds for every read, blocking or not:
//!
//! - a read names its position; there is no cursor, and `&self` is enough, so reads may overlap;
//! - a read gives **fewer bytes than asked only at the end of the blob**, and 0 only there or for
//!   an empty destination; interrupted and partial system calls are continued inside;
//! - a position past the end is the end, not an error;
//! - any position and any length that fits in memory is served, 4 GiB and more included;
//! - vectored reads fill every slice, in order, before the next one is begun.
//!
//! The traits are safe to implement, so unsafe code must not take a foreign implementation's word
//! for how many bytes it initialised; that is why [`RandomReadBlob::read_vec`] and
//! [`RandomReadBlobAsync::read_owned_async`], which give back a vector, exist beside the reads
//! into uninitialised memory.

mod asynchronous;
mod blocking;
mod forward;
mod hints;

use std::io;

pub use asynchronous::{BlobMetadataAsync, OwnedRead, RandomReadBlobAsync};
pub use blocking::{BlobMetadata, MemoryMapBlob, RandomReadBlob};
pub use hints::{BlobHints, DeviceId, ReadHow};

/// The shortest read that looks for bytes past the length a blob had when it was asked.
pub(crate) const GROWTH_PROBE_LEN: usize = 64;
/// The longest single read while a blob is found to be growing.
pub(crate) const GROWTH_READ_MAX: usize = 1 << 20;

/// Names a read that the blob was too short for.
pub(crate) fn unexpected_eof(pos: u64, len: u64, got: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("blob ended early: {len} bytes wanted at position {pos}, {got} there"),
    )
}

/// Gives the position `done` bytes on, or `None` past the last position there is.
pub(crate) fn advance(pos: u64, done: usize) -> Option<u64> {
    pos.checked_add(u64::try_from(done).ok()?)
}
