//! The table of HTTP cases, over sockets.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use blobio::pack::chunked::Compression;

use super::http_table::{self, Case, Names, data};
use super::packs;
use super::site::{Site, write_old};

/// 1994-11-15 00:45:26, as the table has it.
const MODIFIED: u64 = 784_860_326;

/// Follows the requests of a case that leaves the connection open, to see that it does.
const LAST_REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn every_case_is_answered_over_a_socket_as_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    write_old(&folder.path().join("data.bin"), &data(), MODIFIED);
    write_old(&folder.path().join("empty.bin"), b"", MODIFIED);
    let site = Site::start("", &[folder.path()]);
    let names = Names {
        etag: site.get("/a/data.bin").field("etag").unwrap().to_owned(),
        date: "Tue, 15 Nov 1994 00:45:26 GMT".to_owned(),
    };
    for case in http_table::cases() {
        check(&site, case, &names);
    }
}

#[test]
fn every_case_is_answered_from_an_archive_as_from_a_folder() {
    for method in [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.zip");
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in [("data.bin", data()), ("empty.bin", Vec::new())] {
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            writer.start_file(name, options).unwrap();
            std::io::Write::write_all(&mut writer, &content).unwrap();
        }
        write_old(&path, writer.finish().unwrap().get_ref(), MODIFIED);
        let site = Site::start("", &[&path]);
        let names = Names {
            etag: site.get("/a/data.bin").field("etag").unwrap().to_owned(),
            date: "Tue, 15 Nov 1994 00:45:26 GMT".to_owned(),
        };
        for case in http_table::cases() {
            check(&site, case, &names);
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn every_case_is_answered_from_a_pack_as_from_a_folder() {
    for compression in [Compression::None, Compression::Zstd(1)] {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("data.bin".to_owned(), data()),
            ("empty.bin".to_owned(), Vec::new()),
        ];
        let path = packs::pack(folder.path(), "pack.clpk", compression, &files);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(MODIFIED))
            .unwrap();
        let site = Site::start("", &[&path]);
        let names = Names {
            etag: site.get("/a/data.bin").field("etag").unwrap().to_owned(),
            date: "Tue, 15 Nov 1994 00:45:26 GMT".to_owned(),
        };
        for case in http_table::cases() {
            check(&site, case, &names);
        }
    }
}

fn check(site: &Site, case: &Case, names: &Names) {
    let keeps = case.answers.last().is_none_or(|answer| answer.keeps);
    let mut client = site.connect();
    let mut request = case.request(names);
    if keeps {
        request.extend_from_slice(LAST_REQUEST.as_bytes());
    }
    client.send(&request);
    let mut received = client.rest();
    let last = received
        .windows(b"HTTP/1.1 ".len())
        .rposition(|window| window == b"HTTP/1.1 ");
    let is_open = keeps && received.ends_with(b"\r\n\r\nok\n");
    if is_open {
        received.truncate(last.unwrap());
    }
    case.check(names, &received, !is_open);
}
