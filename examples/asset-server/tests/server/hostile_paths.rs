//! Paths that try to get out, and things in a folder that are no files.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::process::Command;
use std::time::Instant;

use super::site::{Site, TIMEOUT};

const SECRET: &[u8] = b"a secret that is not served";

/// Ways to write `../secret` below `/a/`: each way to go up with each separator.
fn tricks() -> Vec<String> {
    let ups = [
        "..",
        "%2e%2e",
        ".%2E",
        // Two decodings away, and three.
        "%252e%252e",
        "%25252e%25252e",
        // Overlong, full width, one dot leader, and what some make of them.
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "%f0%80%80%ae%f0%80%80%ae",
        "%ef%bc%8e%ef%bc%8e",
        "%e2%80%a4%e2%80%a4",
        "%u002e%u002e",
        "..%00",
        "..;",
        "...",
        "..%20",
        "..%0d%0a",
        "%2e%2e%5c",
    ];
    let separators = [
        "/",
        "%2f",
        "%2F",
        "%252f",
        "%5c",
        "\\",
        "//",
        "%c0%af",
        "%e0%80%af",
        "%ef%bc%8f",
        "%e2%88%95",
    ];
    let paths = ups.into_iter().flat_map(|up| {
        separators.into_iter().flat_map(move |separator| {
            [
                format!("{up}{separator}secret"),
                format!("below{separator}{up}{separator}{up}{separator}secret"),
            ]
        })
    });
    paths.collect()
}

fn served() -> (tempfile::TempDir, std::path::PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), SECRET).unwrap();
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("below")).unwrap();
    fs::write(root.join("plain"), "plain").unwrap();
    (outside, root)
}

#[test]
fn no_way_of_writing_a_path_leads_out() {
    let (outside, root) = served();
    let site = Site::start("", &[&root]);
    let mut client = site.connect();
    let mut check = |path: &str, statuses: &[u16]| {
        let answer = client.get(path);
        assert!(statuses.contains(&answer.status), "{path}: {answer:?}");
        let has_secret = answer.body.windows(SECRET.len()).any(|part| part == SECRET);
        assert!(!has_secret, "{path}");
        // It was well-formed as HTTP: the connection goes on.
        assert_eq!(answer.field("connection"), None, "{path}");
    };
    for path in tricks() {
        check(&format!("/a/{path}"), &[400, 404]);
    }
    let absolute = outside.path().join("secret");
    let absolute = absolute.to_str().unwrap();
    check(&format!("/a/{absolute}"), &[400]);
    check(&format!("/a/{}", absolute.replace('/', "%2f")), &[400]);
    check(&format!("/a/file:{absolute}"), &[404]);
    for (path, status) in [
        ("/../secret", 404),
        ("/a/../../secret", 400),
        ("/a/./plain", 400),
        ("/a/plain/", 404),
        ("/a/plain/.", 400),
        ("/a/plain%00.png", 400),
        ("/a/plain::$DATA", 404),
        ("/a/~root", 404),
        ("/A/plain", 404),
        ("/%61/plain", 404),
        ("/a/plain?/../../secret", 200),
        ("http://x/a/../secret", 400),
        ("http://../a/secret", 404),
    ] {
        check(path, &[status]);
    }
}

#[test]
fn names_of_every_length_are_answered() {
    let (_outside, root) = served();
    let longest = "x".repeat(255);
    fs::write(root.join(&longest), "long").unwrap();
    let site = Site::start("", &[&root]);
    let mut client = site.connect();
    for (path, status) in [
        (longest.clone(), 200),
        ("x".repeat(256), 404),
        ("x".repeat(4095), 404),
        ("x".repeat(4096), 414),
        ("x/".repeat(2047) + "x", 404),
        ("x/".repeat(2049), 414),
        ("%78".repeat(255), 200),
        ("%78".repeat(256), 404),
        ("%ff".repeat(255), 404),
    ] {
        let answer = client.get(&format!("/a/{path}"));
        assert_eq!(answer.status, status, "{} bytes", path.len());
    }
}

/// Makes a pipe, a socket, and, for whom that is allowed, devices.
fn make_odd_files(root: &std::path::Path) -> Vec<&'static str> {
    let make = |name: &str, kind: &[&str]| {
        let mut command = Command::new("mknod");
        let made = command.arg(root.join(name)).args(kind).output().unwrap();
        made.status.success()
    };
    assert!(make("pipe", &["p"]));
    let mut made = vec!["pipe"];
    for (name, kind) in [
        // Would never end, would end at once, would be waited for, is not there.
        ("zero", ["c", "1", "5"]),
        ("null", ["c", "1", "3"]),
        ("terminal", ["c", "5", "0"]),
        ("none", ["c", "240", "77"]),
        ("block", ["b", "7", "200"]),
    ] {
        if make(name, &kind) {
            made.push(name);
        }
    }
    made
}

#[test]
fn odd_files_are_not_there_and_hold_no_thread() {
    let (_outside, root) = served();
    let mut names = make_odd_files(&root);
    symlink("pipe", root.join("to pipe")).unwrap();
    symlink("/dev/zero", root.join("to zero")).unwrap();
    symlink("/dev/stdin", root.join("to stdin")).unwrap();
    names.extend(["to%20pipe", "to%20zero", "to%20stdin", "below"]);
    // More than there are threads for what blocks.
    for backend in ["auto", "threads"] {
        let line = format!("--backend {backend} --workers 1");
        let site = Site::start(&line, &[&root]);
        let began = Instant::now();
        let mut clients: Vec<_> = (0..100).map(|_| site.connect()).collect();
        for (client, name) in clients.iter_mut().zip(names.iter().cycle()) {
            client.send(format!("GET /a/{name} HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 404);
        }
        let listing = String::from_utf8(site.get("/a/").body).unwrap();
        assert!(listing.contains("\"/a/plain\""), "{listing}");
        for name in &names {
            assert!(!listing.contains(&format!("\"/a/{name}\"")), "{listing}");
        }
        assert_eq!(site.get("/a/plain").body, b"plain");
        assert!(began.elapsed() < TIMEOUT);
    }
}

/// A pipe with somebody at the other end is as little a file as one without.
#[test]
fn a_pipe_that_is_written_to_gives_nothing_away() {
    let (_outside, root) = served();
    let pipe = root.join("pipe");
    let made = Command::new("mknod").arg(&pipe).arg("p").status().unwrap();
    assert!(made.success());
    // Both ends, so that it is open whatever others do.
    let held = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .unwrap();
    std::io::Write::write_all(&mut &held, SECRET).unwrap();
    let site = Site::start("", &[&root]);
    for _ in 0..10 {
        assert_eq!(site.get("/a/pipe").status, 404);
    }
    let mut there = [0; 100];
    let count = std::io::Read::read(&mut &held, &mut there).unwrap();
    assert_eq!(&there[..count], SECRET, "nobody took anything out");
}
