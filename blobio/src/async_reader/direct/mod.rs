//! The reader of files past the page cache.

use std::future::{Future, ready};
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use corelane::buf::{AlignedBuf, BufResult, IoBufMut};
use corelane::fs::{File, Metadata, OpenOptions, ReadMode};

use super::borrowed::BorrowedRead;
use super::destination::{Destination, ReadInto};
use super::device::{self, Local};
use super::driven::driven;
use super::full::FullRead;
use super::part::{DirectPart, Part};
use crate::traits::{
    BlobHints, BlobMetadataAsync, DeviceId, OwnedRead, RandomReadBlobAsync, ReadHow,
};
use crate::uninit;

mod steps;

use steps::{Alignment, Left, Step};

/// A file as a blob, read past the page cache (`O_DIRECT`) by the ring of the worker that opened
/// it.
///
/// For content that is read once, or kept by the application: it neither fills the page cache nor
/// is copied out of it. Reads of any position and length are served. What is aligned in file and
/// memory, as [`alignment`](Self::alignment) says, goes straight into the destination; what is not
/// goes through an aligned buffer of the worker's pool.
///
/// Where the file system has no direct I/O, or does not say what alignment it needs, the file is
/// read through the page cache: [`is_direct`](Self::is_direct) tells.
///
/// All direct reads of the process together keep below what the block device's queue takes; one
/// too many waits in order ([`device_stats`](super::device_stats)).
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// use blobio::{DirectFileAsyncBlobRandomReader, RandomReadBlobAsync};
///
/// let reader = DirectFileAsyncBlobRandomReader::open("/proc/self/exe").await?;
/// let (got, magic) = reader.read_owned_async(1, 3, Vec::new()).await;
/// assert_eq!((got?, magic.as_slice()), (3, &b"ELF"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DirectFileAsyncBlobRandomReader {
    file: File,
    /// `None`: through the page cache.
    direct: Option<Direct>,
}

#[derive(Clone, Debug)]
struct Direct {
    align: Alignment,
    device: DeviceId,
    local: Rc<Local>,
}

impl DirectFileAsyncBlobRandomReader {
    /// Opens the file at `path` without blocking.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for reading.
    ///
    /// # Panics
    ///
    /// The future panics when it is polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the operation; a file that was opened all the same is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        match options.read(true).direct(true).open(path).await {
            Ok(file) => {
                if let Some(direct) = Direct::of(&file.statx().await?) {
                    let direct = Some(direct);
                    return Ok(Self { file, direct });
                }
            }
            // The file system has no direct I/O (open(2)).
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
            Err(e) => return Err(e),
        }
        Ok(Self {
            file: File::open(path).await?,
            direct: None,
        })
    }

    /// Says whether reads go past the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Gives what reads without a copy have to be multiples of, in bytes: addresses of memory, and
    /// positions and lengths. `None` where the file is read through the page cache.
    #[must_use]
    pub fn alignment(&self) -> Option<(usize, usize)> {
        let direct = self.direct.as_ref();
        direct.map(|direct| (direct.align.memory, direct.align.offset))
    }

    /// Gives the file below; reads of it have to keep to the alignment.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads at `pos` into `buf`, from its start to its capacity, and gives it back with the
    /// count: fewer bytes only at the end of the file.
    ///
    /// # Errors
    ///
    /// The count is an error when reading fails; the buffer may then have been written.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped or forgotten at any time. The buffer goes with it, and is dropped
    /// once the kernel is done with it.
    pub async fn read_at<B: IoBufMut>(&self, buf: B, pos: u64) -> BufResult<usize, B> {
        let len = buf.capacity();
        let read = Read::new(self, pos, len, ReadHow::Auto);
        driven(read.run(buf, Overrun::No)).await
    }
}

impl Direct {
    fn of(metadata: &Metadata) -> Option<Self> {
        let (memory, offset) = metadata.dio_align()?;
        let align = Alignment {
            memory: usize::try_from(memory).ok()?,
            offset: usize::try_from(offset).ok()?,
        };
        let usable = align.memory.is_power_of_two()
            && align.offset.is_power_of_two()
            && align.memory.max(align.offset) <= steps::DIRECT_LEN_MAX;
        let (major, minor) = metadata.dev();
        let device = DeviceId { major, minor };
        usable.then(|| Self {
            align,
            device,
            local: device::local(device),
        })
    }
}

/// Whether bytes behind those asked for may be written, as far as the buffer reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overrun {
    Yes,
    No,
}

/// One read, which owns what it needs.
struct Read {
    reader: DirectFileAsyncBlobRandomReader,
    pos: u64,
    len: usize,
    how: ReadHow,
}

impl Read {
    fn new(reader: &DirectFileAsyncBlobRandomReader, pos: u64, len: usize, how: ReadHow) -> Self {
        let reader = reader.clone();
        Self {
            reader,
            pos,
            len,
            how,
        }
    }

