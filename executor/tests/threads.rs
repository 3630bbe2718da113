//! What the second backend, threads and epoll, promises beyond what it shares with the ring.

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net as std_unix;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::fs::{File, ReadMode};
use corelane::net::{TcpStream, UnixStream};
use corelane::{AsyncFd, BackendChoice, Config, TurnBudget, Worker, spawn_local, time};

use support::{
    HUNG, child_with, content, file_of, is_child, run_on, run_with, settle, tcp_half, wait_until,
    yield_until,
};

fn threads() -> Config {
    Config::new().backend(BackendChoice::Threads)
}

#[test]
fn the_number_of_threads_is_checked_and_held() {
    for threads_max in [0, 1025] {
        let error = Worker::new(threads().file_threads_max(threads_max)).unwrap_err();
        assert!(error.to_string().contains("file_threads_max"), "{error}");
    }
    // In a process of its own, whose threads can be told apart.
    if !is_child() {
        let test = "the_number_of_threads_is_checked_and_held";
        let (status, stderr) = child_with(test, |_| {});
        assert!(status.success(), "{stderr}");
        return;
    }
    let on_disk = file_of(b"x");
    let worker = Worker::new(threads().file_threads_max(3)).unwrap();
    run_on(&worker, async {
        assert_eq!(
            pool_threads(),
            0,
            "threads are started when they are needed"
        );
        let file = File::open(on_disk.path()).await.unwrap();
        assert_eq!(pool_threads(), 1);
        let syncs: Vec<_> = (0..200)
            .map(|_| {
                let file = file.clone();
                spawn_local(async move { file.statx().await.unwrap().len() })
            })
            .collect();
        for sync in syncs {
            assert_eq!(sync.await.unwrap(), 1);
        }
        assert!(pool_threads() <= 3, "{} threads", pool_threads());
    });
    drop(worker);
    wait_until("the threads have left", || pool_threads() == 0);
}

/// How many threads of the process serve files.
fn pool_threads() -> usize {
    task_files("comm")
        .filter(|name| name.trim() == "corelane-files")
        .count()
}

/// What a file of each thread says.
fn task_files(name: &str) -> impl Iterator<Item = String> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(move |task| std::fs::read_to_string(task.ok()?.path().join(name)).ok())
}

#[test]
fn a_pipe_is_waited_for_and_not_blocked_on() {
    run_with(threads().file_threads_max(1), async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        let read = spawn_local({
            let file = file.clone();
            async move { file.read_at(Vec::with_capacity(8), 0).await.1 }
        });
        // The one thread stays free for others.
        for _ in 0..10 {
            File::open("/dev/null").await.unwrap();
        }
        assert!(!read.is_finished());
        writer.write_all(b"piped").unwrap();
        assert_eq!(read.await.unwrap(), b"piped");
        // And a read that nobody answers is cancelled.
        let soon = Duration::from_millis(5);
        let waiting = time::timeout(soon, file.read_at(Vec::with_capacity(8), 0)).await;
        assert!(waiting.is_err());
        yield_until("the read is gone", || corelane::stats().in_flight == 0).await;
        drop(writer);
        assert_eq!(file.read_at(Vec::with_capacity(8), 0).await.0.unwrap(), 0);
    });
}

#[test]
fn a_read_that_must_not_wait_does_not_wait_for_a_pipe() {
    run_with(threads(), async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        let read = async |mode| file.read_at_with(Vec::with_capacity(8), 0, mode).await;
        let (result, _) = read(ReadMode::NoWait).await;
        match result.unwrap_err().raw_os_error() {
            // A kernel whose pipes cannot be asked.
            Some(libc::EOPNOTSUPP) => return,
            errno => assert_eq!(errno, Some(libc::EAGAIN)),
        }
        writer.write_all(b"piped").unwrap();
        assert_eq!(read(ReadMode::NoWait).await.1, b"piped");
        writer.write_all(b"more").unwrap();
        assert_eq!(read(ReadMode::Async).await.1, b"more");
        let on_disk = tempfile::tempfile().unwrap();
        let (result, _) = File::from_std(on_disk)
            .read_at_with(vec![0; 8], 0, ReadMode::NoWait)
            .await;
        assert_eq!(result.map_err(|error| error.raw_os_error()), Ok(0));
    });
}

