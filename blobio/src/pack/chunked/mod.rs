//! Packs: many contents in one file, cut into blocks that are compressed one by one, found by path
//! or by BLAKE3 hash.
//!
//! A [`Pack`] is opened with one read, an entry is found with few more, and an [`EntryBlob`] is a
//! blob again, of which any range is read by decompressing the blocks it touches. A
//! [`PackBuilder`] writes a pack file. `docs/pack-format.md` specifies the format.
//!
//! Packs may be hostile. Every page and every block has a checksum that is held, every position
//! and length is checked, and memory is bounded by what the reader asks for, whatever the pack
//! says. What a checksum cannot tell is whether the pack was made with ill intent:
//! [`Pack::verify`] holds contents against their hashes.

mod block;
mod builder;
mod cache;
mod data;
mod data_async;
mod directory;
mod entry;
mod error;
mod format;
mod lookup;
#[allow(clippy::module_inception, reason = "a pack of the module of packs")]
mod pack;
mod page;
mod range;
mod verify;

pub use builder::{
    BuildOptions, Compression, PackBuilder, PackOutput, PackWriter, Progress, Summary,
};
pub use data::EntryBlob;
pub use data_async::{EntryRead, EntrySink};
pub use entry::{Content, ContentHash, Entry, ParseHashError};
pub use error::{PackError, PackErrorKind};
pub use pack::{Pack, PackOptions, PackStats};
pub use verify::Verified;
