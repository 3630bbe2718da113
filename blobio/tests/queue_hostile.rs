//! A queue over blobs and allocators of others that lie, swap, keep and lose what they are given,
//! all of it safe code: every request ends, memory outside of a destination is never written, and
//! honest requests get their bytes meanwhile.
#![cfg(feature = "executor")]

mod util;

use std::cell::RefCell;
use std::future::{Future, Ready, ready};
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Duration;

use blobio::queue::{BlobQueue, Class, OnError, QueueConfig, ReadError, Request};
use blobio::{
    BlobHints, BlobMetadataAsync, Destination, OwnedRead, RandomReadBlobAsync, ReadHow, ReadInto,
    Region,
};
use corelane::buf::AlignedBuf;
use corelane::{Config, Worker};

use util::content;
use util::queue_blobs::Scripted;

const LEN: usize = 40_000;
const PIECE_LEN: usize = 8192;

/// What a blob does with a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Says that all was read, and writes nothing.
    WritesNothing,
    /// Says that more was read than fits.
    Boasts,
    /// Writes behind the end of what was asked for.
    Overruns,
    /// Forgets what was there before, and grows what can grow.
    Reserves,
    /// Gives back a vector of three bytes.
    GivesAnother,
    /// Gives back a vector of its own with all that was asked for.
    GivesItsOwn,
    /// Gives back what it was given for another read.
    Swaps,
    /// Never gives it back.
    Keeps,
    /// Reads nothing, but fails.
    Fails,
    /// Reads once, and then fails and gives back an empty vector.
    FailsLater,
}

const LIES: [Lie; 10] = [
    Lie::WritesNothing,
    Lie::Boasts,
    Lie::Overruns,
    Lie::Reserves,
    Lie::GivesAnother,
    Lie::GivesItsOwn,
    Lie::Swaps,
    Lie::Keeps,
    Lie::Fails,
    Lie::FailsLater,
];

#[derive(Clone)]
struct Liar {
    lie: Lie,
    hints: BlobHints,
    /// Its reads are not ready at once.
    waits: bool,
    kept: Rc<RefCell<Vec<Destination>>>,
}

impl BlobMetadataAsync for Liar {
    type ByteLengthFuture = Ready<io::Result<u64>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        ready(Ok(u64::MAX))
    }
}

impl RandomReadBlobAsync for Liar {
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
        ready(Ok(usize::MAX))
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        _pos: u64,
        _bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        ready(Ok(usize::MAX))
    }

    fn read_owned_async(&self, _: u64, _: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture {
        Box::pin(ready((Ok(usize::MAX), buf)))
    }

    fn hints(&self) -> BlobHints {
        self.hints
    }

    fn read_into_async(&self, _: u64, len: usize, dest: Destination, _: ReadHow) -> ReadInto {
        let blob = self.clone();
        Box::pin(async move {
            if blob.waits {
                corelane::yield_now().await;
            }
            blob.lie(dest, len)
        })
    }
}

impl Liar {
    /// One whose long reads are of pieces.
    fn new(lie: Lie, merge_pays: bool, waits: bool, kept: Rc<RefCell<Vec<Destination>>>) -> Self {
        Self {
            lie,
            hints: hints(merge_pays, 1, u32::try_from(PIECE_LEN).unwrap()),
            waits,
            kept,
        }
    }

    fn lie(&self, mut dest: Destination, len: usize) -> (io::Result<usize>, Destination) {
        match self.lie {
            Lie::WritesNothing => {}
            Lie::Boasts => return (Ok(usize::MAX), dest),
            Lie::Overruns => {
                let room = dest.capacity();
                dest.copy_at(0, &vec![1; room]);
                dest.copy_at(room, &[]);
                dest.copy_at(room, &[1]);
            }
            Lie::Reserves => {
                let _ = dest.reserve(0);
                let _ = dest.reserve(len * 2);
                dest.truncate(0);
                let room = dest.capacity();
                dest.copy_at(room / 2, &vec![2; room - room / 2]);
                dest.truncate(1);
            }
            Lie::GivesAnother => dest = Destination::Vec(vec![3; 3]),
            Lie::GivesItsOwn => dest = Destination::Vec(vec![5; len]),
            Lie::Swaps => {
                let before = self.kept.borrow_mut().pop();
                self.kept.borrow_mut().push(dest);
                dest = before.unwrap_or(Destination::Vec(Vec::new()));
            }
            Lie::Keeps => {
                self.kept.borrow_mut().push(dest);
                dest = Destination::Vec(Vec::new());
            }
            Lie::FailsLater if self.kept.borrow().is_empty() => {
                self.kept.borrow_mut().push(Vec::new().into());
                if dest.reserve(len).is_ok() {
                    dest.copy_at(0, &vec![6; len]);
                }
            }
            Lie::FailsLater => return (Err(io::Error::other("late")), Vec::new().into()),
            Lie::Fails => return (Err(io::Error::other("a lie")), dest),
        }
        (Ok(len), dest)
    }
}

