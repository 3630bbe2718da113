//! TCP: connections are accepted and refused, bytes arrive whole and in order whatever the pace of
//! the two sides, and received buffers go back to their ring.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use corelane::fs::File;
use corelane::net::{BufRing, StreamIo, TcpListener, TcpStream, lookup_host};
use corelane::time::timeout;
use corelane::{Config, PoolConfig, spawn_local, stats, yield_now};
use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use support::{content, file_of, run, run_with, yield_until};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().await.unwrap())
}

/// One side of a connection whose other side blocks, for a thread.
async fn half() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_connection_is_accepted_and_knows_its_addresses() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        assert_ne!(addr.port(), 0);
        let accepting = spawn_local(async move { listener.accept().await.unwrap() });
        let client = TcpStream::connect(addr).await.unwrap();
        let server = accepting.await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        assert_eq!(server.local_addr().unwrap(), addr);
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        client.set_nodelay(true).unwrap();
        client.send_all("ping").await.0.unwrap();
        assert_eq!(server.recv(Vec::with_capacity(8)).await.1, b"ping");
    });
}

#[test]
fn a_refused_connection_says_so() {
    run(async {
        let addr = {
            let listener = TcpListener::bind(ANY).unwrap();
            listener.local_addr().unwrap()
        };
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let held = TcpListener::bind(ANY).unwrap();
        let error = TcpListener::bind(held.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn listeners_share_a_port_when_all_agree() {
    run(async {
        let options = TcpListener::options().reuse_port(true).backlog(16);
        let one = options.bind(ANY).unwrap();
        let two = options.bind(one.local_addr().unwrap()).unwrap();
        assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());
        assert!(TcpListener::bind(one.local_addr().unwrap()).is_err());
    });
}

#[test]
fn connections_arrive_continuously_until_accepting_is_closed() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        for round in 0..3u8 {
            let mut clients = Vec::new();
            for index in 0..20u8 {
                let client = TcpStream::connect(addr).await.unwrap();
                client.send_all(vec![round, index]).await.0.unwrap();
                clients.push(client);
            }
            let mut seen = Vec::new();
            for _ in 0..20 {
                let server = incoming.next().await.unwrap().unwrap();
                let bytes = server.recv(Vec::with_capacity(2)).await.1;
                assert_eq!(bytes[0], round);
                seen.push(bytes[1]);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
        }
        let before = stats().completions;
        let late = TcpStream::connect(addr).await.unwrap();
        // One completion is the connect's own.
        yield_until("the late one is accepted", || {
            stats().completions > before + 1
        })
        .await;
        incoming.close();
        let server = incoming.next().await.unwrap().unwrap();
        late.send_all("late").await.0.unwrap();
        assert_eq!(server.recv(Vec::with_capacity(4)).await.1, b"late");
        assert!(incoming.next().await.is_none());
        assert!(incoming.next().await.is_none());
    });
}

#[test]
fn closing_wakes_who_waits_for_a_connection() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let mut incoming = listener.incoming();
        {
            let mut next = std::pin::pin!(incoming.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
        }
        incoming.close();
        assert!(incoming.next().await.is_none());
        let mut armed = listener.incoming();
        {
            let mut next = std::pin::pin!(armed.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
        }
        let waiting = stats().submits;
        yield_now().await;
        assert!(stats().submits >= waiting);
        armed.close();
        assert!(armed.next().await.is_none());
        // The listener itself goes on.
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let server = listener.accept().await.unwrap();
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    });
}

#[test]
fn a_large_send_reaches_a_slow_reader_whole() {
    const LEN: usize = 12 << 20;
    run(async {
        let (client, mut server) = half().await;
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut part = vec![0; 100_000];
            while all.len() < LEN {
                let count = server.read(&mut part).unwrap();
                assert!(count > 0, "the stream ended after {}", all.len());
                all.extend_from_slice(&part[..count]);
                std::thread::yield_now();
            }
            all
        });
        let (result, buf) = client.send_all(content(LEN)).await;
        result.unwrap();
        assert!(reader.join().unwrap() == buf);
    });
}

