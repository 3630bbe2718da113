//! Where io_uring is refused, everything runs on threads and epoll, and says so: in processes whose
//! system calls a seccomp filter answers, as containers' filters do.

mod support;

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use corelane::fs::{File, OpenOptions};
use corelane::net::{BufRing, TcpListener, TcpStream};
use corelane::{
    AsyncFd, Backend, BackendChoice, Config, Executor, SetupError, ThreadsReason, Worker,
    spawn_local, time,
};

use support::{HUNG, child_with, content, file_of, is_child, run_on};

const SETUP: libc::c_long = libc::SYS_io_uring_setup;
const ENTER: libc::c_long = libc::SYS_io_uring_enter;
const REGISTER: libc::c_long = libc::SYS_io_uring_register;

#[test]
fn setup_answers_eperm() {
    refused(
        "setup_answers_eperm",
        &[SETUP, ENTER, REGISTER],
        libc::EPERM,
    );
}

#[test]
fn setup_answers_enosys() {
    refused(
        "setup_answers_enosys",
        &[SETUP, ENTER, REGISTER],
        libc::ENOSYS,
    );
}

#[test]
fn setup_answers_eacces() {
    refused("setup_answers_eacces", &[SETUP], libc::EACCES);
}

#[test]
fn only_enter_answers_eperm() {
    refused("only_enter_answers_eperm", &[ENTER], libc::EPERM);
}

#[test]
fn only_enter_answers_enosys() {
    refused("only_enter_answers_enosys", &[ENTER], libc::ENOSYS);
}

#[test]
fn only_register_answers_eperm() {
    refused("only_register_answers_eperm", &[REGISTER], libc::EPERM);
}

#[test]
fn only_register_answers_enosys() {
    refused("only_register_answers_enosys", &[REGISTER], libc::ENOSYS);
}

/// A close that failed without having been made would leave its descriptor open for ever.
#[test]
fn a_close_is_made_where_no_thread_can_be_started() {
    let test = "a_close_is_made_where_no_thread_can_be_started";
    if !is_child() {
        let (status, stderr) = child_with(test, |_| {});
        assert!(status.success(), "{stderr}");
        return;
    }
    let worker = Worker::new(Config::new().backend(BackendChoice::Threads)).unwrap();
    let on_disk = file_of(b"content");
    run_on(&worker, async {
        let file = File::from_std(on_disk.reopen().unwrap());
        let entry = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        refuse(&[libc::SYS_clone3, libc::SYS_clone], libc::EAGAIN);
        let refused = file.sync_all().await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN), "{refused}");
        assert!(std::fs::symlink_metadata(&entry).is_ok());
        file.close().await.unwrap();
        assert!(std::fs::symlink_metadata(&entry).is_err(), "it is open");
    });
    assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0);
}

/// Runs `test` in a process of its own in which `calls` answer `errno`.
fn refused(test: &str, calls: &[libc::c_long], errno: i32) {
    if !is_child() {
        let (status, stderr) = child_with(test, |command| {
            // The choice is to be made by what is refused.
            command.env_remove("CORELANE_BACKEND");
        });
        assert!(status.success(), "{stderr}");
        return;
    }
    if let Err(error) = Worker::new(Config::new().backend(BackendChoice::Uring))
        && calls[0] != SETUP
    {
        println!("SKIP: {test}: a ring is not even set up here: {error}");
        return;
    }
    refuse(calls, errno);
    let name = match calls[0] {
        SETUP => "io_uring_setup",
        ENTER => "io_uring_enter",
        _ => "io_uring_register",
    };
    a_forced_ring_is_an_error(name, errno);
    let worker = Worker::new(Config::new()).unwrap();
    assert_reason(&worker.backend().unwrap(), name, errno);
    everything_runs(worker);
    an_executor_runs(name, errno);
}

fn a_forced_ring_is_an_error(name: &str, errno: i32) {
    let forced = Worker::new(Config::new().backend(BackendChoice::Uring));
    match forced.unwrap_err() {
        SetupError::Refused { call, source } if errno != libc::ENOSYS => {
            assert_eq!((call, source.raw_os_error()), (name, Some(errno)));
        }
        SetupError::Unsupported { what } if errno == libc::ENOSYS => {
            assert!(what.contains(name), "{what}");
        }
        other => panic!("{other}"),
    }
}

