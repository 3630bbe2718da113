//! A stored block checked and decompressed.

use super::error::PackErrorKind;
use super::format::checksum;
use super::range::RunBlock;
use crate::decode::{decode_block, decode_block_into};

/// Gives the raw bytes of a block.
pub(super) fn decode(block: &RunBlock, stored: &[u8]) -> Result<Vec<u8>, PackErrorKind> {
    check(block, stored)?;
    Ok(decode_block(block.row.codec, stored, block.raw_len)?)
}

/// Puts the raw bytes of a block into `raw`, which has their length.
pub(super) fn decode_into(
    block: &RunBlock,
    stored: &[u8],
    raw: &mut [u8],
) -> Result<(), PackErrorKind> {
    check(block, stored)?;
    Ok(decode_block_into(block.row.codec, stored, raw)?)
}

/// Holds a block against its checksum.
pub(super) fn check(block: &RunBlock, stored: &[u8]) -> Result<(), PackErrorKind> {
    let actual = checksum(stored);
    if actual != block.row.checksum {
        return Err(PackErrorKind::Checksum {
            declared: block.row.checksum,
            actual,
        });
    }
    Ok(())
}