    async fn run<B: IoBufMut>(self, buf: B, overrun: Overrun) -> BufResult<usize, B> {
        let Some(direct) = &self.reader.direct else {
            return FullRead::issued(&self.reader.file, self.pos, self.len, buf, self.how).await;
        };
        // The kernel has no number for positions beyond, and none for what lies behind a read.
        let last = i64::MAX.cast_unsigned() - direct.align.offset as u64;
        let part = Part::new(buf, uninit::clamp(self.len, last.saturating_sub(self.pos)));
        if part.is_full() {
            return (Ok(0), part.into_emptied());
        }
        let (result, part) = self.fill(direct, part, overrun).await;
        (result.map(|()| part.filled()), part.into_inner())
    }

    async fn fill<B: IoBufMut>(
        &self,
        direct: &Direct,
        mut part: Part<B>,
        overrun: Overrun,
    ) -> BufResult<(), Part<B>> {
        while !part.is_full() {
            let pos = self.pos + part.filled() as u64;
            let room = match overrun {
                Overrun::Yes => part.room(),
                Overrun::No => part.left(),
            };
            let left = Left {
                pos,
                len: part.left(),
                addr: part.addr(),
                room,
            };
            let (wanted, result) = match steps::next(direct.align, left) {
                Step::Direct { len } => {
                    let result;
                    (result, part) = self.read(direct, part, pos, len).await;
                    (len, result)
                }
                Step::Bounce {
                    start,
                    span,
                    skip,
                    take,
                } => {
                    let bounce = Part::new(bounce_buffer(direct.align, span), span);
                    let (result, bounce) = self.read(direct, bounce, start, span).await;
                    if let Ok(got) = result {
                        let (bytes, end) = (bounce.into_inner(), got.min(skip + take));
                        part.put(&bytes.bytes()[skip.min(end)..end]);
                    }
                    (span, result)
                }
            };
            match result {
                Ok(got) if is_end(got, wanted, direct.align) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (Err(e), part),
            }
        }
        (Ok(()), part)
    }

    /// Reads `len` bytes, of which `part` claims no more than it is asked to hold.
    async fn read<B: IoBufMut>(
        &self,
        direct: &Direct,
        part: Part<B>,
        pos: u64,
        len: usize,
    ) -> BufResult<usize, Part<B>> {
        let permit = direct.local.acquire(len).await;
        // Nothing is cached, so there is nothing that would be served without waiting.
        let mode = match self.how {
            ReadHow::Auto | ReadHow::Inline | ReadHow::NoWait => ReadMode::Inline,
            ReadHow::Async => ReadMode::Async,
        };
        let buf = DirectPart::new(part, len, permit);
        let (result, buf) = self.reader.file.read_at_with(buf, pos, mode).await;
        (result, buf.into_part())
    }
}

/// Says whether a read found the end of the file: it is the only place where a count may be off the
/// alignment, and it may be on it.
fn is_end(got: usize, wanted: usize, align: Alignment) -> bool {
    got == 0 || (got < wanted && !got.is_multiple_of(align.offset))
}

/// Gives an aligned buffer of at least `len` bytes: the pool's, where it has one that fits.
fn bounce_buffer(align: Alignment, len: usize) -> Destination {
    /// What the pool's buffers are aligned to.
    const PAGE_LEN: usize = 4096;
    let pool = corelane::pool().ok();
    let pooled = pool
        .filter(|pool| pool.buffer_len() >= len && align.memory <= PAGE_LEN)
        .and_then(|pool| pool.try_get());
    match pooled {
        Some(buf) => buf.into(),
        None => AlignedBuf::new(len, align.memory).into(),
    }
}

impl BlobMetadataAsync for DirectFileAsyncBlobRandomReader {
    type ByteLengthFuture = Pin<Box<dyn Future<Output = io::Result<u64>>>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        let file = self.file.clone();
        Box::pin(async move { Ok(file.statx().await?.len()) })
    }
}

impl RandomReadBlobAsync for DirectFileAsyncBlobRandomReader {
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
                let read = Read::new(self, pos, len, ReadHow::Auto);
                Box::pin(driven(read.run(buf, Overrun::Yes)))
            }
            Err(e) => Box::pin(ready((Err(e), buf))),
        }
    }

    fn hints(&self) -> BlobHints {
        match &self.direct {
            Some(direct) => BlobHints {
                merge_pays: true,
                align: u32::try_from(direct.align.offset).unwrap_or(1),
                device: Some(direct.device),
                ..BlobHints::new()
            },
            None => BlobHints::new(),
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
        // Memory that the caller owns is written only as far as was asked for.
        let overrun = match dest {
            Destination::Region(_) => Overrun::No,
            _ => Overrun::Yes,
        };
        Box::pin(driven(Read::new(self, pos, len, how).run(dest, overrun)))
    }
}
