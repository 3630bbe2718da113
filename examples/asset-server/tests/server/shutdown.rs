//! Stopping: what was begun is finished, what is idle is not waited for.

use std::fs;
use std::future::{pending, ready};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use super::site::{Client, Site, TIMEOUT, noise, wait_until};

#[test]
fn answers_under_way_are_finished_and_idle_connections_closed() {
    let folder = tempfile::tempdir().unwrap();
    let len = 32 << 20;
    fs::write(folder.path().join("long"), noise(len)).unwrap();
    let site = Site::start("--drain-timeout 600", &[folder.path()]);
    let addr = site.addr();
    let mut idle = site.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    let mut busy = site.connect();
    busy.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until("nothing is sent", || {
        site.metric("sent_bytes_total") > 100_000
    });
    let server = site.into_server();
    let began = Instant::now();
    let stopping = thread::spawn(move || server.stop(pending::<()>()));
    assert!(idle.rest().is_empty());
    wait_until("it still listens", || TcpStream::connect(addr).is_err());
    let answer = busy.answer();
    assert!(answer.body == noise(len));
    stopping.join().unwrap();
    assert!(began.elapsed() < 2 * TIMEOUT, "{:?}", began.elapsed());
}

#[test]
fn requests_sent_before_the_stop_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "x").unwrap();
    for _ in 0..5 {
        let site = Site::start("", &[folder.path()]);
        let mut clients: Vec<_> = (0..40).map(|_| site.connect()).collect();
        for client in &mut clients {
            client.send("GET /a/x HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        let server = site.into_server();
        let stopping = thread::spawn(move || server.stop(pending::<()>()));
        for mut client in clients {
            assert_eq!(client.answer().body, b"x");
            assert!(client.rest().is_empty());
        }
        stopping.join().unwrap();
    }
}

#[test]
fn who_never_takes_its_answer_is_cut_off_at_the_deadline_or_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("long")).unwrap();
    file.set_len(256 << 20).unwrap();
    for (drain_timeout, is_hurried) in [(1, false), (600, true)] {
        let line = format!("--drain-timeout {drain_timeout}");
        let site = Site::start(&line, &[folder.path()]);
        let mut client = Client::connect(site.addr());
        client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_until("nothing is sent", || {
            site.metric("sent_bytes_total") > 100_000
        });
        let began = Instant::now();
        let server = site.into_server();
        if is_hurried {
            server.stop(ready(()));
        } else {
            server.stop(pending::<()>());
        }
        assert!(began.elapsed() < TIMEOUT, "{:?}", began.elapsed());
    }
}
