//! What must not bring a worker down: storms, overflows, tiny rings, ends at the wrong moment.
//! Panics are in `panic.rs`.

mod support;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::os::unix::thread::JoinHandleExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::net::{TcpListener, UnixStream};
use corelane::time::sleep;
use corelane::{Config, TurnBudget, spawn_blocking, spawn_local, stats};

use support::{child, content, file_of, is_child, on_ring, run_with, watched, worker, yield_until};

#[test]
fn a_waker_outlives_its_worker_and_its_thread() {
    let (sender, wakers) = mpsc::channel::<Waker>();
    let handle = watched(move || {
        let worker = worker();
        let sends = sender.clone();
        // A task's, the root's, and that of a task that has ended.
        let task = worker.spawn_local(poll_fn(move |cx| {
            sends.send(cx.waker().clone()).unwrap();
            Poll::<()>::Pending
        }));
        let sends = sender.clone();
        let ended = worker.spawn_local(poll_fn(move |cx| {
            sends.send(cx.waker().clone()).unwrap();
            Poll::Ready(())
        }));
        worker.block_on(async move {
            ended.await.unwrap();
            poll_fn(|cx| {
                sender.send(cx.waker().clone()).unwrap();
                Poll::Ready(())
            })
            .await;
        });
        task
    });
    let wakers: Vec<_> = wakers.iter().collect();
    assert_eq!(wakers.len(), 3);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let wakers = wakers.clone();
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    for waker in &wakers {
                        waker.wake_by_ref();
                        let copy = waker.clone();
                        assert!(copy.will_wake(waker));
                        copy.wake();
                    }
                }
            })
        })
        .collect();
    // A new worker, which may have taken the old one's place, is not confused.
    let next = watched(|| {
        let worker = worker();
        worker.block_on(async {
            for _ in 0..50 {
                spawn_local(sleep(Duration::from_micros(10))).await.unwrap();
            }
            7
        })
    });
    assert_eq!(next, 7);
    for thread in threads {
        thread.join().unwrap();
    }
    drop(wakers);
    assert!(
        futures_executor::block_on(handle)
            .unwrap_err()
            .is_worker_gone()
    );
}

#[test]
fn a_handle_that_is_awaited_while_its_worker_ends_resolves() {
    for _ in 0..20 {
        let (sender, handle) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let worker = worker();
            sender
                .send(worker.spawn_local(std::future::pending::<()>()))
                .unwrap();
            worker.turn(TurnBudget::default());
        });
        let handle = handle.recv().unwrap();
        let error = watched(move || futures_executor::block_on(handle)).unwrap_err();
        assert!(error.is_worker_gone());
        thread.join().unwrap();
    }
}

/// How many operations go through the ring of eight: a debug build makes them slower.
const MANY: usize = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

#[test]
fn a_million_operations_go_through_a_ring_of_eight() {
    const TASKS: usize = 64;
    let bytes = content(65_536);
    let on_disk = file_of(&bytes);
    run_with(Config::new().sq_entries(8).cq_entries(8), async {
        let file = File::open(on_disk.path()).await.unwrap();
        let before = stats();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let file = file.clone();
                spawn_local(async move {
                    let mut buf = Vec::with_capacity(16);
                    let mut sum = 0u64;
                    for round in 0..MANY / TASKS {
                        let at = (task * 1_021 + round * 37) % 65_000;
                        let (result, back) = file.read_at(buf, at as u64).await;
                        assert_eq!(result.unwrap(), 16);
                        sum += u64::from(back[0]);
                        buf = back;
                    }
                    sum
                })
            })
            .collect();
        for (task, sum) in tasks.into_iter().enumerate() {
            let expected: u64 = (0..MANY / TASKS)
                .map(|round| u64::from(bytes[(task * 1_021 + round * 37) % 65_000]))
                .sum();
            assert_eq!(sum.await.unwrap(), expected);
        }
        let operations = (MANY / TASKS * TASKS) as u64;
        assert_eq!(stats().completions - before.completions, operations);
        assert_eq!((stats().in_flight, stats().slots), (0, 0));
    });
}

#[test]
fn a_multishot_accept_overflows_a_queue_of_eight_and_loses_no_connection() {
    const CONNECTIONS: usize = 300;
    let on_ring = on_ring("that the queue overflows (the rest is not skipped)");
    run_with(Config::new().sq_entries(4).cq_entries(8), async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        let mut accepted = Vec::new();
        {
            let mut next = std::pin::pin!(incoming.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
            yield_until("the accept is armed", || stats().in_flight > 0).await;
        }
        // All connect while the worker looks elsewhere.
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| StdStream::connect(addr).unwrap())
            .collect();
        while accepted.len() < CONNECTIONS {
            accepted.push(incoming.next().await.unwrap().unwrap().peer_addr().unwrap());
        }
        let mut expected: Vec<_> = clients
            .iter()
            .map(|client| client.local_addr().unwrap())
            .collect();
        accepted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(accepted, expected);
        assert!(
            stats().overflows > 0 || !on_ring,
            "the queue did not overflow: {:?}",
            stats()
        );
        let late = StdStream::connect(addr).unwrap();
        let peer = incoming.next().await.unwrap().unwrap().peer_addr().unwrap();
        assert_eq!(peer, late.local_addr().unwrap());
    });
}

