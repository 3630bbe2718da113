//! Contents of packs, by path and by hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use blobio::pack::chunked::{BuildOptions, Compression, ContentHash, PackBuilder};

use super::site::{Client, Site, noise};

/// Lengths around a block's, the limits below which parts are copied, and above.
const LENS: [usize; 7] = [0, 1, 16_384, 65_536, 65_537, 300_000, 3_000_000];

const ALL: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd(1)];

pub(crate) fn pack(
    folder: &Path,
    name: &str,
    compression: Compression,
    files: &[(String, Vec<u8>)],
) -> PathBuf {
    let options = BuildOptions {
        compression,
        ..BuildOptions::default()
    };
    let path = folder.join(name);
    let mut builder = PackBuilder::create(&path, options).unwrap();
    for (name, content) in files {
        builder.add(name, content.as_slice()).unwrap();
    }
    builder.finish().unwrap();
    path
}

fn files() -> Vec<(String, Vec<u8>)> {
    LENS.map(|len| (format!("by length/{len}"), noise(len)))
        .into()
}

fn cas(content: &[u8]) -> String {
    format!("/cas/{}", ContentHash::of(content))
}

/// Asks for a content whole, by a range that ends within a block, and by two.
fn check(site: &Site, client: &mut Client, path: &str, content: &[u8]) {
    let answer = client.get(path);
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.body == content, "{path}");
    let tag = format!("\"{}\"", ContentHash::of(content));
    assert_eq!(answer.field("etag"), Some(tag.as_str()), "{path}");
    assert_eq!(answer.field("accept-ranges"), Some("bytes"), "{path}");
    let len = content.len();
    if len < 10 {
        return;
    }
    let (a, b, c) = (len / 5, len / 3, len / 2);
    let answer = site.get_with(
        path,
        &format!("Range: bytes={a}-{c}\r\nIf-Range: {tag}\r\n"),
    );
    assert!(
        answer.status == 206 && answer.body == content[a..=c],
        "{path}"
    );
    let answer = site.get_with(path, &format!("Range: bytes={c}-,{a}-{b}\r\n"));
    assert_eq!(answer.status, 206, "{path}");
    let found = |part: &[u8]| answer.body.windows(part.len()).any(|window| window == part);
    let probe = 64.min(len - c).min(b - a);
    for at in [a, b + 1 - probe, c, len - probe] {
        assert!(found(&content[at..at + probe]), "{path} at {at}");
    }
}

fn check_all(site: &Site, files: &[(String, Vec<u8>)]) {
    let mut client = site.connect();
    for (name, content) in files {
        check(
            site,
            &mut client,
            &format!("/a/{}", name.replace(' ', "%20")),
            content,
        );
        check(site, &mut client, &cas(content), content);
    }
}

#[test]
fn contents_come_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    for compression in ALL {
        let path = pack(folder.path(), "a.clpk", compression, &files());
        check_all(&Site::start("", &[&path]), &files());
    }
}

/// With this little memory, contents are decompressed as they are sent, or in pieces of blocks.
#[test]
fn contents_are_decompressed_within_the_limit_on_bytes_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let path = pack(folder.path(), "a.clpk", Compression::Zstd(1), &files());
    for limit in [1_000_000, 100_000] {
        let site = Site::start(&format!("--in-flight-bytes-max {limit}"), &[&path]);
        check_all(&site, &files());
        assert!(site.metric("in_flight_bytes ") <= limit);
    }
}

#[test]
fn clients_that_ask_at_once_get_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = pack(folder.path(), "a.clpk", Compression::Lz4, &files());
    let site = Site::start("--in-flight-bytes-max 16000000", &[&path]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (_, content) in &files() {
                    let answer = site.get(&cas(content));
                    assert!(answer.status == 200 && answer.body == *content);
                }
            });
        }
    });
}

