//! Memory that a worker lends for a while, buffers of its pool and buffers of a ring of provided
//! ones, under random scripts of receiving, dropping, forgetting and shutting down: what somebody
//! holds is written by nobody else, and what was given back is lent again.
//!
//! `CORELANE_LENT_SEEDS` says how many scripts run on each backend.

mod common;

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net as std_unix;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common::{Rng, number};
use corelane::buf::{BufResult, PoolBuf};
use corelane::fs::File;
use corelane::net::{BufRing, RecvStream, UnixStream};
use corelane::{BackendChoice, Config, PoolConfig, TurnBudget, Worker};

const STEPS: usize = 120;
const HUNG: Duration = Duration::from_secs(30);

/// Runs `script` for some seeds on each backend that there is.
fn on_each(script: impl Fn(Config, u64)) {
    for backend in [BackendChoice::Uring, BackendChoice::Threads] {
        let config = Config::new().backend(backend);
        if let Err(error) = Worker::new(config.clone()) {
            println!("SKIP: {backend:?}: {error}");
            continue;
        }
        for seed in 0..number("CORELANE_LENT_SEEDS", 40) {
            println!("{backend:?}, seed {seed}");
            script(config.clone(), seed);
        }
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Bytes that somebody holds, and what they were when they came.
struct Held<B: Deref<Target = [u8]>> {
    buf: B,
    copy: Vec<u8>,
}

impl<B: Deref<Target = [u8]>> Held<B> {
    fn new(buf: B) -> Self {
        let copy = buf.to_vec();
        Self { buf, copy }
    }

    fn check(&self) {
        assert_eq!(&*self.buf, self.copy, "a buffer was written while held");
    }
}

impl<B: Deref<Target = [u8]>> Drop for Held<B> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

/// A socket whose bytes count up, and who receives from it.
struct Peer {
    theirs: std_unix::UnixStream,
    ours: UnixStream,
    sent: u8,
    recv: Option<RecvStream>,
    /// The byte that the current receiver has to see next, once it has seen one.
    expected: Option<u8>,
}

impl Peer {
    fn new() -> Self {
        let (theirs, ours) = std_unix::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        Self {
            theirs,
            ours: UnixStream::from_std(ours).unwrap(),
            sent: 0,
            recv: None,
            expected: None,
        }
    }

    fn send(&mut self, len: usize) {
        let bytes: Vec<_> = (0..len)
            .map(|at| self.sent.wrapping_add(u8::try_from(at % 256).unwrap()))
            .collect();
        match self.theirs.write(&bytes) {
            Ok(sent) => self.sent = self.sent.wrapping_add(u8::try_from(sent % 256).unwrap()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    /// Takes one buffer, if one has arrived; false when the stream has ended.
    fn receive(&mut self, ring: &BufRing, held: &mut Vec<Held<corelane::net::RingBuf>>) -> bool {
        let recv = match &mut self.recv {
            Some(recv) => recv,
            none => {
                self.expected = None;
                none.insert(self.ours.recv_stream(ring))
            }
        };
        match recv.poll_next(&mut cx()) {
            Poll::Pending => true,
            Poll::Ready(None) => false,
            Poll::Ready(Some(buf)) => {
                let buf = buf.unwrap();
                for byte in &*buf {
                    assert!(self.expected.is_none_or(|expected| expected == *byte));
                    self.expected = Some(byte.wrapping_add(1));
                }
                held.push(Held::new(buf));
                true
            }
        }
    }
}

fn provided(config: Config, seed: u64) {
    let mut rng = Rng::new(seed);
    let worker = Worker::new(config).unwrap();
    let mut held = Vec::new();
    let mut forgets = 2;
    let (ring, mut peers) = {
        let _entered = worker.enter();
        let ring = BufRing::new(8, 64).unwrap();
        (ring, [(); 3].map(|()| Peer::new()))
    };
    for _ in 0..STEPS {
        let _entered = worker.enter();
        let at = rng.below(peers.len());
        let peer = &mut peers[at];
        match rng.below(16) {
            0..=3 => peer.send(1 + rng.below(200)),
            4..=9 => assert!(peer.receive(&ring, &mut held)),
            10..=11 if !held.is_empty() => drop(held.swap_remove(rng.below(held.len()))),
            12 => peer.recv = None,
            13 if forgets > 0 && peer.recv.is_some() => {
                // The forgotten one goes on to receive.
                forgets -= 1;
                std::mem::forget(peer.recv.take());
                let left = std::mem::replace(peer, Peer::new());
                std::mem::forget((left.theirs, left.ours));
            }
            14 => {
                let (theirs, _) = std_unix::UnixStream::pair().unwrap();
                drop(std::mem::replace(&mut peer.theirs, theirs));
                // No end comes where no buffer is left.
                for _ in 0..32 {
                    if !peer.receive(&ring, &mut held) {
                        break;
                    }
                    worker.turn(TurnBudget::default());
                }
                *peer = Peer::new();
            }
            _ => {
                worker.turn(TurnBudget::default());
            }
        }
        held.iter().for_each(Held::check);
    }
    let order = rng.below(3);
    if order == 0 {
        held.clear();
    }
    if order < 2 {
        drop((ring, peers));
        assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0);
    } else {
        assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0);
        for mut peer in peers {
            peer.send(200);
        }
        drop(ring);
    }
    drop(held);
}

#[test]
fn a_provided_buffer_is_its_holders_until_it_is_given_back() {
    on_each(provided);
}

type Reading = Pin<Box<dyn Future<Output = BufResult<usize, PoolBuf>>>>;

const BUFFERS: usize = 4;

/// What a script has taken of the pool.
#[derive(Default)]
struct Taken {
    held: Vec<Held<PoolBuf>>,
    reading: Vec<Reading>,
    forgotten: usize,
}

impl Taken {
    fn begin(&mut self, file: &File, buf: PoolBuf) {
        let file = file.clone();
        self.reading
            .push(Box::pin(async move { file.read_at(buf, 0).await }));
        self.poll();
    }

    /// Polls the reads, and holds what has come.
    fn poll(&mut self) {
        let held = &mut self.held;
        self.reading
            .retain_mut(|read| match read.as_mut().poll(&mut cx()) {
                Poll::Pending => true,
                Poll::Ready((result, buf)) => {
                    assert_eq!(result.unwrap(), buf.len());
                    held.push(Held::new(buf));
                    false
                }
            });
    }

    fn check(&self) {
        self.held.iter().for_each(Held::check);
        assert!(self.held.len() + self.reading.len() + self.forgotten <= BUFFERS);
    }
}

fn pipe(worker: &Worker) -> (File, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let reader = std::fs::File::from(OwnedFd::from(reader));
    let _entered = worker.enter();
    (File::from_std(reader), writer)
}

fn pooled(config: Config, seed: u64) {
    let mut rng = Rng::new(seed);
    let worker = Worker::new(config.pool(PoolConfig::new(BUFFERS, 4096))).unwrap();
    let pool = {
        let _entered = worker.enter();
        corelane::pool().unwrap()
    };
    let zero = worker.block_on(File::open("/dev/zero")).unwrap();
    let pipes = [pipe(&worker), pipe(&worker)];
    let mut taken = Taken::default();
    for _ in 0..STEPS {
        let (file, writer) = &pipes[rng.below(pipes.len())];
        let Taken {
            held,
            reading,
            forgotten,
        } = &mut taken;
        match rng.below(12) {
            0..=3 => {
                let _entered = worker.enter();
                if let Some(buf) = pool.try_get() {
                    taken.begin(file, buf);
                }
            }
            // Few enough for a pipe that nobody reads.
            4..=5 => (&*writer)
                .write_all(&[1 + (seed % 100).to_le_bytes()[0]; 100])
                .unwrap(),
            6 if !reading.is_empty() => drop(reading.swap_remove(rng.below(reading.len()))),
            7 if *forgotten == 0 && reading.len() > 1 => {
                std::mem::forget(reading.pop());
                *forgotten += 1;
            }
            8 if !held.is_empty() => {
                let gone = held.swap_remove(rng.below(held.len()));
                std::thread::spawn(move || drop(gone)).join().unwrap();
            }
            // What is free is taken, and filled with something else.
            9 => {
                if let Some(buf) = pool.try_get() {
                    let (result, buf) = worker.block_on(zero.read_at(buf, 0));
                    assert_eq!((result.unwrap(), &*buf), (4096, &[0; 4096][..]));
                    held.push(Held::new(buf));
                }
            }
            _ => {
                worker.turn(TurnBudget::default());
                taken.poll();
            }
        }
        taken.check();
    }
    let forgotten = taken.forgotten;
    drop(taken);
    // All that was not forgotten comes home.
    let start = Instant::now();
    let mut home = Vec::new();
    while home.len() < BUFFERS - forgotten {
        assert!(start.elapsed() < HUNG, "{} came home", home.len());
        worker.turn(TurnBudget::default());
        home.extend(pool.try_get());
    }
    drop((pipes, zero));
    assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0);
}

#[test]
fn a_pool_buffer_is_its_holders_until_it_is_given_back() {
    on_each(pooled);
}

/// A waker that panics, once it is told to.
#[derive(Default)]
struct Panics(AtomicBool);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        assert!(!self.0.load(Ordering::Relaxed), "a waker");
    }
}

