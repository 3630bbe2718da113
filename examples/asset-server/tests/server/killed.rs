//! Processes that are killed, stopped and continued in the middle of an answer.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::program::{Running, signal};
use super::site::{Client, Site, noise, wait_until};

/// A process that asks for something, and takes what it is sent, or only the first of it.
struct Process(Child);

impl Process {
    fn ask(addr: SocketAddr, path: &str, takes: &str) -> Self {
        let (host, port) = (addr.ip(), addr.port());
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port} && \
             printf 'GET {path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3 && {takes}"
        );
        let mut child = Command::new("bash")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It is in the middle of the answer.
        let mut first = [0; 1000];
        let taken = child.stdout.as_mut().unwrap().read_exact(&mut first);
        assert!(taken.is_ok() && first.starts_with(b"HTTP/1.1 200"));
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes a folder with `long`, which no client takes all of, and `x`, which is returned.
fn a_file_without_end_and_another() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("long"))
        .and_then(|file| file.set_len(1 << 40))
        .unwrap();
    let body = noise(1 << 20);
    fs::write(folder.path().join("x"), &body).unwrap();
    (folder, body)
}

#[test]
fn clients_killed_in_the_middle_of_an_answer_leave_nothing_behind() {
    const KILLED: u64 = 8;
    let (folder, body) = a_file_without_end_and_another();
    let site = Site::start("", &[folder.path()]);
    let mut other = site.connect();
    // Some take all that comes when they are killed, some have taken as little as they could.
    let clients: Vec<_> = (0..KILLED)
        .map(|number| match number % 2 {
            0 => Process::ask(site.addr(), "/a/long", "exec cat <&3"),
            _ => Process::ask(site.addr(), "/a/long", "head -c 1000 <&3; exec sleep 1000"),
        })
        .collect();
    assert_eq!(site.metric("requests_in_flight{"), 1 + KILLED);
    drop(clients);
    wait_until("their requests go on", || {
        site.metric("requests_in_flight{") == 1
    });
    assert_eq!(site.metric("responses_aborted_total{"), KILLED);
    assert!(other.get("/a/x").body == body);
}

#[test]
fn a_client_that_is_stopped_is_dropped_and_holds_nobody_up() {
    let (folder, body) = a_file_without_end_and_another();
    let site = Site::start("--idle-timeout 1 --workers 1", &[folder.path()]);
    let client = Process::ask(site.addr(), "/a/long", "exec cat <&3");
    signal(client.0.id(), "STOP");
    wait_until("it is never dropped", || {
        assert!(site.get("/a/x").body == body);
        site.metric("requests_in_flight{") == 1
    });
    assert_eq!(site.metric("responses_aborted_total{"), 1);
}

/// To a process that was stopped, every clock has jumped: what it waited for and the deadline for
/// it are there at once. Who took what was sent is not cut off.
#[test]
fn a_server_that_was_stopped_for_longer_than_its_timeouts_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let body = noise(64 << 20);
    fs::write(folder.path().join("long"), &body).unwrap();
    let run = |backend| {
        let options = ["--idle-timeout", "5", "--backend", backend];
        let folder = folder.path().to_str().unwrap();
        let server = Running::start(&[&options[..], &[folder]].concat());
        let mut client = Client::connect(server.addr);
        client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
        client.some();
        // What the sockets do not hold is yet to be sent.
        server.signal("STOP");
        let taker = thread::spawn(move || client.answer());
        thread::sleep(Duration::from_secs(6));
        server.signal("CONT");
        assert!(taker.join().unwrap().body == body, "{backend}");
    };
    thread::scope(|scope| {
        scope.spawn(|| run("auto"));
        scope.spawn(|| run("threads"));
    });
}
