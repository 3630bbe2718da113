//! Entries of archives.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use zip::CompressionMethod::{Deflated, Stored};
use zip::write::SimpleFileOptions;

use super::site::{Site, noise};

/// Lengths around the limits below which parts are copied, and above.
const LENS: [usize; 6] = [0, 1, 16_384, 65_537, 300_000, 3_000_000];

pub(crate) fn pack(folder: &Path, name: &str, files: &[(String, Vec<u8>)]) -> PathBuf {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (index, (name, content)) in files.iter().enumerate() {
        let method = if index % 2 == 0 { Stored } else { Deflated };
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    let path = folder.join(name);
    fs::write(&path, writer.finish().unwrap().get_ref()).unwrap();
    path
}

/// Every length, once stored and once deflated.
fn files() -> Vec<(String, Vec<u8>)> {
    LENS.into_iter()
        .flat_map(|len| {
            [format!("stored/{len}"), format!("deflated/{len}")].map(|n| (n, noise(len)))
        })
        .collect()
}

/// Checks all files of a server that keeps inflated entries up to `whole_max`.
fn check_all(site: &Site, files: &[(String, Vec<u8>)], whole_max: usize) {
    let gives_many = |name: &str, len: usize| name.starts_with("stored") || len <= whole_max;
    let mut client = site.connect();
    for (name, content) in files {
        let answer = client.get(&format!("/a/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.body == *content, "{name}");
        let len = content.len();
        if len < 10 {
            continue;
        }
        let (a, b, c) = (len / 5, len / 3, len / 2);
        let fields = format!("Range: bytes={c}-,{a}-{b}\r\n");
        let answer = site.get_with(&format!("/a/{name}"), &fields);
        if answer.status == 200 {
            assert!(!gives_many(name, len), "{name}");
            assert!(answer.body == *content, "{name}");
            check_one(site, name, content);
            continue;
        }
        assert!(answer.status == 206 && gives_many(name, len), "{name}");
        let found = |part: &[u8]| answer.body.windows(part.len()).any(|window| window == part);
        let probe = 64.min(len - c).min(b - a);
        assert!(
            found(&content[c..c + probe]) && found(&content[len - probe..]),
            "{name}"
        );
        assert!(
            found(&content[a..a + probe]) && found(&content[b + 1 - probe..=b]),
            "{name}"
        );
        check_one(site, name, content);
    }
}

fn check_one(site: &Site, name: &str, content: &[u8]) {
    let (a, c) = (content.len() / 5, content.len() / 2);
    let answer = site.get_with(&format!("/a/{name}"), &format!("Range: bytes={a}-{c}\r\n"));
    assert!(
        answer.status == 206 && answer.body == content[a..=c],
        "{name}"
    );
}

#[test]
fn entries_come_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    let path = pack(folder.path(), "a.pk3", &files);
    check_all(&Site::start("", &[&path]), &files, 16 << 20);
}

/// With this little memory, entries are inflated as they are sent.
#[test]
fn long_entries_are_inflated_within_the_limit_on_bytes_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    let path = pack(folder.path(), "a.pk3", &files);
    for limit in [1_000_000, 100_000] {
        let site = Site::start(&format!("--in-flight-bytes-max {limit}"), &[&path]);
        // A quarter of it is for what is kept, on two workers.
        check_all(&site, &files, limit / 8);
        assert!(site.metric("in_flight_bytes ") <= u64::try_from(limit).unwrap());
    }
}

#[test]
fn clients_that_ask_at_once_get_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    let path = pack(folder.path(), "a.pk3", &files);
    let site = Site::start("--in-flight-bytes-max 16000000", &[&path]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (name, content) in &files {
                    let answer = site.get(&format!("/a/{name}"));
                    assert!(answer.status == 200 && answer.body == *content, "{name}");
                }
            });
        }
    });
}

#[test]
fn entries_shadow_and_are_shadowed() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let one = pack(
        folder.path(),
        "1.pk3",
        &[text("x", "1"), text("y", "1"), text("z", "1")],
    );
    let three = pack(folder.path(), "3.pk3", &[text("z", "3")]);
    let two = folder.path().join("two");
    fs::create_dir(&two).unwrap();
    fs::write(two.join("y"), "2").unwrap();
    fs::write(two.join("z"), "2").unwrap();
    let site = Site::start("", &[&one, &two, &three]);
    for (name, text) in [("x", "1"), ("y", "2"), ("z", "3")] {
        assert_eq!(
            site.get(&format!("/a/{name}")).body,
            text.as_bytes(),
            "{name}"
        );
    }
}

