//! Public bugs of other executors, each as a test of this one. The name says whose bug it is.

mod support;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::os::unix::net::UnixStream as UnixStd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corelane::buf::AlignedBuf;
use corelane::fs::{File, OpenOptions};
use corelane::net::{TcpListener, UnixStream};
use corelane::time::{sleep, timeout};
use corelane::{
    BlockingError, Config, Executor, Placement, TurnBudget, Worker, spawn_blocking, spawn_local,
    stats, yield_now,
};

use support::{
    child, content, file_of, is_child, open_fds, panic_text, run, run_with, wait_until, watched,
    worker, yield_until,
};

/// Row 1, tonbo's "async Rust is not safe with io_uring", tokio #7983: the descriptor of an
/// accept or an open whose future was dropped leaks.
#[test]
fn row_1_tonbo_a_dropped_accept_or_open_leaks_no_descriptor() {
    // Alone in its process: other tests open descriptors of their own.
    if !is_child() {
        let (status, stderr) = child("row_1_tonbo_a_dropped_accept_or_open_leaks_no_descriptor");
        assert!(status.success(), "{stderr}");
        return;
    }
    run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        // What is made on first use is made.
        spawn_blocking(|| ()).await.unwrap();
        let before = open_fds();
        for round in 0..300u32 {
            let client = StdStream::connect(addr).unwrap();
            // The select of accept and timeout, cut at every stage of the accept.
            let mut accept = Box::pin(listener.accept());
            let mut open = Box::pin(File::open("/proc/self/status"));
            let mut waits = 0;
            while waits < round % 4 {
                let done = futures_util::poll!(accept.as_mut()).is_ready()
                    || futures_util::poll!(open.as_mut()).is_ready();
                if done {
                    break;
                }
                yield_now().await;
                waits += 1;
            }
            drop((accept, open));
            drop(client);
        }
        // Connections that no accept got are still in the listener's queue.
        drop(listener);
        yield_until("every operation has ended", || stats().slots == 0).await;
        assert_eq!(open_fds(), before - 1);
    });
}

