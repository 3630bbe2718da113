//! Files that are kept open between requests: what changed is seen, and few are open.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::site::{Client, Site, noise};

/// How long what no inode of the file tells may stay unseen.
const VALID_MAX: Duration = Duration::from_secs(1);

/// Asks until the answer is as wanted, and returns how long that took.
fn until(client: &mut Client, path: &str, status: u16, body: Option<&[u8]>) -> Duration {
    let start = Instant::now();
    loop {
        let answer = client.get(path);
        if answer.status == status && body.is_none_or(|body| body == answer.body) {
            return start.elapsed();
        }
        assert!(start.elapsed() < 10 * VALID_MAX, "{path}: {}", answer.head);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Puts a new file in the place of another at once.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(&new, path).unwrap();
}

/// What this process, and with it the server, has open below a folder.
fn open_below(folder: &Path) -> Vec<PathBuf> {
    let folder = fs::canonicalize(folder).unwrap();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| link.starts_with(&folder) && *link != folder)
        .collect()
}

#[test]
fn one_file_is_opened_once_for_many_requests_and_every_byte_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let lens = [0, 1, 4096, 16_384, 16_385, 65_536, 300_000, 1_000_000];
    for len in lens {
        fs::write(folder.path().join(len.to_string()), noise(len)).unwrap();
    }
    let site = Site::start("--workers 1", &[folder.path()]);
    let mut client = site.connect();
    let start = Instant::now();
    for _ in 0..5 {
        for len in lens {
            let answer = client.get(&format!("/a/{len}"));
            assert_eq!(answer.status, 200, "{len}");
            assert!(answer.body == noise(len), "{len}");
        }
    }
    let took = start.elapsed();
    let (hits, misses) = (
        site.metric("open_file_hits_total"),
        site.metric("open_file_misses_total"),
    );
    assert_eq!(hits + misses, 5 * 8);
    assert_eq!(site.metric("open_files{"), 8);
    if took < VALID_MAX {
        assert_eq!(misses, 8);
    }
}

#[test]
fn what_happens_to_a_file_is_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "first").unwrap();
    let site = Site::start("--workers 1", &[folder.path()]);
    let mut client = site.connect();
    let mut tags = vec![client.get("/a/file").field("etag").unwrap().to_owned()];
    /// What is done to a file, and what it is then.
    type Change = (&'static str, fn(&Path), &'static [u8]);
    let changes: [Change; 4] = [
        (
            "written to",
            |path| fs::write(path, "other").unwrap(),
            b"other",
        ),
        (
            "cut",
            |path| {
                fs::File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(3)
                    .unwrap()
            },
            b"oth",
        ),
        ("replaced", |path| replace(path, b"oth"), b"oth"),
        (
            "replaced by a longer one",
            |path| replace(path, &[b'x'; 20_000]),
            &[b'x'; 20_000],
        ),
    ];
    for (what, change, body) in changes {
        change(&path);
        let answer = client.get("/a/file");
        assert_eq!((answer.status, &*answer.body), (200, body), "{what}");
        let tag = answer.field("etag").unwrap().to_owned();
        assert!(!tags.contains(&tag), "{what}");
        tags.push(tag);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(client.get("/a/file").status, 404);
    // It is not kept open either, nor counted.
    assert_eq!(site.metric("open_files{"), 0);
    fs::write(&path, "again").unwrap();
    assert_eq!(client.get("/a/file").body, b"again");
}

#[test]
fn permissions_that_are_taken_away_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    let site = Site::start("--workers 1", &[folder.path()]);
    let mut client = site.connect();
    assert_eq!(client.get("/a/file").status, 200);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    // Whoever runs this as root may read it all the same.
    let is_readable = fs::File::open(&path).is_ok();
    let expected = if is_readable { 200 } else { 404 };
    assert_eq!(client.get("/a/file").status, expected);
}

