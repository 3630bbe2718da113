//! Tens of thousands of files as blobs, with few of them open.
//!
//! - [`LooseFiles`] is the set, [`LooseBlob`] one file of it;
//! - [`budget`] keeps the number of open descriptors below a limit;
//! - [`entry`] is one file: closed or open, and what it was when it was first opened.
//!
//! A read holds a *lease* of its file's descriptor from before its first operation until the
//! kernel is done with its last one; the lease goes with the read's buffer. A file without leases
//! is idle, and is closed when its descriptor is wanted elsewhere, the least recently used first.

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;

use corelane::buf::{BufResult, IoBufMut};

use super::borrowed::BorrowedRead;
use super::destination::{Destination, ReadInto};
use super::driven::driven;
use super::full::FullRead;
use super::part::Held;
use crate::traits::{BlobMetadataAsync, OwnedRead, RandomReadBlobAsync, ReadHow};
use crate::uninit;

mod budget;
mod entry;

pub use entry::StaleBlob;

use budget::Set;
use entry::Entry;

/// Files by path, as blobs, of which only so many are open at a time.
///
/// A blob of the set is a path until it is first read. It is closed again when its descriptor is
/// wanted for another one, the least recently used first, and reopened when it is read again; so
/// there may be any number of blobs. Reads in flight keep their file open. When every open file is
/// being read, a read of another one waits in order. When the process or the system is out of
/// descriptors (`EMFILE`, `ENFILE`), files that are not being read are closed, and a read waits
/// for one that is; it fails only if none of the set is open.
///
/// Nothing is held for a caller between its reads, nor for a read that is done and whose future
/// has not been polled again. Clones share the set, which belongs to one worker.
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// use blobio::{LooseFiles, LooseFilesConfig, RandomReadBlobAsync};
///
/// let files = LooseFiles::new(LooseFilesConfig::new());
/// let blob = files.blob("/proc/self/exe");
/// assert_eq!(files.stats().open, 0);
/// let (got, magic) = blob.read_owned_async(0, 4, Vec::new()).await;
/// assert_eq!((got?, magic.as_slice()), (4, &b"\x7fELF"[..]));
/// assert_eq!(files.stats().open, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LooseFiles {
    set: Rc<Set>,
}

/// What a set of [`LooseFiles`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LooseFilesConfig {
    open_max: usize,
    follow_replaced: bool,
}

/// What a set of [`LooseFiles`] has done, and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LooseFilesStats {
    /// Files that are open.
    pub open: usize,
    /// Files that may be open.
    pub open_max: usize,
    /// Files that are being read.
    pub busy: usize,
    /// Reads that wait for a descriptor now.
    pub waiting: usize,
    /// Files opened so far, again included.
    pub opened: u64,
    /// Files closed so far to open another one.
    pub evicted: u64,
    /// Times that a read had to wait for a descriptor.
    pub waits: u64,
    /// Times that the system had no descriptor left.
    pub refused: u64,
}

impl LooseFilesConfig {
    /// The default: a quarter of the descriptors that the process may have now (the soft
    /// `RLIMIT_NOFILE`), at least 8; a file that was replaced is an error.
    ///
    /// A quarter each leaves as much to sockets and other files with two workers. With more of
    /// them, say less.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open_max: budget::default_open_max(),
            follow_replaced: false,
        }
    }

    /// Sets how many files may be open; 0 is taken as 1.
    #[must_use]
    pub const fn open_max(mut self, open_max: usize) -> Self {
        self.open_max = if open_max == 0 { 1 } else { open_max };
        self
    }

    /// Sets whether a path is read on where another file, or other content, is found there when it
    /// is opened again; otherwise that is a [`StaleBlob`].
    #[must_use]
    pub const fn follow_replaced(mut self, follow: bool) -> Self {
        self.follow_replaced = follow;
        self
    }
}

impl Default for LooseFilesConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl LooseFiles {
    /// Makes an empty set.
    #[must_use]
    pub fn new(config: LooseFilesConfig) -> Self {
        Self {
            set: Rc::new(Set::new(config)),
        }
    }