#[test]
fn connections_that_nobody_took_are_closed_with_the_accept() {
    run_with(Config::new().sq_entries(4).cq_entries(8), async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut incoming = listener.incoming();
        {
            let mut next = std::pin::pin!(incoming.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
            yield_until("the accept is armed", || stats().in_flight > 0).await;
        }
        let addr = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..30).map(|_| StdStream::connect(addr).unwrap()).collect();
        drop(incoming.next().await.unwrap().unwrap());
        drop(incoming);
        drop(listener);
        yield_until("the accept has ended", || stats().slots == 0).await;
        for client in &mut clients {
            client.set_read_timeout(Some(support::HUNG)).unwrap();
            // The end, or a reset: not a wait for ever.
            // A socket with a timeout answers EINTR, not a restart, to signals and to a stop.
            let read = loop {
                match std::io::Read::read(client, &mut [0; 1]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            assert!(
                matches!(&read, Ok(0))
                    || read.as_ref().is_err_and(|error| {
                        error.kind() == std::io::ErrorKind::ConnectionReset
                    }),
                "{read:?}"
            );
        }
    });
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Installs a handler that does nothing, without `SA_RESTART`: every wait is interrupted.
fn handle(signal: libc::c_int) {
    // SAFETY: an all-zero sigaction is valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: `action` is valid for the call, and its handler does nothing.
    let set = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

#[test]
fn a_storm_of_signals_interrupts_nothing() {
    if is_child() {
        return storm();
    }
    // In a process of its own: the timer's signal reaches any thread of it.
    let (status, stderr) = child("a_storm_of_signals_interrupts_nothing");
    assert!(status.success(), "{stderr}");
}

fn storm() {
    handle(libc::SIGALRM);
    handle(libc::SIGUSR1);
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: 200,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: `timer` is valid for the call.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let rounds = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rounds);
    let working = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            one_round();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) || rounds.load(Ordering::Relaxed) < 3 {
        assert!(
            start.elapsed() < support::HUNG,
            "the rounds make no progress"
        );
        // SAFETY: the thread has not been joined, so its id is valid.
        unsafe { libc::pthread_kill(working.as_pthread_t(), libc::SIGUSR1) };
        std::thread::sleep(Duration::from_micros(50));
    }
    stop.store(true, Ordering::Relaxed);
    working.join().unwrap();
}

/// Waits of every kind, with what they must give.
fn one_round() {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    run_with(Config::new().sq_entries(8).cq_entries(16), async {
        let start = Instant::now();
        sleep(Duration::from_millis(5)).await;
        assert!(start.elapsed() >= Duration::from_millis(5));
        let file = File::open(on_disk.path()).await.unwrap();
        let read = file.read_exact_at(Vec::with_capacity(100_000), 0).await;
        read.0.unwrap();
        assert!(read.1 == bytes);
        let (one, two) = UnixStream::pair().unwrap();
        let sending = spawn_local(async move { one.send_all(content(500_000)).await.0 });
        let mut total = 0;
        while total < 500_000 {
            let (result, _) = two.recv(vec![0; 10_000]).await;
            total += result.unwrap();
        }
        sending.await.unwrap().unwrap();
        assert_eq!(spawn_blocking(|| 8).await.unwrap(), 8);
        // The kernel makes a helper thread for this one, gives up when signals interrupt that too
        // often, and the driver submits it again.
        file.sync_all().await.unwrap();
    });
}

#[test]
fn operations_made_on_a_worker_that_has_ended_fail_and_give_their_buffers_back() {
    let on_disk = file_of(b"bytes");
    let ended = worker();
    let file = {
        let _entered = ended.enter();
        File::from_std(on_disk.reopen().unwrap())
    };
    ended.shutdown(Instant::now());
    let (result, buf) = futures_executor::block_on(file.read_at(content(9), 0));
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert_eq!(buf, content(9));
    // The descriptor was open until now.
    assert!(std::os::fd::AsFd::as_fd(&file).as_raw_fd() >= 0);
}

#[test]
fn a_worker_dropped_inside_of_another_workers_task_is_the_only_one_to_end() {
    let outer = worker();
    let kept = Rc::new(RefCell::new(None));
    let place = Rc::clone(&kept);
    outer.block_on(async move {
        let inner = worker();
        let (_theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        let waiting = {
            let _entered = inner.enter();
            let ours = UnixStream::from_std(ours).unwrap();
            inner.spawn_local(async move { ours.recv(vec![0; 8]).await.0.is_ok() })
        };
        inner.turn(TurnBudget::default());
        drop(inner);
        *place.borrow_mut() = Some(waiting.await.unwrap_err().is_worker_gone());
        sleep(Duration::from_millis(1)).await;
    });
    assert_eq!(*kept.borrow(), Some(true));
}

#[test]
fn a_future_moves_to_another_worker_of_its_thread() {
    // A file belongs to the worker that opened it, whichever worker polls its operations.
    let on_disk = file_of(&content(50));
    let (home, away) = (worker(), worker());
    let file = home.block_on(File::open(on_disk.path())).unwrap();
    let read = away.spawn_local(async move { file.read_at(Vec::with_capacity(50), 0).await.1 });
    let start = Instant::now();
    while !read.is_finished() {
        assert!(start.elapsed() < support::HUNG);
        away.turn(TurnBudget::default());
        home.turn(TurnBudget::default());
    }
    let mut read = std::pin::pin!(read);
    let polled = read
        .as_mut()
        .poll(&mut std::task::Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(bytes)) if bytes == content(50)));
}

#[test]
fn a_pool_buffer_of_a_worker_that_has_ended_serves_the_next() {
    let on_disk = file_of(&content(500));
    for _ in 0..4 {
        let kept = support::run(async { corelane::pool().unwrap().get().await });
        // The next ring may well get the number of the last one's descriptor.
        let buf = support::run(async {
            let file = File::open(on_disk.path()).await.unwrap();
            drop(corelane::pool().unwrap().get().await);
            let (result, buf) = file.read_at(kept, 0).await;
            assert_eq!(result.unwrap(), 500);
            buf
        });
        assert_eq!(buf[..], content(500));
    }
}
