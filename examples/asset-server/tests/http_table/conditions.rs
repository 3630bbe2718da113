//! Preconditions: RFC 9110, section 13.

use super::{Answer, Case, Expected, NOT_MODIFIED, WHOLE, WHOLE_HEAD, failure};

const PART: Answer = Answer {
    status: 206,
    fields: &[("Content-Range", "bytes 0-9/1000")],
    absent: &[],
    body: Expected::Data(0, 10),
    keeps: true,
};
const FAILED: Answer = failure(412);
const FAILED_HEAD: Answer = Answer {
    body: Expected::Nothing,
    ..FAILED
};

macro_rules! get {
    ($name:literal, $fields:expr, $answer:expr) => {
        Case {
            name: $name,
            sent: concat!(
                "GET /a/data.bin HTTP/1.1\r\nHost: x\r\n",
                $fields,
                "\r\n\r\n"
            ),
            answers: &[$answer],
        }
    };
}

macro_rules! head {
    ($name:literal, $fields:expr, $answer:expr) => {
        Case {
            name: $name,
            sent: concat!(
                "HEAD /a/data.bin HTTP/1.1\r\nHost: x\r\n",
                $fields,
                "\r\n\r\n"
            ),
            answers: &[$answer],
        }
    };
}

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    get!("If-None-Match, the same", "If-None-Match: {etag}", NOT_MODIFIED),
    get!("If-None-Match, the same but weak", "If-None-Match: W/{etag}", NOT_MODIFIED),
    get!("If-None-Match, another", "If-None-Match: \"other\"", WHOLE),
    get!("If-None-Match, a list", "If-None-Match: \"a,b\" ,, W/\"c\",{etag}", NOT_MODIFIED),
    get!("If-None-Match, the same on a second line", "If-None-Match: \"a\"\r\nIf-None-Match: {etag}", NOT_MODIFIED),
    get!("If-None-Match, a list of others", "If-None-Match: \"a\", W/\"b\"", WHOLE),
    get!("If-None-Match, anything", "If-None-Match: *", NOT_MODIFIED),
    get!("If-None-Match, inside another tag's text", "If-None-Match: \"x, {etag}", WHOLE),
    get!("If-None-Match, without quotes", "If-None-Match: other", WHOLE),
    get!("If-None-Match, nothing", "If-None-Match:", WHOLE),
    get!("If-None-Match, w is not W", "If-None-Match: w/{etag}", WHOLE),
    head!("If-None-Match, HEAD", "If-None-Match: {etag}", NOT_MODIFIED),
    head!("If-None-Match, another, HEAD", "If-None-Match: \"x\"", WHOLE_HEAD),

    get!("If-Match, the same", "If-Match: {etag}", WHOLE),
    get!("If-Match, weak tags do not match strongly", "If-Match: W/{etag}", FAILED),
    get!("If-Match, another", "If-Match: \"other\"", FAILED),
    get!("If-Match, a list", "If-Match: \"other\", {etag}", WHOLE),
    get!("If-Match, anything", "If-Match: *", WHOLE),
    get!("If-Match, nothing", "If-Match:", FAILED),
    head!("If-Match, another, HEAD", "If-Match: \"other\"", FAILED_HEAD),

    get!("If-Modified-Since, the same", "If-Modified-Since: {date}", NOT_MODIFIED),
    get!("If-Modified-Since, before", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", WHOLE),
    get!("If-Modified-Since, after", "If-Modified-Since: Sun, 06 Nov 9994 08:49:37 GMT", NOT_MODIFIED),
    get!("If-Modified-Since, RFC 850", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", WHOLE),
    get!("If-Modified-Since, asctime", "If-Modified-Since: Sun Nov  6 08:49:37 1994", WHOLE),
    get!("If-Modified-Since, no date", "If-Modified-Since: yesterday", WHOLE),
    get!("If-Modified-Since, twice", "If-Modified-Since: {date}\r\nIf-Modified-Since: {date}", WHOLE),
    head!("If-Modified-Since, HEAD", "If-Modified-Since: {date}", NOT_MODIFIED),

    get!("If-Unmodified-Since, the same", "If-Unmodified-Since: {date}", WHOLE),
    get!("If-Unmodified-Since, before", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", FAILED),
    get!("If-Unmodified-Since, after", "If-Unmodified-Since: Sun, 06 Nov 9994 08:49:37 GMT", WHOLE),
    get!("If-Unmodified-Since, no date", "If-Unmodified-Since: never", WHOLE),
    head!("If-Unmodified-Since, HEAD", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", FAILED_HEAD),

    get!("If-Match goes before If-Unmodified-Since", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-Match: {etag}", WHOLE),
    get!("If-Match goes before If-None-Match", "If-None-Match: {etag}\r\nIf-Match: \"other\"", FAILED),
    get!("If-Match true, then If-None-Match", "If-None-Match: {etag}\r\nIf-Match: {etag}", NOT_MODIFIED),
    get!("If-Match true, then If-Modified-Since", "If-Match: {etag}\r\nIf-Modified-Since: {date}", NOT_MODIFIED),
    get!("If-None-Match goes before If-Modified-Since", "If-Modified-Since: {date}\r\nIf-None-Match: \"other\"", WHOLE),
    get!("If-None-Match true though modified", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-None-Match: {etag}", NOT_MODIFIED),
    get!("If-Unmodified-Since goes before If-None-Match", "If-None-Match: {etag}\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", FAILED),
    get!("If-None-Match goes before Range", "Range: bytes=0-9\r\nIf-None-Match: {etag}", NOT_MODIFIED),
    get!("If-Match goes before Range", "Range: bytes=0-9\r\nIf-Match: \"other\"", FAILED),
    get!("If-Match goes before 416", "Range: bytes=5000-\r\nIf-Match: \"other\"", FAILED),
    get!("If-Match true, then Range", "Range: bytes=0-9\r\nIf-Match: {etag}", PART),

    get!("If-Range, the same tag", "Range: bytes=0-9\r\nIf-Range: {etag}", PART),
    get!("If-Range, another tag", "Range: bytes=0-9\r\nIf-Range: \"other\"", WHOLE),
    get!("If-Range, a weak tag", "Range: bytes=0-9\r\nIf-Range: W/{etag}", WHOLE),
    get!("If-Range, a list", "Range: bytes=0-9\r\nIf-Range: {etag}, {etag}", WHOLE),
    get!("If-Range, anything is no tag", "Range: bytes=0-9\r\nIf-Range: *", WHOLE),
    get!("If-Range, the same date", "Range: bytes=0-9\r\nIf-Range: {date}", PART),
    get!("If-Range, an earlier date", "Range: bytes=0-9\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT", WHOLE),
    get!("If-Range, a later date", "Range: bytes=0-9\r\nIf-Range: Sun, 06 Nov 9994 08:49:37 GMT", WHOLE),
    get!("If-Range, twice", "Range: bytes=0-9\r\nIf-Range: {etag}\r\nIf-Range: {etag}", WHOLE),
    get!("If-Range false, beyond the file", "Range: bytes=5000-\r\nIf-Range: \"other\"", WHOLE),
    get!("If-Range true, beyond the file", "Range: bytes=5000-\r\nIf-Range: {etag}",
        Answer { fields: &[("Content-Range", "bytes */1000")], absent: &["ETag"], ..failure(416) }),
    get!("If-Range without Range", "If-Range: \"other\"", WHOLE),
    head!("If-Range, HEAD", "Range: bytes=0-9\r\nIf-Range: {etag}", WHOLE_HEAD),
];
