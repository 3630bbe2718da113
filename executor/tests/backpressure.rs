//! More operations than the ring holds wait their turn, in order; none is dropped and none fails.

mod support;

use std::cell::RefCell;
use std::future::Future;
use std::io::Write;
use std::rc::Rc;
use std::task::{Context, Waker};

use corelane::fs::File;
use corelane::net::UnixStream;
use corelane::{Config, spawn_local, stats};

use support::{content, file_of, run_with, yield_until};

fn tiny() -> Config {
    Config::new().sq_entries(2).cq_entries(8).peer_ops_max(6)
}

#[test]
fn a_thousand_reads_go_through_a_tiny_ring() {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    run_with(tiny(), async {
        let file = File::open(on_disk.path()).await.unwrap();
        let reads: Vec<_> = (0..1_000usize)
            .map(|index| {
                let file = file.clone();
                spawn_local(async move {
                    let (result, buf) = file
                        .read_at(Vec::with_capacity(50), index as u64 * 97)
                        .await;
                    assert!(stats().in_flight <= 8);
                    (result.unwrap(), buf)
                })
            })
            .collect();
        for (index, read) in reads.into_iter().enumerate() {
            let (count, buf) = read.await.unwrap();
            assert_eq!((count, &buf[..]), (50, &bytes[index * 97..index * 97 + 50]));
        }
        assert_eq!((stats().slots, stats().in_flight), (0, 0));
    });
}

#[test]
fn operations_wait_in_the_order_they_were_asked_for() {
    run_with(tiny(), async {
        let pairs: Vec<_> = (0..40).map(|_| UnixStream::pair().unwrap()).collect();
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut waits = Vec::new();
        for (index, (_, ours)) in pairs.iter().enumerate() {
            let (ours, order) = (ours.clone(), Rc::clone(&order));
            waits.push(spawn_local(async move {
                ours.recv(Vec::with_capacity(1)).await.0.unwrap();
                order.borrow_mut().push(index);
            }));
        }
        yield_until("the ring is full", || stats().queued_high_water >= 33).await;
        // Only the first few are in flight: each byte lets one end and the next begin.
        for (index, (theirs, _)) in pairs.iter().enumerate() {
            let fd = std::os::fd::AsFd::as_fd(theirs)
                .try_clone_to_owned()
                .unwrap();
            std::os::unix::net::UnixStream::from(fd)
                .write_all(b"!")
                .unwrap();
            yield_until("its turn has come", || order.borrow().len() > index).await;
        }
        assert_eq!(*order.borrow(), (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn cancels_go_through_a_full_ring() {
    run_with(tiny(), async {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut waits: Vec<_> = (0..200).map(|_| Box::pin(ours.recv(vec![0; 16]))).collect();
        for wait in &mut waits {
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
        }
        yield_until("some are in flight", || stats().in_flight > 0).await;
        drop(waits);
        yield_until("every slot is free", || stats().slots == 0).await;
        theirs.send_all("after").await.0.unwrap();
        assert_eq!(ours.recv(Vec::with_capacity(8)).await.1, b"after");
    });
}

#[test]
fn operations_dropped_while_they_wait_are_never_submitted() {
    run_with(tiny(), async {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut holds: Vec<_> = (0..20).map(|_| Box::pin(ours.recv(vec![0; 1]))).collect();
        for hold in &mut holds {
            assert!(futures_util::poll!(hold.as_mut()).is_pending());
        }
        yield_until("the ring is full", || stats().in_flight > 0).await;
        let submits = stats().submits;
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            let mut late = Box::pin(theirs.recv(vec![0; 1]));
            assert!(late.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(stats().submits, submits);
        assert!(stats().slots < 50, "{} slots", stats().slots);
        drop(holds);
    });
}

#[test]
fn reads_of_cached_pages_are_spread_over_enters() {
    let on_disk = file_of(&content(1 << 20));
    let config = Config::new().submit_bytes_max(1 << 20);
    run_with(config, async {
        let file = File::open(on_disk.path()).await.unwrap();
        let enters = stats().enters;
        let reads: Vec<_> = (0..8)
            .map(|_| {
                let file = file.clone();
                spawn_local(async move { file.read_at(Vec::with_capacity(1 << 20), 0).await.1 })
            })
            .collect();
        for read in reads {
            assert!(read.await.unwrap() == content(1 << 20));
        }
        assert!(
            stats().enters - enters >= 8,
            "{} enters",
            stats().enters - enters
        );
    });
}

#[test]
fn what_waits_for_a_peer_never_holds_up_a_file() {
    let on_disk = file_of(&content(4096));
    run_with(tiny(), async {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut idle: Vec<_> = (0..100).map(|_| Box::pin(ours.recv(vec![0; 1]))).collect();
        for wait in &mut idle {
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
        }
        let file = File::open(on_disk.path()).await.unwrap();
        let (count, _) = file.read_at(Vec::with_capacity(4096), 0).await;
        assert_eq!(count.unwrap(), 4096);
        file.close().await.unwrap();
        drop((idle, theirs));
    });
}
