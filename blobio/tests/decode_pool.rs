//! The pool: order, bounds, cancellation, panics, its end.
#![cfg(feature = "pack")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use blobio::decode::{DecodePool, JobError, PoolConfig, PoolLoad, Running};
use blobio::queue::Class;
use futures_executor::block_on;

/// A pool without threads: jobs are done by `help` alone.
fn idle(queue_max: usize) -> DecodePool {
    let config = PoolConfig::new(0).queue_max(queue_max.try_into().unwrap());
    DecodePool::new(&config).unwrap()
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<T: Send + 'static>(
    running: &mut Running<T>,
    wakes: &Arc<Wakes>,
) -> Poll<Result<T, JobError>> {
    let waker = Waker::from(Arc::clone(wakes));
    Pin::new(running).poll(&mut Context::from_waker(&waker))
}

#[test]
fn results_reach_any_executor() {
    let pool = DecodePool::new(&PoolConfig::new(2)).unwrap();
    let all: Vec<_> = (0..500_u64)
        .map(|n| pool.run(Class::Normal, move || n * n))
        .collect();
    for (n, running) in all.into_iter().enumerate() {
        assert_eq!(block_on(running).unwrap(), (n * n) as u64);
    }
    let running = pool.run(Class::Low, || {
        std::thread::current().name().map(str::to_owned)
    });
    let name = std::thread::spawn(move || block_on(running))
        .join()
        .unwrap();
    assert!(name.unwrap().unwrap().starts_with("decode-"));
    fn is_send<T: Send>(_: &T) {}
    is_send(&pool.run(Class::Low, || ()));
}

#[test]
fn the_highest_class_is_first_and_every_sixteenth_is_the_oldest() {
    let pool = idle(100);
    let order = Arc::new(Mutex::new(Vec::new()));
    let add = |class: Class, tag: usize| {
        let order = Arc::clone(&order);
        pool.run(class, move || {
            order.lock().unwrap().push((class.index(), tag))
        })
    };
    let mut jobs = Vec::new();
    for tag in 0..3 {
        jobs.push(add(Class::Low, tag));
    }
    for tag in 0..20 {
        jobs.push(add(Class::Realtime, tag));
        jobs.push(add(Class::High, tag));
    }
    while pool.help() {}
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 43);
    let lows: Vec<_> = (0..43)
        .filter(|&at| order[at].0 == Class::Low.index())
        .collect();
    assert_eq!(
        lows,
        [15, 31, 42],
        "the oldest in its turn, the last one at the end"
    );
    let rest: Vec<_> = order
        .iter()
        .filter(|(c, _)| *c != Class::Low.index())
        .collect();
    assert!(
        rest[..20]
            .iter()
            .all(|(c, _)| *c == Class::Realtime.index())
    );
    assert!(
        rest.windows(2).all(|two| two[0] < two[1]),
        "in order within a class"
    );
}

#[test]
fn a_full_queue_lets_jobs_wait_in_order() {
    let pool = idle(2);
    let wakes: [Arc<Wakes>; 5] = Default::default();
    let mut jobs: Vec<_> = (0..5).map(|n| pool.run(Class::Normal, move || n)).collect();
    let load = |queued, waiting| PoolLoad {
        queued,
        waiting,
        running: 0,
        threads: 0,
    };
    assert_eq!(pool.load(), load(2, 3));
    // Another class has a queue of its own.
    let other = pool.run(Class::High, || 9);
    assert_eq!(pool.load(), load(3, 3));
    drop(other);
    for (job, wakes) in jobs.iter_mut().zip(&wakes) {
        assert!(poll(job, wakes).is_pending());
    }
    let woken = || {
        wakes
            .each_ref()
            .map(|wakes| wakes.0.load(Ordering::Relaxed))
    };
    assert!(pool.help());
    assert_eq!(woken(), [1, 0, 1, 0, 0], "the result, and the place");
    assert!(pool.help());
    assert_eq!(woken(), [1, 1, 1, 1, 0]);
    assert!(
        !pool.help(),
        "the places are promised, the jobs are with their futures"
    );
    // One that gives up its turn passes it on.
    drop(jobs.remove(3));
    assert_eq!(wakes[4].0.load(Ordering::Relaxed), 1);
    for (job, wakes) in jobs
        .iter_mut()
        .zip([&wakes[0], &wakes[1], &wakes[2], &wakes[4]])
    {
        let _ = poll(job, wakes).map(Result::unwrap);
    }
    assert_eq!(pool.load(), load(2, 0));
    while pool.help() {}
    drop(jobs);
    let again: Vec<_> = (0..2).map(|n| pool.run(Class::Normal, move || n)).collect();
    assert_eq!(pool.load(), load(2, 0), "no place was lost");
    drop(again);
    assert_eq!(pool.load(), load(0, 0));
}

