//! The cap holds whatever threads do, nobody is forgotten, and sysfs is read as it is.

use std::fs;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use futures_executor::block_on;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::local::{Acquire, Local};
use super::shared::Shared;
use super::sysfs::QueueLimits;
use crate::traits::DeviceId;

const KIB: usize = 1024;

fn shared(requests_max: u32) -> Arc<Shared> {
    Arc::new(Shared::new(QueueLimits {
        requests_max,
        request_len_max: 64 * 1024,
    }))
}

fn device(major: u32, minor: u32) -> DeviceId {
    DeviceId { major, minor }
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_partition_has_the_queue_of_its_disk_and_the_unknown_the_default() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "devices/disk/queue/nr_requests", "1023\n");
    write(root, "devices/disk/queue/max_sectors_kb", "512\n");
    write(root, "devices/disk/disk1/partition", "1\n");
    write(root, "devices/small/queue/nr_requests", "1\n");
    write(root, "devices/mapper/queue/max_sectors_kb", "256\n");
    write(root, "devices/odd/queue/nr_requests", "many\n");
    for (number, folder) in [
        ("8:0", "disk"),
        ("8:1", "disk/disk1"),
        ("9:0", "small"),
        ("252:0", "mapper"),
        ("252:1", "odd"),
    ] {
        let link = root.join(number);
        std::os::unix::fs::symlink(root.join("devices").join(folder), link).unwrap();
    }
    for (id, requests_max, request_kib) in [
        (device(8, 0), 768, 512),
        (device(8, 1), 768, 512),
        (device(9, 0), 1, 1280),
        (device(252, 0), 96, 256),
        (device(252, 1), 96, 1280),
        (device(0, 44), 96, 1280),
    ] {
        let expected = QueueLimits {
            requests_max,
            request_len_max: request_kib * 1024,
        };
        assert_eq!(QueueLimits::of(root, id), expected, "{id:?}");
    }
}

