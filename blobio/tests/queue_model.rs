//! Random scripts of everything that can be done to a queue, on the simulated ring and the real
//! one: every destination byte is compared with a plain read, and no memory is written once it
//! is back.
//!
//! `BLOBIO_QUEUE_SEEDS` is the number of seeds for each ring, `BLOBIO_QUEUE_FIRST` the first.
#![cfg(feature = "executor")]

mod util;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use blobio::queue::{
    BatchDone, BatchHandle, BlobQueue, Class, Finished, OnError, QueueConfig, QueuedBlob,
    ReadError, Request, RequestHandle,
};
use blobio::{BlobHints, Destination, NativeFileAsyncBlobRandomReader};
use corelane::buf::AlignedBuf;
use corelane::{BackendChoice, Config, SimConfig, Worker};

use util::hinting::Hinting;
use util::{file_of, pattern_at};

/// The length of the file; the simulated ring has bytes at any position.
const LEN: u64 = 256 << 10;
const STEPS: usize = 60;
/// What destinations hold when they are handed over.
const MARK: u8 = 0x5a;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What is known of one run.
struct World {
    rng: Rng,
    /// The bytes of the files, and where they end.
    byte_at: fn(u64) -> u8,
    len: u64,
    errors: bool,
    /// Whether something was told to end early, so that results may be errors.
    shut: bool,
    singles: Vec<(Ask, RequestHandle)>,
    batches: Vec<(Vec<Ask>, BatchHandle)>,
    /// Memory that has come back: it must stay as it is.
    back: Vec<(Destination, u64)>,
    done: usize,
    /// Shared with every allocator.
    allocated: Rc<Cell<usize>>,
}

/// A request as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Ask {
    pos: u64,
    len: usize,
    tag: u64,
    exact: bool,
    /// It may have been cancelled.
    cancelled: bool,
}

impl World {
    fn ask(&mut self) -> Ask {
        let len = match self.rng.below(10) {
            0 => 0,
            1..6 => self.rng.below(600),
            6..9 => self.rng.below(9_000),
            _ => self.rng.below(70_000),
        };
        // Few places, so that many overlap; now and then the end.
        let pos = match self.rng.below(12) {
            0 => self.len - self.rng.below(5_000).min(self.len),
            1 => self.len + self.rng.below(10),
            _ => self.rng.below(40) * 1_000 + self.rng.below(300),
        };
        Ask {
            pos,
            len: usize::try_from(len).unwrap(),
            tag: self.rng.below(8),
            exact: self.rng.one_in(10),
            cancelled: false,
        }
    }

    fn request(&mut self, blobs: &[QueuedBlob], ask: Ask) -> Request {
        let which = usize::try_from(self.rng.below(blobs.len() as u64)).unwrap();
        let blob = &blobs[which];
        let Ask { pos, len, .. } = ask;
        let mut request = match self.rng.below(4) {
            0 => {
                let mut buf = AlignedBuf::new(len.max(1) + 64, 64);
                buf.fill_from(&vec![MARK; len + 64]);
                Request::new(blob, pos, len, buf)
            }
            1 => {
                let allocated = Rc::clone(&self.allocated);
                allocated.set(allocated.get() + 1);
                Request::allocated(blob, pos, len, move |len| {
                    allocated.set(allocated.get() - 1);
                    Ok(Vec::with_capacity(len).into())
                })
            }
            2 => Request::new(blob, pos, len, vec![MARK; 16]),
            _ => Request::vec(blob, pos, len),
        };
        request = request.tag(ask.tag).class(self.class());
        if ask.exact {
            request = request.exact();
        }
        if self.rng.one_in(4) {
            let soon = Duration::from_micros(self.rng.below(3_000));
            request = request.deadline(Instant::now() + soon);
        }
        request
    }

    fn class(&mut self) -> Class {
        Class::ALL[usize::try_from(self.rng.below(4)).unwrap()]
    }

