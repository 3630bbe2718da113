//! Two reads find that there is something, one takes it, and the other, which was dropped, is in a call
//! that blocks, and is not to be interrupted. A ring's cancel comes while the kernel hands the read on,
//! from the first attempt to a helper thread, and finds nothing (`ENOENT`); nobody cancels what a thread
//! of the other backend is at. Seen with Linux 6.1 and pipes; here with a file that tells events of a
//! folder, which no kernel reads without blocking.
#![allow(unsafe_code, reason = "makes a descriptor of inotify")]

use std::ffi::CString;
use std::future::Future;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::{BackendChoice, Config, TurnBudget, Worker};

/// Tells when something is created in `folder`.
fn events_of(folder: &Path) -> File {
    let folder = CString::new(folder.as_os_str().as_bytes()).unwrap();
    // SAFETY: takes no memory.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: new, and known to nobody else.
    let events = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: reads the path, which is alive and ends with a zero.
    let watch = unsafe { libc::inotify_add_watch(fd, folder.as_ptr(), libc::IN_CREATE) };
    assert!(watch >= 0, "{}", std::io::Error::last_os_error());
    File::from_std(events.into())
}

/// Turns and parks: nobody but the worker knows that there is something to ask again.
fn turn_until(worker: &Worker, mut is: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let more_work = worker.turn(TurnBudget::default()).more_work;
        if is() {
            return true;
        }
        if !more_work {
            worker.park(Some(end));
        }
    }
    false
}

/// A thread finds that a pipe is to be waited for, after the write that it was at was dropped.
#[test]
fn a_write_that_was_dropped_before_it_began_to_wait_comes_home() {
    for backend in [BackendChoice::Uring, BackendChoice::Threads] {
        let Ok(worker) = Worker::new(Config::new().backend(backend)) else {
            println!("SKIP: {backend:?}");
            continue;
        };
        let (reader, writer) = std::io::pipe().unwrap();
        let entered = worker.enter();
        let pipe = File::from_std(std::fs::File::from(OwnedFd::from(writer)));
        let mut cx = Context::from_waker(Waker::noop());
        // More than it holds.
        let mut filling = Box::pin(pipe.write_at(vec![1; 1 << 20], 0));
        assert!(filling.as_mut().poll(&mut cx).is_pending());
        drop(entered);
        for _ in 0..20 {
            worker.turn(TurnBudget::default());
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut write = Box::pin(pipe.write_at(vec![2; 100], 0));
        let polled = write.as_mut().poll(&mut cx);
        assert!(polled.is_pending());
        worker.turn(TurnBudget::default());
        std::thread::sleep(Duration::from_millis(5));
        drop(write);
        drop(filling);
        let home = turn_until(&worker, || {
            let _entered = worker.enter();
            corelane::stats().in_flight == 0
        });
        assert!(home, "{backend:?}: a dropped write waits for ever");
        drop(reader);
    }
}

#[test]
fn a_read_that_was_dropped_while_it_was_handed_on_comes_home() {
    for backend in [BackendChoice::Uring, BackendChoice::Threads] {
        match Worker::new(Config::new().backend(backend)) {
            // Which of the two takes it is up to the threads.
            Ok(worker) => (0..20).for_each(|round| comes_home(&worker, round % 2 == 0)),
            Err(error) => println!("SKIP: {backend:?}: {error}"),
        }
    }
}

fn comes_home(worker: &Worker, dropped_at_once: bool) {
    let folder = tempfile::tempdir().unwrap();
    let entered = worker.enter();
    let events = events_of(folder.path());
    std::fs::write(folder.path().join("one"), b"").unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    // Both find an event, and one of them takes it.
    let mut reads = [(); 2].map(|()| {
        let events = events.clone();
        Box::pin(async move { events.read_at(vec![0; 4096], 0).await.0.unwrap() })
            as Pin<Box<dyn Future<Output = usize>>>
    });
    for read in &mut reads {
        assert!(read.as_mut().poll(&mut cx).is_pending());
    }
    let [mut kept, dropped] = reads;
    drop(entered);
    if !dropped_at_once {
        worker.turn(TurnBudget::default());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(dropped);
    let mut read = None;
    let came = turn_until(worker, || {
        let _entered = worker.enter();
        if read.is_none()
            && let Poll::Ready(len) = kept.as_mut().poll(&mut cx)
        {
            read = Some(len);
        }
        read.is_some() || corelane::stats().in_flight == 1
    });
    assert!(came, "neither read came");
    if read.is_none() {
        // The dropped one took the event.
        std::fs::write(folder.path().join("two"), b"").unwrap();
    }
    let home = turn_until(worker, || {
        let _entered = worker.enter();
        if read.is_none()
            && let Poll::Ready(len) = kept.as_mut().poll(&mut cx)
        {
            read = Some(len);
        }
        read.is_some() && corelane::stats().in_flight == 0
    });
    assert!(home, "the dropped read waits for ever");
    assert!(read.is_some_and(|len| len > 0));
}
