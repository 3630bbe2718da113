//! Limits: clear answers, and nobody else is held up.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::site::{Client, Site, TIMEOUT, noise, wait_until};

#[test]
fn connections_beyond_the_limit_are_told_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("--connections-max 3", &[folder.path()]);
    let mut clients: Vec<_> = (0..3).map(|_| site.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/healthz").status, 200);
    }
    for _ in 0..10 {
        let mut beyond = site.connect();
        let answer = beyond.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.field("retry-after"), Some("1"));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(beyond.rest().is_empty());
    }
    for client in &mut clients {
        assert_eq!(
            client.get("/healthz").status,
            200,
            "who was there first is served"
        );
    }
    drop(clients.pop());
    wait_until("the place is not free again", || {
        let mut next = site.connect();
        next.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        next.answer().status == 200
    });
}

#[test]
fn a_head_that_drips_in_is_refused_and_idle_connections_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("--head-timeout 1 --idle-timeout 2", &[folder.path()]);
    thread::scope(|scope| {
        // A byte every tenth of a second: never idle, never done.
        scope.spawn(|| {
            let mut client = site.connect();
            for byte in b"GET /healthz" {
                client.send([*byte]);
                thread::sleep(Duration::from_millis(100));
            }
            let answer = client.answer();
            assert_eq!(
                (answer.status, answer.field("connection")),
                (408, Some("close"))
            );
        });
        // Nothing at all. Who waits in vain is told so by its socket, after `TIMEOUT`.
        scope.spawn(|| {
            let began = Instant::now();
            assert!(site.connect().rest().is_empty());
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(900), "{took:?}");
        });
        // Nothing more.
        scope.spawn(|| {
            let mut client = site.connect();
            assert_eq!(client.get("/healthz").status, 200);
            let began = Instant::now();
            assert!(client.rest().is_empty());
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(900), "{took:?}");
        });
    });
}

#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("long")).unwrap();
    file.set_len(256 << 20).unwrap();
    let site = Site::start("--idle-timeout 1", &[folder.path()]);
    let mut client = site.connect();
    client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
    // Not seen in flight where nobody looked for as long as it was.
    wait_until("it is never answered", || {
        site.metric("requests_in_flight{") == 2 || site.metric("responses_aborted_total{") == 1
    });
    wait_until("it is never dropped", || {
        site.metric("responses_aborted_total{") == 1
    });
    wait_until("it is not given up", || {
        site.metric("requests_in_flight{") == 1
    });
}

/// What the kernel holds for a client is many times what it has to take in time: that it takes
/// enough does not show for seconds.
#[test]
fn a_client_that_takes_as_much_as_it_has_to_is_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let len = 16 << 20;
    fs::write(folder.path().join("long"), noise(len)).unwrap();
    for attempt in 0.. {
        let site = Site::start("--idle-timeout 1", &[folder.path()]);
        let (received, latest) = take_at_a_pace(&site);
        if received.ends_with(&noise(len)) {
            return;
        }
        // It was right to cut off a client that was kept from taking anything.
        let kept = latest > Duration::from_millis(200);
        assert!(kept && attempt < 5, "{} bytes, {latest:?}", received.len());
    }
}