/// Memory for regions, with a canary before and behind each, that is looked at in the end.
#[allow(unsafe_code, reason = "a region vouches for memory")]
mod guarded {
    use super::*;

    pub(super) struct Memory {
        start: NonNull<u8>,
        len: usize,
    }

    pub(super) const GAP: usize = 64;

    impl Memory {
        pub(super) fn new(len: usize) -> (Self, Region) {
            let all: &'static mut [u8] = Box::leak(vec![0xa5; len + 2 * GAP].into_boxed_slice());
            let start = NonNull::from(all).cast::<u8>();
            // SAFETY: inside of the allocation.
            let inner = unsafe { start.add(GAP) };
            // SAFETY: the memory is leaked, as long as said, and read only when the slices are gone.
            let region = unsafe { Region::new(inner, len, ()) };
            (Self { start, len }, region)
        }

        /// To be called when the region's slices are gone.
        pub(super) fn check(&self) {
            // SAFETY: the memory is leaked, and nobody writes it any more.
            let all =
                unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len + 2 * GAP) };
            let canary = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xa5);
            assert!(canary(&all[..GAP]) && canary(&all[GAP + self.len..]));
        }
    }
}

/// Every kind of destination, for `LEN` bytes.
async fn destinations(region: Region) -> Vec<Destination> {
    vec![
        Vec::new().into(),
        AlignedBuf::new(LEN, 4096).into(),
        corelane::pool().unwrap().get().await.into(),
        region.into_slice().into(),
    ]
}

fn hints(merge_pays: bool, align: u32, read_max: u32) -> BlobHints {
    let mut hints = BlobHints::new();
    hints.merge_pays = merge_pays;
    hints.align = align;
    hints.read_max = read_max;
    hints
}

fn try_lie(lie: Lie, merge_pays: bool) {
    let worker = Worker::new(Config::default()).unwrap();
    let (memory, region) = guarded::Memory::new(LEN);
    let kept = Rc::new(RefCell::new(Vec::new()));
    let content = content(10_000);
    worker.block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let honest = queue.register(Scripted::new(content.clone()));
        let liar = queue.register(Liar::new(lie, merge_pays, true, Rc::clone(&kept)));
        let mut requests: Vec<_> = destinations(region)
            .await
            .into_iter()
            .map(|dest| {
                let len = LEN.min(dest.capacity().max(PIECE_LEN * 2));
                Request::new(&liar, 0, len, dest)
            })
            .collect();
        // Neighbours that may share a read, in memory that is made late and is not what was asked.
        for at in 0..4 {
            requests.push(Request::vec(&liar, at * 100, 150));
            let short = move |len: usize| Ok(Vec::with_capacity(len / 2).into());
            requests.push(Request::allocated(&liar, at * 100 + 50, 150, short));
        }
        let lies = queue
            .submit_batch(requests, OnError::Continue)
            .await
            .unwrap();
        let truth = queue.read(Request::vec(&honest, 5, 1000));
        let both = async {
            let truth = truth.await;
            (lies.await, truth)
        };
        let (lies, truth) = corelane::time::timeout(Duration::from_secs(30), both)
            .await
            .unwrap_or_else(|_| panic!("{lie:?}: the queue hangs"));
        assert_eq!(truth.bytes(), &content[5..1005], "{lie:?}");
        for done in &lies.results {
            if let Ok(got) = done.result {
                assert!(got <= LEN, "{lie:?}: {got}");
            }
            assert!(done.bytes().len() <= LEN.max(PIECE_LEN * 2), "{lie:?}");
        }
        let again = queue.read(Request::vec(&honest, 77, 10)).await;
        assert_eq!(again.bytes(), &content[77..87], "{lie:?}");
    });
    // What was kept outlives the queue and its worker.
    drop(worker);
    for dest in kept.borrow_mut().iter_mut() {
        let room = dest.capacity();
        dest.copy_at(0, &vec![4; room]);
        assert!(dest.bytes().len() <= room.max(3));
    }
    kept.borrow_mut().clear();
    memory.check();
}

#[test]
fn whatever_a_blob_says_of_its_reads_nothing_outside_of_a_destination_is_written() {
    for lie in LIES {
        for merge_pays in [false, true] {
            println!("{lie:?}, merged: {merge_pays}");
            try_lie(lie, merge_pays);
        }
    }
}