#[test]
fn a_full_pipe_is_waited_for_and_a_closed_one_is_an_error() {
    run_with(threads(), async {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
        let bytes = content(300_000);
        let sent = bytes.clone();
        let written = spawn_local({
            let file = file.clone();
            async move { file.write_all_at(sent, 0).await.0.unwrap() }
        });
        let thread = std::thread::spawn(move || {
            let mut received = vec![0; 300_000];
            reader.read_exact(&mut received).unwrap();
            received
        });
        written.await.unwrap();
        assert!(thread.join().unwrap() == bytes);
        let error = file.write_at(vec![0; 8], 0).await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    });
}

#[test]
fn operations_of_one_socket_are_served_in_order() {
    run_with(threads(), async {
        let (mut theirs, ours) = std_unix::UnixStream::pair().unwrap();
        let ours = Rc::new(UnixStream::from_std(ours).unwrap());
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let receivers: Vec<_> = (0..20)
            .map(|index| {
                let (ours, order) = (Rc::clone(&ours), Rc::clone(&order));
                spawn_local(async move {
                    let (result, bytes) = ours.recv(Vec::with_capacity(1)).await;
                    assert_eq!(result.unwrap(), 1);
                    order.borrow_mut().push((index, bytes[0]));
                })
            })
            .collect();
        yield_until("all wait", || corelane::stats().in_flight == 20).await;
        theirs.write_all(&(0..20).collect::<Vec<u8>>()).unwrap();
        for receiver in receivers {
            receiver.await.unwrap();
        }
        let expected: Vec<_> = (0..20).map(|index| (index, index)).collect();
        assert_eq!(*order.borrow(), expected);
    });
}

#[test]
fn both_directions_of_a_socket_wait_at_once() {
    run_with(threads(), async {
        let (ours, theirs) = tcp_half().await;
        let ours = Rc::new(ours);
        let bytes = content(8 << 20);
        let (to_send, peers) = (bytes.clone(), bytes.clone());
        let received = spawn_local({
            let ours = Rc::clone(&ours);
            async move {
                let mut received = Vec::new();
                while received.len() < 8 << 20 {
                    let (result, part) = ours.recv(Vec::with_capacity(1 << 16)).await;
                    assert!(result.unwrap() > 0);
                    received.extend_from_slice(&part);
                }
                received
            }
        });
        let sent = spawn_local(async move { ours.send_all(to_send).await.0.unwrap() });
        let thread = std::thread::spawn(move || {
            let mut reading = theirs.try_clone().unwrap();
            let reader = std::thread::spawn(move || {
                let mut received = vec![0; 8 << 20];
                reading.read_exact(&mut received).unwrap();
                received
            });
            (&theirs).write_all(&peers).unwrap();
            reader.join().unwrap()
        });
        sent.await.unwrap();
        assert!(received.await.unwrap() == bytes);
        assert!(thread.join().unwrap() == bytes);
    });
}

