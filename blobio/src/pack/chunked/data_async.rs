//! The data of an entry, as an asynchronous blob.

use std::collections::VecDeque;
use std::future::{Future, Ready, ready};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::block;
use super::data::{EntryBlob, put_into_slices, slices_len};
use super::error::{PackError, PackErrorKind};
use super::format::PageRef;
use super::pack::count;
use super::page::{Expected, Page};
use super::range::{RangeRead, RangeStep, Run, RunBlock};
#[cfg(feature = "executor")]
use crate::async_reader::{Destination, ReadInto, read_into_by_copy};
use crate::decode::{Codec, Running};
#[cfg(feature = "executor")]
use crate::traits::ReadHow;
use crate::traits::{BlobHints, BlobMetadataAsync, OwnedRead, RandomReadBlobAsync};
use crate::uninit;

/// Blocks up to this raw length are decompressed where they are read: going to another thread and
/// back takes longer.
const INLINE_LEN_MAX: usize = 4 << 10;
/// The most bytes of a straight read that pass through a vector at a time.
const STRAIGHT_LEN_MAX: usize = 1 << 20;

/// Where the bytes of an asynchronous read go, in order from the first.
pub trait EntrySink {
    /// What the read gives when it is done.
    type Output;

    /// Makes room for `len` bytes.
    ///
    /// # Errors
    ///
    /// When there is no memory for them.
    fn reserve(&mut self, len: usize) -> io::Result<()>;

    /// Puts `bytes` behind the `at` bytes that have been put.
    fn put(&mut self, at: usize, bytes: &[u8]);

    /// Gives what the read gives.
    fn finish(self, result: io::Result<usize>) -> Self::Output;
}

pin_project! {
    /// The future of a read of an [`EntryBlob`].
    #[must_use = "a read does nothing unless it is awaited"]
    pub struct EntryRead<B: RandomReadBlobAsync, D> {
        // Gone once done.
        sink: Option<D>,
        entry: EntryBlob<B>,
        way: Way,
        #[pin]
        io: Option<B::ReadOwnedFuture>,
        jobs: VecDeque<Job>,
    }
}

/// What a read is about to do, or what the running read of the pack is for.
enum Way {
    /// To make room and choose the way.
    Begin { pos: u64, len: usize },
    /// To read straight: where in the pack, how much is left, how much is done.
    Straight {
        at: u64,
        left: usize,
        done: usize,
        want: usize,
    },
    /// To read by blocks.
    Blocks { range: RangeRead, what: What },
}

enum What {
    /// To ask the range what is next, with the page that it asked for.
    Step(Option<Arc<Page>>),
    /// To check the page that is being read.
    Page(PageRef, Expected),
    /// To decompress the blocks that are being read.
    Run(Run),
}

/// A block that the pool decompresses.
struct Job {
    block: RunBlock,
    running: Running<Result<Vec<u8>, PackErrorKind>>,
}

impl<B: RandomReadBlobAsync + Clone, D: EntrySink> EntryRead<B, D> {
    fn new(entry: &EntryBlob<B>, pos: u64, len: usize, sink: D) -> Self {
        Self {
            sink: Some(sink),
            entry: entry.clone(),
            way: Way::Begin { pos, len },
            io: None,
            jobs: VecDeque::new(),
        }
    }
}

impl<B: RandomReadBlobAsync, D: EntrySink> Future for EntryRead<B, D> {
    type Output = D::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<D::Output> {
        let result = ready!(self.as_mut().advance(cx));
        let this = self.project();
        // What is still queued is of no use after an error.
        this.jobs.clear();
        let sink = this.sink.take().expect("polled after it was done");
        Poll::Ready(sink.finish(result))
    }
}