/// Each piece of a long request goes behind what the pieces before it were said to have brought.
#[test]
fn a_long_read_of_a_blob_that_lies_about_its_pieces_ends() {
    for lie in LIES {
        for (waits, merge_pays) in [(false, false), (true, false), (false, true), (true, true)] {
            let worker = Worker::new(Config::default()).unwrap();
            let content = content(10_000);
            worker.block_on(async {
                let queue = BlobQueue::new(QueueConfig::default()).unwrap();
                let honest = queue.register(Scripted::new(content.clone()));
                let liar = queue.register(Liar::new(lie, merge_pays, waits, Rc::default()));
                let own = queue.read(Request::vec(&liar, 0, LEN));
                let aligned = queue.read(Request::new(&liar, 7, LEN, AlignedBuf::new(LEN, 4096)));
                let both = async { [own.await, aligned.await] };
                let done = corelane::time::timeout(Duration::from_secs(30), both).await;
                let done = done.unwrap_or_else(|_| panic!("{lie:?}, {waits}: the queue hangs"));
                for done in done {
                    if let Ok(got) = done.result {
                        assert!(got <= done.bytes().len(), "{lie:?}, {waits}: {got}");
                    }
                }
                let truth = queue.read(Request::vec(&honest, 77, 10)).await;
                assert_eq!(truth.bytes(), &content[77..87], "{lie:?}, {waits}");
            });
        }
    }
}

#[test]
fn senseless_hints_are_made_sense_of() {
    for (align, read_max) in [(0, 0), (3, 1), (u32::MAX, u32::MAX), (1 << 31, 7)] {
        let worker = Worker::new(Config::default()).unwrap();
        worker.block_on(async {
            let queue = BlobQueue::new(QueueConfig::default()).unwrap();
            let liar = Liar {
                lie: Lie::Fails,
                hints: hints(true, align, read_max),
                waits: true,
                kept: Rc::default(),
            };
            let blob = queue.register(liar);
            let requests = vec![
                Request::vec(&blob, 0, 100),
                Request::vec(&blob, 90, 100),
                Request::vec(&blob, u64::MAX - 10, 100),
            ];
            let batch = queue
                .submit_batch(requests, OnError::Continue)
                .await
                .unwrap();
            let done = corelane::time::timeout(Duration::from_secs(30), batch).await;
            let done = done.unwrap_or_else(|_| panic!("align {align}, {read_max}: hangs"));
            assert!(done.results.iter().all(|done| done.result.is_err()));
        });
    }
}

/// The second piece of the long one is read for the short one as well, and is to be read again.
#[test]
fn a_shared_read_that_fails_and_loses_the_pieces_before_it_fails_alone() {
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 1;
        let queue = BlobQueue::new(config).unwrap();
        let honest = queue.register(Scripted::new(content(1000)));
        let liar = Liar::new(Lie::FailsLater, true, true, Rc::default());
        let liar = queue.register(liar);
        let pos = PIECE_LEN as u64;
        let long = Request::vec(&liar, 0, PIECE_LEN * 2);
        let short = Request::vec(&liar, pos + 10, 100).class(Class::Low);
        let batch = queue.submit_batch(vec![long, short], OnError::Continue);
        let done = corelane::time::timeout(Duration::from_secs(10), batch.await.unwrap()).await;
        let done = done.expect("the queue hangs");
        assert!(queue.stats().parted > 0);
        for done in done.results {
            let error = done.result.unwrap_err();
            assert!(matches!(error, ReadError::Io(_)), "{error:?}");
        }
        let truth = queue.read(Request::vec(&honest, 77, 10)).await;
        assert_eq!(truth.bytes(), &content(1000)[77..87]);
    });
}

/// The queue's own memory for shared reads has held the bytes of others.
#[test]
fn a_shared_read_that_fills_nothing_gives_nobody_what_another_one_brought() {
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let honest = queue.register(Scripted::new(vec![9; 4000]).merging());
        let liar = Liar::new(Lie::WritesNothing, true, true, Rc::default());
        let liar = queue.register(liar);
        for blob in [&honest, &liar] {
            let requests = (0..4).map(|at| Request::vec(blob, at * 1000, 1000));
            let batch = queue.submit_batch(requests.collect(), OnError::Continue);
            let done = batch.await.unwrap().await;
            for done in done.results {
                match done.result {
                    Ok(_) => assert_eq!(done.bytes(), [9; 1000]),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData),
                }
                let honest = std::ptr::eq(blob, &raw const honest);
                assert_eq!(
                    done.destination
                        .is_some_and(|dest| dest.bytes().len() == 1000),
                    honest
                );
            }
        }
        assert!(queue.stats().merged > 4);
    });
}
