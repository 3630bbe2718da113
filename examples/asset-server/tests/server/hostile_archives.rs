//! Archives whose catalogues lie: about lengths, about places, and of one place in two ways.

use std::fs;
use std::path::{Path, PathBuf};

use blobio::pack::chunked::{Compression, ContentHash};
use xxhash_rust::xxh3::xxh3_64;

use super::archives;
use super::packs;
use super::site::{Site, noise};

/// Fields of a record of the central directory.
const CRC_AT: usize = 16;
const COMPRESSED_LEN_AT: usize = 20;
const LEN_AT: usize = 24;
const OFFSET_AT: usize = 42;

fn record<'a>(archive: &'a mut [u8], name: &str) -> &'a mut [u8] {
    let signature = b"PK\x01\x02";
    let at = archive
        .windows(46 + name.len())
        .position(|window| window.starts_with(signature) && &window[46..] == name.as_bytes());
    &mut archive[at.unwrap()..]
}

/// Says of an entry that it is as long as another, or lies where another does.
fn patch_central(archive: &mut [u8], name: &str, at: usize, value: u32) {
    record(archive, name)[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Says of an entry, which is in the archive, all that is said of another but for its name.
fn make_twin(archive: &mut [u8], name: &str, of: &str) {
    for at in [CRC_AT, COMPRESSED_LEN_AT, LEN_AT, OFFSET_AT] {
        let field: [u8; 4] = record(archive, of)[at..at + 4].try_into().unwrap();
        patch_central(archive, name, at, u32::from_le_bytes(field));
    }
}

#[test]
fn entries_that_lie_about_length_and_place_harm_only_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["0", "short", "2", "long", "4", "overlaps", "6", "far"];
    let files = names.map(|name| (name.to_owned(), noise(100_000)));
    let path = archives::pack(folder.path(), "liar.zip", &files);
    let mut bytes = fs::read(&path).unwrap();
    patch_central(&mut bytes, "short", LEN_AT, 1000);
    patch_central(&mut bytes, "long", LEN_AT, 2_000_000);
    // Where another's data is, and where nothing is.
    patch_central(&mut bytes, "overlaps", OFFSET_AT, 0);
    patch_central(&mut bytes, "far", OFFSET_AT, 3_999_999_999);
    fs::write(&path, bytes).unwrap();
    // Or it says so when it starts, and does not serve the archive at all.
    let Ok(server) = super::site::start("", &[&path]) else {
        return;
    };
    let site = Site::from(server);
    let mut client = site.connect();
    for round in 0..2 {
        for name in ["short", "long", "overlaps", "far"] {
            let status = client.get(&format!("/a/{name}")).status;
            assert_eq!(status, 500, "{name}, {round}");
        }
        for name in ["0", "2", "4", "6"] {
            let answer = client.get(&format!("/a/{name}"));
            assert!(
                answer.status == 200 && answer.body == noise(100_000),
                "{name}"
            );
        }
    }
}

/// An archive in which `liar` lies where `true` does, and one field of what it says is another.
fn liar(folder: &Path, len: usize, at: usize, value: u32) -> PathBuf {
    let names = ["0", "true", "2", "liar", "4", "twin"];
    let files = names.map(|name| (name.to_owned(), noise(len)));
    let path = archives::pack(folder, "liar.zip", &files);
    let mut bytes = fs::read(&path).unwrap();
    make_twin(&mut bytes, "twin", "true");
    make_twin(&mut bytes, "liar", "true");
    patch_central(&mut bytes, "liar", at, value);
    fs::write(&path, bytes).unwrap();
    path
}

/// The beginning of an answer to HEAD, which says how the body would be.
fn head(site: &Site, path: &str) -> String {
    let mut client = site.connect();
    client.send(format!(
        "HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    String::from_utf8(client.rest()).unwrap()
}

/// Two entries of one place: what is known of the one is not taken for the other, whichever was
/// asked for first.
#[test]
fn an_entry_that_lies_where_another_does_harms_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    // What is copied behind a head, and what is sent alone.
    for len in [10_000_usize, 200_000] {
        let other_len = u32::try_from(len).unwrap();
        let lies = [
            (LEN_AT, other_len * 2),
            (LEN_AT, other_len / 2),
            (CRC_AT, 0x1234_5678),
            (COMPRESSED_LEN_AT, other_len / 2),
        ];
        for (at, value) in lies {
            let path = liar(folder.path(), len, at, value);
            for first in ["true", "liar"] {
                let site = Site::start("--workers 1", &[&path]);
                let mut client = site.connect();
                let mut names = vec!["true", "twin", "liar", "true", "liar", "twin"];
                names.insert(0, first);
                for name in names {
                    let answer = client.get(&format!("/a/{name}"));
                    let context = format!("{name} with {value} at {at}, {first} first");
                    if name == "liar" {
                        assert_eq!(answer.status, 500, "{context}");
                        let head = head(&site, "/a/liar");
                        assert!(head.starts_with("HTTP/1.1 500 "), "{context}: {head}");
                    } else {
                        assert_eq!(answer.status, 200, "{context}");
                        assert!(answer.body == noise(len), "{context}");
                    }
                }
            }
        }
    }
}

/// Two contents of one hash: hashes are trusted, and each path is answered with what its own record
/// says, whichever was asked for first.
#[test]
fn contents_that_claim_one_hash_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    for (short, long) in [(10_000, 60_000), (60_000, 300_000)] {
        let files = [
            ("short".to_owned(), vec![b's'; short]),
            ("long".to_owned(), vec![b'l'; long]),
        ];
        let path = packs::pack(folder.path(), "liar.clpk", Compression::Lz4, &files);
        let mut bytes = fs::read(&path).unwrap();
        claim_hash(
            &mut bytes,
            &ContentHash::of(&files[0].1),
            &ContentHash::of(&files[1].1),
        );
        fs::write(&path, bytes).unwrap();
        for order in [[0, 1, 0, 1], [1, 0, 1, 0]] {
            let site = Site::start("--workers 1", &[&path]);
            let mut client = site.connect();
            for index in order {
                let (name, content) = &files[index];
                let answer = client.get(&format!("/a/{name}"));
                assert_eq!(answer.status, 200, "{name}, {order:?}");
                assert!(answer.body == *content, "{name}, {order:?}");
            }
        }
    }
}

/// Writes another hash for `old` in the root of a small pack's tree of paths.
fn claim_hash(pack: &mut [u8], new: &ContentHash, old: &ContentHash) {
    const ROOT: usize = 128;
    let len = u32::from_le_bytes(pack[ROOT + 4..ROOT + 8].try_into().unwrap()) as usize;
    let page = &mut pack[ROOT..ROOT + len];
    let at = page.windows(32).position(|window| window == old.as_bytes());
    let at = at.unwrap();
    page[at..at + 32].copy_from_slice(new.as_bytes());
    page[8..16].fill(0);
    let sum = xxh3_64(page);
    page[8..16].copy_from_slice(&sum.to_le_bytes());
}
