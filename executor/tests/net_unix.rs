//! Unix stream sockets do what TCP does, by path and in pairs.

mod support;

use std::io::{ErrorKind, Write};
use std::net::Shutdown;

use corelane::fs::File;
use corelane::net::{BufRing, StreamIo, UnixListener, UnixStream};
use corelane::spawn_local;
use futures_util::{AsyncReadExt, AsyncWriteExt};

use support::{content, file_of, run};

#[test]
fn a_path_is_bound_connected_and_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    run(async {
        let error = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(
            UnixListener::bind(&path).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        let client = UnixStream::connect(&path).await.unwrap();
        let server = listener.accept().await.unwrap();
        client.send_all("ping").await.0.unwrap();
        assert_eq!(server.recv(Vec::with_capacity(8)).await.1, b"ping");
        let mut incoming = listener.incoming();
        let second = UnixStream::connect(&path).await.unwrap();
        let accepted = incoming.next().await.unwrap().unwrap();
        accepted
            .send_vectored_all(vec!["po", "ng"])
            .await
            .0
            .unwrap();
        assert_eq!(second.recv(Vec::with_capacity(8)).await.1, b"pong");
        incoming.close();
        assert!(incoming.next().await.is_none());
        drop((listener, incoming));
        let error = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(UnixStream::connect("x".repeat(200)).await.is_err());
    });
}

#[test]
fn a_pair_moves_more_than_a_socket_holds() {
    const LEN: usize = 5_000_000;
    run(async {
        let (one, two) = UnixStream::pair().unwrap();
        let sending = spawn_local(async move {
            one.send_all(content(LEN)).await.0.unwrap();
            one.send_vectored_all(vec![content(LEN), content(10)])
                .await
                .0
                .unwrap();
            one.close().await.unwrap();
        });
        let mut all = Vec::new();
        loop {
            let (result, part) = two.recv(Vec::with_capacity(70_000)).await;
            if result.unwrap() == 0 {
                break;
            }
            all.extend_from_slice(&part);
        }
        sending.await.unwrap();
        assert!(all == [content(LEN), content(LEN), content(10)].concat());
        let error = two.send("gone").await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn both_directions_are_used_at_once_by_clones() {
    run(async {
        let (one, two) = UnixStream::pair().unwrap();
        let echo = spawn_local(async move {
            loop {
                let (result, buf) = two.recv(Vec::with_capacity(64)).await;
                if result.unwrap() == 0 {
                    return;
                }
                two.send_all(buf).await.0.unwrap();
            }
        });
        let reader = one.clone();
        let reading = spawn_local(async move {
            let mut all = Vec::new();
            while all.len() < 10_000 {
                all.extend(reader.recv(Vec::with_capacity(100)).await.1);
            }
            all
        });
        for part in content(10_000).chunks(50) {
            one.send_all(part.to_vec()).await.0.unwrap();
        }
        assert_eq!(reading.await.unwrap(), content(10_000));
        one.shutdown(Shutdown::Both).await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn provided_buffers_a_file_and_the_futures_traits_work() {
    let on_disk = file_of(&content(300_000));
    run(async {
        let (std_one, mut std_two) = std::os::unix::net::UnixStream::pair().unwrap();
        let one = UnixStream::from_std(std_one).unwrap();
        let ring = BufRing::new(4, 32).unwrap();
        std_two.write_all(b"into the ring").unwrap();
        assert_eq!(
            one.recv_stream(&ring).next().await.unwrap().unwrap()[..],
            *b"into the ring"
        );

        let (one, two) = UnixStream::pair().unwrap();
        let file = File::open(on_disk.path()).await.unwrap();
        let sending = spawn_local(async move {
            let count = one.send_file(&file, 0..300_000).await.unwrap();
            let mut io = StreamIo::new(one);
            io.write_all(b"end").await.unwrap();
            io.close().await.unwrap();
            count
        });
        let mut all = Vec::new();
        StreamIo::new(two).read_to_end(&mut all).await.unwrap();
        assert_eq!(sending.await.unwrap(), 300_000);
        assert!(all == [&content(300_000)[..], b"end"].concat());
    });
}
