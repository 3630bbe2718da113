//! What can be chosen when a pack is written.

use std::num::NonZeroUsize;
use std::thread;

use super::super::error::PackErrorKind;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: contents lie as they are, and can be read, sent and mapped in place.
    None,
    /// lz4: little gain at little cost.
    Lz4,
    /// zstd at a level from 1 (fast) to 22 (small, slow).
    Zstd(i32),
}

/// What a pack is written with. Everything but `threads` changes the pack's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BuildOptions {
    /// How blocks are compressed, unless an entry is added with something else.
    pub compression: Compression,
    /// The length of a block in bytes: 64, 128 or 256 KiB.
    pub block_len: u32,
    /// What the first block of a content, and a content that lies as it is, are aligned to, in
    /// bytes: a power of two from 1 to 64 KiB.
    pub align: u32,
    /// The least that compressing a block must gain for the block to be stored compressed, in
    /// thousandths of its length.
    pub gain_min_permille: u16,
    /// Whether equal blocks of different contents are stored once, where they are to be compressed.
    /// Equal contents always are.
    pub dedup_blocks: bool,
    /// How many threads compress, the caller's among them.
    pub threads: NonZeroUsize,
}

impl BuildOptions {
    /// The default for [`block_len`](Self::block_len): 64 KiB.
    pub const BLOCK_LEN: u32 = 64 << 10;
    /// The default for [`gain_min_permille`](Self::gain_min_permille).
    pub const GAIN_MIN_PERMILLE: u16 = 50;
    /// The default level of zstd.
    pub const ZSTD_LEVEL: i32 = 9;

    pub(super) fn check(&self) -> Result<(), PackErrorKind> {
        let is = |good, what| {
            if good {
                Ok(())
            } else {
                Err(PackErrorKind::Option(what))
            }
        };
        is(
            [64 << 10, 128 << 10, 256 << 10].contains(&self.block_len),
            "a block has 64, 128 or 256 KiB",
        )?;
        is(
            self.align.is_power_of_two() && self.align <= 64 << 10,
            "the alignment is a power of two up to 64 KiB",
        )?;
        is(
            self.gain_min_permille <= 1000,
            "the least gain is at most 1000 thousandths",
        )?;
        check_level(self.compression)
    }
}

/// Refuses a level that zstd does not have.
pub(super) fn check_level(compression: Compression) -> Result<(), PackErrorKind> {
    match compression {
        Compression::Zstd(level) if !(1..=22).contains(&level) => Err(PackErrorKind::Option(
            "the level of zstd is a number from 1 to 22",
        )),
        _ => Ok(()),
    }
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Zstd(Self::ZSTD_LEVEL),
            block_len: Self::BLOCK_LEN,
            align: 1,
            gain_min_permille: Self::GAIN_MIN_PERMILLE,
            dedup_blocks: true,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}