/// Row 2, monoio #120: a waker is `Send + Sync` by its type, and must be by its reference count.
#[test]
fn row_2_monoio_wakers_are_cloned_woken_and_dropped_on_other_threads() {
    run(async {
        let (wakers, received) = mpsc::channel::<Waker>();
        let foreign = std::thread::spawn(move || {
            for waker in received {
                let copies: Vec<_> = (0..3).map(|_| waker.clone()).collect();
                waker.wake_by_ref();
                copies.into_iter().for_each(Waker::wake);
            }
        });
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let wakers = wakers.clone();
                spawn_local(async move {
                    for _ in 0..20 {
                        let mut sent = false;
                        poll_fn(|cx| {
                            if std::mem::replace(&mut sent, true) {
                                return Poll::Ready(());
                            }
                            wakers.send(cx.waker().clone()).unwrap();
                            Poll::Pending
                        })
                        .await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        drop(wakers);
        foreign.join().unwrap();
    });
}

/// Row 3, compio #942, cloud-hypervisor #8408: buffers are freed under a live ring at shutdown.
#[test]
fn row_3_compio_a_shutdown_waits_for_the_kernel_before_it_frees_buffers() {
    let bytes = content(8 << 20);
    let on_disk = file_of(&bytes);
    on_disk.as_file().sync_all().unwrap();
    for _ in 0..5 {
        let worker = worker();
        let path = on_disk.path().to_owned();
        worker.spawn_local(async move {
            let mut options = OpenOptions::new();
            let direct = options
                .read(true)
                .custom_flags(libc::O_DIRECT)
                .open(&path)
                .await;
            let file = match direct {
                Ok(file) => file,
                Err(_) => File::open(&path).await.unwrap(),
            };
            let buf = AlignedBuf::new(8 << 20, 4_096);
            let _ = file.read_at(buf, 0).await;
            pending::<()>().await;
        });
        let start = Instant::now();
        while worker.stats().submits < 2 && start.elapsed() < support::HUNG {
            worker.turn(TurnBudget::default());
        }
        let report = worker.shutdown(Instant::now());
        assert_eq!((report.tasks_aborted, report.ops_leaked), (1, 0));
    }
}

/// Row 4, glommio #61: a spawn takes a future that borrows. Here it does not compile:
///
/// ```compile_fail
/// let worker = corelane::Worker::new(corelane::Config::default()).unwrap();
/// let local = String::new();
/// let task = worker.spawn_local(async { local.len() });
/// ```
///
/// As tests carry no documentation tests, the bound is asserted by the type of a function.
#[test]
fn row_4_glommio_a_spawned_future_borrows_nothing() {
    fn spawns_static<F: Future + 'static>(worker: &Worker, future: F) {
        drop(worker.spawn_local(future));
    }
    let (worker, witness) = (worker(), Rc::new(()));
    let held = Rc::clone(&witness);
    spawns_static(&worker, async move {
        let _held = held;
        pending::<()>().await;
    });
    worker.turn(TurnBudget::default());
    assert_eq!(Rc::strong_count(&witness), 2);
    // What a task owns is gone when its worker is.
    drop(worker);
    assert_eq!(Rc::strong_count(&witness), 1);
}

/// Row 5, glommio #671, #379, #229, compio #850: reference counts overflow, or end too soon.
#[test]
fn row_5_glommio_a_task_survives_more_wakers_than_sixteen_bits_count() {
    run(async {
        let (sender, receiver) = mpsc::channel::<Vec<Waker>>();
        let witness = Rc::new(());
        let held = Rc::clone(&witness);
        let task = spawn_local(async move {
            let _held = held;
            poll_fn(|cx| {
                let wakers = (0..200_000).map(|_| cx.waker().clone()).collect();
                sender.send(wakers).unwrap();
                Poll::Ready(())
            })
            .await;
        });
        task.await.unwrap();
        assert_eq!(
            Rc::strong_count(&witness),
            1,
            "the future goes when the task ends"
        );
        let wakers = receiver.recv().unwrap();
        std::thread::spawn(move || {
            wakers.iter().for_each(Waker::wake_by_ref);
            drop(wakers);
        })
        .join()
        .unwrap();
        yield_now().await;
    });
}

/// Row 6, glommio #37, #62: a panic in blocking work hangs its awaiter and costs a thread.
#[test]
fn row_6_glommio_a_panic_in_blocking_work_reaches_its_awaiter_and_costs_no_thread() {
    watched(|| {
        let executor = Executor::builder()
            .placement(Placement::Unpinned(1))
            .blocking_threads(1)
            .start()
            .unwrap();
        let task = executor.spawn_on(0, || async {
            for _ in 0..20 {
                let error = spawn_blocking(|| -> u8 { panic!("in the pool") })
                    .await
                    .unwrap_err();
                assert!(matches!(error, BlockingError::Panicked(_)));
            }
            spawn_blocking(|| 3u8).await.unwrap()
        });
        assert_eq!(executor.block_on(task.unwrap()).unwrap(), 3);
    });
}

/// Row 7, glommio #689: the panic of a task in a queue of its own aborts the process.
#[test]
fn row_7_glommio_a_panic_in_a_task_is_that_tasks_own() {
    let executor = Executor::builder()
        .placement(Placement::Unpinned(2))
        .start()
        .unwrap();
    for worker in 0..2 {
        let task = executor.spawn_on(worker, || async { panic!("mine") });
        let error = executor
            .block_on(task.unwrap())
            .map(|(): ()| ())
            .unwrap_err();
        assert_eq!(panic_text(&*error.into_panic()), "mine");
        let task = executor.spawn_on(worker, || async { 1 });
        assert_eq!(executor.block_on(task.unwrap()).unwrap(), 1);
    }
}

/// Row 8, tokio-uring #147, #145, #93, compio #11, tokio #8277: a full submission queue panics, an
/// overflowed completion queue hangs.
#[test]
fn row_8_tokio_uring_full_queues_neither_panic_nor_hang() {
    let on_disk = file_of(&content(4_096));
    run_with(Config::new().sq_entries(1).cq_entries(4), async {
        let file = File::open(on_disk.path()).await.unwrap();
        let mut reads: Vec<_> = (0..500)
            .map(|_| Box::pin(file.read_at(Vec::with_capacity(8), 0)))
            .collect();
        // All are asked for before anything is submitted.
        for read in &mut reads {
            let _ = futures_util::poll!(read.as_mut());
        }
        for read in reads {
            assert_eq!(read.await.0.unwrap(), 8);
        }
    });
}

/// Row 9, libuv #4601, samba #423: nothing bounds what is in flight, and the kernel's overflow
/// list takes all memory.
#[test]
fn row_9_libuv_operations_in_flight_are_bounded() {
    let config = Config::new().sq_entries(8).cq_entries(32).peer_ops_max(20);
    run_with(config, async {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut recvs: Vec<_> = (0..5_000)
            .map(|_| Box::pin(ours.recv(vec![0; 1])))
            .collect();
        for recv in &mut recvs {
            assert!(futures_util::poll!(recv.as_mut()).is_pending());
        }
        sleep(Duration::from_millis(5)).await;
        assert!((1..=20).contains(&stats().in_flight), "{:?}", stats());
        drop(recvs);
        yield_until("all are gone", || stats().slots == 0).await;
        drop(theirs);
    });
}

/// Row 10, glommio #633: a vectored read of many segments into registered memory hangs in the
/// kernel.
#[test]
fn row_10_glommio_a_large_vectored_read_ends() {
    const LEN: usize = 6 << 20;
    let bytes = content(LEN);
    let on_disk = file_of(&bytes);
    on_disk.as_file().sync_all().unwrap();
    run(async {
        let mut options = OpenOptions::new();
        let direct = options
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(on_disk.path())
            .await;
        for file in [direct, File::open(on_disk.path()).await]
            .into_iter()
            .flatten()
        {
            let bufs = (0..1_024)
                .map(|_| AlignedBuf::new(LEN / 1_024, 4_096))
                .collect();
            let (result, bufs) = file.readv_at(bufs, 0).await;
            let count = result.unwrap();
            let read: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
            assert!(count > 0 && read[..] == bytes[..count]);
        }
        let pool = corelane::pool().unwrap();
        let bufs = (0..96).map(|_| pool.try_get().unwrap()).collect();
        let (result, bufs) = File::open(on_disk.path())
            .await
            .unwrap()
            .readv_at(bufs, 0)
            .await;
        assert_eq!(result.unwrap(), LEN);
        assert!(bufs.iter().flat_map(|buf| buf.to_vec()).eq(bytes));
    });
}

/// Row 11, glommio #605, #670, #526, nomt #595: polled I/O is assumed where there is none, and
/// reads of tmpfs give zeroes.
#[test]
fn row_11_glommio_a_memory_file_system_gives_its_bytes() {
    let bytes = content(100_000);
    let folder = if std::path::Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "/tmp"
    };
    let mut on_disk = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::io::Write::write_all(&mut on_disk, &bytes).unwrap();
    run(async {
        // A first open for writing alone must not spoil what follows.
        drop(
            OpenOptions::new()
                .write(true)
                .open(on_disk.path())
                .await
                .unwrap(),
        );
        let mut direct = OpenOptions::new();
        let direct = direct
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(on_disk.path())
            .await;
        let buffered = File::open(on_disk.path()).await;
        assert!(buffered.is_ok());
        for file in [direct, buffered].into_iter().flatten() {
            let (result, buf) = file.read_at(AlignedBuf::new(102_400, 4_096), 0).await;
            assert_eq!(result.unwrap(), bytes.len());
            assert!(buf[..] == bytes);
        }
    });
}

/// Row 14, liburing #943, netty #247: an idle runtime shows as waiting for I/O; and row 15,
/// monoio #25: an idle runtime eats a core. `idle.rs` measures both for longer.
#[test]
fn row_14_liburing_and_15_monoio_an_idle_worker_parks_once() {
    run(async {
        let (_theirs, ours) = UnixStream::pair().unwrap();
        let waiting = spawn_local(async move { ours.recv(vec![0; 8]).await.0 });
        sleep(Duration::from_millis(20)).await;
        let before = stats();
        sleep(Duration::from_millis(300)).await;
        let turns = stats().turns - before.turns;
        let enters = stats().enters - before.enters;
        assert!(
            turns <= 12 && enters <= 24,
            "{turns} turns and {enters} enters while idle"
        );
        waiting.abort();
    });
}

/// Row 16, monoio #241: a task's panic destroys the runtime, a handle that is polled on another
/// thread blocks for ever, and there is no abort.
#[test]
fn row_16_monoio_handles_work_on_any_thread_and_tasks_can_be_aborted() {
    let executor = Executor::builder()
        .placement(Placement::Unpinned(1))
        .start()
        .unwrap();
    let spawn = |fail: bool| {
        let task = executor.spawn_on(0, move || async move {
            sleep(Duration::from_millis(5)).await;
            assert!(!fail, "it was asked to");
            4
        });
        task.unwrap()
    };
    let (good, bad) = (spawn(false), spawn(true));
    assert_eq!(
        watched(move || futures_executor::block_on(good)).unwrap(),
        4
    );
    assert!(
        watched(move || futures_executor::block_on(bad))
            .unwrap_err()
            .is_panic()
    );
    // On another worker, of another thread.
    let elsewhere = spawn(false);
    let value =
        watched(move || worker().block_on(async { timeout(support::HUNG, elsewhere).await }));
    assert_eq!(value.unwrap().unwrap(), 4);
    let endless = executor.spawn_on(0, pending::<()>).unwrap();
    endless.abort();
    let error = watched(move || futures_executor::block_on(endless)).unwrap_err();
    assert!(error.is_cancelled());
    wait_until("nothing is left", || executor.stats()[0].tasks == 0);
}

/// Row 24, glommio #582: a task is cancelled, silently, when its handle is dropped.
#[test]
fn row_24_glommio_dropping_a_handle_lets_the_task_run() {
    let worker = worker();
    let done = Rc::new(Cell::new(false));
    drop(worker.spawn_local({
        let done = Rc::clone(&done);
        async move {
            sleep(Duration::from_millis(5)).await;
            done.set(true);
        }
    }));
    worker.run();
    assert!(done.get());
}

/// Row 24, talon #273: blocking work panics where nobody made a pool.
#[test]
fn row_24_talon_blocking_work_needs_no_setup() {
    assert_eq!(
        worker().block_on(async { spawn_blocking(|| 2).await.unwrap() }),
        2
    );
}

/// Row 24, monoio #378, glommio #695: what is called outside of the runtime fails with words about
/// thread-locals, and a destructor that runs late fails at all.
#[test]
fn row_24_monoio_an_operation_dropped_outside_of_its_worker_is_no_error() {
    let on_disk = file_of(&content(10));
    let worker = worker();
    let file = worker.block_on(File::open(on_disk.path())).unwrap();
    let mut read = Box::pin(file.read_at(vec![0; 10], 0));
    let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    let mut far = Box::pin(sleep(Duration::from_secs(100)));
    {
        let _entered = worker.enter();
        assert!(
            Pin::new(&mut far)
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    drop((read, far, file));
    assert_eq!(worker.stats().timers, 0);
    let panic = std::panic::catch_unwind(|| drop(spawn_local(async {}))).unwrap_err();
    assert!(
        panic_text(&*panic).contains("corelane worker"),
        "{}",
        panic_text(&*panic)
    );
}

/// tokio-rs/io-uring #263, tigerbeetle #3530: completions wait in the kernel while the loop
/// submits or sleeps.
#[test]
fn a_completion_that_is_there_is_taken_before_the_worker_waits() {
    let worker = worker();
    let (theirs, ours) = {
        let _entered = worker.enter();
        UnixStream::pair().unwrap()
    };
    let received = worker.spawn_local(async move { ours.recv(vec![0; 8]).await.0.unwrap() });
    while worker.stats().in_flight == 0 {
        worker.turn(TurnBudget::default());
    }
    let fd = std::os::fd::AsFd::as_fd(&theirs)
        .try_clone_to_owned()
        .unwrap();
    std::io::Write::write_all(&mut UnixStd::from(fd), b"now").unwrap();
    let start = Instant::now();
    worker.park(Some(start + Duration::from_secs(30)));
    worker.turn(TurnBudget::default());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(received.is_finished());
}
