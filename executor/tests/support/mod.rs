//! What the test files share: a worker with a watchdog, content that tells its position.
#![allow(dead_code, reason = "each test file uses a part of this module")]

use std::future::Future;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use corelane::net::TcpStream;
use corelane::{Backend, Config, TurnBudget, Worker};

/// How long anything may take before it counts as hung, on a busy machine.
pub(crate) const HUNG: Duration = Duration::from_secs(60);

/// Makes a worker with default limits.
pub(crate) fn worker() -> Worker {
    Worker::new(Config::new()).unwrap()
}

/// Says whether workers run on a ring here; where not, says that `test`, which is about rings
/// alone, is skipped.
pub(crate) fn on_ring(test: &str) -> bool {
    let backend = worker().backend().unwrap();
    let on_ring = matches!(backend, Backend::Uring(_));
    if !on_ring {
        println!("SKIP: {test}: it is about io_uring alone, and this is {backend}");
    }
    on_ring
}

/// Drives `future` on a worker of its own, and fails when it hangs.
#[track_caller]
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    run_on(&worker(), future)
}

/// Drives `future` on a worker with these limits, and fails when it hangs.
#[track_caller]
pub(crate) fn run_with<F: Future>(config: Config, future: F) -> F::Output {
    run_on(&Worker::new(config).unwrap(), future)
}

/// Drives `future` on `worker`, and fails when it hangs.
#[track_caller]
pub(crate) fn run_on<F: Future>(worker: &Worker, future: F) -> F::Output {
    worker
        .block_on(corelane::time::timeout(HUNG, future))
        .expect("the test hangs")
}

/// Turns until a turn leaves nothing to do.
pub(crate) fn settle(worker: &Worker) {
    while worker.turn(TurnBudget::default()).more_work {}
}

/// Runs `body` on a thread of its own, and fails when it hangs: for what may block for ever.
#[track_caller]
pub(crate) fn watched<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, when_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let output = body();
        let _ = done.send(());
        output
    });
    if when_done.recv_timeout(HUNG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    match thread.join() {
        Ok(output) => output,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits on the calling thread until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HUNG, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Gives way to the worker's other tasks until `condition` holds.
pub(crate) async fn yield_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HUNG, "waited in vain until {what}");
        corelane::yield_now().await;
    }
}

/// One side of a TCP connection whose other side blocks, for a thread.
pub(crate) async fn tcp_half() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().unwrap().0)
}

/// Bytes of which any run of a few tells where it is from.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(byte_at).collect()
}

/// The byte that [`content`] has at `at`.
pub(crate) fn byte_at(at: usize) -> u8 {
    let mixed = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes()[at % 8] ^ (at % 251).to_le_bytes()[0]
}

/// A file of `bytes`, gone with the handle.
pub(crate) fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What a panic was called with, as text.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload
            .downcast_ref::<String>()
            .map_or("not a text", String::as_str),
    }
}

/// How many descriptors the process has open.
pub(crate) fn open_fds() -> usize {
    // The listing's own descriptor is among them, each time.
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs one test of the calling binary in a process of its own, with `CORELANE_TEST_CHILD` set,
/// and returns how it ended and what it wrote to standard error.
pub(crate) fn child(test: &str) -> (std::process::ExitStatus, String) {
    child_with(test, |_| {})
}

/// As [`child`], after `prepare` has had its way with the environment.
pub(crate) fn child_with(
    test: &str,
    prepare: impl FnOnce(&mut std::process::Command),
) -> (std::process::ExitStatus, String) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("CORELANE_TEST_CHILD", "1");
    prepare(&mut command);
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("running 1 test"),
        "there is no test {test}: {stdout}"
    );
    (
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Says whether this process was started by [`child`].
pub(crate) fn is_child() -> bool {
    std::env::var_os("CORELANE_TEST_CHILD").is_some()
}
