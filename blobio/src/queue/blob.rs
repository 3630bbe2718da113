//! Blobs as a queue knows them.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use super::config::QueueConfig;
use super::submit::{self, Arrivals, Cached};
use crate::async_reader::{Destination, ReadInto};
use crate::plan;
use crate::traits::{BlobHints, RandomReadBlobAsync, ReadHow};

/// A blob that is registered with a queue; clones name the same blob.
///
/// The queue lets go of the blob when the last clone, and the last request for it, is gone.
#[derive(Clone)]
pub struct QueuedBlob {
    pub(super) entry: Rc<Entry>,
}

/// A registered blob.
pub(super) struct Entry {
    /// Tells blobs apart in the order of reads; no two of a queue's have the same.
    pub(super) id: u64,
    /// The identity of the queue.
    pub(super) queue: u64,
    pub(super) hints: BlobHints,
    /// The longest read of it.
    pub(super) read_max: usize,
    /// What its reads may be merged to.
    pub(super) limits: plan::Limits,
    /// What its reads have found so far; written by the engine.
    pub(super) cached: Cell<Cached>,
    /// In which order its requests come; written by the engine.
    pub(super) arrivals: Cell<Arrivals>,
    /// Short reads are merged, as they are scattered and were found not to be cached; written by the
    /// engine.
    pub(super) is_cold: Cell<bool>,
    source: Box<dyn Source>,
}

/// A blob without its type.
trait Source {
    fn read(&self, pos: u64, len: usize, to: Destination, how: ReadHow) -> ReadInto;
}

impl<B: RandomReadBlobAsync> Source for B {
    fn read(&self, pos: u64, len: usize, to: Destination, how: ReadHow) -> ReadInto {
        self.read_into_async(pos, len, to, how)
    }
}

impl Entry {
    pub(super) fn new<B>(id: u64, queue: u64, config: &QueueConfig, blob: B) -> Self
    where
        B: RandomReadBlobAsync + 'static,
    {
        let hints = usable(blob.hints());
        let limits = config.plan_limits(&hints);
        Self {
            id,
            queue,
            hints,
            read_max: usize::try_from(limits.read_max).unwrap_or(usize::MAX),
            limits,
            cached: Cell::new(Cached::of(hints)),
            arrivals: Cell::new(Arrivals::new()),
            is_cold: Cell::new(false),
            source: Box::new(blob),
        }
    }

    /// Says whether a request of `len` bytes is to share a read with its neighbours: where merging
    /// pays, or the request is short and nobody has read ahead for it.
    #[inline]
    pub(super) fn merges(&self, len: usize) -> bool {
        self.hints.merge_pays || (self.is_cold.get() && len <= submit::MERGED_LEN_MAX)
    }

    pub(super) fn read(&self, pos: u64, len: usize, to: Destination, how: ReadHow) -> ReadInto {
        self.source.read(pos, len, to, how)
    }

    /// Gives the alignment that positions and lengths should have.
    pub(super) fn align(&self) -> u64 {
        u64::from(self.hints.align.max(1))
    }
}

/// Passes over an alignment that is none: the blob may be anybody's.
fn usable(mut hints: BlobHints) -> BlobHints {
    if !hints.align.is_power_of_two() || hints.align > BlobHints::ALIGN_MAX {
        hints.align = 1;
    }
    hints
}

impl QueuedBlob {
    /// Gives what the blob said of itself when it was registered.
    #[must_use]
    pub fn hints(&self) -> BlobHints {
        self.entry.hints
    }
}

impl fmt::Debug for QueuedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedBlob")
            .field("id", &self.entry.id)
            .field("hints", &self.entry.hints)
            .finish_non_exhaustive()
    }
}