    /// Holds a result to what a plain read gives.
    fn check(&mut self, ask: Ask, finished: Finished) {
        let there = self.len.saturating_sub(ask.pos).min(ask.len as u64);
        let there = usize::try_from(there).unwrap();
        match &finished.result {
            Ok(got) => {
                assert_eq!(*got, there, "{ask:?}");
                assert!(!ask.exact || there == ask.len, "{ask:?}");
                let bytes = finished.bytes();
                assert_eq!(bytes.len(), there, "{ask:?}");
                let wrong = (ask.pos..).zip(bytes);
                let wrong = wrong.filter(|(at, byte)| (self.byte_at)(*at) != **byte);
                assert_eq!(wrong.count(), 0, "{ask:?}");
            }
            Err(ReadError::Cancelled) => assert!(ask.cancelled, "{ask:?}"),
            Err(ReadError::ShutDown) => assert!(self.shut, "{ask:?}"),
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                assert!(ask.exact && there < ask.len, "{ask:?}");
            }
            Err(error) => assert!(self.errors, "{ask:?}: {error}"),
        }
        self.done += 1;
        if let Some(destination) = finished.destination {
            let sum = sum(&destination);
            self.back.push((destination, sum));
        }
    }

    fn check_batch(&mut self, asks: &[Ask], done: BatchDone) {
        assert_eq!(asks.len(), done.results.len());
        let failed = done.results.iter().any(|one| one.result.is_err());
        assert_eq!(failed, done.first_error.is_some());
        for (ask, finished) in asks.iter().zip(done.results) {
            self.check(*ask, finished);
        }
    }

    /// Polls what is under way once.
    fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut index = 0;
        while index < self.singles.len() {
            match Pin::new(&mut self.singles[index].1).poll(&mut cx) {
                Poll::Ready(finished) => {
                    let (ask, _) = self.singles.swap_remove(index);
                    self.check(ask, finished);
                }
                Poll::Pending => index += 1,
            }
        }
        let mut index = 0;
        while index < self.batches.len() {
            match Pin::new(&mut self.batches[index].1).poll(&mut cx) {
                Poll::Ready(done) => {
                    let (asks, _) = self.batches.swap_remove(index);
                    self.check_batch(&asks, done);
                }
                Poll::Pending => index += 1,
            }
        }
    }

    fn pick(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| usize::try_from(self.rng.below(count as u64)).unwrap())
    }

    /// Does one random thing.
    fn step(&mut self, queue: &BlobQueue, blobs: &[QueuedBlob]) {
        match self.rng.below(20) {
            0..8 => {
                let ask = self.ask();
                let request = self.request(blobs, ask);
                if let Ok(handle) = queue.try_submit(request) {
                    self.singles.push((ask, handle));
                }
            }
            8..10 => self.submit_batch(queue, blobs),
            10..12 => {
                if let Some(index) = self.pick(self.singles.len()) {
                    self.singles[index].0.cancelled = true;
                    self.singles[index].1.cancel();
                }
            }
            12 => {
                if let Some(index) = self.pick(self.batches.len()) {
                    mark(&mut self.batches[index].0, |_| true);
                    self.batches[index].1.cancel();
                }
            }
            13 => {
                let (mask, value) = (self.rng.below(8), self.rng.below(8));
                let hit = |ask: &Ask| ask.tag & mask == value & mask;
                for (asks, _) in &mut self.batches {
                    mark(asks, hit);
                }
                for (ask, _) in &mut self.singles {
                    ask.cancelled |= hit(ask);
                }
                queue.cancel_tagged(mask, value);
            }
            14..16 => {
                let (class, soon) = (self.class(), self.rng.one_in(2));
                if let Some(index) = self.pick(self.singles.len()) {
                    self.singles[index].1.set_class(class);
                    let deadline = soon.then(Instant::now);
                    self.singles[index].1.set_deadline(deadline);
                }
            }
            16 => {
                // Dropping cancels; the memory goes when nothing writes it.
                if let Some(index) = self.pick(self.singles.len()) {
                    let (_, handle) = self.singles.swap_remove(index);
                    match self.rng.one_in(2) {
                        true => handle.detach(),
                        false => drop(handle),
                    }
                }
            }
            17 => {
                if let Some(index) = self.pick(self.batches.len()) {
                    drop(self.batches.swap_remove(index));
                }
            }
            _ => self.poll(),
        }
    }

    fn submit_batch(&mut self, queue: &BlobQueue, blobs: &[QueuedBlob]) {
        let count = self.rng.below(40);
        let mut asks: Vec<Ask> = (0..count).map(|_| self.ask()).collect();
        let requests = asks.iter().map(|ask| self.request(blobs, *ask)).collect();
        let on_error = match self.rng.one_in(3) {
            true => OnError::Cancel,
            false => OnError::Continue,
        };
        if on_error == OnError::Cancel {
            // One that ends early, or is cancelled, cancels the others.
            mark(&mut asks, |_| true);
        }
        if let Ok(handle) = queue.try_submit_batch(requests, on_error) {
            self.batches.push((asks, handle));
        }
    }
}

