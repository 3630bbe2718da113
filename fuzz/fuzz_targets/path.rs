//! Looks for any path among any names.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use asset_server::mounts::{ArchiveIndex, Candidate, Listing, Mount, Mounts, Source};
use asset_server::path::{PATH_LEN_MAX, RelPath, encode};
use asset_server::route::{Route, route};
use libfuzzer_sys::fuzz_target;

/// The most names in the archives.
const NAMES_MAX: usize = 64;

type Site = Mounts<usize, usize, Vec<u8>>;

fuzz_target!(|input: &[u8]| {
    // A path, and the names of two archives, on lines.
    let mut lines = input.split(|&byte| byte == b'\n');
    let url_path = lines.next().unwrap_or_default();
    let names: Vec<_> = lines.take(NAMES_MAX).collect();
    check_route(url_path);
    let mut path = RelPath::from_name(b"left/over").expect("a plain name");
    if path.decode(url_path).is_err() {
        assert_eq!(path, RelPath::root());
        return;
    }
    check_safe(&path);
    check_decoding(url_path, &path);
    let site = site(&names);
    check_found(&site, &names, &path);
    check_listed(&site, &path);
});

fn check_route(url_path: &[u8]) {
    let mut path = RelPath::root();
    let routed = route(&[b"/a/", url_path].concat(), &mut path);
    let mut decoded = RelPath::root();
    match decoded.decode(url_path) {
        Ok(()) => assert!(routed == Route::Asset && path == decoded),
        Err(_) => assert!(matches!(routed, Route::Refused(_))),
    }
    // Any other beginning.
    let _ = route(url_path, &mut path);
    let _ = route(&[b"/cas/", url_path].concat(), &mut path);
}

/// However the file system reads it, it stays below where it is looked for.
fn check_safe(path: &RelPath) {
    let bytes = path.as_bytes();
    assert!(bytes.len() <= PATH_LEN_MAX);
    assert!(!bytes.iter().any(|byte| matches!(byte, 0 | b'\\')));
    assert!(!bytes.starts_with(b"/") && !bytes.ends_with(b"/"));
    let below = Path::new("/root").join(OsStr::from_bytes(bytes));
    let mut components = below.components();
    assert_eq!(components.next(), Some(Component::RootDir));
    assert_eq!(components.next(), Some(Component::Normal(OsStr::new("root"))));
    let mut count = 0;
    for component in components {
        assert!(matches!(component, Component::Normal(_)), "{below:?}");
        count += 1;
    }
    let separators = bytes.iter().filter(|&&byte| byte == b'/').count();
    assert_eq!(count, if bytes.is_empty() { 0 } else { separators + 1 });
}

/// It is decoded once, as anybody decodes it, and what it is encoded as leads back.
fn check_decoding(url_path: &[u8], path: &RelPath) {
    let decoded: Vec<u8> = percent_encoding::percent_decode(url_path).collect();
    let decoded = decoded.strip_suffix(b"/").unwrap_or(&decoded);
    assert_eq!(path.as_bytes(), decoded);
    let mut link = String::new();
    encode(path.as_bytes(), &mut link);
    let mut back = RelPath::root();
    back.decode(link.as_bytes()).expect("it was one before");
    assert_eq!(back.as_bytes(), path.as_bytes());
}

/// Two archives, each name in one of them, with a folder in between; an entry is its own name.
fn site(names: &[&[u8]]) -> Site {
    let index = |part: usize| {
        let names = names.iter().skip(part).step_by(2);
        ArchiveIndex::build(names.map(|name| (*name, name.to_vec())))
    };
    let mount = |source| Mount {
        name: String::new(),
        source,
    };
    Mounts::new(vec![
        mount(Source::Archive(0, index(0))),
        mount(Source::Folder(1)),
        mount(Source::Archive(2, index(1))),
    ])
}

fn check_found(site: &Site, names: &[&[u8]], path: &RelPath) {
    let candidates: Vec<_> = site.candidates(path).collect();
    let is_in = |part: usize| {
        let mut names = names.iter().skip(part).step_by(2);
        names.any(|name| *name == path.as_bytes() && !name.is_empty())
    };
    if path.is_folder() {
        assert!(candidates.is_empty());
        return;
    }
    let found: Vec<_> = candidates
        .iter()
        .map(|candidate| match candidate {
            Candidate::Folder(folder) => **folder,
            Candidate::Entry(archive, name) => {
                assert_eq!(name.as_slice(), path.as_bytes());
                **archive
            }
        })
        .collect();
    let expected: &[usize] = match (is_in(1), is_in(0)) {
        (true, _) => &[2],
        (false, true) => &[1, 0],
        (false, false) => &[1],
    };
    assert_eq!(found, expected);
}

/// What a folder is said to have is there.
fn check_listed(site: &Site, path: &RelPath) {
    for mount in site.as_slice() {
        let Source::Archive(_, index) = &mount.source else {
            continue;
        };
        let mut listing = Listing::default();
        let len = |name: &Vec<u8>| name.len() as u64;
        let exists = index.list(path.as_bytes(), NAMES_MAX, len, &mut listing);
        let children = listing.into_children();
        assert!(exists || children.is_empty());
        for child in children {
            assert!(!child.name.is_empty() && !child.name.contains(&b'/'));
            let name = match path.as_bytes() {
                b"" => child.name,
                folder => [folder, b"/", &child.name].concat(),
            };
            match child.len {
                Some(len) => {
                    let entry = index.get(&name).expect("a file that was listed");
                    assert_eq!(entry.len() as u64, len);
                }
                None => {
                    let below = [name.as_slice(), b"/"].concat();
                    assert!(index.iter().any(|(name, _)| name.starts_with(&below)));
                }
            }
        }
    }
}
