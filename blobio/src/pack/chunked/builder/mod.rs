//! Writing packs.
//!
//! Blocks are compressed by a pool of threads and written in the order they came in; what they are
//! is all that is kept of them until the directory is written. Memory grows with the entries and
//! the blocks (about 100 bytes each), not with their contents.

mod compress;
mod file;
mod options;
mod tree;
mod writer;

pub use file::PackBuilder;
pub use options::{BuildOptions, Compression};
pub use writer::{PackOutput, PackWriter, Progress, Summary};
