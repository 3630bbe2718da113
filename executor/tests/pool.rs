//! The pool: buffers come home, wherever they were dropped, and wake who waits for one.

use std::time::{Duration, Instant};

use corelane::buf::IoBuf;
use corelane::time::sleep;
use corelane::{Config, PoolConfig, Worker, pool, spawn_local, yield_now};

fn worker(buffers: usize) -> Worker {
    let config = Config::new().pool(PoolConfig::new(buffers, 8192));
    Worker::new(config).expect("io_uring is needed for this test")
}

#[test]
fn a_buffer_dropped_on_another_thread_wakes_a_parked_waiter() {
    worker(1).block_on(async {
        let pool = pool().unwrap();
        let buf = pool.get().await;
        let waiter = spawn_local({
            let pool = pool.clone();
            async move { pool.get().await.capacity() }
        });
        yield_now().await;
        assert!(!waiter.is_finished());
        std::thread::spawn(move || drop(buf)).join().unwrap();
        assert_eq!(waiter.await.unwrap(), 8192);
    });
}

#[test]
fn a_buffer_dropped_at_home_wakes_a_waiter() {
    worker(1).block_on(async {
        let pool = pool().unwrap();
        let buf = pool.get().await;
        let waiter = spawn_local({
            let pool = pool.clone();
            async move { drop(pool.get().await) }
        });
        yield_now().await;
        drop(buf);
        waiter.await.unwrap();
    });
}

/// Both buffers come home in one poll; a look for one takes both in, and who waits is told of the other.
#[test]
fn a_waiter_is_told_of_a_buffer_that_another_has_taken_in() {
    const LONG: Duration = Duration::from_secs(20);
    worker(2).block_on(async {
        let pool = pool().unwrap();
        let bufs = (pool.get().await, pool.get().await);
        let start = Instant::now();
        let waiter = spawn_local({
            let pool = pool.clone();
            async move { drop(pool.get().await) }
        });
        let holder = spawn_local(async move {
            yield_now().await;
            drop(bufs);
            let kept = pool.try_get().unwrap();
            sleep(LONG).await;
            drop(kept);
        });
        waiter.await.unwrap();
        assert!(start.elapsed() < LONG, "a buffer lay there");
        holder.abort();
    });
}

#[test]
fn a_worker_that_never_parks_sees_a_buffer_that_comes_home() {
    const LONG: Duration = Duration::from_secs(20);
    let config = Config::new().pool(PoolConfig::new(1, 8192));
    let worker = Worker::new(config.spin_before_park(LONG)).unwrap();
    worker.block_on(async {
        let pool = pool().unwrap();
        let buf = pool.get().await;
        let start = Instant::now();
        let dropping = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(buf);
        });
        drop(pool.get().await);
        assert!(start.elapsed() < LONG, "it came, and was not seen");
        dropping.join().unwrap();
    });
}

#[test]
fn reads_go_through_the_registration() {
    let worker = worker(4);
    worker.block_on(async {
        let pool = pool().unwrap();
        let path = std::env::current_exe().unwrap();
        let expected = std::fs::read(&path).unwrap();
        let file = corelane::fs::File::open(&path).await.unwrap();
        let (count, buf) = file.read_at(pool.get().await, 4096).await;
        assert_eq!(count.unwrap(), 8192);
        assert_eq!(buf[..], expected[4096..12288]);
        let (count, buf) = file.read_at(buf.slice(100..200), 0).await;
        assert_eq!(count.unwrap(), 100);
        assert_eq!(buf.into_inner()[100..200], expected[..100]);
    });
}

#[test]
fn a_buffer_of_a_worker_that_is_gone_is_not_taken_for_one_of_the_next_worker() {
    let first = worker(4);
    let old = first.block_on(async { pool().unwrap().get().await });
    // Its ring's descriptor is free for the next ring.
    drop(first);
    worker(4).block_on(async {
        let ours = pool().unwrap().get().await;
        let path = std::env::current_exe().unwrap();
        let expected = std::fs::read(&path).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let file = corelane::fs::File::from_std(file);
        let (count, old) = file.read_at(old, 0).await;
        assert_eq!(count.unwrap(), 8192);
        assert_eq!(old[..], expected[..8192]);
        assert_eq!(ours.len(), 0);
    });
}
