//! Clients that send what nobody should, or stop sending: they are refused, and hold nobody up.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::program::Running;
use super::site::{Client, Site, noise, wait_until};

/// What an honest client waits for at most while others attack.
const HONEST_MAX: Duration = Duration::from_secs(2);

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// All answers but one came in time: the machine may have stood still once.
#[track_caller]
fn assert_not_held_up(mut waits: Vec<Duration>) {
    waits.sort_unstable();
    waits.pop();
    assert!(
        waits.last().is_some_and(|last| *last < HONEST_MAX),
        "{waits:?}"
    );
}

/// Waits until only the connection that asks is left.
fn wait_for_none_left(site: &Site) {
    wait_until("connections stay", || {
        site.metric("connections_in_use ") == 1
    });
}

#[test]
fn a_crowd_that_drips_is_thrown_out_and_holds_nobody_up() {
    const CROWD: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), "text").unwrap();
    let site = Site::start("--head-timeout 1", &[folder.path()]);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| site.connect()).collect();
    let (mut honest, mut waits) = (site.connect(), Vec::new());
    for byte in b"GET /" {
        for client in &mut crowd {
            client.send([*byte]);
        }
        let asked = Instant::now();
        assert_eq!(honest.get("/a/x").body, b"text");
        waits.push(asked.elapsed());
    }
    for mut client in crowd {
        assert_eq!(client.answer().status, 408);
        assert!(client.rest().is_empty());
    }
    assert_not_held_up(waits);
    drop(honest);
    wait_for_none_left(&site);
}

/// Ten thousand requests in one write: answered in order, and the other clients are too.
#[test]
fn a_pipelined_flood_is_answered_in_order() {
    const COUNT: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    for digit in 0..10 {
        let text = format!("this is {digit}");
        std::fs::write(folder.path().join(digit.to_string()), text).unwrap();
    }
    let site = Site::start("", &[folder.path()]);
    let digit = |index: usize| index * 7 % 10;
    let flood: String = (0..COUNT)
        .map(|index| get(&format!("/a/{}", digit(index))))
        .collect();
    let stream = TcpStream::connect(site.addr()).unwrap();
    let mut sending = stream.try_clone().unwrap();
    let mut client = Client::on(stream);
    let flooding = thread::spawn(move || sending.write_all(flood.as_bytes()).unwrap());
    let (mut honest, mut waits) = (site.connect(), Vec::new());
    for index in 0..COUNT {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, format!("this is {}", digit(index)).as_bytes());
        if index % 1000 == 500 {
            let asked = Instant::now();
            assert_eq!(honest.get("/a/3").body, b"this is 3");
            waits.push(asked.elapsed());
        }
    }
    flooding.join().unwrap();
    assert_not_held_up(waits);
}

/// What is not taken is not answered: the requests stay in the sockets' buffers.
#[test]
fn floods_whose_answers_nobody_takes_cost_no_memory() {
    const CLIENTS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), noise(10_000)).unwrap();
    let server = Running::start(&["--workers", "1", folder.path().to_str().unwrap()]);
    let flood = get("/a/x").repeat(10_000);
    let warm_up = Client::connect(server.addr).get("/a/x").status;
    assert_eq!(warm_up, 200);
    let before = server.resident_kib();
    let crowd: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stream = TcpStream::connect(server.addr).unwrap();
            stream.set_nonblocking(true).unwrap();
            // As much as the sockets take.
            let _ = (&stream).write(flood.as_bytes());
            stream
        })
        .collect();
    let mut honest = Client::connect(server.addr);
    for _ in 0..50 {
        assert_eq!(honest.get("/a/x").body, noise(10_000));
    }
    let grown = server.resident_kib().saturating_sub(before);
    // A receive buffer and an answer for each.
    assert!(grown < 8 * 1024, "{grown} KiB more");
    drop(crowd);
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("long"), noise(3_000_000)).unwrap();
    let site = Site::start("", &[folder.path()]);
    let long = get("/a/long");
    let sent = [
        "",
        "G",
        "GET /a/long HTTP/1.1\r\nHost: x\r\n",
        &long,
        &long.repeat(50),
    ];
    for (round, sent) in (0..20).flat_map(|round| sent.map(|sent| (round, sent))) {
        let stream = TcpStream::connect(site.addr()).unwrap();
        if round % 2 == 0 {
            // Reset, and not ended.
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        (&stream).write_all(sent.as_bytes()).unwrap();
        if round % 3 == 0 {
            // Until some of the answer is there, if there is to be one.
            stream
                .set_read_timeout(Some(Duration::from_millis(2)))
                .unwrap();
            let _ = std::io::Read::read(&mut &stream, &mut [0; 100]);
        }
    }
    wait_for_none_left(&site);
    assert_eq!(site.metric("requests_in_flight{"), 1);
    assert_eq!(site.get("/a/long").body, noise(3_000_000));
}

