//! One block, compressed if that pays. Pure.

use std::cell::RefCell;
use std::io;

use zstd::bulk::Compressor;

use super::super::format::checksum;
use super::options::Compression;
use crate::decode::Codec;

/// A block ready to be written.
#[derive(Debug)]
pub(super) struct Packed {
    /// The BLAKE3 hash of the raw bytes.
    pub(super) key: [u8; 32],
    /// Whether it may be left out where an equal block is. A content that is to lie as it is may
    /// not do without one of its blocks.
    pub(super) may_share: bool,
    pub(super) codec: Codec,
    pub(super) checksum: u64,
    pub(super) stored: Vec<u8>,
}

/// Compresses a block, and leaves it as it is where that does not gain enough.
pub(super) fn pack(
    raw: Vec<u8>,
    compression: Compression,
    gain_min_permille: u16,
) -> io::Result<Packed> {
    let key = *blake3::hash(&raw).as_bytes();
    let gain_min = (raw.len() * usize::from(gain_min_permille)).div_ceil(1000);
    let most = raw.len() - gain_min.clamp(1, raw.len());
    let compressed = match compression {
        Compression::None => None,
        Compression::Lz4 => Some((Codec::Lz4, lz4_flex::block::compress(&raw))),
        Compression::Zstd(level) => Some((Codec::Zstd, compress_zstd(&raw, level)?)),
    };
    let (codec, stored) = compressed
        .filter(|(_, stored)| stored.len() <= most)
        .unwrap_or((Codec::None, raw));
    Ok(Packed {
        key,
        may_share: compression != Compression::None,
        codec,
        checksum: checksum(&stored),
        stored,
    })
}

fn compress_zstd(raw: &[u8], level: i32) -> io::Result<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    }
    CONTEXT.with_borrow_mut(|context| {
        let compressor = match context {
            Some((known, compressor)) if *known == level => compressor,
            _ => &mut context.insert((level, Compressor::new(level)?)).1,
        };
        compressor.compress(raw)
    })
}
