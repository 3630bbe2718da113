//! The readiness of descriptors that the worker did not make.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use corelane::time::timeout;
use corelane::{AsyncFd, spawn_local, stats, yield_now};

use support::{file_of, run, yield_until};

#[test]
fn a_wait_ends_when_there_is_something_to_read() {
    run(async {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = AsyncFd::new(ours);
        for round in 0..20u8 {
            assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
            theirs.write_all(&[round]).unwrap();
            ours.readable().await.unwrap();
            let mut byte = [0];
            assert_eq!(ours.get_ref().read(&mut byte).unwrap(), 1);
            assert_eq!(byte, [round]);
        }
        drop(theirs);
        ours.readable().await.unwrap();
        assert_eq!(ours.get_ref().read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_wait_ends_when_there_is_room_to_write() {
    run(async {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = AsyncFd::new(ours);
        ours.writable().await.unwrap();
        while ours.get_ref().write(&[0; 65_536]).is_ok() {}
        let mut room = Box::pin(ours.writable());
        assert!(
            timeout(Duration::from_millis(10), room.as_mut())
                .await
                .is_err()
        );
        let full = ours.get_ref().write(&[0]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        theirs.set_nonblocking(true).unwrap();
        while theirs.read(&mut [0; 65_536]).is_ok() {}
        room.await.unwrap();
    });
}

#[test]
fn both_directions_and_several_waits_go_at_once() {
    run(async {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let ours = std::rc::Rc::new(AsyncFd::new(ours));
        let waits: Vec<_> = (0..5)
            .map(|_| {
                let ours = std::rc::Rc::clone(&ours);
                spawn_local(async move { ours.readable().await })
            })
            .collect();
        yield_until("five polls are in flight", || stats().in_flight == 5).await;
        ours.writable().await.unwrap();
        theirs.write_all(b"!").unwrap();
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_dropped_wait_leaves_the_descriptor_and_no_slot() {
    run(async {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let ours = AsyncFd::new(ours);
        for _ in 0..50 {
            let mut wait = Box::pin(ours.readable());
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
            yield_now().await;
        }
        yield_until("the slots are free", || stats().slots == 0).await;
        theirs.write_all(b"!").unwrap();
        ours.readable().await.unwrap();
        drop(ours);
        let mut rest = Vec::new();
        let closed = theirs
            .read_to_end(&mut rest)
            .map_or_else(|error| error.kind(), |_| ErrorKind::ConnectionReset);
        assert_eq!(closed, ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_cannot_be_polled_says_so() {
    let on_disk = file_of(b"x");
    run(async {
        let file = AsyncFd::new(on_disk.reopen().unwrap());
        match file.readable().await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    });
}