impl<B: RandomReadBlobAsync, D: EntrySink> EntryRead<B, D> {
    fn advance(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let mut this = self.as_mut().project();
            if let Some(io) = this.io.as_mut().as_pin_mut() {
                let (result, bytes) = ready!(io.poll(cx));
                this.io.set(None);
                let bytes = result.map(|got| {
                    let mut bytes = bytes;
                    bytes.truncate(got);
                    bytes
                });
                if let Some(done) = self.as_mut().take_bytes(bytes)? {
                    return Poll::Ready(Ok(done));
                }
                continue;
            }
            if let Some(job) = this.jobs.front_mut() {
                let outcome = ready!(Pin::new(&mut job.running).poll(cx));
                let outcome = outcome.map_err(PackErrorKind::Job).and_then(|raw| raw);
                let block = job.block.clone();
                this.jobs.pop_front();
                self.as_mut().put_block(&block, outcome)?;
                continue;
            }
            if let Some(done) = self.as_mut().next()? {
                return Poll::Ready(Ok(done));
            }
        }
    }

    /// Begins the next read of the pack, or gives how much has been read if there is none.
    fn next(self: Pin<&mut Self>) -> io::Result<Option<usize>> {
        let mut this = self.project();
        let blob = this.entry.blob();
        match this.way {
            Way::Begin { pos, len } => {
                let (pos, len) = (*pos, *len);
                let sink = this.sink.as_mut().expect("not done");
                *this.way = if let Some((at, left)) = this.entry.straight(pos, len) {
                    sink.reserve(left)?;
                    Way::Straight {
                        at,
                        left,
                        done: 0,
                        want: 0,
                    }
                } else {
                    let range = this.entry.range(pos, len);
                    sink.reserve(range.len())?;
                    Way::Blocks {
                        range,
                        what: What::Step(None),
                    }
                };
            }
            Way::Straight {
                at,
                left,
                done,
                want,
            } => {
                if *left == 0 {
                    return Ok(Some(*done));
                }
                *want = (*left).min(STRAIGHT_LEN_MAX);
                this.io
                    .set(Some(blob.read_owned_async(*at, *want, Vec::new())));
            }
            Way::Blocks { range, what } => {
                let page = match what {
                    What::Step(page) => page.take(),
                    What::Page(..) | What::Run(_) => None,
                };
                let shared = this.entry.shared();
                let step = range.step(&shared.directory.header, page.as_deref());
                let step = step.map_err(|kind| shared.error(kind).of_entry(this.entry.name()))?;
                let (at, len) = match step {
                    RangeStep::Done => return Ok(Some(range.len())),
                    RangeStep::Page(at, expected) => {
                        if let Some(page) = shared.known_page(at, expected) {
                            *what = What::Step(Some(page));
                            return Ok(None);
                        }
                        *what = What::Page(at, expected);
                        (at.position, at.len as usize)
                    }
                    RangeStep::Blocks(run) => {
                        let place = (run.position, run.len);
                        *what = What::Run(run);
                        place
                    }
                };
                this.io
                    .set(Some(blob.read_owned_async(at, len, Vec::new())));
            }
        }
        Ok(None)
    }

    /// Does with the bytes of a read what it was made for; gives how much has been read if the
    /// pack has no more.
    fn take_bytes(
        mut self: Pin<&mut Self>,
        bytes: io::Result<Vec<u8>>,
    ) -> io::Result<Option<usize>> {
        let this = self.as_mut().project();
        let (shared, name) = (this.entry.shared(), this.entry.name());
        match this.way {
            Way::Begin { .. } => unreachable!("nothing has been read yet"),
            Way::Straight {
                at,
                left,
                done,
                want,
            } => {
                let mut bytes = bytes?;
                // A foreign blob may give more than was asked.
                bytes.truncate(*want);
                let sink = this.sink.as_mut().expect("not done");
                sink.put(*done, &bytes);
                count(&shared.counters.straight_len, bytes.len());
                *at += bytes.len() as u64;
                *left -= bytes.len();
                *done += bytes.len();
                Ok((bytes.len() < *want).then_some(*done))
            }
            Way::Blocks { what, .. } => {
                match std::mem::replace(what, What::Step(None)) {
                    What::Step(_) => unreachable!("a read is for a page or for blocks"),
                    What::Page(at, expected) => {
                        let page = bytes
                            .map_err(|e| shared.error(e).at(at.position))
                            .and_then(|bytes| shared.new_page(bytes, at, expected));
                        let page = page.map_err(|e| e.of_entry(name))?;
                        *what = What::Step(Some(page));
                    }
                    What::Run(run) => {
                        let bytes = shared.run_bytes(&run, name, bytes)?;
                        self.begin_decoding(run, bytes)?;
                    }
                }
                Ok(None)
            }
        }
    }

    /// Decompresses blocks, or has the pool do it.
    fn begin_decoding(mut self: Pin<&mut Self>, run: Run, bytes: Vec<u8>) -> Result<(), PackError> {
        let bytes = Arc::new(bytes);
        for block in run.blocks {
            let this = self.as_mut().project();
            let pays = block.row.codec != Codec::None && block.raw_len > INLINE_LEN_MAX;
            // In order: behind a block that is under way the others are, too.
            let decoder = this.entry.decoder();
            if let Some(decoder) = decoder.filter(|_| pays || !this.jobs.is_empty()) {
                let (bytes, task) = (Arc::clone(&bytes), block.clone());
                let running = decoder.pool.run(decoder.class, move || {
                    block::decode(&task, &bytes[task.stored.clone()])
                });
                this.jobs.push_back(Job { block, running });
            } else {
                let raw = block::decode(&block, &bytes[block.stored.clone()]);
                self.as_mut().put_block(&block, raw)?;
            }
        }
        Ok(())
    }

    fn put_block(
        self: Pin<&mut Self>,
        block: &RunBlock,
        raw: Result<Vec<u8>, PackErrorKind>,
    ) -> Result<(), PackError> {
        let this = self.project();
        let shared = this.entry.shared();
        let raw = raw.map_err(|kind| shared.block_error(kind, this.entry.name(), block))?;
        shared.count_block(block);
        let sink = this.sink.as_mut().expect("not done");
        sink.put(block.to, &raw[block.wanted.clone()]);
        Ok(())
    }
}

