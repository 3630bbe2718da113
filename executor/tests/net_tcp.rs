//! TCP: connections are accepted and refused, bytes arrive whole and in order whatever the pace of
//! the two sides.

mod support;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corelane::net::{StreamIo, TcpListener, TcpStream, lookup_host};
use corelane::time::timeout;
use corelane::{spawn_local, stats, yield_now};
use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use support::{content, run, tcp_half, yield_until};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().await.unwrap())
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
fn who_has_not_taken_a_connection_is_not_woken_for_the_next() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let to = listener.local_addr().unwrap();
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let mut incoming = listener.incoming();
        let busy = spawn_local(poll_fn(move |cx| {
            if counted.replace(counted.get() + 1) == 0 {
                assert!(incoming.poll_next(cx).is_pending());
            }
            Poll::<()>::Pending
        }));
        let mut clients = Vec::new();
        for _ in 0..10 {
            // One completion for each side.
            let before = stats().completions;
            clients.push(TcpStream::connect(to).await.unwrap());
            yield_until("it is accepted", || stats().completions >= before + 2).await;
        }
        assert_eq!(polls.get(), 2);
        busy.abort();
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
        let (client, mut server) = tcp_half().await;
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
        let (client, server) = tcp_half().await;
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
        let read = timeout(support::HUNG / 2, io.read(&mut [])).await;
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