/// Two streams wait for a buffer; whoever gives one back wakes both, whatever the first waker does.
#[test]
fn a_waker_that_panics_keeps_no_other_stream_from_its_buffer() {
    on_each(|config, seed| {
        if seed > 0 {
            return;
        }
        let worker = Worker::new(config).unwrap();
        worker.block_on(async {
            let ring = BufRing::new(1, 8).unwrap();
            let [
                (hoards, mut to_hoarder),
                (breaks, mut to_broken),
                (waits, mut to_waiting),
            ] = [(); 3].map(|()| {
                let (ours, theirs) = std_unix::UnixStream::pair().unwrap();
                (UnixStream::from_std(ours).unwrap(), theirs)
            });
            to_hoarder.write_all(b"hoarded").unwrap();
            let mut hoards = hoards.recv_stream(&ring);
            let hoarded = hoards.next().await.unwrap().unwrap();
            drop(hoards);
            to_broken.write_all(b"broken").unwrap();
            to_waiting.write_all(b"waiting").unwrap();
            let mut breaks = breaks.recv_stream(&ring);
            let panics = Arc::new(Panics::default());
            let waker = Waker::from(Arc::clone(&panics));
            let polled = breaks.poll_next(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            settle(|| corelane::stats().in_flight == 0).await;
            let polled = breaks.poll_next(&mut Context::from_waker(&waker));
            assert!(polled.is_pending(), "every buffer is out");
            let mut waits = waits.recv_stream(&ring);
            let waiting =
                corelane::spawn_local(async move { waits.next().await.unwrap().unwrap().to_vec() });
            corelane::yield_now().await;
            settle(|| corelane::stats().in_flight == 0).await;
            // It learns that there is none.
            corelane::yield_now().await;
            corelane::yield_now().await;
            panics.0.store(true, Ordering::Relaxed);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(hoarded)));
            settle(|| waiting.is_finished()).await;
            assert_eq!(waiting.await.unwrap(), b"waiting");
            assert!(dropped.is_ok(), "who gives a buffer back has no part in it");
        });
    });
}

