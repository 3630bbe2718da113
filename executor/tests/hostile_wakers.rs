//! Wakers that panic where the library drops them, or use what waits where it clones them.

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::{Duration, Instant};

use corelane::net::{BufRing, StreamIo, UnixStream};
use corelane::sync::{Notify, Semaphore, channel, local, oneshot};
use corelane::time::{sleep, timeout};
use corelane::{Config, PoolConfig, TurnBudget, Worker, idle, pool, yield_now};
use futures_io::{AsyncRead, AsyncWrite};

use support::worker;

/// Panics when the last of its wakers is dropped, once it is told to.
#[derive(Default)]
struct Last {
    is_armed: AtomicBool,
    wakes: AtomicUsize,
}

impl Wake for Last {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        assert!(!*self.is_armed.get_mut(), "the last waker is dropped");
    }
}

/// Polls a future, and leaves it with the only waker of one that panics when it is dropped.
fn leave_the_last_waker(future: Pin<&mut impl Future>) {
    let last = Arc::new(Last::default());
    last.is_armed.store(true, Ordering::Relaxed);
    let waker = Waker::from(last);
    assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_waker_that_cannot_be_dropped_keeps_nobody_from_permits() {
    let semaphore = Semaphore::new(3);
    let mut large = Box::pin(semaphore.acquire(5));
    leave_the_last_waker(large.as_mut());
    let counts = Arc::new(Last::default());
    let waker = Waker::from(Arc::clone(&counts));
    let mut small = pin!(semaphore.acquire(2));
    let mut context = Context::from_waker(&waker);
    assert!(small.as_mut().poll(&mut context).is_pending());
    catch_unwind(AssertUnwindSafe(|| drop(large))).unwrap_err();
    assert_eq!(counts.wakes.load(Ordering::Relaxed), 1);
    assert!(small.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_waker_that_cannot_be_dropped_keeps_nobody_from_idling() {
    worker().block_on(async {
        let mut gone = Box::pin(idle());
        leave_the_last_waker(gone.as_mut());
        drop(gone);
        let idled = timeout(Duration::from_secs(10), idle()).await;
        assert!(idled.is_ok(), "an idle worker that does not say so");
    });
}

#[test]
fn wakers_that_cannot_be_dropped_are_swept_away_from_those_who_idle() {
    worker().block_on(async {
        // More than are swept at once.
        for _ in 0..100 {
            let mut gone = Box::pin(idle());
            leave_the_last_waker(gone.as_mut());
        }
        timeout(Duration::from_secs(10), idle()).await.unwrap();
    });
}

/// A waker in the hands of its user: what it does when it is cloned, and whether the clone cannot be
/// dropped.
struct Hostile {
    on_clone: RefCell<Option<Box<dyn FnOnce()>>>,
    is_undroppable: bool,
    is_armed: Cell<bool>,
}

impl Hostile {
    const TABLE: RawWakerVTable = RawWakerVTable::new(Self::clone, Self::drop, |_| {}, Self::drop);

    fn new(is_undroppable: bool, on_clone: impl FnOnce() + 'static) -> Self {
        Self {
            on_clone: RefCell::new(Some(Box::new(on_clone))),
            is_undroppable,
            is_armed: Cell::new(false),
        }
    }

    /// Polls a future with it.
    fn poll<F: Future>(&self, future: F) -> Poll<F::Output> {
        let data = (&raw const *self).cast();
        // SAFETY: the functions keep the contract of wakers, and what they point to outlives the
        // future.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, &Self::TABLE) });
        pin!(future).poll(&mut Context::from_waker(&waker))
    }

    fn of<'a>(data: *const ()) -> &'a Self {
        // SAFETY: it was made of a reference that outlives the future that the wakers were given to,
        // and stays on its thread.
        unsafe { &*data.cast::<Self>() }
    }

    fn clone(data: *const ()) -> RawWaker {
        let this = Self::of(data);
        if let Some(run) = this.on_clone.take() {
            run();
        }
        this.is_armed.set(this.is_undroppable);
        RawWaker::new(data, &Self::TABLE)
    }

    fn drop(data: *const ()) {
        assert!(!Self::of(data).is_armed.take(), "a waker is dropped");
    }
}

/// Polls with a waker that runs something when it is cloned, and panics when the clone is dropped.
fn poll_hostile<F: Future>(future: F, on_clone: impl FnOnce() + 'static) -> Poll<F::Output> {
    Hostile::new(true, on_clone).poll(future)
}

#[test]
fn what_comes_while_a_waker_is_cloned_is_not_lost_where_it_cannot_be_dropped() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire(1).unwrap();
    let permit = poll_hostile(semaphore.acquire(1), move || drop(held));
    assert!(permit.is_ready());
    drop(permit);
    assert_eq!(semaphore.available(), 1);

    let notify = Rc::new(Notify::new());
    let told = Rc::clone(&notify);
    assert!(poll_hostile(notify.notified(), move || told.notify_one()).is_ready());

    let (sender, receiver) = oneshot::channel();
    let received = poll_hostile(receiver, move || sender.send(5).unwrap());
    assert_eq!(received, Poll::Ready(Ok(5)));

    let (sender, mut receiver) = local::bounded(1);
    let received = poll_hostile(receiver.recv(), move || sender.try_send(6).unwrap());
    assert_eq!(received, Poll::Ready(Some(6)));
}

/// The receiver waits, and is told of a value that is sent in this way as well.
#[test]
fn a_value_that_is_sent_with_a_waker_that_cannot_be_dropped_wakes_its_receiver() {
    let (sender, mut receiver) = channel::bounded(1);
    sender.try_send(1).unwrap();
    let counts = Arc::new(Last::default());
    let waker = Waker::from(Arc::clone(&counts));
    let (give, take) = std::sync::mpsc::channel();
    let sent = poll_hostile(sender.send(2), move || {
        assert_eq!(receiver.try_recv(), Ok(1));
        // It begins to wait.
        let mut receiver = Box::new(receiver);
        let polled = pin!(receiver.recv()).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        give.send(receiver).unwrap();
    });
    assert_eq!(sent, Poll::Ready(Ok(())));
    assert_eq!(take.recv().unwrap().try_recv(), Ok(2));
}

#[test]
fn who_waits_no_more_for_a_buffer_or_to_idle_leaves_no_waker() {
    let config = Config::new().pool(PoolConfig::new(1, 4096));
    Worker::new(config).unwrap().block_on(async {
        let pool = pool().unwrap();
        let buf = pool.get().await;
        let counts = Arc::new(Last::default());
        let waker = Waker::from(Arc::clone(&counts));
        let mut context = Context::from_waker(&waker);
        for _ in 0..100 {
            assert!(pin!(pool.get()).poll(&mut context).is_pending());
        }
        // Nor more than one, however it is polled.
        let mut get = Box::pin(pool.get());
        for _ in 0..100 {
            assert!(get.as_mut().poll(&mut context).is_pending());
            let mut other = Context::from_waker(Waker::noop());
            assert!(get.as_mut().poll(&mut other).is_pending());
        }
        drop((get, buf));
        assert_eq!(Arc::strong_count(&counts), 2, "the pool has wakers");

        let mut idling = Box::pin(idle());
        for _ in 0..1_000 {
            assert!(pin!(idle()).poll(&mut context).is_pending());
            assert!(idling.as_mut().poll(&mut context).is_pending());
            let mut other = Context::from_waker(Waker::noop());
            assert!(idling.as_mut().poll(&mut other).is_pending());
        }
        let left = Arc::strong_count(&counts);
        assert!(left < 100, "{left} wakers of who is gone");
    });
}

/// The sleep is over before the waker that it is polled with is there.
#[test]
fn a_sleep_that_ends_while_a_waker_is_cloned_is_over() {
    let worker = Rc::new(worker());
    let entered = worker.enter();
    let mut slept = pin!(sleep(Duration::from_millis(1)));
    let polled = slept.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    std::thread::sleep(Duration::from_millis(5));
    let turned = Rc::clone(&worker);
    let turn = move || {
        turned.turn(TurnBudget::default());
    };
    assert!(Hostile::new(false, turn).poll(slept).is_ready());
    drop(entered);
}

#[test]
fn who_could_not_ask_whether_the_worker_is_idle_asks_again() {
    let mut asks = pin!(idle());
    let mut context = Context::from_waker(Waker::noop());
    let outside = AssertUnwindSafe(|| asks.as_mut().poll(&mut context));
    catch_unwind(outside).unwrap_err();
    let asked = worker().block_on(timeout(Duration::from_secs(10), async {
        // With the same waker.
        assert!(asks.as_mut().poll(&mut context).is_pending());
        yield_now().await;
        idle().await;
        asks.as_mut().poll(&mut context)
    }));
    assert!(asked.unwrap().is_ready());
}

/// What a stream has begun goes on after a poll that panicked.
#[test]
fn a_stream_outlives_a_waker_that_cannot_be_cloned() {
    worker().block_on(async {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let [ours, theirs] =
            [ours, theirs].map(|stream| StreamIo::new(UnixStream::from_std(stream).unwrap()));
        let (mut ours, mut theirs) = (Box::pin(ours), Box::pin(theirs));
        let mut buf = [0; 8];
        let read = poll_fn(|context| ours.as_mut().poll_read(context, &mut buf));
        let panics = || panic!("a clone");
        catch_unwind(AssertUnwindSafe(|| Hostile::new(false, panics).poll(read))).unwrap_err();
        let written = poll_fn(|context| theirs.as_mut().poll_write(context, b"text"));
        assert_eq!(written.await.unwrap(), 4);
        let flush = poll_fn(|context| theirs.as_mut().poll_flush(context));
        catch_unwind(AssertUnwindSafe(|| Hostile::new(false, panics).poll(flush))).unwrap_err();
        poll_fn(|context| theirs.as_mut().poll_flush(context))
            .await
            .unwrap();
        let count = poll_fn(|context| ours.as_mut().poll_read(context, &mut buf)).await;
        assert_eq!((count.unwrap(), &buf[..4]), (4, &b"text"[..]));
    });
}

/// The only buffer comes home while a stream that found none leaves its waker.
#[test]
fn a_buffer_that_comes_home_while_a_waker_is_cloned_is_not_missed() {
    worker().block_on(async {
        let ring = BufRing::new(1, 8).unwrap();
        let pairs = [(); 2].map(|()| std::os::unix::net::UnixStream::pair().unwrap());
        let [(hoards, _a), (starves, _b)] = pairs.map(|(ours, mut theirs)| {
            theirs.write_all(b"data").unwrap();
            (UnixStream::from_std(ours).unwrap(), theirs)
        });
        let mut hoards = hoards.recv_stream(&ring);
        let hoarded = hoards.next().await.unwrap().unwrap();
        drop(hoards);
        let mut starves = starves.recv_stream(&ring);
        // It is armed, and learns that there is none.
        let mut context = Context::from_waker(Waker::noop());
        assert!(starves.poll_next(&mut context).is_pending());
        while corelane::stats().in_flight > 0 {
            yield_now().await;
        }
        // Declared before what keeps it.
        let hostile = Hostile::new(false, move || drop(hoarded));
        let mut starves = starves;
        let polled = hostile.poll(poll_fn(|context| starves.poll_next(context)));
        assert!(polled.is_pending());
        // Nobody was there to be woken: it has begun anew by itself, or never will.
        let start = Instant::now();
        while corelane::stats().in_flight == 0 {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "asleep beside a buffer"
            );
            yield_now().await;
        }
        let buf = starves.next().await.unwrap().unwrap();
        assert_eq!(*buf, *b"data");
    });
}
