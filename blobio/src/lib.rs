//! Blob readers for game assets: files, mapped files and archive entries, read by position.
//!
//! A *blob* is a run of bytes that is read by position, without a cursor and through `&self`, so
//! that many reads may be under way at once. [`RandomReadBlob`] is the blocking form and
//! [`RandomReadBlobAsync`] the asynchronous one; a range of a blob ([`BlobSlice`]) and an entry of
//! an archive ([`pack::zip`]) are blobs again.
//!
//! ```
//! use blobio::{BlobSlice, MemoryBlob, RandomReadBlob};
//!
//! let pack = MemoryBlob::new(b"headerpayload".to_vec());
//! let payload = BlobSlice::new(&pack, 6, 7)?;
//! assert_eq!(payload.read_to_end(0)?, b"payload");
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(unsafe_code)]

pub mod traits;

pub mod memory;
pub mod mmap;
pub mod region;
pub mod slice;
pub mod sync_reader;

#[cfg(feature = "executor")]
pub mod async_reader;

#[cfg(feature = "pack")]
pub mod decode;

pub mod adapters;
pub mod pack;
pub mod plan;
pub mod queue;

pub mod error;

#[cfg(any(feature = "executor", feature = "pack"))]
mod guard;
mod uninit;

#[cfg(feature = "executor")]
pub use async_reader::{
    Destination, DeviceStats, DirectFileAsyncBlobRandomReader, LooseBlob, LooseFiles,
    LooseFilesConfig, LooseFilesStats, NativeFileAsyncBlobRandomReader, ReadInto, RemoteBlob,
    StaleBlob, device_stats,
};
pub use memory::MemoryBlob;
pub use mmap::{Advice, Mapping};
pub use region::{Region, RegionSlice, read_exact_into_region, read_into_region};
pub use slice::BlobSlice;
pub use sync_reader::NativeFileBlobRandomReader;
pub use traits::{
    BlobHints, BlobMetadata, BlobMetadataAsync, DeviceId, MemoryMapBlob, OwnedRead, RandomReadBlob,
    RandomReadBlobAsync, ReadHow,
};

/// The examples of the guide.
#[cfg(all(doctest, feature = "executor", feature = "pack"))]
#[doc = include_str!("../../docs/guide.md")]
mod guide {}