#[test]
fn a_large_vectored_send_reaches_a_slow_reader_whole() {
    const LEN: usize = 6_000_000;
    run(async {
        let (client, server) = pair().await;
        let reading = spawn_local(async move {
            let mut all = Vec::new();
            while all.len() < LEN {
                let (result, part) = server.recv(Vec::with_capacity(65_536)).await;
                assert!(result.unwrap() > 0);
                all.extend_from_slice(&part);
                yield_now().await;
            }
            all
        });
        // More segments than one call takes, empty ones among them.
        let bufs: Vec<Vec<u8>> = content(LEN).chunks(2_000).map(<[u8]>::to_vec).collect();
        let bufs: Vec<Vec<u8>> = bufs.into_iter().flat_map(|buf| [buf, Vec::new()]).collect();
        let (result, bufs) = client.send_vectored_all(bufs).await;
        result.unwrap();
        assert_eq!(bufs.len(), 6_000);
        assert!(reading.await.unwrap() == content(LEN));
    });
}

#[test]
fn a_vectored_send_counts_what_it_sent() {
    run(async {
        let (client, server) = pair().await;
        let (result, bufs) = client.send_vectored(vec!["one ", "", "two"]).await;
        assert_eq!((result.unwrap(), bufs), (7, vec!["one ", "", "two"]));
        assert_eq!(server.recv(Vec::with_capacity(16)).await.1, b"one two");
        client
            .send_vectored_all(Vec::<&str>::new())
            .await
            .0
            .unwrap();
        client.send_all("").await.0.unwrap();
    });
}

#[test]
fn half_a_connection_can_be_closed() {
    run(async {
        let (client, server) = pair().await;
        client.send_all("last words").await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(server.recv(Vec::with_capacity(16)).await.1, b"last words");
        assert_eq!(server.recv(Vec::with_capacity(16)).await.0.unwrap(), 0);
        assert_eq!(server.recv(Vec::with_capacity(16)).await.0.unwrap(), 0);
        server.send_all("answer").await.0.unwrap();
        assert_eq!(client.recv(Vec::with_capacity(16)).await.1, b"answer");
        let error = client.send_all("more").await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        server.close().await.unwrap();
        assert_eq!(client.recv(Vec::with_capacity(16)).await.0.unwrap(), 0);
        let error = client.shutdown(Shutdown::Both).await;
        assert!(error.is_ok() || error.unwrap_err().kind() == ErrorKind::NotConnected);
    });
}

#[test]
fn shutting_down_ends_a_waiting_receive() {
    run(async {
        let (client, _server) = pair().await;
        let reading = spawn_local({
            let client = client.clone();
            async move { client.recv(Vec::with_capacity(8)).await.0 }
        });
        yield_until("the receive is in flight", || stats().in_flight > 0).await;
        client.shutdown(Shutdown::Read).await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), 0);
    });
}

#[test]
fn a_reset_reaches_both_directions() {
    run(async {
        let (client, server) = half().await;
        socket2::SockRef::from(&server)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(server);
        let error = client.recv(Vec::with_capacity(8)).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let (result, buf) = client.send_all(content(50)).await;
        assert_eq!(
            (result.unwrap_err().kind(), buf),
            (ErrorKind::BrokenPipe, content(50))
        );
    });
}

#[test]
fn a_stream_is_received_into_provided_buffers() {
    run(async {
        let (client, mut server) = half().await;
        let ring = BufRing::new(8, 1_000).unwrap();
        assert_eq!(ring.buffer_len(), 1_000);
        let writer = std::thread::spawn(move || server.write_all(&content(1_000_000)).unwrap());
        let mut received = client.recv_stream(&ring);
        let mut all = Vec::new();
        while let Some(part) = received.next().await {
            let part = part.unwrap();
            assert!(!part.is_empty() && part.len() <= 1_000);
            all.extend_from_slice(&part);
        }
        assert!(all == content(1_000_000), "{} bytes", all.len());
        assert!(received.next().await.is_none());
        writer.join().unwrap();
    });
}

#[test]
fn receiving_waits_while_every_buffer_is_out() {
    run(async {
        let (client, mut server) = half().await;
        let ring = BufRing::new(2, 4).unwrap();
        let mut received = client.recv_stream(&ring);
        server.write_all(b"aaaabbbbcccc").unwrap();
        let first = received.next().await.unwrap().unwrap();
        let second = received.next().await.unwrap().unwrap();
        assert_eq!((&first[..], &second[..]), (&b"aaaa"[..], &b"bbbb"[..]));
        let third = {
            let mut next = std::pin::pin!(received.next());
            assert!(
                timeout(Duration::from_millis(20), next.as_mut())
                    .await
                    .is_err()
            );
            // Starved, it does not spin.
            let (polls, submits) = (stats().polls, stats().submits);
            assert!(
                timeout(Duration::from_millis(50), next.as_mut())
                    .await
                    .is_err()
            );
            assert!(
                stats().polls - polls < 20,
                "{} polls",
                stats().polls - polls
            );
            assert!(
                stats().submits - submits < 10,
                "{} submits",
                stats().submits - submits
            );
            drop(first);
            next.await.unwrap().unwrap()
        };
        assert_eq!(third[..], *b"cccc");
        // What is held stays as it is while the other buffer goes round.
        drop(third);
        for _ in 0..10 {
            server.write_all(b"dddd").unwrap();
            assert_eq!(received.next().await.unwrap().unwrap()[..], *b"dddd");
        }
        assert_eq!(second[..], *b"bbbb");
        drop(server);
        assert!(received.next().await.is_none());
    });
}