impl EntrySink for Vec<u8> {
    type Output = OwnedRead;

    fn reserve(&mut self, len: usize) -> io::Result<()> {
        uninit::make_room(self, len)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        debug_assert_eq!(at, self.len(), "bytes come in order");
        self.extend_from_slice(bytes);
    }

    fn finish(self, result: io::Result<usize>) -> OwnedRead {
        (result, self)
    }
}

impl EntrySink for &mut [MaybeUninit<u8>] {
    type Output = io::Result<usize>;

    fn reserve(&mut self, _len: usize) -> io::Result<()> {
        Ok(())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        uninit::copy_into(&mut self[at..], bytes);
    }

    fn finish(self, result: io::Result<usize>) -> io::Result<usize> {
        result
    }
}

impl EntrySink for &mut [IoSliceMut<'_>] {
    type Output = io::Result<usize>;

    fn reserve(&mut self, _len: usize) -> io::Result<()> {
        Ok(())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        put_into_slices(self, at, bytes);
    }

    fn finish(self, result: io::Result<usize>) -> io::Result<usize> {
        result
    }
}

impl<B> BlobMetadataAsync for EntryBlob<B> {
    type ByteLengthFuture = Ready<io::Result<u64>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        ready(Ok(self.len()))
    }
}

impl<B: RandomReadBlobAsync + Clone + 'static> RandomReadBlobAsync for EntryBlob<B> {
    type ReadFuture<'a, 'b>
        = EntryRead<B, &'b mut [MaybeUninit<u8>]>
    where
        Self: 'a;
    type ReadVecFuture<'a, 'b, 'bb>
        = EntryRead<B, &'b mut [IoSliceMut<'bb>]>
    where
        Self: 'a,
        'bb: 'b;
    type ReadOwnedFuture = EntryRead<B, Vec<u8>>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        EntryRead::new(self, pos, buf.len(), buf)
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        let len = slices_len(bufs);
        EntryRead::new(self, pos, len, bufs)
    }

    fn read_owned_async(&self, pos: u64, len: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture {
        EntryRead::new(self, pos, len, buf)
    }

    fn hints(&self) -> BlobHints {
        let below = self.blob().hints();
        if let Some((at, _)) = self.straight(0, 0) {
            return below.of_range(at);
        }
        // A block is read and decompressed once for all that is wanted of it.
        let mut hints = BlobHints::new();
        hints.merge_pays = true;
        hints.device = below.device;
        hints
    }

    #[cfg(feature = "executor")]
    fn read_into_async(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> ReadInto {
        if let Some((at, len)) = self.straight(pos, len) {
            count(&self.shared().counters.straight_len, len);
            return self.blob().read_into_async(at, len, dest, how);
        }
        read_into_by_copy(dest, len, |vec| self.read_owned_async(pos, len, vec))
    }
}

impl<B: RandomReadBlobAsync, D> std::fmt::Debug for EntryRead<B, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryRead")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}