#[test]
fn readers_and_polls_of_one_descriptor_are_all_told() {
    run_with(threads(), async {
        let (mut theirs, ours) = std_unix::UnixStream::pair().unwrap();
        let ours = Rc::new(AsyncFd::new(ours));
        let polls: Vec<_> = (0..5)
            .map(|_| {
                let ours = Rc::clone(&ours);
                spawn_local(async move { ours.readable().await.unwrap() })
            })
            .collect();
        yield_until("all wait", || corelane::stats().in_flight == 5).await;
        theirs.write_all(b"x").unwrap();
        for poll in polls {
            poll.await.unwrap();
        }
        // Still readable: an edge that has passed is not waited for.
        ours.readable().await.unwrap();
        ours.writable().await.unwrap();
        // A poll beside one that waits learns of what is there already.
        let waiting = spawn_local({
            let ours = Rc::clone(&ours);
            async move {
                ours.get_ref().set_nonblocking(true).unwrap();
                ours.get_ref().read_exact(&mut [0]).unwrap();
                ours.readable().await.unwrap();
            }
        });
        yield_until("it waits", || corelane::stats().in_flight == 1).await;
        ours.writable().await.unwrap();
        assert!(!waiting.is_finished());
        drop(theirs);
        waiting.await.unwrap();
        let error = AsyncFd::new(tempfile::tempfile().unwrap());
        assert_eq!(
            error.readable().await.unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
    });
}

#[test]
fn a_connect_waits_for_room_in_the_backlog() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let worker = Worker::new(threads()).unwrap();
    // Driven by a foreign loop: the pauses between the attempts reach its descriptor, too.
    let fd = worker.fd().unwrap().as_raw_fd();
    let done = Rc::new(Cell::new(0));
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    listener
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    listener.listen(1).unwrap();
    for _ in 0..6 {
        let (path, done) = (path.clone(), Rc::clone(&done));
        worker.spawn_local(async move {
            let stream = UnixStream::connect(path).await.unwrap();
            done.set(done.get() + 1);
            drop(stream);
        });
    }
    let start = Instant::now();
    let mut accepted = 0;
    while done.get() < 6 {
        assert!(start.elapsed() < HUNG, "{} of 6", done.get());
        settle(&worker);
        readable(fd, Duration::from_millis(200));
        // The queue has room for two: one more for each that is accepted.
        assert!(done.get() <= accepted + 2);
        if done.get() == accepted + 2 {
            listener.accept().unwrap();
            accepted += 1;
        }
    }
}

/// Waits by poll(2), which may end early where the process is stopped and goes on.
fn readable(fd: i32, timeout: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = i32::try_from(timeout.as_millis()).unwrap();
    // SAFETY: `poll` is one valid pollfd for the duration of the call.
    unsafe { libc::poll(&raw mut poll, 1, timeout) == 1 }
}

