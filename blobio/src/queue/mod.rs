//! Reads as engines ask for them: queued, in an order of their own, merged, cancelled, counted.
//!
//! A [`BlobQueue`] belongs to a worker and reads any number of registered blobs. A [`Request`] says
//! which range of which blob goes where, and how urgent it is; the queue decides when it is read,
//! with whom it shares a read, and how many reads are in flight.
//!
//! ```
//! use blobio::queue::{BlobQueue, Class, OnError, QueueConfig, Request};
//! use blobio::NativeFileAsyncBlobRandomReader;
//!
//! # #[corelane::main]
//! # async fn main() -> std::io::Result<()> {
//! let queue = BlobQueue::new(QueueConfig::default()).expect("the limits are sound");
//! let blob = queue.register(NativeFileAsyncBlobRandomReader::open("/proc/self/exe").await?);
//!
//! // One read, ahead of others.
//! let magic = queue.read(Request::vec(&blob, 0, 4).class(Class::Realtime)).await;
//! assert_eq!(magic.bytes(), b"\x7fELF");
//!
//! // Many, with one completion.
//! let parts = (0..100).map(|part| Request::vec(&blob, part * 512, 512).tag(7));
//! let batch = queue.submit_batch(parts.collect(), OnError::Continue).await?;
//! assert_eq!(batch.await.results.len(), 100);
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! [`order`] says which request is next: classes share bytes by weight, near deadlines go first,
//! and nothing starves. A request that is longer than the longest read is read in pieces and takes
//! its turn for each, so that a long one does not hold up an urgent one.
//!
//! # Sharing reads
//!
//! Where a blob says that merging pays ([`BlobHints::merge_pays`](crate::BlobHints)), what is next
//! takes its neighbours along: requests of any class that are queued for bytes close by, within
//! the limits of gap, span and amplification. Requests that overlap and are chosen together share
//! a read of any blob. A shared read that fails is read again for each by itself, so that an error
//! reaches nobody but whom it concerns.
//!
//! # Bounds
//!
//! [`QueueConfig`] bounds requests, and operations and bytes in flight, by class and in all. Full
//! means to wait, in order: [`BlobQueue::submit`] resolves when the request has its place. What was
//! chosen together and finds no room apart waits ahead of its class, and takes turns with others. What
//! waits is in the [statistics](QueueStats), and nothing is dropped.
//!
//! A request of several pieces whose destination the queue is to have allocated waits for memory
//! ([`QueueConfig::begun_max`]) by class, then deadline, then arrival. Until it has that, requests
//! behind it get none, so that it need not wait for small ones for ever; who needs none passes. No
//! more than sixteen pass the oldest once it has waited for [`Policy::age_after_ns`](order::Policy).
//!
//! # Cancelling
//!
//! By [handle](RequestHandle::cancel), by [batch](BatchHandle::cancel), by
//! [tag](BlobQueue::cancel_tagged). A queued request ends at once. One whose destination the
//! kernel has ends when the kernel is done with it, with the destination and
//! [`ReadError::Cancelled`]. Either way nothing writes the destination once it is back.
//!
//! # The end
//!
//! [`BlobQueue::shutdown`] takes no more requests, ends the queued ones with
//! [`ReadError::ShutDown`], and waits for what is in flight, which is reported as ever. Dropping
//! the last [`BlobQueue`] takes no more requests either, but reads all that it has. When the
//! worker ends, what is left ends with [`ReadError::WorkerGone`], wherever it is awaited.
//!
//! # Memory
//!
//! A queued request takes [`RECORD_LEN`] bytes at most, besides its destination, name and
//! allocator, and a task that waits for a place [`WAITER_LEN`]. Tables grow by doubling and are
//! kept.

pub mod histogram;
pub mod limits;
pub mod order;

#[cfg(feature = "executor")]
mod batch;
#[cfg(feature = "executor")]
mod blob;
#[cfg(feature = "executor")]
mod config;
#[cfg(feature = "executor")]
mod engine;
#[cfg(feature = "executor")]
mod error;
#[cfg(feature = "executor")]
mod front;
#[cfg(feature = "executor")]
mod handle;
#[cfg(feature = "executor")]
mod line;
#[cfg(feature = "executor")]
mod outbox;
#[cfg(feature = "executor")]
mod record;
#[cfg(feature = "executor")]
mod remote;
#[cfg(feature = "executor")]
mod request;
#[cfg(feature = "executor")]
mod stats;
#[cfg(feature = "executor")]
mod submit;
#[cfg(feature = "executor")]
mod waiters;

pub use histogram::Histogram;
pub use order::Class;

#[cfg(feature = "executor")]
pub use batch::{BatchDone, BatchHandle, OnError, Progress, ProgressStream};
#[cfg(feature = "executor")]
pub use blob::QueuedBlob;
#[cfg(feature = "executor")]
pub use config::{QueueConfig, QueueConfigError};
#[cfg(feature = "executor")]
pub use error::{ReadError, SubmitError};
#[cfg(feature = "executor")]
pub use front::BlobQueue;
#[cfg(feature = "executor")]
pub use handle::{Finished, RequestHandle};
#[cfg(feature = "executor")]
pub use line::WAITER_LEN;
#[cfg(feature = "executor")]
pub use record::RECORD_LEN;
#[cfg(feature = "executor")]
pub use remote::{RemoteBatch, RemoteHandle, RemoteQueue, RemoteQueuedBlob};
#[cfg(feature = "executor")]
pub use request::{RemoteRequest, Request};
#[cfg(feature = "executor")]
pub use stats::{Census, ClassStats, Filter, Outcomes, QueueStats, Watch, WatchStats};
