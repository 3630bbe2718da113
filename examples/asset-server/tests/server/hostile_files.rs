//! Ranges and archives that ask for much, and files that change while they are sent.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blobio::pack::chunked::Compression;

use super::archives;
use super::packs;
use super::program::Running;
use super::site::{Answer, Client, Site, noise};

/// What an answer of several parts may have beside its bytes, for each part.
const PART_HEAD_MAX: usize = 200;

fn get_range(client: &mut Client, path: &str, ranges: &str) -> Answer {
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nRange: bytes={ranges}\r\n\r\n"
    ));
    client.answer()
}

/// Fields that ask for much, each with a name.
fn range_bombs() -> Vec<(&'static str, String)> {
    type Range = fn(usize) -> String;
    let lists: [(&str, usize, Range); 10] = [
        ("a thousand", 1000, |n| format!("{n}-{n}")),
        ("a thousand wholes", 1000, |_| "0-".to_owned()),
        ("a thousand apart", 1000, |n| format!("{0}-{0}", n * 10)),
        ("sixteen wholes", 16, |_| "0-".to_owned()),
        ("sixteen nested", 16, |n| format!("{n}-")),
        ("sixteen halves", 16, |n| {
            format!("{}-{}", n % 2 * 5, 500_000 + n)
        }),
        ("sixteen apart", 16, |n| {
            format!("{}-{}", n * 60_000, n * 60_000 + 59_000)
        }),
        ("backwards", 16, |n| {
            format!("{}-{}", 900_000 - n * 9, 900_003 - n * 9)
        }),
        ("beyond 64 bits", 16, |n| {
            format!("{n}-99999999999999999999999{n}")
        }),
        ("suffixes", 16, |n| format!("-{n}")),
    ];
    let lists = lists.map(|(what, count, range)| {
        let ranges: Vec<_> = (0..count).map(range).collect();
        (what, ranges.join(","))
    });
    let edges = [
        (
            "at the edge of 64 bits",
            "18446744073709551615-,-18446744073709551615,0-0",
        ),
        (
            "at the edge of 63 bits",
            "9223372036854775807-9223372036854775808,1-1",
        ),
        ("reversed", "9-1,8-2"),
    ];
    let edges = edges.map(|(what, ranges)| (what, ranges.to_owned()));
    lists.into_iter().chain(edges).collect()
}

#[test]
fn many_ranges_give_no_more_than_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let len = 1_000_000;
    fs::write(folder.path().join("file"), noise(len)).unwrap();
    let files = [
        ("stored".to_owned(), noise(len)),
        ("deflated".to_owned(), noise(len)),
    ];
    let zip = archives::pack(folder.path(), "z.pk3", &files);
    let content = [("packed".to_owned(), noise(len))];
    let pack = packs::pack(folder.path(), "p.clpk", Compression::Lz4, &content);
    let site = Site::start("", &[folder.path(), &zip, &pack]);
    let bombs = range_bombs();
    for path in ["/a/file", "/a/stored", "/a/deflated", "/a/packed"] {
        let mut client = site.connect();
        for (what, ranges) in &bombs {
            let answer = get_range(&mut client, path, ranges);
            assert!(
                matches!(answer.status, 200 | 206),
                "{path}, {what}: {}",
                answer.head
            );
            let most = len + 16 * PART_HEAD_MAX;
            assert!(
                answer.body.len() <= most,
                "{path}, {what}: {}",
                answer.body.len()
            );
        }
        for ranges in [
            "1000000-",
            "18446744073709551615-",
            "99999999999999999999-",
            "-0",
        ] {
            let answer = get_range(&mut client, path, ranges);
            let unsatisfied = answer.field("content-range");
            assert_eq!(unsatisfied, Some("bytes */1000000"), "{path}, {ranges}");
        }
        assert!(client.get(path).body == noise(len), "{path}");
    }
}

/// An archive a thousandth as long as what it holds.
fn bomb(folder: &Path, len: usize) -> std::path::PathBuf {
    let nothing = ("nothing".to_owned(), Vec::new());
    let zeros = ("zeros".to_owned(), vec![0; len]);
    archives::pack(folder, "bomb.zip", &[nothing, zeros])
}

#[test]
fn a_bomb_goes_off_outside() {
    const LEN: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = bomb(folder.path(), LEN);
    assert!(fs::metadata(&path).unwrap().len() < 40_000);
    let options = ["--workers", "1", "--in-flight-bytes-max", "2000000"];
    let server = Running::start(&[&options[..], &[path.to_str().unwrap()]].concat());
    let mut client = Client::connect(server.addr);
    // Its end first: all before it is inflated, and thrown away.
    let last = get_range(&mut client, "/a/zeros", "-10");
    assert_eq!((last.status, last.body), (206, vec![0; 10]));
    let before = server.resident_kib();
    let crowd: Vec<_> = (0..10)
        .map(|_| {
            let mut client = Client::connect(server.addr);
            client.send("GET /a/zeros HTTP/1.1\r\nHost: x\r\n\r\n");
            client
        })
        .collect();
    let mut statuses = Vec::new();
    for mut client in crowd {
        let answer = client.answer();
        let is_right = answer.body.len() == LEN && answer.body.iter().all(|&byte| byte == 0);
        assert!(answer.status == 503 || is_right, "{}", answer.head);
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&200), "{statuses:?}");
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more");
}

/// Bytes that say of each place in which state they were written.
fn state(number: u8, len: usize) -> Vec<u8> {
    vec![b'a' + number % 26; len]
}

