//! The rules that the sources are held to, read off the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that may hold unsafe code; docs/SAFETY.md says why of each.
const ROOMS: [&str; 4] = [
    "src/async_reader/part.rs",
    "src/mmap.rs",
    "src/region.rs",
    "src/sync_reader/pread.rs",
];
/// The one folder that may name the executor.
const EXECUTOR_FOLDER: &str = "src/async_reader/";
/// The most lines of a file.
const FILE_LINES_MAX: usize = 500;

/// A source file: its path inside of the package, and its text.
struct Source {
    path: String,
    text: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push(Source {
                    path: inside,
                    text: fs::read_to_string(path).unwrap(),
                });
            }
        }
    }
    assert!(found.len() > 1, "{folder} has sources");
    found
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let mut rooms = Vec::new();
    for source in sources("src") {
        let packed: String = source.text.split_whitespace().collect();
        if packed.contains("allow(unsafe_code") || packed.contains("expect(unsafe_code") {
            assert!(
                source.text.contains("//! # Safety"),
                "{}: no # Safety paragraph",
                source.path
            );
            rooms.push(source.path);
        }
    }
    rooms.sort();
    assert_eq!(rooms, ROOMS);
}

#[test]
fn every_room_is_listed_in_the_documentation() {
    let safety = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SAFETY.md");
    let Ok(text) = fs::read_to_string(safety) else {
        return;
    };
    for room in ROOMS {
        assert!(
            text.contains(&format!("blobio/{room}")),
            "docs/SAFETY.md does not list {room}"
        );
    }
}

#[test]
fn the_executor_is_named_in_one_folder() {
    for source in sources("src") {
        let names = source.text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("corelane::") || code.contains("use corelane")
        });
        let may = source.path.starts_with(EXECUTOR_FOLDER);
        assert!(!names || may, "{} names corelane", source.path);
    }
}

#[test]
fn catalogue_headers_and_inflating_do_no_io() {
    for file in ["catalogue.rs", "local.rs", "inflate.rs", "entry.rs"] {
        let path = format!("src/pack/zip/{file}");
        let source = sources("src")
            .into_iter()
            .find(|source| source.path == path)
            .unwrap();
        assert!(!source.text.contains("crate::traits"), "{path} is pure");
        assert!(!source.text.contains("std::fs"), "{path} is pure");
    }
}

#[test]
fn files_are_short() {
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines = source.text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", source.path);
    }
}