#[test]
fn what_the_file_itself_does_not_tell_is_seen_when_its_name_is_resolved_anew() {
    let [early, late] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    for (folder, text) in [("one", "one"), ("two", "two")] {
        fs::create_dir(early.path().join(folder)).unwrap();
        fs::write(early.path().join(folder).join("file"), text).unwrap();
    }
    fs::write(early.path().join("shadowed"), "early").unwrap();
    let link = early.path().join("link");
    std::os::unix::fs::symlink("one", &link).unwrap();
    let site = Site::start("--workers 1", &[early.path(), late.path()]);
    let mut client = site.connect();
    assert_eq!(client.get("/a/link/file").body, b"one");
    assert_eq!(client.get("/a/shadowed").body, b"early");
    // A mount that shadows is asked first every time.
    fs::write(late.path().join("shadowed"), "late").unwrap();
    assert_eq!(client.get("/a/shadowed").body, b"late");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("two", &link).unwrap();
    until(&mut client, "/a/link/file", 200, Some(b"two"));
    // A link that leads out is refused, though its file was open under that name.
    fs::write(late.path().join("file"), "outside").unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(late.path(), &link).unwrap();
    until(&mut client, "/a/link/file", 404, None);
    fs::rename(early.path().join("one"), early.path().join("gone")).unwrap();
    until(&mut client, "/a/one/file", 404, None);
}

#[test]
fn without_it_every_request_opens() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    let site = Site::start("--workers 1 --open-files 0", &[folder.path()]);
    let mut client = site.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/a/file").body, b"text");
    }
    for name in ["hits_total", "misses_total"] {
        assert_eq!(site.metric(&format!("open_file_{name}")), 0);
    }
    assert_eq!(site.metric("open_files{"), 0);
}

#[test]
fn no_more_are_kept_open_than_may_be_and_the_ones_in_use_stay() {
    const MAX: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..100 {
        fs::write(folder.path().join(number.to_string()), noise(number)).unwrap();
    }
    let site = Site::start("--workers 1 --open-files 8", &[folder.path()]);
    let start = Instant::now();
    let mut client = site.connect();
    for number in 0..100 {
        assert!(client.get(&format!("/a/{number}")).body == noise(number));
        assert!(client.get("/a/0").body.is_empty());
        let open = open_below(folder.path());
        assert!(open.len() <= MAX, "{open:?}");
        let kept = fs::canonicalize(folder.path()).unwrap().join("0");
        assert!(open.contains(&kept), "{open:?}");
    }
    // Each other once, and that one again when its name has to be resolved anew.
    let most = 100 + start.elapsed().as_secs();
    assert!(site.metric("open_file_misses_total") <= most);
    assert_eq!(site.metric("open_files{"), 8);
}

#[test]
fn a_file_that_nobody_asks_for_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    let site = Site::start("--workers 1", &[folder.path()]);
    let mut client = site.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/a/file").body, b"text");
    }
    assert_eq!(open_below(folder.path()).len(), 1);
    let start = Instant::now();
    while !open_below(folder.path()).is_empty() {
        // Twice the time after which it is unused, and as much again for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(40));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(site.metric("open_files{"), 0);
    assert_eq!(client.get("/a/file").body, b"text");
}

#[test]
fn those_that_ask_at_once_share_one_open() {
    const CLIENTS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    let site = Site::start("--workers 1", &[folder.path()]);
    let start = Instant::now();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| site.connect()).collect();
    for client in &mut clients {
        client.send("GET /a/file HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().body, b"text");
    }
    let misses = site.metric("open_file_misses_total");
    let most = 1 + start.elapsed().as_secs();
    assert!(misses <= most, "{misses} opens");
}

#[test]
fn what_is_no_file_is_refused_every_time() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
    let site = Site::start("--workers 1", &[folder.path()]);
    let mut client = site.connect();
    for _ in 0..3 {
        for name in ["folder", "pipe", "zero", "missing"] {
            assert_eq!(client.get(&format!("/a/{name}")).status, 404, "{name}");
        }
    }
    assert_eq!(site.metric("open_files{"), 0);
    // A pipe in the place of a file that is open.
    fs::write(folder.path().join("file"), "text").unwrap();
    assert_eq!(client.get("/a/file").status, 200);
    fs::rename(&pipe, folder.path().join("file")).unwrap();
    assert_eq!(client.get("/a/file").status, 404);
    assert_eq!(site.metric("open_files{"), 0);
}
