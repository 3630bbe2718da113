//! Writing packs.
//!
//! Blocks are compressed by a pool of threads and written in the order they came in; what they are
//! is all that is kept of them until the directory is written. Memory grows with the entries and
//! the blocks (about 100 bytes each), not with their contents.

mod compress;
mod directory;
mod file;
mod options;
mod tree;
mod writer;

pub use file::PackBuilder;
pub use options::{BuildOptions, Compression};
pub use writer::{PackOutput, PackWriter, Progress, Summary};

/// A table page of one row, for tests of what reads pages.
#[cfg(test)]
pub(super) fn table_page(position: u64, row: &[u8; 24]) -> Vec<u8> {
    tree::encode_page(super::page::PageKind::Table, 0, 1, 0, position, row)
}
