//! A worker's descriptor says when a turn is due, to a loop of somebody else's.

mod support;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::net::UnixStream;
use corelane::time::sleep;
use corelane::{AsyncFd, Worker, spawn_local};

use support::{HUNG, content, file_of, settle, worker};

/// Says whether the descriptor becomes readable within `timeout`.
fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = i32::try_from(left.as_millis()).unwrap();
        // SAFETY: `poll` is one valid pollfd for the duration of the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, left) };
        if ready >= 0 {
            return ready == 1;
        }
        // A process that is stopped and goes on is answered EINTR.
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
}

/// Turns until the descriptor is silent as well: what a turn itself completes signals it once more.
fn quiet(worker: &Worker, fd: BorrowedFd<'_>) {
    for _ in 0..100 {
        settle(worker);
        if !readable(fd, Duration::ZERO) {
            return;
        }
    }
    panic!("the descriptor stays readable with nothing to do");
}

#[test]
fn the_descriptor_tells_of_a_spawn_by_another_thread() {
    // On a worker that has not entered its ring yet, and then again and again.
    let worker = worker();
    let fd = worker.fd().unwrap();
    for round in 0..20 {
        // A signal that the kernel put off may come late (seen with Linux 6.1), and costs a turn.
        quiet(&worker, fd);
        let spawner = worker.spawner();
        let handle =
            std::thread::spawn(move || spawner.spawn(move || async move { round }).unwrap());
        assert!(
            readable(fd, HUNG),
            "round {round}: the spawn was not signalled"
        );
        let handle = handle.join().unwrap();
        quiet(&worker, fd);
        assert!(handle.is_finished(), "round {round}");
    }
}

#[test]
fn the_descriptor_tells_of_a_wake_by_another_thread() {
    let worker = worker();
    let fd = worker.fd().unwrap();
    let (sender, receiver) = corelane::sync::oneshot::channel();
    let waiting = worker.spawn_local(async move { receiver.await.unwrap() });
    quiet(&worker, fd);
    let thread = std::thread::spawn(move || sender.send(9).unwrap());
    assert!(readable(fd, HUNG));
    thread.join().unwrap();
    quiet(&worker, fd);
    assert!(waiting.is_finished());
}

#[test]
fn the_descriptor_tells_of_a_foreign_eventfd_that_a_task_awaits() {
    let worker = worker();
    // SAFETY: eventfd takes no memory.
    let foreign = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    // SAFETY: the call has just made this descriptor, and nothing else owns it.
    let foreign = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(foreign) });
    let seen = Rc::new(Cell::new(0));
    {
        let _entered = worker.enter();
        let (ours, seen) = (AsyncFd::new(foreign.try_clone().unwrap()), Rc::clone(&seen));
        spawn_local(async move {
            loop {
                ours.readable().await.unwrap();
                ours.get_ref().read_exact(&mut [0; 8]).unwrap();
                seen.set(seen.get() + 1);
            }
        });
    }
    let fd = worker.fd().unwrap();
    quiet(&worker, fd);
    for round in 1..=10 {
        (&foreign).write_all(&1u64.to_ne_bytes()).unwrap();
        assert!(readable(fd, Duration::from_secs(10)), "round {round}");
        quiet(&worker, fd);
        assert_eq!(seen.get(), round);
    }
}

#[test]
fn the_descriptor_tells_of_completions() {
    let worker = worker();
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let ours = {
        let _entered = worker.enter();
        UnixStream::from_std(ours).unwrap()
    };
    let received = Rc::new(Cell::new(0));
    worker.spawn_local({
        let received = Rc::clone(&received);
        async move {
            loop {
                let count = ours.recv(Vec::with_capacity(8)).await.0.unwrap();
                received.set(received.get() + count);
            }
        }
    });
    let fd = worker.fd().unwrap();
    quiet(&worker, fd);
    for round in 1..=20 {
        theirs.write_all(b"x").unwrap();
        assert!(readable(fd, HUNG), "round {round}");
        quiet(&worker, fd);
        assert_eq!(received.get(), round);
    }
}

#[test]
fn a_foreign_epoll_loop_drives_a_worker() {
    let worker = worker();
    let fd = worker.fd().unwrap();
    // SAFETY: epoll_create1 takes no memory.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(epoll >= 0);
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN.cast_unsigned(),
        u64: 1,
    };
    // SAFETY: `event` is valid for the call; both descriptors are open.
    let added =
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
    assert_eq!(added, 0);
    let on_disk = file_of(&content(1_000_000));
    let path = on_disk.path().to_owned();
    let work = worker.spawn_local(async move {
        sleep(Duration::from_millis(10)).await;
        let file = File::open(path).await.unwrap();
        let bytes = file.read_exact_at(Vec::with_capacity(1_000_000), 0).await.1;
        corelane::spawn_blocking(move || bytes.len()).await.unwrap()
    });
    let start = Instant::now();
    while !work.is_finished() {
        assert!(start.elapsed() < HUNG);
        settle(&worker);
        let timeout = worker
            .next_deadline()
            .map_or(HUNG, |next| next.saturating_duration_since(Instant::now()));
        let timeout = i32::try_from(timeout.as_millis()).unwrap() + 1;
        if !work.is_finished() {
            // SAFETY: `event` has room for the one event that is asked for.
            let ready = unsafe { libc::epoll_wait(epoll, &raw mut event, 1, timeout) };
            // As above: the loop turns, and waits again.
            let interrupted = || std::io::Error::last_os_error().kind() == ErrorKind::Interrupted;
            assert!(ready >= 0 || interrupted());
        }
    }
    assert_eq!(worker.block_on(work).unwrap(), 1_000_000);
    // SAFETY: the descriptor is this test's own.
    unsafe { libc::close(epoll) };
}