#[test]
fn a_dropped_future_takes_its_job_out() {
    let pool = idle(10);
    let done = Arc::new(AtomicUsize::new(0));
    let held = Arc::new(());
    let mut jobs: Vec<_> = (0..6)
        .map(|_| {
            let (done, held) = (Arc::clone(&done), Arc::clone(&held));
            pool.run(Class::Low, move || {
                let _held = held;
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    assert_eq!(Arc::strong_count(&held), 7);
    jobs.truncate(2);
    assert_eq!(
        Arc::strong_count(&held),
        3,
        "what the jobs held is gone at once"
    );
    while pool.help() {}
    assert_eq!(done.load(Ordering::Relaxed), 2);
}

#[test]
fn a_future_dropped_while_its_job_runs() {
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let held = Arc::new(());
    let result = Arc::clone(&held);
    let running = pool.run(Class::Normal, move || {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
        result
    });
    has_begun.recv().unwrap();
    drop(running);
    go_on.send(()).unwrap();
    assert!(block_on(pool.run(Class::Normal, || true)).unwrap());
    pool.shutdown();
    assert_eq!(Arc::strong_count(&held), 1, "its result is dropped");
}

#[test]
fn a_panic_is_its_own() {
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let panicked = block_on(pool.run(Class::Normal, || -> u8 { panic!("no {}", "luck") }));
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let thrown = block_on(pool.run(Class::Normal, || -> u8 { std::panic::panic_any(Bomb) }));
    // Given up after it was begun and before it has ended: so the thread drops the result.
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let given_up = pool.run(Class::Normal, move || {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
        Bomb
    });
    has_begun.recv().unwrap();
    drop(given_up);
    go_on.send(()).unwrap();
    let after = block_on(pool.run(Class::Normal, || 7_u8));
    assert_eq!(panicked, Err(JobError::Panicked("no luck".into())));
    assert!(matches!(thrown, Err(JobError::Panicked(_))));
    assert_eq!(after, Ok(7));
    pool.shutdown();
    assert_eq!(pool.load().running, 0);
}

#[test]
fn the_end_finishes_what_was_begun_and_fails_the_rest() {
    let pool = DecodePool::new(&PoolConfig::new(1).queue_max(1.try_into().unwrap())).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let running = pool.run(Class::Normal, move || {
        begun.send(()).unwrap();
        may_go_on.recv().is_ok()
    });
    has_begun.recv().unwrap();
    let queued = pool.run(Class::Normal, || false);
    let waiting = pool.run(Class::Normal, || false);
    let waits = std::thread::spawn(move || block_on(waiting));
    let ends = std::thread::spawn({
        let pool = pool.clone();
        move || pool.shutdown()
    });
    assert_eq!(block_on(queued), Err(JobError::Closed));
    assert_eq!(waits.join().unwrap(), Err(JobError::Closed));
    go_on.send(()).unwrap();
    assert_eq!(block_on(running), Ok(true));
    ends.join().unwrap();
    assert_eq!(
        block_on(pool.run(Class::Normal, || false)),
        Err(JobError::Closed)
    );
    assert!(!pool.help());
}

#[test]
fn the_last_handle_may_go_on_a_thread_of_the_pool() {
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let (tell, told) = mpsc::channel();
    let inner = pool.clone();
    let running = pool.run(Class::Normal, move || {
        // The other handle is dropped before this one.
        told.recv().unwrap();
        drop(inner);
        true
    });
    drop(pool);
    tell.send(()).unwrap();
    assert_eq!(block_on(running), Ok(true));
}

#[test]
fn waiting_helps() {
    let pool = idle(1);
    let first = pool.run(Class::Normal, || 1);
    let second = pool.run(Class::Normal, || 2);
    assert_eq!(
        second.wait(),
        Ok(2),
        "it did the first one to have its place"
    );
    assert_eq!(first.wait(), Ok(1));
}

#[test]
fn threads_are_placed() {
    let usable = first_core();
    let config = PoolConfig {
        cores: vec![usable],
        ..PoolConfig::new(1)
    };
    let pool = DecodePool::new(&config).unwrap();
    let allowed = block_on(pool.run(Class::Normal, allowed_cores)).unwrap();
    assert_eq!(allowed, usable.to_string());
    let config = PoolConfig {
        cores: vec![1023],
        ..PoolConfig::new(1)
    };
    let error = DecodePool::new(&config).unwrap_err().to_string();
    assert!(error.contains("1023"), "{error}");
    let config = PoolConfig {
        cores: vec![usize::MAX],
        ..PoolConfig::new(1)
    };
    assert!(DecodePool::new(&config).is_err());
}

/// What the kernel says of this thread.
fn allowed_cores() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}

/// The first core that this thread may run on.
fn first_core() -> usize {
    let list = allowed_cores();
    let digits = list.split(['-', ',']).next().unwrap();
    digits.parse().unwrap()
}