/// Replaces a file at once, as `mv` does.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Every answer is of one state, whole, and its tag is that state's.
#[test]
fn a_file_that_is_replaced_under_load_is_never_mixed() {
    const ASKED: u32 = 100;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    replace(&path, &state(0, state_len(0)));
    let site = Site::start("", &[folder.path()]);
    let asked = AtomicU32::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = site.connect();
                    while asked.fetch_add(1, Ordering::Relaxed) < ASKED {
                        ask_for_one_state(&mut client);
                    }
                })
            })
            .collect();
        let mut number = 0;
        while !clients.iter().all(thread::ScopedJoinHandle::is_finished) {
            number = (number + 1) % 26;
            replace(&path, &state(number, state_len(number)));
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Short ones are read behind the head, long ones sent from the cache.
fn state_len(number: u8) -> usize {
    if number.is_multiple_of(2) {
        9_000
    } else {
        300_000
    }
}

/// Asks for a whole file, then for a part of the same state, which may be over.
fn ask_for_one_state(client: &mut Client) {
    let whole = client.get("/a/file");
    assert_eq!(whole.status, 200);
    let number = whole.body[0] - b'a';
    assert!(whole.body == state(number, state_len(number)));
    let tag = whole.field("etag").unwrap();
    client.send(format!(
        "GET /a/file HTTP/1.1\r\nHost: x\r\nRange: bytes=10-8000\r\nIf-Range: {tag}\r\n\r\n"
    ));
    let part = client.answer();
    match part.status {
        206 => assert!(part.body == state(number, 7991)),
        200 => assert_ne!(part.field("etag"), Some(tag)),
        status => panic!("{status}"),
    }
}

/// An archive moved over the one that is served: what is open goes on being served, whole.
#[test]
fn a_pack_that_is_replaced_is_served_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let files = |number| ["plain", "packed"].map(|name| (name.to_owned(), state(number, 800_000)));
    let zip = archives::pack(folder.path(), "z.pk3", &files(0));
    let kinds = [Compression::None, Compression::Zstd(1)];
    let [plain, packed] =
        kinds.map(|kind| packs::pack(folder.path(), &format!("{kind:?}.clpk"), kind, &files(0)));
    for path in [&zip, &plain, &packed] {
        let site = Site::start("", &[path]);
        let mut under_way = site.connect();
        under_way.send("GET /a/plain HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4));
        let first = under_way.answer();
        let other = tempfile::tempdir_in(folder.path()).unwrap();
        let new = match path.extension().unwrap() == "pk3" {
            true => archives::pack(other.path(), "new", &files(1)),
            false => packs::pack(other.path(), "new", Compression::Lz4, &files(1)),
        };
        fs::rename(new, path).unwrap();
        for _ in 0..3 {
            assert!(under_way.answer().body == first.body);
        }
        // Past the interval in which it is looked whether the archive changed.
        let until = Instant::now() + Duration::from_millis(1200);
        while Instant::now() < until {
            for name in ["/a/plain", "/a/packed"] {
                let answer = site.get(name);
                assert_eq!(answer.status, 200, "{}", path.display());
                assert!(answer.body == state(0, 800_000), "{}", path.display());
                assert_eq!(
                    answer.field("etag").is_some(),
                    first.field("etag").is_some()
                );
            }
        }
        drop(site);
        // And the next start has the new one.
        let site = Site::start("", &[path]);
        assert!(site.get("/a/packed").body == state(1, 800_000));
    }
}

#[test]
fn a_file_that_grows_under_way_is_sent_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, state(0, 5_000_000)).unwrap();
    let site = Site::start("", &[folder.path()]);
    let mut client = site.connect();
    client.send("GET /a/file HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2));
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &state(1, 1_000_000)).unwrap();
    // As long as it was said to be, so that the next answer is where it is looked for.
    let first = client.answer();
    assert!(first.body[..5_000_000] == state(0, 5_000_000));
    for answer in [client.answer(), client.get("/a/file")] {
        assert_eq!(answer.status, 200);
        assert!(answer.body.starts_with(&state(0, 5_000_000)));
    }
}

/// Short enough to be read behind the head: then there is no answer, and no wrong one.
#[test]
fn a_file_that_shrinks_before_it_is_read_gives_no_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let lens = [15_000, 0, 3_000];
    fs::write(&path, state(0, lens[0])).unwrap();
    let site = Site::start("", &[folder.path()]);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        let mut client = site.connect();
                        client.send("GET /a/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                        let received = client.rest();
                        let end = received.windows(4).position(|part| part == b"\r\n\r\n");
                        let body = end.map_or(0, |end| received.len() - end - 4);
                        assert!(
                            received.is_empty() || lens.contains(&body),
                            "{}",
                            received.escape_ascii()
                        );
                    }
                })
            })
            .collect();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for round in 0..300 {
            file.set_len(u64::try_from(lens[round % 3]).unwrap())
                .unwrap();
            thread::sleep(Duration::from_micros(500));
        }
        is_done.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
}

/// Has a lease on a file until it is killed, as a file server does whose client writes to it.
const LEASE: &str = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
signal.pause()
";

#[test]
fn a_file_that_somebody_has_a_lease_on_is_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    let site = Site::start("", &[folder.path()]);
    let mut command = Command::new("python3");
    let command = command.args(["-c", LEASE]).arg(&path);
    let Ok(mut holder) = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        println!("SKIP: no python3");
        return;
    };
    let mut said = String::new();
    let mut stdout = BufReader::new(holder.stdout.take().unwrap());
    stdout.read_line(&mut said).unwrap();
    if said.trim() == "held" {
        let answer = site.get("/a/file");
        assert_eq!(
            (answer.status, answer.field("retry-after")),
            (503, Some("1"))
        );
    } else {
        println!("SKIP: no leases here");
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(site.get("/a/file").body, b"text");
}
