//! Packs: many contents in one file, cut into blocks that are compressed one by one, found by path
//! or by BLAKE3 hash. `docs/pack-format.md` specifies the format.

mod builder;
mod entry;
mod error;
mod format;
mod page;

pub use builder::{
    BuildOptions, Compression, PackBuilder, PackOutput, PackWriter, Progress, Summary,
};
pub use entry::{Content, ContentHash, Entry, ParseHashError};
pub use error::{PackError, PackErrorKind};
