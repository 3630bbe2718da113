//! What befalls the whole process: no descriptors left, signals without end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use corelane::{spawn_blocking, spawn_local, time};

use crate::files::read;
use crate::harness::{Backend, assert_errno};
use crate::os;
use crate::streams::{Family, pair};
use crate::support::{content, file_of, tcp_half};

pub(crate) fn no_descriptors_left(backend: &Backend) {
    if !backend.in_a_child(|_| {}) {
        return;
    }
    let on_disk = file_of(b"content");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    backend.run(async {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let clients = (
            std::net::TcpStream::connect(addr).unwrap(),
            std::os::unix::net::UnixStream::connect(&path).unwrap(),
        );
        // What threads and pools need is made before.
        let file = File::open(on_disk.path()).await.unwrap();
        assert_eq!(read(&file, 10, 0).await.unwrap(), b"content");
        let soon = Duration::from_millis(1);
        let (one, two) = UnixStream::pair().unwrap();
        assert!(time::timeout(soon, one.recv(vec![0; 8])).await.is_err());
        spawn_blocking(|| ()).await.unwrap();

        let before = os::limit_descriptors(3);
        for _ in 0..3 {
            assert_errno("open", File::open(on_disk.path()).await, libc::EMFILE);
            assert_errno("accept", tcp.accept().await, libc::EMFILE);
            assert_errno("accept", unix.accept().await, libc::EMFILE);
            assert_errno("connect", TcpStream::connect(addr).await, libc::EMFILE);
            assert_errno("connect", UnixStream::connect(&path).await, libc::EMFILE);
            assert_errno("pair", UnixStream::pair().map(drop), libc::EMFILE);
            assert_errno("bind", TcpListener::bind(addr).map(drop), libc::EMFILE);
            let mut incoming = tcp.incoming();
            let next = incoming.next().await.unwrap();
            assert_errno("accept continuously", next, libc::EMFILE);
            // What needs none goes on.
            assert_eq!(read(&file, 10, 0).await.unwrap(), b"content");
            two.send_all(b"!".to_vec()).await.0.unwrap();
            assert_eq!(one.recv(Vec::with_capacity(8)).await.1, b"!");
            assert_eq!(file.statx().await.unwrap().len(), 7);
        }
        os::limit_descriptors(before);

        // Nobody was lost.
        let (mut to_tcp, mut to_unix) = clients;
        let accepted = (tcp.accept().await.unwrap(), unix.accept().await.unwrap());
        to_tcp.write_all(b"tcp").unwrap();
        to_unix.write_all(b"unix").unwrap();
        assert_eq!(accepted.0.recv(Vec::with_capacity(8)).await.1, b"tcp");
        assert_eq!(accepted.1.recv(Vec::with_capacity(8)).await.1, b"unix");
        File::open(on_disk.path()).await.unwrap();
    });
}

/// Signals all other threads once per millisecond, until it is dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn start() -> Self {
        os::interrupt_by(libc::SIGUSR1);
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    os::signal_other_threads(libc::SIGUSR1);
                    sent.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub(crate) fn interrupted_all_the_time(backend: &Backend) {
    if !backend.in_a_child(|_| {}) {
        return;
    }
    let bytes = content(300_000);
    let on_disk = file_of(&bytes);
    let storm = Storm::start();
    backend.run(async {
        let begin = Instant::now();
        let mut rounds = 0;
        while rounds < 3 || begin.elapsed() < Duration::from_millis(300) {
            files(on_disk.path(), &bytes).await;
            sockets(&bytes).await;
            waits().await;
            rounds += 1;
        }
    });
    assert!(storm.sent.load(Ordering::Relaxed) > 20);
}

async fn files(path: &std::path::Path, bytes: &[u8]) {
    let file = File::open(path).await.unwrap();
    for at in 0..20 {
        let got = read(&file, 10_000, at * 10_000).await.unwrap();
        let at = usize::try_from(at * 10_000).unwrap();
        assert_eq!(got, bytes[at..at + 10_000]);
    }
    let copy = File::create(path.with_extension("copy")).await.unwrap();
    copy.write_all_at(bytes.to_vec(), 0).await.0.unwrap();
    copy.sync_data().await.unwrap();
    assert_eq!(copy.statx().await.unwrap().len(), bytes.len() as u64);
    copy.close().await.unwrap();
    std::fs::remove_file(path.with_extension("copy")).unwrap();
}

async fn sockets(bytes: &[u8]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let accepting = spawn_local(async move { listener.accept().await });
    time::sleep(Duration::from_millis(2)).await;
    let client = TcpStream::connect(addr).await.unwrap();
    let server = accepting.await.unwrap().unwrap();
    client.send_all(b"hello".to_vec()).await.0.unwrap();
    assert_eq!(server.recv(Vec::with_capacity(9)).await.1, b"hello");
    drop(tcp_half().await);
    for family in Family::ALL {
        let (stream, mut peer) = pair(family).await;
        let reader = spawn_blocking(move || {
            let mut heard = Vec::new();
            let mut bite = [0; 4096];
            loop {
                // Interrupted, as the storm is everybody's.
                match peer.read(&mut bite) {
                    Ok(0) => return heard,
                    Ok(count) => heard.extend_from_slice(&bite[..count]),
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
                }
            }
        });
        stream.send_all(bytes).await.unwrap();
        match stream {
            crate::streams::Stream::Tcp(stream) => stream.shutdown(Shutdown::Write).await,
            crate::streams::Stream::Unix(stream) => stream.shutdown(Shutdown::Write).await,
        }
        .unwrap();
        assert!(reader.await.unwrap() == bytes);
    }
}

async fn waits() {
    let begin = Instant::now();
    time::sleep(Duration::from_millis(7)).await;
    assert!(begin.elapsed() >= Duration::from_millis(7));
    let slept = spawn_blocking(|| {
        let begin = Instant::now();
        // std goes on after a signal.
        std::thread::sleep(Duration::from_millis(3));
        begin.elapsed()
    });
    assert!(slept.await.unwrap() >= Duration::from_millis(3));
    let (one, two) = UnixStream::pair().unwrap();
    let limit = Duration::from_millis(5);
    let waiting = time::timeout(limit, one.recv(Vec::with_capacity(8))).await;
    assert!(waiting.is_err(), "a signal has ended a receive");
    drop(two);
    assert_eq!(one.recv(Vec::with_capacity(8)).await.0.unwrap(), 0);
}
