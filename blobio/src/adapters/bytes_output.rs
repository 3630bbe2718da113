//! `bytes::Bytes` as the result of a read.

use std::io;

use bytes::Bytes;

use crate::traits::{RandomReadBlob, RandomReadBlobAsync};

/// Reads up to `len` bytes at `pos`, fewer only at the end of the blob, without a further copy.
///
/// # Errors
///
/// When reading fails or there is no memory for `len` bytes.
pub fn read_to_bytes<B: RandomReadBlob + ?Sized>(
    blob: &B,
    pos: u64,
    len: usize,
) -> io::Result<Bytes> {
    blob.read_vec(pos, len).map(Bytes::from)
}

/// Reads up to `len` bytes at `pos`, fewer only at the end of the blob, without a further copy.
///
/// # Errors
///
/// When reading fails or there is no memory for `len` bytes.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn read_to_bytes_async<B: RandomReadBlobAsync + ?Sized>(
    blob: &B,
    pos: u64,
    len: usize,
) -> io::Result<Bytes> {
    let (result, bytes) = blob.read_owned_async(pos, len, Vec::new()).await;
    result?;
    Ok(bytes.into())
}
