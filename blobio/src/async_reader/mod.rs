//! The asynchronous readers, on corelane's workers.
//!
//! [`NativeFileAsyncBlobRandomReader`] is bound to the worker that opened it;
//! [`DirectFileAsyncBlobRandomReader`] is the same past the page cache, and
//! [`LooseFiles`] opens any number of files late, and few at a time. A [`RemoteBlob`] is
//! a handle to such a reader that any thread and any executor may use.
//!
//! A read into borrowed memory goes through a buffer that the reader owns and is copied while its
//! future is polled, so that the future may be dropped, or forgotten, at any time. Reads without
//! the copy take what they read into by value
//! ([`read_at`](NativeFileAsyncBlobRandomReader::read_at)): a vector, a buffer of corelane's, a
//! [`RegionSlice`](crate::RegionSlice). One unsafe form takes a pointer.

mod borrowed;
mod destination;
mod device;
mod direct;
mod driven;
mod full;
mod loose;
mod native;
mod part;
mod remote;
pub(crate) mod runtime;
mod zip;

pub use borrowed::BorrowedRead;
pub(crate) use destination::read_into_by_copy;
pub use destination::{Destination, ReadInto};
pub use device::{DeviceStats, device_stats};
pub use direct::DirectFileAsyncBlobRandomReader;
pub use full::FullRead;
pub use loose::{LooseBlob, LooseFiles, LooseFilesConfig, LooseFilesStats, StaleBlob};
pub use native::NativeFileAsyncBlobRandomReader;
pub use part::RawRead;
pub use remote::RemoteBlob;
pub use zip::{AsyncEntryData, AsyncInflateReader};
