//! A blob in memory that waits, fails and panics as it is told, and keeps a log.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, Ready, poll_fn, ready};
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use blobio::{
    BlobHints, BlobMetadataAsync, Destination, OwnedRead, RandomReadBlobAsync, ReadHow, ReadInto,
};

/// What a read does besides reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Read,
    Panic,
}

#[derive(Clone)]
pub(crate) struct Scripted {
    content: Rc<Vec<u8>>,
    hints: BlobHints,
    gate: Gate,
    log: Log,
    bad_byte: Option<u64>,
    error: fn(io::ErrorKind) -> io::Error,
    step: Step,
    cold: Rc<Cell<bool>>,
    keeps: Option<Rc<dyn Any>>,
}

/// Holds reads back until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    state: Rc<GateState>,
}

#[derive(Default)]
struct GateState {
    closed: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// The reads that were begun: positions and lengths.
#[derive(Clone, Default)]
pub(crate) struct Log {
    reads: Rc<RefCell<Vec<(u64, usize)>>>,
}

impl Log {
    pub(crate) fn positions(&self) -> Vec<u64> {
        self.reads.borrow().iter().map(|(pos, _)| *pos).collect()
    }

    pub(crate) fn reads(&self) -> Vec<(u64, usize)> {
        self.reads.borrow().clone()
    }
}

impl Gate {
    pub(crate) fn open(&self) {
        self.state.closed.set(false);
        let waiting = std::mem::take(&mut *self.state.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            if self.state.closed.get() {
                self.state.waiting.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Scripted {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self {
            content: Rc::new(content),
            hints: BlobHints::new(),
            gate: Gate::default(),
            log: Log::default(),
            bad_byte: None,
            error: |kind| io::Error::new(kind, "bad byte"),
            step: Step::Read,
            cold: Rc::default(),
            keeps: None,
        }
    }

    /// Gives what says that nothing is cached: reads that may not wait are refused.
    pub(crate) fn cold(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.cold)
    }

    /// Says that merging pays.
    pub(crate) fn merging(mut self) -> Self {
        self.hints.merge_pays = true;
        self
    }

    pub(crate) fn read_max(mut self, read_max: u32) -> Self {
        self.hints.read_max = read_max;
        self
    }

    /// Fails reads of the byte at `pos`.
    pub(crate) fn bad_byte(mut self, pos: u64) -> Self {
        self.bad_byte = Some(pos);
        self
    }

    /// Makes the errors of reads that fail or are refused.
    pub(crate) fn error(mut self, error: fn(io::ErrorKind) -> io::Error) -> Self {
        self.error = error;
        self
    }

    /// Drops `kept` when the blob is dropped.
    pub(crate) fn keeping(mut self, kept: impl Any) -> Self {
        self.keeps = Some(Rc::new(kept));
        self
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        self.step = step;
        self
    }

    /// Closes the gate and gives it.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.state.closed.set(true);
        self.gate.clone()
    }

    /// Gives what is shared with every copy of the blob.
    pub(crate) fn witness(&self) -> Rc<Vec<u8>> {
        Rc::clone(&self.content)
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }
}

impl BlobMetadataAsync for Scripted {
    type ByteLengthFuture = Ready<io::Result<u64>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        ready(Ok(self.content.len() as u64))
    }
}

impl RandomReadBlobAsync for Scripted {
    type ReadFuture<'a, 'b> = Ready<io::Result<usize>>;
    type ReadVecFuture<'a, 'b, 'bb>
        = Ready<io::Result<usize>>
    where
        'bb: 'b;
    type ReadOwnedFuture = Pin<Box<dyn Future<Output = OwnedRead>>>;

    fn read_async<'a, 'b>(
        &'a self,
        _pos: u64,
        _buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        unreachable!("a queue reads into destinations")
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        _pos: u64,
        _bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        unreachable!("a queue reads into destinations")
    }

    fn read_owned_async(&self, _: u64, _: usize, _: Vec<u8>) -> Self::ReadOwnedFuture {
        unreachable!("a queue reads into destinations")
    }

    fn hints(&self) -> BlobHints {
        self.hints
    }

    fn read_into_async(
        &self,
        pos: u64,
        len: usize,
        mut dest: Destination,
        how: ReadHow,
    ) -> ReadInto {
        assert!(self.step != Step::Panic, "told to panic");
        if how == ReadHow::NoWait && self.cold.get() {
            let refused = (self.error)(io::ErrorKind::WouldBlock);
            return Box::pin(async move { (Err(refused), dest) });
        }
        self.log.reads.borrow_mut().push((pos, len));
        let blob = self.clone();
        Box::pin(async move {
            blob.gate.pass().await;
            if let Err(error) = dest.reserve(len) {
                return (Err(error), dest);
            }
            let content = blob.content.as_slice();
            let start = usize::try_from(pos).map_or(content.len(), |pos| pos.min(content.len()));
            let end = start.saturating_add(len).min(content.len());
            if blob
                .bad_byte
                .is_some_and(|bad| (start as u64..end as u64).contains(&bad))
            {
                return (Err((blob.error)(io::ErrorKind::Other)), dest);
            }
            dest.copy_at(0, &content[start..end]);
            (Ok(end - start), dest)
        })
    }
}

/// Runs a test on a worker of its own.
pub(crate) fn on_worker<T>(future: impl Future<Output = T>) -> T {
    corelane::Worker::new(corelane::Config::default())
        .unwrap()
        .block_on(future)
}

/// Lets the queue do what it can without a read that ends.
pub(crate) async fn turns() {
    for _ in 0..8 {
        corelane::yield_now().await;
    }
}