fn mark(asks: &mut [Ask], hit: impl Fn(&Ask) -> bool) {
    for ask in asks {
        ask.cancelled |= hit(ask);
    }
}

fn sum(destination: &Destination) -> u64 {
    let bytes = destination.bytes().iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn config(rng: &mut Rng) -> QueueConfig {
    let mut config = QueueConfig {
        queued_max: 1 + u32::try_from(rng.below(60)).unwrap(),
        read_max: 1 + u32::try_from(rng.below(40_000)).unwrap(),
        gap_max: u32::try_from(rng.below(2_000)).unwrap(),
        span_max: u32::try_from(rng.below(30_000)).unwrap(),
        merge_max: rng.below(200_000),
        begun_max: rng.below(100_000),
        window_max: 1 + u32::try_from(rng.below(30)).unwrap(),
        ..QueueConfig::default()
    };
    config.in_flight.all.ops = 1 + u32::try_from(rng.below(12)).unwrap();
    config.in_flight.all.bytes = 1 + rng.below(100_000);
    for class in &mut config.in_flight.classes {
        class.ops = 1 + u32::try_from(rng.below(8)).unwrap();
        class.bytes = 1 + rng.below(100_000);
    }
    config.policy.age_after_ns = rng.below(1_000_000);
    config
}

fn blobs(
    queue: &BlobQueue,
    file: &NativeFileAsyncBlobRandomReader,
    rng: &mut Rng,
) -> Vec<QueuedBlob> {
    let mut blobs = Vec::new();
    for merge_pays in [false, true, true] {
        let mut hints = BlobHints::new();
        hints.merge_pays = merge_pays;
        hints.align = 1 << rng.below(10);
        hints.read_max = 1 + u32::try_from(rng.below(50_000)).unwrap();
        blobs.push(queue.register(Hinting {
            inner: file.clone(),
            hints,
        }));
    }
    blobs
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// All is awaited.
    Wait,
    /// The queue is shut down.
    ShutDown,
    /// The queue's handle is dropped, which changes nothing for what it has.
    DropQueue,
    /// The worker ends in the middle.
    DropWorker,
}

fn run(seed: u64, config_of_worker: Config, path: &std::path::Path, sim: bool, errors: bool) {
    let mut rng = Rng(seed);
    let end = [End::Wait, End::ShutDown, End::DropQueue, End::DropWorker];
    let end = end[usize::try_from(rng.below(4)).unwrap()];
    let config = config(&mut rng);
    let world = World {
        rng,
        byte_at: if sim { SimConfig::byte_at } else { pattern_at },
        // No position is further.
        len: if sim { i64::MAX.cast_unsigned() } else { LEN },
        errors,
        shut: false,
        singles: Vec::new(),
        batches: Vec::new(),
        back: Vec::new(),
        done: 0,
        allocated: Rc::default(),
    };
    let world = RefCell::new(world);
    let allocated = Rc::clone(&world.borrow().allocated);
    let worker = Worker::new(config_of_worker).unwrap();
    worker.block_on(async {
        // Opening may fail on the simulated ring.
        let Ok(file) = NativeFileAsyncBlobRandomReader::open(path).await else {
            return;
        };
        let queue = BlobQueue::new(config).unwrap();
        let blobs = blobs(&queue, &file, &mut world.borrow_mut().rng);
        for _ in 0..STEPS {
            world.borrow_mut().step(&queue, &blobs);
            if world.borrow_mut().rng.one_in(3) {
                corelane::yield_now().await;
            }
        }
        let queue = match end {
            End::Wait => Some(queue),
            End::ShutDown => {
                world.borrow_mut().shut = true;
                in_time(Some(&queue), queue.shutdown()).await;
                assert_eq!((queue.stats().held, queue.stats().in_flight.ops), (0, 0));
                Some(queue)
            }
            End::DropQueue => {
                drop(queue);
                None
            }
            End::DropWorker => return,
        };
        in_time(queue.as_ref(), settle(&world)).await;
        if let Some(queue) = queue {
            // Those that were let go may still be on their way.
            in_time(Some(&queue), queue.shutdown()).await;
            let stats = queue.stats();
            assert_eq!((stats.held, stats.queued, stats.waiting), (0, 0, 0));
            let outcomes = stats.classes.iter().map(|class| class.outcomes);
            let lost = outcomes.map(|one| one.submitted - one.read - one.failed - one.cancelled);
            assert_eq!(lost.sum::<u64>(), 0, "{stats:?}");
        }
    });
    drop(worker);
    let mut world = world.into_inner();
    if matches!(end, End::DropWorker) {
        gone(&mut world);
    }
    assert!(world.singles.is_empty() && world.batches.is_empty());
    let left = Rc::strong_count(&allocated) - 2;
    assert_eq!(left, 0, "allocators were neither called nor dropped");
    for (destination, before) in &world.back {
        assert_eq!(sum(destination), *before, "written after it was back");
    }
}

/// Turns a hang into a failure.
async fn in_time<T>(queue: Option<&BlobQueue>, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(10);
    match corelane::time::timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("it hangs: {:?}", queue.map(BlobQueue::stats)),
    }
}

