//! Paths: what is refused, and that nothing unsafe ever comes out.
#![forbid(unsafe_code)]

use asset_server::path::{PATH_LEN_MAX, PathError, RelPath, encode};
use proptest::prelude::*;

fn decode(encoded: &[u8]) -> Result<RelPath, PathError> {
    let mut path = RelPath::from_name(b"left/over/").unwrap();
    let decoded = path.decode(encoded);
    if decoded.is_err() {
        assert_eq!(path, RelPath::root(), "after {}", encoded.escape_ascii());
    }
    decoded.map(|()| path)
}

#[test]
fn plain_paths_are_decoded_once() {
    let cases: &[(&[u8], &[u8], bool)] = &[
        (b"", b"", true),
        (b"a", b"a", false),
        (b"a/", b"a", true),
        (b"a/b.c/d", b"a/b.c/d", false),
        (b"a%20b/%C3%a9", "a b/\u{e9}".as_bytes(), false),
        (b"%ff%FE", b"\xff\xfe", false),
        (b"%252e%252e", b"%2e%2e", false),
        (b"...", b"...", false),
        (b"..a/.b/c..", b"..a/.b/c..", false),
        (b"a+b:c;d~e", b"a+b:c;d~e", false),
    ];
    for &(encoded, decoded, is_folder) in cases {
        let path = decode(encoded).unwrap();
        assert_eq!((path.as_bytes(), path.is_folder()), (decoded, is_folder));
    }
}

#[test]
fn unsafe_paths_are_refused() {
    let cases: &[(&[u8], PathError)] = &[
        (b"..", PathError::Unsafe),
        (b"../x", PathError::Unsafe),
        (b"x/..", PathError::Unsafe),
        (b"x/../", PathError::Unsafe),
        (b"%2e%2e/x", PathError::Unsafe),
        (b".%2E/x", PathError::Unsafe),
        (b".", PathError::Unsafe),
        (b"x/./y", PathError::Unsafe),
        (b"/", PathError::Unsafe),
        (b"/etc/passwd", PathError::Unsafe),
        (b"x//y", PathError::Unsafe),
        (b"x//", PathError::Unsafe),
        (b"%2fetc", PathError::Unsafe),
        (b"x%2Fy", PathError::Unsafe),
        (b"x%00", PathError::Unsafe),
        (b"x\\y", PathError::Unsafe),
        (b"..%5c..", PathError::Unsafe),
        (b"%", PathError::Encoding),
        (b"%4", PathError::Encoding),
        (b"%4/1", PathError::Encoding),
        (b"%4g", PathError::Encoding),
        (b"%+1", PathError::Encoding),
        (b"x/%%41", PathError::Encoding),
    ];
    for &(encoded, error) in cases {
        assert_eq!(decode(encoded), Err(error), "{}", encoded.escape_ascii());
    }
}

#[test]
fn the_length_limit_is_of_the_decoded_path_and_exact() {
    let most = b"%41".repeat(PATH_LEN_MAX);
    assert_eq!(decode(&most).unwrap().as_bytes().len(), PATH_LEN_MAX);
    assert_eq!(
        decode(&b"A".repeat(PATH_LEN_MAX + 1)),
        Err(PathError::TooLong)
    );
    assert_eq!(decode(&b"A/".repeat(PATH_LEN_MAX)), Err(PathError::TooLong));
}

#[test]
fn names_are_not_decoded() {
    let path = RelPath::from_name(b"a%2e/100%").unwrap();
    assert_eq!(
        (path.as_bytes(), path.file_name()),
        (b"a%2e/100%".as_slice(), b"100%".as_slice())
    );
    assert_eq!(RelPath::from_name(b"/a"), Err(PathError::Unsafe));
    assert_eq!(RelPath::from_name(b"a\\b"), Err(PathError::Unsafe));
}

fn assert_safe(path: &RelPath) {
    let bytes = path.as_bytes();
    assert!(bytes.len() <= PATH_LEN_MAX);
    assert!(!bytes.contains(&0) && !bytes.contains(&b'\\'));
    if !bytes.is_empty() {
        for component in bytes.split(|&byte| byte == b'/') {
            assert!(
                !matches!(component, b"" | b"." | b".."),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_come_out_unsafe(encoded in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(path) = decode(&encoded) {
            assert_safe(&path);
        }
        if let Ok(path) = RelPath::from_name(&encoded) {
            assert_safe(&path);
        }
    }

    /// Made of the pieces that attacks are made of.
    #[test]
    fn no_attack_comes_out_unsafe(encoded in r"(\.|\.\.|/|%2e|%2E|%2f|%5c|%00|%25|%|\\|a|%61){0,12}") {
        if let Ok(path) = decode(encoded.as_bytes()) {
            assert_safe(&path);
        }
    }

    /// A link to a name leads back to it, and is plain text that no page has to escape.
    #[test]
    fn links_lead_back(name in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(path) = RelPath::from_name(&name) {
            let mut link = String::new();
            encode(path.as_bytes(), &mut link);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
            prop_assert!(link.bytes().all(is_plain), "{}", link);
            let back = decode(link.as_bytes()).unwrap();
            prop_assert_eq!(back.as_bytes(), path.as_bytes());
        }
    }
}
