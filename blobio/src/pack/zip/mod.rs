//! Zip archives (zip, pk3, wz): stored and deflated entries, zip64.
//!
//! The catalogue is read once, when the archive is opened. An entry's data is found through its
//! local header, when the entry is opened: a stored entry is then a [`BlobSlice`], a deflated one
//! a stream that is inflated as it is read.
//!
//! Archives may be hostile. Every offset and size is checked against the archive, memory is
//! bounded by [`Limits`] and by what the compressed bytes can yield at most, a stream stops at
//! its declared size, and an error names the archive and the entry. Names are keys and nothing
//! more: they may be absolute or hold `..`, so never use one as a path.
//!
//! Archives with bytes before the first entry (self-extracting ones) are read, unless they need
//! zip64.

mod archive;
mod catalogue;
mod entry;
mod headers;
mod inflate;
mod local;
mod reader;

#[cfg(doc)]
use crate::slice::BlobSlice;

pub use archive::{Archive, EntryData};
pub use entry::{Entry, Method};
#[cfg(feature = "executor")]
pub(crate) use inflate::Inflater;
pub use local::Extent;
pub use reader::InflateReader;

/// What an archive may ask of memory before it is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most bytes to read for finding and parsing the catalogue.
    pub catalogue_bytes_max: u64,
    /// The most entries, directories included.
    pub entries_max: usize,
}

impl Limits {
    /// The default for [`catalogue_bytes_max`](Self::catalogue_bytes_max).
    pub const CATALOGUE_BYTES_MAX: u64 = 128 << 20;
    /// The default for [`entries_max`](Self::entries_max).
    pub const ENTRIES_MAX: usize = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            catalogue_bytes_max: Self::CATALOGUE_BYTES_MAX,
            entries_max: Self::ENTRIES_MAX,
        }
    }
}