#[test]
fn a_client_that_ends_its_side_within_a_head_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("--head-timeout 600", &[folder.path()]);
    for sent in ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = site.connect();
        client.send(sent);
        client.end_sending();
        assert!(client.rest().is_empty(), "{sent}");
    }
    wait_for_none_left(&site);
}

#[test]
fn heads_of_every_excess_are_refused_and_the_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("", &[folder.path()]);
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let cases = [
        (get(&format!("/{}", "x".repeat(9_000))), 414),
        (get(&format!("/{}", "x".repeat(1_000_000))), 414),
        (format!("{} / HTTP/1.1\r\n", "G".repeat(1_000_000)), 414),
        (with(&format!("X: {}\r\n", "x".repeat(17_000))), 431),
        (with(&format!("{}: x\r\n", "x".repeat(1_000_000))), 431),
        (with(&"X: y\r\n".repeat(64)), 431),
        (with(&"X: y\r\n".repeat(100_000)), 431),
        ("\u{0}".repeat(100_000), 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(), 400),
    ];
    for (sent, status) in cases {
        let stream = TcpStream::connect(site.addr()).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let mut client = Client::on(stream);
        // The server stops to listen to it after a while.
        let sending = thread::spawn(move || drop(sending.write_all(sent.as_bytes())));
        assert_eq!(client.answer().status, status);
        sending.join().unwrap();
    }
    // Empty lines are no request, and may not go on for ever either: nothing of them is kept.
    let mut client = site.connect();
    client.send("\r\n".repeat(100_000));
    assert_eq!(client.get("/healthz").status, 200);
    drop(client);
    wait_for_none_left(&site);
}

/// Pairs of framings that two readers could read differently: one answer, and then the end, so
/// that nothing of a body passes for a request.
#[test]
fn nothing_is_smuggled_in_a_body() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let site = Site::start("", &[folder.path()]);
    let inner = get("/a/secret");
    let framings = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 0\r\nContent-Length: 5", 400),
        ("Content-Length: 0, 5", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5 5", 400),
        ("Content-Length:", 400),
        ("Content-Length : 0", 400),
        (" Content-Length: 5", 400),
        ("Content-Length: 5\r\n\tX: y", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer-Encoding\u{b}: chunked", 400),
        ("Transfer-Encoding: \u{b}chunked", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding:", 400),
        ("X: y\rTransfer-Encoding: chunked", 400),
        ("X: y\u{0}\r\nContent-Length: 5", 400),
        ("Content-Length: 40", 404),
        ("Transfer-Encoding: chunked", 404),
        ("Transfer-Encoding: gzip, chunked", 404),
        ("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", 404),
        ("transfer-ENCODING:   cHuNkEd\t", 404),
    ];
    for (framing, status) in framings {
        for body in [
            inner.clone(),
            format!("0\r\n\r\n{inner}"),
            format!("5\r\nxxxxx\r\n0\r\n\r\n{inner}"),
        ] {
            let mut client = site.connect();
            client.send(format!(
                "GET /a/nothing HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{body}"
            ));
            let answer = client.answer();
            assert_eq!(answer.status, status, "{framing}");
            assert_eq!(answer.field("connection"), Some("close"), "{framing}");
            assert!(client.rest().is_empty(), "{framing}: a second answer");
        }
    }
}
