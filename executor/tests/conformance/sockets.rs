//! Sockets that connect and listen.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net as std_unix;
use std::time::Duration;

use corelane::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use corelane::{AsyncFd, spawn_local, time};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::{Backend, assert_errno};
use crate::support::yield_until;

pub(crate) fn refused_connections(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    backend.run(async {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let refused = TcpStream::connect(addr).await;
        assert_errno("nobody listens", refused, libc::ECONNREFUSED);
        let path = folder.path().join("socket");
        let refused = UnixStream::connect(&path).await;
        assert_errno("no socket", refused, libc::ENOENT);
        drop(std_unix::UnixListener::bind(&path).unwrap());
        let refused = UnixStream::connect(&path).await;
        assert_errno("nobody listens", refused, libc::ECONNREFUSED);
        let taken = UnixListener::bind(&path).map(drop);
        assert_errno("taken", taken, libc::EADDRINUSE);
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let refused = UnixStream::connect(&file).await;
        assert_errno("no socket", refused, libc::ECONNREFUSED);
        let long = folder.path().join("n".repeat(200));
        assert!(UnixStream::connect(long).await.is_err());
    });
}

/// A listener at `path` with no room left.
pub(crate) fn full_unix(path: &std::path::Path) -> (std_unix::UnixListener, Vec<Socket>) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut clients = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        match client.connect(&SockAddr::unix(path).unwrap()) {
            Ok(()) => clients.push(client),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
            Err(error) => panic!("{error}"),
        }
    }
    (listener.into(), clients)
}

pub(crate) fn a_full_backlog_is_waited_for(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    backend.run(async {
        let (listener, clients) = full_unix(&path);
        let connects: Vec<_> = (0..3)
            .map(|_| {
                let path = path.clone();
                spawn_local(async move { UnixStream::connect(path).await })
            })
            .collect();
        time::sleep(Duration::from_millis(20)).await;
        assert!(connects.iter().all(|connect| !connect.is_finished()));
        let cancelled = time::timeout(Duration::from_millis(5), UnixStream::connect(&path)).await;
        assert!(cancelled.is_err(), "there is no room");
        // Accepted by a thread: each makes room for one.
        let accepted = corelane::spawn_blocking(move || {
            let mut accepted = Vec::new();
            for _ in 0..clients.len() + 3 {
                accepted.push(listener.accept().unwrap().0);
            }
            (accepted, clients)
        });
        for connect in connects {
            let stream = connect.await.unwrap().unwrap();
            stream.send_all(b"!".to_vec()).await.0.unwrap();
        }
        let (mut accepted, clients) = accepted.await.unwrap();
        for stream in &mut accepted[clients.len()..] {
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "!");
        }
    });
}

pub(crate) fn a_full_tcp_backlog_is_cancelled(backend: &Backend) {
    backend.run(async {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&addr.into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let first = TcpStream::connect(addr).await.unwrap();
        let arrived = || crate::os::is_ready(&listener, libc::POLLIN);
        yield_until("the first has its place", arrived).await;
        // The handshake of the second has no room, and is not answered.
        let waiting = spawn_local(async move { TcpStream::connect(addr).await });
        let cancelled = time::timeout(Duration::from_millis(30), TcpStream::connect(addr)).await;
        assert!(cancelled.is_err(), "there is no room");
        assert!(!waiting.is_finished());
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        yield_until("both are gone", || corelane::stats().in_flight == 0).await;
        drop(first);
    });
}

pub(crate) fn connections_are_accepted_once(backend: &Backend) {
    const COUNT: u8 = 40;
    backend.run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let clients = std::thread::spawn(move || {
            let connect = |number: u8| {
                let mut stream = std::net::TcpStream::connect(addr).unwrap();
                stream.write_all(&[number]).unwrap();
                stream
            };
            (0..COUNT).map(connect).collect::<Vec<_>>()
        });
        // Half of them one by one, by several that wait at once; the rest continuously.
        let mut heard = Vec::new();
        let listener = std::rc::Rc::new(listener);
        let accepts: Vec<_> = (0..COUNT / 2)
            .map(|_| {
                let listener = listener.clone();
                spawn_local(async move { listener.accept().await.unwrap() })
            })
            .collect();
        for accept in accepts {
            heard.push(accept.await.unwrap());
        }
        let mut incoming = listener.incoming();
        while heard.len() < COUNT.into() {
            heard.push(incoming.next().await.unwrap().unwrap());
        }
        incoming.close();
        assert!(incoming.next().await.is_none());
        let mut numbers = Vec::new();
        for stream in heard {
            numbers.extend(stream.recv(Vec::with_capacity(10)).await.1);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
        drop(clients.join().unwrap());
    });
}

pub(crate) fn an_accept_outlives_its_listener(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    backend.run(async {
        let listener = UnixListener::bind(&path).unwrap();
        let incoming = listener.incoming();
        let task = spawn_local(async move {
            let mut incoming = incoming;
            incoming.next().await.unwrap().unwrap()
        });
        time::sleep(Duration::from_millis(3)).await;
        // The operation keeps the descriptor.
        drop(listener);
        let mut client = std_unix::UnixStream::connect(&path).unwrap();
        client.write_all(b"hello").unwrap();
        let stream = task.await.unwrap();
        assert_eq!(stream.recv(Vec::with_capacity(10)).await.1, b"hello");
        yield_until("the listener is closed", || {
            std_unix::UnixStream::connect(&path).is_err()
        })
        .await;
        let listener = UnixListener::from_std({
            std::fs::remove_file(&path).unwrap();
            std_unix::UnixListener::bind(&path).unwrap()
        });
        let client = std_unix::UnixStream::connect(&path).unwrap();
        let stream = listener.accept().await.unwrap();
        drop(client);
        assert_eq!(stream.recv(Vec::with_capacity(10)).await.0.unwrap(), 0);
    });
}

pub(crate) fn readiness_of_a_foreign_descriptor(backend: &Backend) {
    backend.run(async {
        let (ours, mut peer) = std_unix::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = std::rc::Rc::new(AsyncFd::new(ours));
        ours.writable().await.unwrap();
        let waits: Vec<_> = (0..3)
            .map(|_| {
                let ours = ours.clone();
                spawn_local(async move { ours.readable().await })
            })
            .collect();
        time::sleep(Duration::from_millis(3)).await;
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        peer.write_all(b"ready").unwrap();
        // All that wait are told, again and again, until it is read.
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
        ours.readable().await.unwrap();
        let mut bytes = [0; 10];
        assert_eq!(ours.get_ref().read(&mut bytes).unwrap(), 5);
        let soon = Duration::from_millis(3);
        assert!(time::timeout(soon, ours.readable()).await.is_err());
        drop(peer);
        ours.readable().await.unwrap();
        assert_eq!(ours.get_ref().read(&mut bytes).unwrap(), 0);
        let file = AsyncFd::new(tempfile::tempfile().unwrap());
        // A file is always ready, or says that it cannot be waited for.
        match file.readable().await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    });
}