#[test]
fn what_is_known_by_its_hash_may_be_kept_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("x.png".to_owned(), noise(200_000))];
    let path = pack(folder.path(), "a.clpk", Compression::Lz4, &files);
    // A modification time of the running second would be withheld.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(UNIX_EPOCH).unwrap();
    fs::write(folder.path().join("loose"), "loose").unwrap();
    let site = Site::start("", &[folder.path(), &path]);
    let (url, content) = (cas(&files[0].1), &files[0].1);
    let tag = format!("\"{}\"", ContentHash::of(content));
    let kept = Some("public, max-age=31536000, immutable");

    let by_path = site.get("/a/x.png");
    assert_eq!(by_path.field("etag"), Some(tag.as_str()));
    assert_eq!(by_path.field("cache-control"), None);
    assert_eq!(by_path.field("content-type"), Some("image/png"));
    assert!(by_path.field("last-modified").is_some());

    let whole = site.get(&url);
    assert_eq!((whole.status, whole.field("cache-control")), (200, kept));
    assert_eq!(
        whole.field("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(whole.field("last-modified"), None);
    let part = site.get_with(&url, "Range: bytes=5-9\r\n");
    assert_eq!((part.status, part.field("cache-control")), (206, kept));
    assert_eq!(part.body, content[5..10]);
    let same = site.get_with(&url, &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((same.status, same.field("cache-control")), (304, kept));
    assert_eq!(same.field("etag"), Some(tag.as_str()));
    let other = site.get_with(&url, "If-Match: \"other\"\r\n");
    assert_eq!((other.status, other.field("cache-control")), (412, None));
    let beyond = site.get_with(&url, "Range: bytes=200000-\r\n");
    assert_eq!((beyond.status, beyond.field("cache-control")), (416, None));

    let mut client = site.connect();
    client.send(format!(
        "HEAD {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    let head = String::from_utf8(client.rest()).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("immutable"),
        "{head}"
    );
    assert!(
        head.contains("200000") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn a_hash_that_no_pack_has_is_missing_and_half_a_hash_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = pack(folder.path(), "a.clpk", Compression::None, &files());
    fs::write(folder.path().join("loose"), "loose").unwrap();
    let site = Site::start("", &[&path, folder.path()]);
    let known = cas(&noise(300_000));
    for (url, status) in [
        (cas(b"loose"), 404),
        ("/cas".to_owned(), 404),
        ("/cas/".to_owned(), 400),
        (known[..known.len() - 1].to_owned(), 400),
        (format!("{known}0"), 400),
        (format!("{known}/"), 400),
        (known.replace("/cas/", "/cas/%"), 400),
        (format!("/cas/{}", known[5..].to_uppercase()), 400),
        (format!("{known}?x"), 200),
        (known, 200),
    ] {
        let answer = site.get(&url);
        assert_eq!(answer.status, status, "{url}");
        assert_eq!(
            answer.field("cache-control").is_some(),
            status == 200,
            "{url}"
        );
    }
}

#[test]
fn packs_shadow_and_are_shadowed_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let one = [text("d/x", "1"), text("d/y", "1"), text("d/z", "1")];
    let one = pack(folder.path(), "1.clpk", Compression::None, &one);
    let three = super::archives::pack(folder.path(), "3.pk3", &[text("d/z", "3")]);
    let two = folder.path().join("two");
    fs::create_dir_all(two.join("d")).unwrap();
    fs::write(two.join("d/y"), "2").unwrap();
    let site = Site::start("", &[&one, &two, &three]);
    for (name, text) in [("x", "1"), ("y", "2"), ("z", "3")] {
        assert_eq!(
            site.get(&format!("/a/d/{name}")).body,
            text.as_bytes(),
            "{name}"
        );
    }
    // What is shadowed under its path is still known by its hash.
    assert_eq!(site.get(&cas(b"1")).body, b"1");
    let listing = String::from_utf8(site.get("/a/d/").body).unwrap();
    assert_eq!(listing.matches("<tr>").count(), 3, "{listing}");
    let index = String::from_utf8(site.get("/").body).unwrap();
    assert!(
        index.contains("1.clpk") && index.contains("3 files"),
        "{index}"
    );
}

#[test]
fn a_corrupt_block_is_an_error_and_the_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("good".to_owned(), noise(100_000)),
        ("bad".to_owned(), noise(50_000)),
        ("long".to_owned(), noise(20_000_000)),
    ];
    let path = pack(folder.path(), "a.clpk", Compression::Lz4, &files);
    let mut bytes = fs::read(&path).unwrap();
    // The contents lie in order behind the head: somewhere in the second one, which begins after
    // two blocks, and in the middle of the third.
    let good = lz4_len(&files[0].1);
    let bad = 16_384 + good + 1_000;
    bytes[bad] ^= 0x55;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    let site = Site::start("", &[&path]);
    for _ in 0..2 {
        for url in ["/a/bad".to_owned(), cas(&files[1].1)] {
            assert_eq!(site.get(&url).status, 500);
            let mut client = site.connect();
            client.send(format!("HEAD {url} HTTP/1.1\r\nHost: x\r\n\r\n"));
            client.end_sending();
            assert!(client.rest().starts_with(b"HTTP/1.1 500 "));
        }
        assert!(site.get("/a/good").body == files[0].1);
        // What is sent as it is decompressed ends early, and what comes before is right.
        let mut client = site.connect();
        client.send("GET /a/long HTTP/1.1\r\nHost: x\r\n\r\n");
        let received = client.rest();
        let head = received.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let body = &received[head..];
        assert!(received.starts_with(b"HTTP/1.1 200 "));
        assert!(body.len() > 1_000_000 && body.len() < files[2].1.len());
        assert!(files[2].1.starts_with(body));
        // Nor is the rest of it gone.
        let tail = site.get_with("/a/long", "Range: bytes=-100000\r\n");
        assert!(tail.status == 206 && files[2].1.ends_with(&tail.body));
    }
}

/// Returns how much the blocks of a content take in a pack of their own.
fn lz4_len(content: &[u8]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one");
    let options = BuildOptions {
        compression: Compression::Lz4,
        ..BuildOptions::default()
    };
    let mut builder = PackBuilder::create(&path, options).unwrap();
    builder.add("one", content).unwrap();
    let stored = builder.finish().unwrap().stored_len;
    usize::try_from(stored).unwrap()
}

#[test]
fn a_pack_that_is_changed_in_place_is_no_longer_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = pack(folder.path(), "a.clpk", Compression::Zstd(1), &files());
    let site = Site::start("", &[&path]);
    let url = cas(&noise(300_000));
    assert_eq!(site.get(&url).status, 200);
    let mut bytes = fs::read(&path).unwrap();
    bytes.reverse();
    fs::write(&path, bytes).unwrap();
    thread::sleep(Duration::from_millis(1200));
    for _ in 0..8 {
        assert_eq!(site.get(&url).status, 503);
        assert_eq!(site.get("/a/by%20length/300000").status, 503);
    }
}

