//! The program: what it prints, and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use blobio::pack::chunked::Compression;

use super::site::{Client, noise};

const PROGRAM: &str = env!("CARGO_BIN_EXE_asset-server");

/// The program, ended on drop.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line.trim().strip_prefix("listening on http://").unwrap();
        Self {
            addr: addr.parse().unwrap(),
            child,
        }
    }

    /// Returns how much memory the program has in use.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let value = line.unwrap().split_whitespace().nth(1);
        value.unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(id: u32, name: &str) {
    let id = id.to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.unwrap().success());
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn signals_end_it_with_zero_after_what_is_being_sent() {
    let folder = tempfile::tempdir().unwrap();
    let len = 32 << 20;
    fs::write(folder.path().join("long"), noise(len)).unwrap();
    for signal in ["TERM", "INT"] {
        let mut server =
            Running::start(&["--drain-timeout", "15", folder.path().to_str().unwrap()]);
        let mut client = Client::connect(server.addr);
        assert_eq!(client.get("/healthz").status, 200);
        client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
        std::thread::sleep(Duration::from_millis(100));
        server.signal(signal);
        assert!(client.answer().body == noise(len));
        assert_eq!(server.exit_code(), Some(0));
    }
}

/// Nothing that waits for ever (signals, idle clients, the queue of reads) holds up the end.
#[test]
fn a_signal_ends_it_at_once_when_nothing_is_being_sent() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "text").unwrap();
    for backend in ["auto", "threads"] {
        let options = ["--backend", backend, "--drain-timeout", "600"];
        let folder = folder.path().to_str().unwrap();
        let end = || {
            let mut server = Running::start(&[&options[..], &[folder]].concat());
            let mut idle = Client::connect(server.addr);
            assert_eq!(idle.get("/a/x").status, 200);
            let began = Instant::now();
            server.signal("TERM");
            assert_eq!(server.exit_code(), Some(0));
            began.elapsed()
        };
        // The machine may stand still once, or be busy.
        let (at_once, mut took) = (Duration::from_millis(500), end());
        for _ in 0..4 {
            if took >= at_once {
                took = end();
            }
        }
        assert!(took < at_once, "{backend}: {took:?}");
    }
}

#[test]
fn it_serves_on_threads_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let body = noise(3 << 20);
    fs::write(folder.path().join("x"), &body).unwrap();
    let mut child = Command::new(PROGRAM)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--workers",
            "1",
            "--backend",
            "threads",
        ])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening = lines.next().unwrap().unwrap();
    let addr = listening.strip_prefix("listening on http://").unwrap();
    let addr = addr.parse().unwrap();
    let mut running = Running { child, addr };
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "1 worker on threads and epoll (as configured)"
    );
    let mut client = Client::connect(addr);
    assert!(client.get("/a/x").body == body);
    let metrics = client.get("/metrics").body;
    let info = "executor_backend_info{worker=\"0\",backend=\"threads\",";
    assert!(String::from_utf8(metrics).unwrap().contains(info));
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
}

/// Without the limit being fitted, the clients past the last descriptor would wait for ever.
#[test]
fn few_descriptors_lower_the_limit_on_connections_and_more_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "text").unwrap();
    let limited = "ulimit -n 400 && exec \"$0\" --listen 127.0.0.1:0 --workers 1 \"$1\"";
    let mut child = Command::new("sh")
        .args(["-c", limited, PROGRAM])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on http://").unwrap();
    let addr = addr.parse().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    let mut running = Running { child, addr };
    let limit = said
        .split_whitespace()
        .find_map(|word| word.parse::<usize>().ok().filter(|&count| count < 400))
        .unwrap();
    assert!(said.contains("connections") && limit > 100, "{said}");
    let mut open: Vec<_> = (0..limit).map(|_| Client::connect(addr)).collect();
    for client in &mut open {
        assert_eq!(client.get("/a/x").status, 200);
    }
    for _ in 0..20 {
        assert_eq!(Client::connect(addr).answer().status, 503);
    }
    drop(open);
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
}

/// As somebody whom permissions bind, which the superuser is not.
#[test]
fn what_may_not_be_read_shadows_all_the_same() {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    let folder = tempfile::tempdir().unwrap();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(folder.path(), 0o755);
    let [early, late] = ["early", "late"].map(|name| folder.path().join(name));
    for (root, text) in [(&early, "early"), (&late, "late")] {
        fs::create_dir(root).unwrap();
        fs::write(root.join("x"), text).unwrap();
        fs::write(root.join("y"), text).unwrap();
    }
    set(&late.join("x"), 0);
    let program = fs::File::open(PROGRAM).unwrap();
    let mut command = Command::new(PROGRAM);
    if fs::File::open(late.join("x")).is_ok() {
        // By its descriptor: others may not be allowed to where it was built.
        command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command.uid(65_534);
    }
    let mut child = command
        .args(["--listen", "127.0.0.1:0"])
        .args([&early, &late])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let addr = line.trim().strip_prefix("listening on http://").unwrap();
    let running = Running {
        addr: addr.parse().unwrap(),
        child,
    };
    let mut client = Client::connect(running.addr);
    assert_eq!(client.get("/a/x").status, 404);
    assert_eq!(client.get("/a/y").body, b"late");
}

#[test]
fn a_second_signal_cuts_short_what_is_being_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("long")).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut server = Running::start(&["--drain-timeout", "600", folder.path().to_str().unwrap()]);
    let mut client = Client::connect(server.addr);
    client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
    // Until it is being sent.
    client.some();
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "it did not wait"
    );
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("noise.zip"), noise(100_000)).unwrap();
    fs::write(path("empty.zip"), "").unwrap();
    let whole = super::packs::pack(folder.path(), "x.clpk", Compression::None, &[]);
    let head = fs::read(whole).unwrap();
    fs::write(path("short.clpk"), &head[..10_000]).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let other = Running::start(&[folder.path().to_str().unwrap()]);
    let shared = other.addr.to_string();
    let here = path("");
    let cases: [(&[&str], &str); 8] = [
        (&[&path("missing")], "missing"),
        (&[&path("noise.zip")], "noise.zip"),
        (&[&here, &path("empty.zip")], "empty.zip"),
        (&["/dev/null"], "/dev/null"),
        (
            &[&path("short.clpk")],
            "short.clpk: at byte 0: 10000 bytes long",
        ),
        (&["--listen", &taken, &here], &taken),
        (&["--listen", &shared, &here], &shared),
        (&["--listen", "192.0.2.1:1", &here], "192.0.2.1:1"),
    ];
    for (arguments, named) in cases {
        let mut command = Command::new(PROGRAM);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let ended = command.args(arguments).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(ended.stdout.is_empty());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with("asset-server: ") && said.contains(named),
            "{said}"
        );
    }
}

#[test]
fn without_roots_it_serves_the_demo_pack() {
    let cache = tempfile::tempdir().unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0"])
        .env("XDG_CACHE_HOME", cache.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let addr = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();
    let mut running = Running { child, addr };
    let pack = cache
        .path()
        .join("corelane")
        .join(asset_server::demo::FILE_NAME);
    assert!(Path::new(&pack).is_file());
    let mut client = Client::connect(running.addr);
    for asset in asset_server::demo::assets().step_by(37) {
        let mut path = "/a/".to_owned();
        asset_server::path::encode(asset.name.as_bytes(), &mut path);
        let answer = client.get(&path);
        assert!(
            answer.status == 200 && answer.body == asset.bytes,
            "{}",
            asset.name
        );
    }
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), 1, "what it runs on: {rest}");
    assert!(rest.contains(" on "), "{rest}");
}