fn assert_reason(backend: &Backend, name: &str, expected: i32) {
    let shown = backend.to_string();
    assert!(
        shown.starts_with("threads and epoll (") && shown.contains(name),
        "{shown}"
    );
    match backend {
        Backend::Threads(ThreadsReason::Refused { call, errno }) if expected != libc::ENOSYS => {
            assert_eq!((*call, *errno), (name, expected));
        }
        Backend::Threads(ThreadsReason::Missing { what }) if expected == libc::ENOSYS => {
            assert!(what.contains(name), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

fn everything_runs(worker: Worker) {
    run_on(&worker, async {
        files().await;
        sockets().await;
        provided_buffers().await;
        time::sleep(Duration::from_millis(1)).await;
        readiness_and_blocking().await;
        cancel().await;
    });
    worker.spawn_local(std::future::pending::<()>());
    let report = worker.shutdown(Instant::now());
    assert_eq!((report.tasks_aborted, report.ops_leaked), (1, 0));
}

async fn files() {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(on_disk.path()).await;
    let file = file.unwrap();
    let (result, read) = file.read_exact_at(Vec::with_capacity(70_000), 123).await;
    result.unwrap();
    assert_eq!(read, bytes[123..70_123]);
    file.write_all_at(b"written".to_vec(), 100_000)
        .await
        .0
        .unwrap();
    file.sync_all().await.unwrap();
    assert_eq!(file.statx().await.unwrap().len(), 100_007);
    let (result, read) = file.read_at(Vec::with_capacity(64), 99_999).await;
    assert_eq!((result.unwrap(), &read[1..]), (8, &b"written"[..]));
    let missing = File::open("/does/not/exist").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    file.close().await.unwrap();
}

async fn sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let served = spawn_local(async move {
        let one = listener.accept().await.unwrap();
        let (result, bytes) = one.recv(Vec::with_capacity(64)).await;
        result.unwrap();
        one.send_all(bytes).await.0.unwrap();
        let mut incoming = listener.incoming();
        for _ in 0..3 {
            incoming.next().await.unwrap().unwrap();
        }
    });
    let client = TcpStream::connect(addr).await.unwrap();
    client.send_all(b"ping".to_vec()).await.0.unwrap();
    let (result, bytes) = client.recv(Vec::with_capacity(64)).await;
    assert_eq!((result.unwrap(), &bytes[..]), (4, &b"ping"[..]));
    for _ in 0..3 {
        TcpStream::connect(addr).await.unwrap();
    }
    served.await.unwrap();
}

async fn provided_buffers() {
    let bytes = content(1_000_000);
    let (one, two) = corelane::net::UnixStream::pair().unwrap();
    let ring = BufRing::new(8, 4096).unwrap();
    let sent = bytes.clone();
    let sender = spawn_local(async move { two.send_all(sent).await.0.unwrap() });
    let mut stream = one.recv_stream(&ring);
    let mut received = Vec::new();
    while let Some(part) = stream.next().await {
        received.extend_from_slice(&part.unwrap());
    }
    sender.await.unwrap();
    assert!(received == bytes);
}

async fn readiness_and_blocking() {
    let (reader, writer) = std::io::pipe().unwrap();
    let reader = AsyncFd::new(reader);
    let written = corelane::spawn_blocking(move || {
        use std::io::Write;
        (&writer).write_all(b"x").unwrap();
        writer
    });
    reader.readable().await.unwrap();
    drop(written.await.unwrap());
}

/// Drops operations that wait for a peer who never comes.
async fn cancel() {
    let soon = Duration::from_millis(1);
    let (one, _two) = corelane::net::UnixStream::pair().unwrap();
    let recv = time::timeout(soon, one.recv(Vec::with_capacity(8))).await;
    assert!(recv.is_err());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(time::timeout(soon, listener.accept()).await.is_err());
    let start = Instant::now();
    while corelane::stats().in_flight > 0 {
        assert!(start.elapsed() < HUNG);
        corelane::yield_now().await;
    }
}

fn an_executor_runs(name: &str, errno: i32) {
    let executor = Executor::builder().workers(2).start().unwrap();
    let on_disk = file_of(b"here");
    for worker in 0..2 {
        assert_reason(&executor.backend(worker).unwrap(), name, errno);
        let path = on_disk.path().to_owned();
        let read = executor.spawn_on(worker, move || async move {
            let file = File::open(path).await.unwrap();
            file.read_at(Vec::with_capacity(8), 0).await.1
        });
        assert_eq!(executor.block_on(read.unwrap()).unwrap(), b"here");
    }
    assert_eq!(executor.shutdown(Instant::now()).ops_leaked, 0);
}

/// Makes `calls` answer `errno`, in this thread and those it starts, for ever.
fn refuse(calls: &[libc::c_long], errno: i32) {
    let instruction = |code: u32, jt: usize, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: u8::try_from(jt).unwrap(),
        jf,
        k,
    };
    // The number of the system call is the first word of what a filter is given.
    let mut filter = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        0,
    )];
    for (at, call) in calls.iter().enumerate() {
        let call = u32::try_from(*call).unwrap();
        let to_the_end = calls.len() - at;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(instruction(equal, to_the_end, 0, call));
    }
    let answer = libc::BPF_RET | libc::BPF_K;
    filter.push(instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW));
    let errno = libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    filter.push(instruction(answer, 0, 0, errno));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: no pointer is passed.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the program and its instructions are locals that outlive the call, which copies them.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a ring of no entries: refused, or refused for that.
    let setup = unsafe { libc::syscall(calls[0], 0, 0, 0, 0, 0, 0) };
    assert_eq!(setup, -1);
}
