use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_executor::block_on;

use super::pool::SubmitError;
use super::{BlockingError, BlockingHandle, BlockingLimits, BlockingPool};
use crate::sys::affinity;

const LONG: Duration = Duration::from_secs(60);

fn pool(threads_max: usize, queue_max: usize) -> BlockingPool {
    BlockingPool::new(BlockingLimits {
        threads_max,
        queue_max,
        idle_max: LONG,
        cores: Vec::new(),
    })
}

fn in_a_minute() -> Instant {
    Instant::now() + LONG
}

fn poll<T>(handle: &mut BlockingHandle<T>) -> Poll<Result<T, BlockingError>> {
    Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
}

/// Occupies the only thread of a pool until the returned sender is dropped.
fn occupy(pool: &BlockingPool) -> (mpsc::Sender<()>, BlockingHandle<()>) {
    let (started, wait_started) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let handle = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = wait_release.recv();
    });
    wait_started.recv().unwrap();
    (release, handle)
}

#[test]
fn results_come_back() {
    let pool = pool(2, 8);
    assert_eq!(block_on(pool.spawn(|| 6 * 7)).unwrap(), 42);
    assert_eq!(pool.shutdown(in_a_minute()), 0);
    assert_eq!(pool.thread_count(), 0);
}

#[test]
fn a_panic_reaches_the_awaiter_and_the_thread_survives() {
    // glommio/glommio#37 and #62: the awaiter hung and the pool lost a thread.
    let pool = pool(1, 8);
    let id = || std::thread::current().id();
    let before = block_on(pool.spawn(id)).unwrap();
    let error = block_on(pool.spawn(|| -> u8 { panic!("planned") })).unwrap_err();
    let BlockingError::Panicked(payload) = error else {
        panic!("{error:?}")
    };
    assert_eq!(payload.downcast_ref(), Some(&"planned"));
    pool.submit(Box::new(|| panic!("planned too"))).unwrap();
    assert_eq!(block_on(pool.spawn(id)).unwrap(), before);
    assert_eq!(pool.thread_count(), 1);
}

#[test]
fn jobs_run_at_the_same_time_up_to_the_limit() {
    let pool = pool(3, 8);
    let barrier = Arc::new(Barrier::new(3));
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            pool.spawn(move || {
                barrier.wait();
            })
        })
        .collect();
    for handle in handles {
        block_on(handle).unwrap();
    }
    for number in 0..20 {
        assert_eq!(block_on(pool.spawn(move || number)).unwrap(), number);
    }
    assert_eq!(pool.thread_count(), 3);
}

#[test]
fn a_full_queue_makes_handles_wait_in_turn() {
    let pool = pool(1, 1);
    let (release, occupied) = occupy(&pool);
    let (ran, order) = mpsc::channel();
    let spawn = |number: u8| {
        let ran = ran.clone();
        pool.spawn(move || ran.send(number).unwrap())
    };
    let (mut queued, mut second, mut third) = (spawn(1), spawn(2), spawn(3));
    for handle in [&mut queued, &mut second, &mut third] {
        assert!(poll(handle).is_pending());
    }
    assert!(matches!(
        pool.submit(Box::new(|| ())),
        Err(SubmitError::Full(_))
    ));
    drop(release);
    // The third is polled first: the order is that of the first polls above.
    let (third, second, queued, occupied) =
        block_on(futures_util::future::join4(third, second, queued, occupied));
    assert!(third.is_ok() && second.is_ok() && queued.is_ok() && occupied.is_ok());
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_handle_dropped_before_the_start_cancels() {
    let pool = pool(1, 1);
    let (release, occupied) = occupy(&pool);
    let (ran, order) = mpsc::channel();
    let spawn = |number: u8| {
        let ran = ran.clone();
        pool.spawn(move || ran.send(number).unwrap())
    };
    let queued = spawn(1);
    let mut waiting = spawn(2);
    assert!(poll(&mut waiting).is_pending());
    drop(waiting);
    drop(queued);
    drop(release);
    block_on(occupied).unwrap();
    block_on(spawn(3)).unwrap();
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [3]);
}

#[test]
fn a_handle_dropped_after_the_start_detaches() {
    let pool = pool(1, 1);
    let (started, wait_started) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    let (finished, wait_finished) = mpsc::channel();
    let handle = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = wait_release.recv();
        finished.send(()).unwrap();
    });
    wait_started.recv().unwrap();
    drop(handle);
    drop(release);
    assert_eq!(wait_finished.recv(), Ok(()));
}

#[test]
fn shutdown_ends_every_wait_and_says_who_is_left() {
    let pool = pool(1, 1);
    let (release, occupied) = occupy(&pool);
    let mut queued = pool.spawn(|| 1);
    let mut waiting = pool.spawn(|| 2);
    assert!(poll(&mut queued).is_pending() && poll(&mut waiting).is_pending());
    assert_eq!(pool.shutdown(Instant::now()), 1);
    for handle in [&mut queued, &mut waiting, &mut pool.spawn(|| 3)] {
        assert!(matches!(
            poll(handle),
            Poll::Ready(Err(BlockingError::PoolGone))
        ));
    }
    assert!(matches!(
        pool.submit(Box::new(|| ())),
        Err(SubmitError::Closed(_))
    ));
    drop(release);
    assert_eq!(pool.shutdown(in_a_minute()), 0);
    block_on(occupied).unwrap();
}

#[test]
fn a_dropped_pool_ends_every_wait() {
    let pool = pool(1, 1);
    let (release, occupied) = occupy(&pool);
    let queued = pool.spawn(|| 1);
    drop(pool);
    assert!(matches!(block_on(queued), Err(BlockingError::PoolGone)));
    drop(release);
    block_on(occupied).unwrap();
}

#[test]
fn idle_threads_leave() {
    let limits = BlockingLimits {
        threads_max: 1,
        queue_max: 1,
        idle_max: Duration::from_millis(1),
        cores: Vec::new(),
    };
    let pool = BlockingPool::new(limits);
    let first = block_on(pool.spawn(|| std::thread::current().id())).unwrap();
    let deadline = in_a_minute();
    while pool.thread_count() > 0 {
        assert!(Instant::now() < deadline, "the idle thread stays");
        std::thread::yield_now();
    }
    assert_ne!(
        block_on(pool.spawn(|| std::thread::current().id())).unwrap(),
        first
    );
}

#[test]
fn threads_keep_to_their_cores() {
    let last = *affinity::process_cores().unwrap().last().unwrap();
    let limits = BlockingLimits {
        threads_max: 1,
        queue_max: 1,
        idle_max: LONG,
        cores: vec![last],
    };
    let pool = BlockingPool::new(limits);
    let cores = block_on(pool.spawn(|| affinity::thread_cores().unwrap())).unwrap();
    assert_eq!(cores, [last]);
}

#[test]
fn limits_of_zero_still_work() {
    // compio#446 and #450: a limit of zero froze the runtime.
    assert_eq!(block_on(pool(0, 0).spawn(|| 1)).unwrap(), 1);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a job is dropped");
    }
}

#[test]
fn jobs_that_cannot_be_dropped_do_not_keep_a_pool_from_its_end() {
    let pool = pool(1, 4);
    let (release, occupied) = occupy(&pool);
    for _ in 0..3 {
        let bomb = Bomb;
        let job = Box::new(move || std::mem::forget(bomb));
        pool.submit(job).unwrap();
    }
    drop(release);
    assert_eq!(pool.shutdown(in_a_minute()), 0);
    block_on(occupied).unwrap();
}