    /// Gives the blob at `path`, which need not be UTF-8, nor exist before it is read. Blobs of the
    /// same path share one descriptor.
    #[must_use]
    pub fn blob(&self, path: impl Into<PathBuf>) -> LooseBlob {
        LooseBlob {
            entry: Entry::of(&self.set, path.into()),
        }
    }

    /// Says what the set has done, and does.
    #[must_use]
    pub fn stats(&self) -> LooseFilesStats {
        self.set.stats()
    }
}

/// A file of [`LooseFiles`].
///
/// Its reads may be dropped or forgotten at any time, as those of every blob. An error of opening
/// the file names its path.
#[derive(Clone)]
pub struct LooseBlob {
    entry: Rc<Entry>,
}

impl LooseBlob {
    /// Gives the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.entry.path()
    }

    /// Reads with a lease of the open file, which goes with the buffer.
    async fn read_kind<B: IoBufMut>(
        entry: Rc<Entry>,
        pos: u64,
        len: usize,
        buf: B,
        how: ReadHow,
    ) -> BufResult<usize, B> {
        let read = async move {
            let lease = match entry.lease().await {
                Ok(lease) => lease,
                Err(e) => return (Err(e), buf),
            };
            let file = lease.file();
            let read = FullRead::issued(&file, pos, len, Held::new(buf, lease), how);
            // Closing the file is up to the lease, which goes with the buffer.
            drop(file);
            let (result, held) = read.await;
            (result, held.into_inner())
        };
        driven(read).await
    }

    fn read_to<B>(&self, pos: u64, len: usize, buf: B, how: ReadHow) -> ReadInto
    where
        B: IoBufMut + Into<Destination>,
    {
        let read = Self::read_kind(Rc::clone(&self.entry), pos, len, buf, how);
        Box::pin(async move {
            let (result, buf) = read.await;
            (result, buf.into())
        })
    }
}

impl fmt::Debug for LooseBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LooseBlob")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl BlobMetadataAsync for LooseBlob {
    type ByteLengthFuture = Pin<Box<dyn Future<Output = io::Result<u64>>>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        let entry = Rc::clone(&self.entry);
        Box::pin(driven(async move {
            let lease = entry.lease().await?;
            Ok(lease.file().statx().await?.len())
        }))
    }
}

impl RandomReadBlobAsync for LooseBlob {
    type ReadFuture<'a, 'b> = BorrowedRead<Self, &'b mut [MaybeUninit<u8>]>;
    type ReadVecFuture<'a, 'b, 'bb>
        = BorrowedRead<Self, &'b mut [IoSliceMut<'bb>]>
    where
        'bb: 'b;
    type ReadOwnedFuture = Pin<Box<dyn Future<Output = OwnedRead>>>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        BorrowedRead::new(self.clone(), pos, buf)
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        BorrowedRead::new(self.clone(), pos, bufs)
    }

    fn read_owned_async(&self, pos: u64, len: usize, mut buf: Vec<u8>) -> Self::ReadOwnedFuture {
        match uninit::make_room(&mut buf, len) {
            Ok(()) => {
                let entry = Rc::clone(&self.entry);
                Box::pin(Self::read_kind(entry, pos, len, buf, ReadHow::Auto))
            }
            Err(e) => Box::pin(ready((Err(e), buf))),
        }
    }

    fn read_into_async(
        &self,
        pos: u64,
        len: usize,
        mut dest: Destination,
        how: ReadHow,
    ) -> ReadInto {
        if let Err(error) = dest.reserve(len) {
            return Box::pin(ready((Err(error), dest)));
        }
        match dest {
            Destination::Vec(buf) => self.read_to(pos, len, buf, how),
            Destination::Pool(buf) => self.read_to(pos, len, buf, how),
            Destination::Aligned(buf) => self.read_to(pos, len, buf, how),
            Destination::Region(slice) => self.read_to(pos, len, slice, how),
        }
    }
}
