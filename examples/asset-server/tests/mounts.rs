//! Mounts: which one gives a file, and what a folder's listing has.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use asset_server::mounts::{ArchiveIndex, Candidate, Child, Listing, Mount, Mounts, Source};
use asset_server::path::RelPath;

/// A folder is what is in it; an archive's entry is its content.
type Folder = HashMap<&'static str, &'static str>;
type Site = Mounts<Folder, &'static str, &'static str>;

fn folder(files: &[(&'static str, &'static str)]) -> Source<Folder, &'static str, &'static str> {
    Source::Folder(files.iter().copied().collect())
}

fn archive(files: &[(&'static str, &'static str)]) -> Source<Folder, &'static str, &'static str> {
    Source::Archive("archive", ArchiveIndex::build(files.iter().copied()))
}

fn mounts(sources: Vec<Source<Folder, &'static str, &'static str>>) -> Site {
    let named = |source| Mount {
        name: String::new(),
        source,
    };
    Mounts::new(sources.into_iter().map(named).collect())
}

/// Looks a file up as the server does: tries the candidates in order.
fn find(mounts: &Site, path: &str) -> (Option<&'static str>, usize) {
    let path = RelPath::from_name(path.as_bytes()).unwrap();
    let name = std::str::from_utf8(path.as_bytes()).unwrap();
    let mut tried = 0;
    for candidate in mounts.candidates(&path) {
        tried += 1;
        match candidate {
            Candidate::Folder(files) => {
                if let Some(content) = files.get(name) {
                    return (Some(content), tried);
                }
            }
            Candidate::Entry(_, content) => return (Some(content), tried),
        }
    }
    (None, tried)
}

#[test]
fn later_mounts_shadow_earlier_ones() {
    let mounts = mounts(vec![
        folder(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]),
        archive(&[("b", "2"), ("c", "2"), ("x/y", "2")]),
        folder(&[("c", "3"), ("x/y", "3")]),
        archive(&[("e", "4")]),
    ]);
    for (path, content, tried) in [
        ("a", Some("1"), 2),
        ("b", Some("2"), 2),
        ("c", Some("3"), 1),
        ("d", Some("1"), 2),
        ("e", Some("4"), 1),
        ("x/y", Some("3"), 1),
        ("x", None, 2),
        ("f", None, 2),
        ("a/", None, 0),
        ("", None, 0),
    ] {
        assert_eq!(find(&mounts, path), (content, tried), "{path}");
    }
}

#[test]
fn nothing_is_tried_behind_an_archives_entry() {
    let mounts = mounts(vec![
        folder(&[("a", "1")]),
        archive(&[("a", "2")]),
        archive(&[]),
    ]);
    let path = RelPath::from_name(b"a").unwrap();
    let kinds: Vec<_> = mounts
        .candidates(&path)
        .map(|candidate| matches!(candidate, Candidate::Entry(_, &"2")))
        .collect();
    assert_eq!(kinds, [true]);
}

#[test]
fn an_index_takes_files_with_plain_names_and_the_last_of_equals() {
    let index = ArchiveIndex::build([
        ("b", 1),
        ("a/c", 2),
        ("b", 3),
        ("folder/", 4),
        ("../up", 5),
        ("/absolute", 6),
        ("a//c", 7),
        ("a\\c", 8),
    ]);
    let all: Vec<_> = index.iter().collect();
    assert_eq!(all, [(b"a/c".as_slice(), &2), (b"b".as_slice(), &3)]);
    assert_eq!(
        (index.len(), index.skipped_count(), index.is_empty()),
        (2, 4, false)
    );
    assert_eq!(
        (index.get(b"b"), index.get(b"folder"), index.get(b"")),
        (Some(&3), None, None)
    );
}

#[test]
fn listings_are_the_union_with_later_mounts_first() {
    let late = ArchiveIndex::build([("m/x", 10), ("m/sub/1", 1), ("m/sub/2", 1), ("n", 1)]);
    let early = ArchiveIndex::build([("m/x", 20), ("m/w", 20), ("m/sub", 5), ("m.txt", 1)]);
    let list = |folder: &[u8]| {
        let mut listing = Listing::default();
        let exists = [&late, &early].map(|index| index.list(folder, 100, |&len| len, &mut listing));
        (exists, listing.into_children())
    };
    let child = |name: &str, len| Child {
        name: name.as_bytes().to_vec(),
        len,
    };
    let (exists, children) = list(b"m");
    assert_eq!(exists, [true, true]);
    let expected = [
        child("sub", Some(5)),
        child("sub", None),
        child("w", Some(20)),
        child("x", Some(10)),
    ];
    assert_eq!(children, expected);

    let (exists, children) = list(b"");
    assert_eq!(exists, [true, true]);
    assert_eq!(
        children,
        [
            child("m", None),
            child("m.txt", Some(1)),
            child("n", Some(1))
        ]
    );

    assert_eq!(list(b"m/sub").0, [true, false]);
    assert_eq!(list(b"m/su"), ([false, false], Vec::new()));
}

/// The length of a file is asked for when it is listed: what lies deeper is not.
#[test]
fn a_listing_walks_over_no_more_than_it_lists() {
    let deep = (0..1000).flat_map(|n| [(format!("a/{n}/x"), 1), (format!("b/{n}"), 1)]);
    let top = ["a.txt", "c", "d", "e"].map(|name| (name.to_owned(), 2));
    let index = ArchiveIndex::build(deep.chain(top));
    let list = |folder: &[u8], count_max| {
        let (mut listing, asked) = (Listing::default(), std::cell::Cell::new(0));
        let len_of = |&len: &u64| {
            asked.set(asked.get() + 1);
            len
        };
        assert!(index.list(folder, count_max, len_of, &mut listing));
        let names = listing.into_children().into_iter();
        let names = names.map(|child| String::from_utf8(child.name).unwrap());
        (names.collect::<Vec<_>>(), asked.get())
    };
    let top = ["a", "a.txt", "b", "c", "d", "e"].map(str::to_owned);
    assert_eq!(list(b"", 100), (top.to_vec(), 4));
    // In the order of the names below: "a.txt" goes before "a/".
    assert_eq!(list(b"", 3), (top[..3].to_vec(), 1));
    assert_eq!(list(b"a", usize::MAX).0.len(), 1000);
    assert_eq!(list(b"b", 10).1, 10);
    assert_eq!(list(b"b", 0), (Vec::new(), 0));
}
