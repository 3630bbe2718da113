//! Entries of archives.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use zip::CompressionMethod::{Deflated, Stored};
use zip::write::SimpleFileOptions;

use super::site::{Site, noise};

/// Lengths around the limits below which parts are copied, and above.
const LENS: [usize; 6] = [0, 1, 16_384, 65_537, 300_000, 3_000_000];

fn pack(folder: &Path, name: &str, files: &[(String, Vec<u8>)]) -> PathBuf {
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

fn check_all(site: &Site, files: &[(String, Vec<u8>)]) {
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
        assert_eq!(answer.status, 206, "{name}");
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
        let answer = site.get_with(&format!("/a/{name}"), &format!("Range: bytes={a}-{c}\r\n"));
        assert!(
            answer.status == 206 && answer.body == content[a..=c],
            "{name}"
        );
    }
}

#[test]
fn entries_come_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    let path = pack(folder.path(), "a.pk3", &files);
    check_all(&Site::start("", &[&path]), &files);
}

/// With this little memory, entries are inflated as they are sent.
#[test]
fn long_entries_are_inflated_within_the_limit_on_bytes_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    let path = pack(folder.path(), "a.pk3", &files);
    for limit in [1_000_000, 100_000] {
        let site = Site::start(&format!("--in-flight-bytes-max {limit}"), &[&path]);
        check_all(&site, &files);
        assert!(site.metric("in_flight_bytes ") <= limit);
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
    }
}