#[test]
fn a_stream_that_reads_nothing_makes_the_others_wait_and_not_spin() {
    run(async {
        let ring = BufRing::new(2, 4).unwrap();
        let (hoarder, mut to_hoarder) = half().await;
        let (starved, mut to_starved) = half().await;
        let mut hoards = hoarder.recv_stream(&ring);
        // Arm it, and let it take both buffers into its queue, unread.
        {
            let mut next = std::pin::pin!(hoards.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
        }
        to_hoarder.write_all(b"aaaabbbb").unwrap();
        let before = stats().completions;
        while stats().completions < before + 2 {
            corelane::time::sleep(Duration::from_millis(1)).await;
        }
        to_starved.write_all(b"cccc").unwrap();
        let mut starving = starved.recv_stream(&ring);
        let waiting = spawn_local(async move { starving.next().await.unwrap().unwrap().to_vec() });
        corelane::time::sleep(Duration::from_millis(20)).await;
        let submits = stats().submits;
        corelane::time::sleep(Duration::from_millis(100)).await;
        let submits = stats().submits - submits;
        assert!(
            submits < 20,
            "{submits} submits while there was nothing to do"
        );
        assert!(!waiting.is_finished());
        assert_eq!(hoards.next().await.unwrap().unwrap()[..], *b"aaaa");
        assert_eq!(waiting.await.unwrap(), b"cccc");
    });
}

#[test]
fn buffers_of_a_dropped_stream_go_back_to_the_ring() {
    run(async {
        let ring = BufRing::new(4, 16).unwrap();
        for _ in 0..8 {
            let (client, mut server) = half().await;
            let mut received = client.recv_stream(&ring);
            {
                let mut next = std::pin::pin!(received.next());
                assert!(futures_util::poll!(next.as_mut()).is_pending());
            }
            let before = stats().completions;
            server.write_all(&content(40)).unwrap();
            yield_until("data has arrived", || stats().completions > before).await;
            drop(received);
        }
        let (client, mut server) = half().await;
        server.write_all(&content(64)).unwrap();
        let mut received = client.recv_stream(&ring);
        let mut held = Vec::new();
        while held
            .iter()
            .map(|part: &corelane::net::RingBuf| part.len())
            .sum::<usize>()
            < 64
        {
            held.push(received.next().await.unwrap().unwrap());
        }
        assert_eq!(
            held.iter()
                .flat_map(|part| part.to_vec())
                .collect::<Vec<_>>(),
            content(64)
        );
    });
}

#[test]
fn a_buffer_outlives_its_stream_its_ring_and_its_worker() {
    let held = run(async {
        let (client, mut server) = half().await;
        let ring = BufRing::new(2, 64).unwrap();
        server.write_all(b"kept").unwrap();
        client.recv_stream(&ring).next().await.unwrap().unwrap()
    });
    assert_eq!(held[..], *b"kept");
}

#[test]
fn the_sizes_of_a_ring_are_checked() {
    run(async {
        for (entries, len) in [(0, 16), (3, 16), (8, 0)] {
            let error = BufRing::new(entries, len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

async fn received(mut from: std::net::TcpStream) -> Vec<u8> {
    corelane::spawn_blocking(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
    .await
    .unwrap()
}

#[test]
fn a_file_is_sent_from_the_page_cache() {
    let bytes = content(5_000_000);
    let on_disk = file_of(&bytes);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = half().await;
        let reading = spawn_local(received(server));
        assert_eq!(
            client.send_file(&file, 0..5_000_000).await.unwrap(),
            5_000_000
        );
        assert_eq!(
            client.send_file(&file, 4_000_001..4_000_002).await.unwrap(),
            1
        );
        assert_eq!(client.send_file(&file, 7..7).await.unwrap(), 0);
        drop(client);
        let all = reading.await.unwrap();
        assert!(all[..5_000_000] == bytes);
        assert_eq!(all[5_000_000..], bytes[4_000_001..4_000_002]);
    });
}

#[test]
fn a_file_that_is_not_in_the_page_cache_is_sent_all_the_same() {
    let bytes = content(3_000_001);
    let on_disk = file_of(&bytes);
    on_disk.as_file().sync_all().unwrap();
    let config = Config::new().pool(PoolConfig::new(2, 65_536));
    run_with(config, async {
        // SAFETY: posix_fadvise takes no memory.
        unsafe {
            libc::posix_fadvise(
                on_disk.as_file().as_raw_fd(),
                0,
                0,
                libc::POSIX_FADV_DONTNEED,
            )
        };
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = half().await;
        let reading = spawn_local(received(server));
        assert_eq!(
            client.send_file(&file, 1..3_000_001).await.unwrap(),
            3_000_000
        );
        client.close().await.unwrap();
        assert!(reading.await.unwrap() == bytes[1..]);
    });
}

#[test]
fn a_file_that_ends_early_is_sent_as_far_as_it_goes() {
    let on_disk = file_of(&content(1_000));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = half().await;
        let reading = spawn_local(received(server));
        assert_eq!(
            client.send_file(&file, 900..5_000_000_000).await.unwrap(),
            100
        );
        assert_eq!(client.send_file(&file, 1_000..1_001).await.unwrap(), 0);
        assert_eq!(client.send_file(&file, 1 << 40..1 << 41).await.unwrap(), 0);
        drop(client);
        assert_eq!(reading.await.unwrap(), content(1_000)[900..]);
    });
}

#[test]
fn sending_a_file_to_nobody_is_an_error_and_not_a_signal() {
    let on_disk = file_of(&content(3_000_000));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = half().await;
        drop(server);
        let error = loop {
            if let Err(error) = client.send_file(&file, 0..3_000_000).await {
                break error;
            }
        };
        let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(expected.contains(&error.kind()), "{error}");
    });
}

#[test]
fn the_futures_traits_read_and_write_a_stream() {
    run(async {
        let (client, server) = pair().await;
        let (mut client, mut server) = (StreamIo::new(client), StreamIo::new(server));
        let sent = content(200_000);
        let writing = async {
            client.write_all(b"line one\nline two\n").await.unwrap();
            client.flush().await.unwrap();
            client.write_all(&sent).await.unwrap();
            client.close().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "thanks");
        };
        let reading = async {
            let mut line = String::new();
            server.read_line(&mut line).await.unwrap();
            assert_eq!(line, "line one\n");
            line.clear();
            server.read_line(&mut line).await.unwrap();
            assert_eq!(line, "line two\n");
            let mut all = vec![0; 199_990];
            server.read_exact(&mut all).await.unwrap();
            server.read_to_end(&mut all).await.unwrap();
            assert!(all == content(200_000));
            server.write_all(b"thanks").await.unwrap();
            server.close().await.unwrap();
        };
        futures_util::future::join(writing, reading).await;
        let error = server
            .write_all(&[0; 20_000])
            .await
            .and(server.flush().await);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_read_of_no_bytes_does_not_wait() {
    run(async {
        let (client, _server) = pair().await;
        let mut io = StreamIo::new(client);
        let read = timeout(Duration::from_secs(5), io.read(&mut [])).await;
        assert_eq!(read.expect("it waits for data").unwrap(), 0);
    });
}

#[test]
fn a_connection_taken_over_from_std_works() {
    run(async {
        let std_listener = std::net::TcpListener::bind(ANY).unwrap();
        let addr = std_listener.local_addr().unwrap();
        let listener = TcpListener::from_std(std_listener);
        let client = TcpStream::from_std(std::net::TcpStream::connect(addr).unwrap()).unwrap();
        let server = listener.accept().await.unwrap();
        client.send_all("std").await.0.unwrap();
        assert_eq!(server.recv(Vec::with_capacity(4)).await.1, b"std");
    });
}

#[test]
fn a_host_is_looked_up() {
    run(async {
        let expected = SocketAddr::from(([127, 0, 0, 1], 8_080));
        assert_eq!(lookup_host("127.0.0.1:8080").await.unwrap(), [expected]);
        assert!(lookup_host("no port").await.is_err());
    });
}