#[test]
fn a_refused_connection_is_an_error() {
    run_with(threads(), async {
        let addr = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn an_urgent_byte_does_not_keep_the_worker_busy() {
    let worker = Worker::new(threads()).unwrap();
    run_on(&worker, async {
        let (ours, theirs) = tcp_half().await;
        let received = spawn_local(async move { ours.recv(Vec::with_capacity(8)).await.1 });
        yield_until("the receive waits", || corelane::stats().in_flight == 1).await;
        // SAFETY: the byte is a static; the descriptor is open.
        let sent =
            unsafe { libc::send(theirs.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        time::sleep(Duration::from_millis(20)).await;
        let before = corelane::stats();
        time::sleep(Duration::from_millis(100)).await;
        let after = corelane::stats();
        assert!(after.enters - before.enters < 10, "{before:?} {after:?}");
        assert!(!received.is_finished());
        (&theirs).write_all(b"data").unwrap();
        assert_eq!(received.await.unwrap(), b"data");
    });
}

#[test]
fn an_operation_that_no_thread_has_begun_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = fifo(folder.path());
    let worker = Worker::new(threads().file_threads_max(1)).unwrap();
    // The one thread waits for who writes to the pipe.
    let stuck = worker.spawn_local({
        let fifo = fifo.clone();
        async move { File::open(fifo).await.map(drop) }
    });
    settle(&worker);
    let queued = worker.spawn_local(async { File::open("/dev/null").await.map(drop) });
    settle(&worker);
    assert_eq!(worker.stats().in_flight, 2);
    queued.abort();
    settle(&worker);
    assert_eq!(
        worker.stats().in_flight,
        1,
        "a queued operation ends at once"
    );
    assert!(!stuck.is_finished());
    let writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    run_on(&worker, stuck).unwrap().unwrap();
    drop(writer);
}

#[test]
fn a_call_that_does_not_end_is_reported_and_its_memory_stays() {
    // In a process of its own, in which no other thread opens anything.
    if !is_child() {
        let test = "a_call_that_does_not_end_is_reported_and_its_memory_stays";
        let (status, stderr) = child_with(test, |_| {});
        assert!(status.success(), "{stderr}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = fifo(folder.path());
    let worker = Worker::new(threads()).unwrap();
    let task = worker.spawn_local({
        let fifo = fifo.clone();
        async move { File::open(fifo).await.map(drop) }
    });
    settle(&worker);
    wait_until("a thread is in the call", || {
        let opening = format!("{} ", libc::SYS_openat2);
        task_files("syscall").any(|syscall| syscall.starts_with(&opening))
    });
    let start = Instant::now();
    let report = worker.shutdown(start);
    assert_eq!((report.tasks_aborted, report.ops_leaked), (1, 1));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(task.is_finished());
    // The call ends after all: nobody takes the descriptor that it makes.
    let writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    wait_until("the thread has closed what it opened", || {
        let mut poll = libc::pollfd {
            fd: writer.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: `poll` is one valid pollfd for the duration of the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) };
        poll.revents & libc::POLLERR != 0
    });
}

fn fifo(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name is a C string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

#[test]
fn a_frame_loop_that_never_parks_sees_completions_in_its_next_frame() {
    let worker = Worker::new(threads()).unwrap();
    let (mut theirs, ours) = std_unix::UnixStream::pair().unwrap();
    let received = Rc::new(Cell::new(0));
    {
        let _entered = worker.enter();
        let (ours, received) = (UnixStream::from_std(ours).unwrap(), Rc::clone(&received));
        spawn_local(async move {
            loop {
                received.set(received.get() + ours.recv(Vec::with_capacity(8)).await.0.unwrap());
            }
        });
    }
    settle(&worker);
    for frame in 1..=20 {
        theirs.write_all(b"x").unwrap();
        // One turn learns of it, and the next polls the task.
        worker.turn(TurnBudget::default());
        worker.turn(TurnBudget::default());
        assert_eq!(received.get(), frame);
    }
}

#[test]
fn a_worker_that_spins_before_it_parks_comes_to_rest() {
    let config = threads().spin_before_park(Duration::from_millis(2));
    let worker = Worker::new(config).unwrap();
    let (_theirs, ours) = std_unix::UnixStream::pair().unwrap();
    run_on(&worker, async {
        let ours = UnixStream::from_std(ours).unwrap();
        spawn_local(async move { ours.recv(Vec::with_capacity(8)).await.0.is_ok() });
        time::sleep(Duration::from_millis(20)).await;
        let before = corelane::stats();
        time::sleep(Duration::from_millis(200)).await;
        let after = corelane::stats();
        assert!(after.parks - before.parks <= 4, "{before:?} {after:?}");
        assert!(after.turns - before.turns <= 8, "{before:?} {after:?}");
    });
}

#[test]
fn descriptors_are_told_apart_when_their_numbers_are_used_again() {
    run_with(threads(), async {
        let mut numbers = BTreeSet::new();
        for round in 0..200_u8 {
            let (mut theirs, ours) = std_unix::UnixStream::pair().unwrap();
            numbers.insert(ours.as_raw_fd());
            // A copy keeps the file, and what epoll knows of it, alive beyond its number.
            let copy = ours.try_clone().unwrap();
            let ours = UnixStream::from_std(ours).unwrap();
            let waited = time::timeout(Duration::from_micros(100), ours.recv(vec![0; 1])).await;
            assert!(waited.is_err());
            let received = spawn_local(async move { ours.recv(Vec::with_capacity(1)).await.1 });
            corelane::yield_now().await;
            theirs.write_all(&[round]).unwrap();
            assert_eq!(received.await.unwrap(), [round]);
            drop(copy);
        }
        assert!(numbers.len() < 100, "numbers are used again");
    });
}