#[test]
fn a_read_takes_a_request_for_each_that_it_becomes() {
    let shared = shared(8);
    for (len, weight) in [(1, 1), (64, 1), (65, 2), (128, 2), (4096, 8)] {
        assert_eq!(shared.weight(len * KIB), weight, "{len} KiB");
    }
    assert_eq!(shared.weight(0), 1);
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn reads_wait_in_order_and_what_is_given_back_goes_to_the_first() {
    let shared = shared(2);
    let [ours, theirs] = [(), ()].map(|()| Rc::new(Local::new(Arc::clone(&shared))));
    let first = block_on(ours.acquire(KIB));
    let second = block_on(ours.acquire(KIB));
    let mut third = pin!(theirs.acquire(128 * KIB));
    let mut fourth = pin!(ours.acquire(KIB));
    assert!(poll(third.as_mut()).is_pending());
    assert!(poll(fourth.as_mut()).is_pending());
    drop(first);
    // One is free, but the first in line needs two.
    assert!(poll(fourth.as_mut()).is_pending(), "out of order");
    assert!(poll(third.as_mut()).is_pending());
    drop(second);
    assert!(poll(fourth.as_mut()).is_pending(), "out of order");
    let Poll::Ready(third) = poll(third.as_mut()) else {
        panic!("both are free");
    };
    assert_eq!(shared.stats().requests_taken, 2);
    drop(third);
    assert!(poll(fourth.as_mut()).is_ready());
    let stats = shared.stats();
    assert_eq!((stats.requests_high_water, stats.waits), (2, 2));
    assert_eq!(stats.requests_taken, 0, "a permit that was dropped");
}

#[test]
fn a_thread_with_nothing_in_flight_holds_nothing() {
    let shared = shared(64);
    let local = Rc::new(Local::new(Arc::clone(&shared)));
    let one = block_on(local.acquire(KIB));
    assert_eq!(shared.stats().requests_taken, 8, "a batch");
    let more: Vec<_> = (0..7).map(|_| block_on(local.acquire(KIB))).collect();
    assert_eq!(shared.stats().requests_taken, 8, "from the batch");
    drop(more);
    assert_eq!(shared.stats().requests_taken, 8, "kept while one is used");
    drop(one);
    assert_eq!(shared.stats().requests_taken, 0);
    assert_eq!(shared.stats().waits, 0);
}

#[test]
fn who_gives_up_waiting_lets_the_next_one_try() {
    let shared = shared(1);
    let [ours, theirs] = [(), ()].map(|()| Rc::new(Local::new(Arc::clone(&shared))));
    let held = block_on(ours.acquire(KIB));
    let mut given_up: Vec<Acquire> = (0..3).map(|_| theirs.acquire(KIB)).collect();
    for acquire in &mut given_up {
        assert!(poll(std::pin::Pin::new(acquire)).is_pending());
    }
    let mut last = pin!(ours.acquire(KIB));
    assert!(poll(last.as_mut()).is_pending());
    drop(held);
    drop(given_up);
    assert!(poll(last.as_mut()).is_ready());
    assert!(!shared.has_line());
    assert_eq!(shared.stats().requests_taken, 0);
}

/// Numbers of no particular order.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

async fn pause(mut times: u64) {
    poll_fn(|cx| {
        let Some(left) = times.checked_sub(1) else {
            return Poll::Ready(());
        };
        times = left;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Has reads one after the other, and gives some of them up while they wait.
async fn reader(local: Rc<Local>, shared: &Shared, out: &AtomicU32, seed: u64) -> u32 {
    let mut rng = Rng(seed);
    let mut done = 0;
    for _ in 0..200 {
        let len = [64, 128, 192][usize::try_from(rng.below(3)).unwrap()] * KIB;
        let mut acquire = local.acquire(len);
        if rng.below(4) == 0 && poll_once(&mut acquire).await.is_none() {
            continue;
        }
        let permit = if rng.below(3) == 0 {
            match poll_once(&mut acquire).await {
                Some(permit) => permit,
                None => acquire.await,
            }
        } else {
            acquire.await
        };
        let weight = shared.weight(len);
        let now = out.fetch_add(weight, Ordering::SeqCst) + weight;
        assert!(now <= shared.stats().requests_max, "seed {seed}: {now} out");
        pause(rng.below(4)).await;
        out.fetch_sub(weight, Ordering::SeqCst);
        drop(permit);
        done += 1;
    }
    done
}

async fn poll_once(acquire: &mut Acquire) -> Option<super::Permit> {
    let mut acquire = std::pin::Pin::new(acquire);
    poll_fn(|cx| match acquire.as_mut().poll(cx) {
        Poll::Ready(permit) => Poll::Ready(Some(permit)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn threads_together_never_have_more_than_the_cap_and_all_come_to_an_end() {
    for (requests_max, seed) in [(1, 1), (3, 2), (7, 3), (16, 4), (48, 5)] {
        println!("cap {requests_max}, seed {seed}");
        let (shared, out) = (shared(requests_max), AtomicU32::new(0));
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (shared, out, done) = (&shared, &out, &done);
                scope.spawn(move || {
                    let local = Rc::new(Local::new(Arc::clone(shared)));
                    let readers: FuturesUnordered<_> = (0..12)
                        .map(|task| {
                            let seed = seed << 32 | thread << 16 | task;
                            reader(Rc::clone(&local), shared, out, seed)
                        })
                        .collect();
                    let count: u32 = block_on(readers.collect::<Vec<_>>()).iter().sum();
                    done.fetch_add(count, Ordering::Relaxed);
                });
            }
        });
        assert!(done.load(Ordering::Relaxed) > 0);
        let stats = shared.stats();
        assert_eq!(stats.requests_taken, 0, "{stats:?}");
        assert!(stats.requests_high_water <= requests_max, "{stats:?}");
        assert!(!shared.has_line(), "{stats:?}");
    }
}