#[test]
fn a_corrupt_entry_is_an_error_and_the_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("good".to_owned(), noise(1000)),
        ("bad".to_owned(), noise(50_000)),
        ("worse".to_owned(), noise(100)),
    ];
    let path = pack(folder.path(), "a.pk3", &files);
    let mut bytes = fs::read(&path).unwrap();
    let header = bytes
        .windows(3)
        .position(|window| window == b"bad")
        .unwrap();
    bytes[header + 1000] ^= 0xff;
    // The third local header: no longer one.
    let header = bytes
        .windows(5)
        .position(|window| window == b"worse")
        .unwrap()
        - 30;
    bytes[header] = b'!';
    fs::write(&path, bytes).unwrap();
    let site = Site::start("", &[&path]);
    let mut client = site.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/a/bad").status, 500);
        assert_eq!(client.get("/a/worse").status, 500);
        assert_eq!(client.get("/a/good").body, noise(1000));
        for (name, status) in [("bad", 500), ("worse", 500), ("good", 200)] {
            let mut client = site.connect();
            client.send(format!("HEAD /a/{name} HTTP/1.1\r\nHost: x\r\n\r\n"));
            client.end_sending();
            let answer = String::from_utf8(client.rest()).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    }
}

/// One attempt is enough for all that wait, and for those that come later.
#[test]
fn a_corrupt_entry_is_inflated_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("good".to_owned(), noise(10)),
        ("bad".to_owned(), noise(8_000_000)),
    ];
    let path = pack(folder.path(), "a.pk3", &files);
    let mut bytes = fs::read(&path).unwrap();
    // The end of the data: all of it is inflated before that shows.
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02");
    bytes[directory.unwrap() - 40] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    let site = Site::start("--workers 1", &[&path]);
    let began = Instant::now();
    assert_eq!(site.get("/a/bad").status, 500);
    let once = began.elapsed();
    let ask_again = || {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        assert_eq!(site.get("/a/bad").status, 500);
                    }
                });
            }
        });
        began.elapsed()
    };
    // The machine may stand still once, or be busy.
    let mut again = ask_again();
    for _ in 0..4 {
        if again >= once * 8 {
            again = ask_again();
        }
    }
    assert!(again < once * 8, "{again:?} after {once:?}");
}

/// Those that wait for an entry wait at once, not one after another.
#[test]
fn clients_that_wait_for_memory_wait_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("good".to_owned(), noise(10)),
        ("wanted".to_owned(), noise(200_000)),
    ];
    let path = pack(folder.path(), "a.pk3", &files);
    let big = folder.path().join("big");
    fs::create_dir(&big).unwrap();
    let long = pack(
        &big,
        "b.pk3",
        &[files[0].clone(), ("long".to_owned(), noise(30_000_000))],
    );
    let site = Site::start("--in-flight-bytes-max 1700000", &[&path, &long]);
    // Each holds memory for as long as it is not read.
    let holding: Vec<_> = (0..12)
        .map(|_| {
            let mut client = site.connect();
            client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(2500));
    let ask = || {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(site.get("/a/wanted").status, 503));
            }
        });
        began.elapsed()
    };
    // The machine may stand still once.
    let (at_once, mut took) = (Duration::from_millis(4500), ask());
    for _ in 0..2 {
        if took >= at_once {
            took = ask();
        }
    }
    assert!(took < at_once, "{took:?}");
    drop(holding);
}

#[test]
fn an_archive_that_is_changed_in_place_is_no_longer_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = pack(folder.path(), "a.pk3", &files());
    fs::write(folder.path().join("note"), "text").unwrap();
    let site = Site::start("", &[folder.path(), &path]);
    let first = site.get("/a/deflated/65537");
    let tag = first.field("etag").unwrap().to_owned();
    assert_eq!(first.status, 200);
    // A new archive in its place leaves the open one as it is.
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    let kept = folder.path().join("kept");
    fs::hard_link(&path, &kept).unwrap();
    fs::rename(&copy, &path).unwrap();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(site.get("/a/deflated/65537").status, 200);
    // The open one itself.
    let mut bytes = fs::read(&kept).unwrap();
    bytes.reverse();
    fs::write(&kept, bytes).unwrap();
    thread::sleep(Duration::from_millis(1200));
    // On either worker, whether it is cached or not, and whatever the client has.
    for _ in 0..8 {
        for name in ["deflated/65537", "stored/300000"] {
            let fields = format!("If-None-Match: {tag}\r\n");
            assert_eq!(site.get_with(&format!("/a/{name}"), &fields).status, 503);
        }
        assert_eq!(site.get("/a/note").body, b"text");
    }
}