#[test]
fn a_range_reads_no_more_than_the_blocks_it_touches() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("long".to_owned(), noise(20_000_000))];
    let path = pack(folder.path(), "a.clpk", Compression::Lz4, &files);
    let site = Site::start("", &[&path]);
    let before = site.metric("queue_read_bytes_total{");
    // Two blocks of 64 KiB meet here.
    let (first, last) = (65_536 * 100 - 2_048, 65_536 * 100 + 2_047);
    let fields = format!("Range: bytes={first}-{last}\r\n");
    assert_eq!(
        site.get_with("/a/long", &fields).body,
        files[0].1[first..=last]
    );
    let read = site.metric("queue_read_bytes_total{") - before;
    let page = 16_384;
    assert!(read > 0 && read <= 2 * 65_536 + page, "{read}");
}

#[test]
fn requests_are_queued_in_the_class_that_they_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("long".to_owned(), noise(20_000_000))];
    let path = pack(folder.path(), "a.clpk", Compression::Lz4, &files);
    fs::write(folder.path().join("loose"), noise(2_000_000)).unwrap();
    let site = Site::start("", &[folder.path(), &path]);
    let read = |class: &str| {
        let name = format!("queue_requests_total{{class=\"{class}\",outcome=\"read\"}}");
        site.metric(&name)
    };
    for (fields, class) in [
        ("Range: bytes=0-99\r\n", "high"),
        ("Range: bytes=0-999999\r\n", "normal"),
        ("Range: bytes=0-99\r\nPriority: u=6\r\n", "low"),
        ("Range: bytes=0-999999\r\nPriority: i, u=0\r\n", "realtime"),
    ] {
        let classes = ["realtime", "high", "normal", "low"];
        let before = classes.map(read);
        assert_eq!(site.get_with("/a/long", fields).status, 206);
        for (name, before) in classes.into_iter().zip(before) {
            assert_eq!(read(name) > before, name == class, "{fields}: {name}");
        }
    }
    // What is a file goes past the queue.
    let before = site.metric("queue_requests_total{");
    assert!(site.get("/a/loose").body == noise(2_000_000));
    assert_eq!(site.metric("queue_requests_total{"), before);
    assert_eq!(site.metric("queue_held{"), 0);
    assert!(site.metric("queue_latency_seconds_count{class=\"high\"}") > 0);
}
