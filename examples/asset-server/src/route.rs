//! What a URL path names.

use blobio::pack::chunked::ContentHash;

use crate::http::status::Status;
use crate::path::{PathError, RelPath};

/// What a URL path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/`: the page that lists the mounts.
    Index,
    /// `/healthz`
    Health,
    /// `/metrics`
    Metrics,
    /// `/a/...`: an asset, or a folder of assets, at the path that was decoded.
    Asset,
    /// `/cas/...`: the content of this hash, 64 hexadecimal digits in lower case. As with all
    /// paths there is one way to write it.
    Content(ContentHash),
    /// Nothing.
    Missing,
    /// A path that is not to be looked up: answer this status.
    Refused(Status),
}

/// Routes a path; that of an asset is decoded into `path`.
pub fn route(url_path: &[u8], path: &mut RelPath) -> Route {
    match url_path {
        b"/" => Route::Index,
        b"/healthz" => Route::Health,
        b"/metrics" => Route::Metrics,
        b"/a" => asset(b"", path),
        [b'/', b'a', b'/', encoded @ ..] => asset(encoded, path),
        [b'/', b'c', b'a', b's', b'/', digits @ ..] => content(digits),
        _ => Route::Missing,
    }
}

fn content(digits: &[u8]) -> Route {
    let is_lower = digits
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let text = std::str::from_utf8(digits).ok().filter(|_| is_lower);
    match text.and_then(|text| text.parse().ok()) {
        Some(hash) => Route::Content(hash),
        None => Route::Refused(Status::BadRequest),
    }
}

fn asset(encoded: &[u8], path: &mut RelPath) -> Route {
    match path.decode(encoded) {
        Ok(()) => Route::Asset,
        Err(PathError::TooLong) => Route::Refused(Status::UriTooLong),
        Err(PathError::Unsafe | PathError::Encoding) => Route::Refused(Status::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    use super::{ContentHash, Route, route};
    use crate::http::status::Status;
    use crate::path::RelPath;

    #[test]
    fn paths_name_what_they_should() {
        let long = [b"/a/".as_slice(), &[b'x'; 5000]].concat();
        let hash = ContentHash::from_bytes([0; 32]);
        let digits = |digit: &[u8], count| [b"/cas/".as_slice(), &digit.repeat(count)].concat();
        let cases: &[(&[u8], Route, &[u8])] = &[
            (b"/", Route::Index, b""),
            (b"/healthz", Route::Health, b""),
            (b"/healthz/", Route::Missing, b""),
            (b"/metrics", Route::Metrics, b""),
            (b"/a", Route::Asset, b""),
            (b"/a/", Route::Asset, b""),
            (b"/a/x%20y/z.png", Route::Asset, b"x y/z.png"),
            (b"/ab", Route::Missing, b""),
            (b"//a/x", Route::Missing, b""),
            (b"/a//etc/passwd", Route::Refused(Status::BadRequest), b""),
            (b"/a/%2e%2e/x", Route::Refused(Status::BadRequest), b""),
            (b"/a/%", Route::Refused(Status::BadRequest), b""),
            (&long, Route::Refused(Status::UriTooLong), b""),
            (b"/cas", Route::Missing, b""),
            (b"/cas/", Route::Refused(Status::BadRequest), b""),
            (&digits(b"0", 64), Route::Content(hash), b""),
            (&digits(b"0", 63), Route::Refused(Status::BadRequest), b""),
            (&digits(b"0", 65), Route::Refused(Status::BadRequest), b""),
            (&digits(b"A", 64), Route::Refused(Status::BadRequest), b""),
            (&digits(b"g", 64), Route::Refused(Status::BadRequest), b""),
            (&digits(b"%30", 64), Route::Refused(Status::BadRequest), b""),
        ];
        for &(url, expected, decoded) in cases {
            let mut path = RelPath::root();
            assert_eq!(route(url, &mut path), expected, "{}", url.escape_ascii());
            assert_eq!(path.as_bytes(), decoded, "{}", url.escape_ascii());
        }
    }
}