/// Takes an answer at a tenth more than the least there may be, for as long as that matters; returns
/// it, and by how much a piece was late.
fn take_at_a_pace(site: &Site) -> (Vec<u8>, Duration) {
    let stream = TcpStream::connect(site.addr()).unwrap();
    SockRef::from(&stream)
        .set_recv_buffer_size(64 << 10)
        .unwrap();
    (&stream)
        .write_all(b"GET /a/long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (began, mut received) = (Instant::now(), Vec::new());
    let (mut piece, mut latest) = ([0; 8 << 10], Duration::ZERO);
    let pace = Duration::from_secs(1).mul_f64(8.0 / (256.0 * 1.1));
    let paced = 5 * 32;
    for count in 1.. {
        // Cut off, it may be by a reset.
        let got = (&stream).read(&mut piece).unwrap_or(0);
        if got == 0 {
            break;
        }
        received.extend_from_slice(&piece[..got]);
        if count < paced {
            let (due, now) = (began + pace * count, Instant::now());
            latest = latest.max(now.saturating_duration_since(due));
            thread::sleep(due.saturating_duration_since(now));
        }
    }
    (received, latest)
}

/// As many as there may be, whatever worker they come to, and not one more.
#[test]
fn the_limit_on_connections_holds_exactly() {
    const MAX: usize = 64;
    const MORE: usize = 150;
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(&format!("--connections-max {MAX}"), &[folder.path()]);
    let mut kept = thread::scope(|scope| {
        let clients: Vec<_> = (0..MAX + MORE)
            .map(|_| scope.spawn(|| try_get(&site)))
            .collect();
        let clients = clients.into_iter().map(|client| client.join().unwrap());
        clients.flatten().collect::<Vec<_>>()
    });
    assert_eq!(kept.len(), MAX);
    for client in &mut kept {
        assert_eq!(client.get("/healthz").status, 200);
    }
    for _ in 0..10 {
        assert!(try_get(&site).is_none());
        drop(kept.pop());
        // The place is free when the server has seen the end.
        wait_until("no place is free", || {
            kept.extend(try_get(&site));
            kept.len() == MAX
        });
    }
}

/// Connects and asks for something; `None` when there are too many connections.
fn try_get(site: &Site) -> Option<Client> {
    let stream = TcpStream::connect(site.addr()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    // Who is refused may be reset before it has asked, or has read what it is told.
    let _ = (&stream).write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut status = [0; 12];
    (&stream).read_exact(&mut status).ok()?;
    match &status {
        b"HTTP/1.1 200" => {}
        b"HTTP/1.1 503" => return None,
        other => panic!("{}", other.escape_ascii()),
    }
    let mut client = Client::on(stream);
    client.skip_to(b"\r\n\r\nok\n");
    Some(client)
}

#[test]
fn long_heads_are_refused_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("--head-bytes-max 1000", &[folder.path()]);
    for (sent, status) in [
        (format!("GET /{}", "x".repeat(2000)), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(2000)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\n{}", "X: y\r\n".repeat(65)),
            431,
        ),
    ] {
        let mut client = site.connect();
        client.send(&sent);
        assert_eq!(client.answer().status, status);
        assert!(client.rest().is_empty());
    }
}

/// What the client still sends must not reset the connection under the answer.
#[test]
fn an_answer_arrives_though_the_client_goes_on_sending() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("", &[folder.path()]);
    for _ in 0..20 {
        let mut client = site.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
        client.send(noise(300_000));
        assert_eq!(client.answer().status, 405);
    }
}

#[test]
fn a_client_that_ends_its_side_gets_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("long"), noise(3_000_000)).unwrap();
    let site = Site::start("", &[folder.path()]);
    let mut client = site.connect();
    client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    client.end_sending();
    for _ in 0..3 {
        assert!(client.answer().body == noise(3_000_000));
    }
    assert!(client.rest().is_empty());
}

#[test]
fn empty_lines_between_requests_begin_none() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("--head-timeout 1 --idle-timeout 600", &[folder.path()]);
    let mut client = site.connect();
    for line in ["\r\n", "\n", "\n\r\n\r\n"] {
        assert_eq!(client.get("/healthz").status, 200);
        client.send(line);
        thread::sleep(Duration::from_millis(1500));
    }
    assert_eq!(client.get("/healthz").status, 200);
    let site = Site::start("--head-timeout 600 --idle-timeout 1", &[folder.path()]);
    let mut client = site.connect();
    assert_eq!(client.get("/healthz").status, 200);
    client.send("\r\n");
    assert!(client.rest().is_empty(), "closed without a word");
}