/// A stream that finds no buffer has one waker with its ring, however often it is polled, and takes it
/// along when it goes.
#[test]
fn a_stream_that_goes_leaves_no_waker() {
    on_each(|config, seed| {
        if seed > 0 {
            return;
        }
        Worker::new(config).unwrap().block_on(async {
            let ring = BufRing::new(1, 8).unwrap();
            let pairs = [(); 2].map(|()| std_unix::UnixStream::pair().unwrap());
            let [(hoards, _a), (starves, _b)] = pairs.map(|(ours, mut theirs)| {
                theirs.write_all(b"data").unwrap();
                (UnixStream::from_std(ours).unwrap(), theirs)
            });
            let mut hoards = hoards.recv_stream(&ring);
            let hoarded = hoards.next().await.unwrap().unwrap();
            drop(hoards);
            let mut starves = starves.recv_stream(&ring);
            let counts = [(); 2].map(|()| Arc::new(Panics::default()));
            for _ in 0..3 {
                for count in &counts {
                    let waker = Waker::from(Arc::clone(count));
                    let polled = starves.poll_next(&mut Context::from_waker(&waker));
                    assert!(polled.is_pending());
                    settle(|| corelane::stats().in_flight == 0).await;
                }
            }
            let left = counts.each_ref().map(Arc::strong_count);
            assert_eq!(left, [1, 2]);
            drop(starves);
            let left = counts.each_ref().map(Arc::strong_count);
            assert_eq!(left, [1, 1]);
            drop(hoarded);
        });
    });
}

async fn settle(mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < HUNG, "waited in vain");
        corelane::yield_now().await;
    }
}
