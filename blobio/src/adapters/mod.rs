//! Blobs as what other code expects: a stream with a cursor, a buffered reader, `Bytes`.

mod async_read_seek;
mod buffered;
#[cfg(feature = "bytes")]
mod bytes_output;
mod read_seek;

use std::io;
use std::io::SeekFrom;

pub use async_read_seek::AsyncReadSeek;
pub use buffered::BufferedBlobReader;
#[cfg(feature = "bytes")]
pub use bytes_output::{read_to_bytes, read_to_bytes_async};
pub use read_seek::ReadSeek;

/// Gives the position that a seek from `base` by `delta` leads to.
fn seek_by(base: u64, delta: i64, to: SeekFrom) -> io::Result<u64> {
    base.checked_add_signed(delta).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("seek to {to:?} leads to a position that is negative or too large"),
        )
    })
}
