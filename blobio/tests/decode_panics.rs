//! A pool among wakers and jobs that panic when they are called or dropped, and wakers that look at it.
#![cfg(feature = "pack")]

#[path = "util/bomb.rs"]
mod bomb;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use blobio::decode::{DecodePool, JobError, PoolConfig, Running};
use blobio::queue::Class;

use bomb::Bomb;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks at the pool when it is dropped, and does a job of it.
struct Nosy(DecodePool);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let _ = self.0.load();
        self.0.help();
    }
}

fn pool(threads: usize, queue_max: usize) -> DecodePool {
    let config = PoolConfig::new(threads).queue_max(queue_max.try_into().unwrap());
    DecodePool::new(&config).unwrap()
}

fn poll<T: Send + 'static>(
    running: &mut Running<T>,
    waker: impl Into<Waker>,
) -> Poll<Result<T, JobError>> {
    Pin::new(running).poll(&mut Context::from_waker(&waker.into()))
}

/// Runs what may hang on a thread of its own.
fn within_seconds<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(run()));
    let told = told.recv_timeout(Duration::from_secs(10));
    told.expect("it hangs, or has panicked")
}

/// A job that has begun, and what ends it.
fn busy(pool: &DecodePool) -> (Running<()>, Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on): (_, Receiver<()>) = mpsc::channel();
    let running = pool.run(Class::Normal, move || {
        begun.send(()).unwrap();
        let _ = may_go_on.recv();
    });
    has_begun.recv().unwrap();
    (running, go_on)
}

#[test]
fn a_waker_that_panics_takes_no_thread_and_no_job_with_it() {
    let pool = pool(1, 1);
    let (_busy, go_on) = busy(&pool);
    let queued = pool.run(Class::Normal, || 7);
    let mut waits = pool.run(Class::Normal, || 8);
    assert!(poll(&mut waits, Arc::new(Bomb)).is_pending());
    go_on.send(()).unwrap();
    assert_eq!(within_seconds(|| futures_executor::block_on(queued)), Ok(7));
    assert_eq!(within_seconds(|| futures_executor::block_on(waits)), Ok(8));
    pool.shutdown();
    assert_eq!(pool.load().running, 0);
}

#[test]
fn the_end_reaches_everybody_behind_those_that_panic() {
    let pool = pool(1, 3);
    let (running, go_on) = busy(&pool);
    let bomb = Bomb;
    let dropped = pool.run(Class::Normal, move || drop(bomb));
    let mut woken = pool.run(Class::Normal, || ());
    assert!(poll(&mut woken, Arc::new(Bomb)).is_pending());
    let queued = pool.run(Class::Normal, || ());
    let mut waits: Vec<_> = (0..2).map(|_| pool.run(Class::Normal, || ())).collect();
    let wakes = Arc::new(Wakes::default());
    assert!(poll(&mut waits[0], Arc::new(Bomb)).is_pending());
    assert!(poll(&mut waits[1], Arc::clone(&wakes)).is_pending());
    let ends = pool.clone();
    let ends = std::thread::spawn(move || ends.shutdown());
    // The last that the end reaches; polled before it has, a future would drop its own bomb.
    let last = Arc::clone(&wakes);
    within_seconds(move || {
        while last.0.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
    });
    for job in [dropped, woken, queued] {
        let done = within_seconds(|| futures_executor::block_on(job));
        assert_eq!(done, Err(JobError::Closed));
    }
    drop(go_on);
    assert!(within_seconds(|| ends.join()).is_ok());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(futures_executor::block_on(running), Ok(()), "it was joined");
}

#[test]
fn a_turn_that_is_given_up_goes_to_the_next_whose_waker_panics() {
    let pool = pool(0, 1);
    let queued = pool.run(Class::Normal, || ());
    let mut waits = pool.run(Class::Normal, || 8);
    assert!(poll(&mut waits, Arc::new(Bomb)).is_pending());
    drop(queued);
    assert_eq!(within_seconds(|| waits.wait()), Ok(8));
}

#[test]
fn a_waker_may_look_at_the_pool_when_it_is_dropped() {
    // The waker of one that waits is with the pool, that of a queued one with its job.
    for index in [0, 1] {
        let done = within_seconds(move || {
            let pool = pool(0, 1);
            let mut jobs = [(); 2].map(|()| pool.run(Class::Normal, || ()));
            let nosy = Arc::new(Nosy(pool.clone()));
            assert!(poll(&mut jobs[index], nosy).is_pending());
            let _ = poll(&mut jobs[index], Arc::new(Wakes::default()));
            jobs.map(Running::wait)
        });
        assert_eq!(done, [Ok(()), Ok(())]);
    }
}