/// Awaits everything.
async fn settle(world: &RefCell<World>) {
    loop {
        let next = world.borrow_mut().singles.pop();
        let Some((ask, handle)) = next else { break };
        let finished = handle.await;
        world.borrow_mut().check(ask, finished);
    }
    loop {
        let next = world.borrow_mut().batches.pop();
        let Some((asks, handle)) = next else { break };
        let done = handle.await;
        world.borrow_mut().check_batch(&asks, done);
    }
}

/// The worker has ended: every handle resolves, on any executor.
fn gone(world: &mut World) {
    world.errors = true;
    for (ask, handle) in std::mem::take(&mut world.singles) {
        let finished = futures_executor::block_on(handle);
        world.check(ask, finished);
    }
    for (asks, handle) in std::mem::take(&mut world.batches) {
        let done = futures_executor::block_on(handle);
        world.check_batch(&asks, done);
    }
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let set = |name| {
        let set = std::env::var(name).ok();
        set.map(|text| text.parse().expect("a number"))
    };
    let first: u64 = set("BLOBIO_QUEUE_FIRST").unwrap_or(0);
    first..first + set("BLOBIO_QUEUE_SEEDS").unwrap_or(default)
}

#[test]
fn scripts_on_the_simulated_ring() {
    for seed in seeds(60) {
        println!("seed {seed}");
        let mut sim = SimConfig::new(seed);
        sim.short_percent = 20;
        // From what is cached to what is not, where short reads are merged.
        sim.nowait_percent = [0, 50, 90, 100][usize::try_from(seed / 4 % 4).unwrap()];
        let errors = seed % 4 == 3;
        sim.error_percent = if errors { 5 } else { 0 };
        let config = Config::new().backend(BackendChoice::Sim(sim));
        run(seed, config, "/any/path".as_ref(), true, errors);
    }
}

#[test]
fn scripts_on_the_real_ring() {
    let content: Vec<u8> = (0..LEN).map(pattern_at).collect();
    let file = file_of(&content);
    for seed in seeds(60) {
        println!("seed {seed}");
        run(seed, Config::default(), file.path(), false, false);
    }
}
