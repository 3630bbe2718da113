//! Reads any bytes as what a connection sends: heads, one after the other.
#![no_main]

use asset_server::etag::ETag;
use asset_server::http::multipart::BoundarySource;
use asset_server::http::request::{Head, HeadLimits, HeadParser, Method, Parsed, empty_lines_len};
use asset_server::http::response::DateCache;
use asset_server::plan::{self, Body, Ranges, Resource};
use libfuzzer_sys::fuzz_target;

/// The most heads that are read of one input.
const HEADS_MAX: usize = 100;

#[derive(Debug, PartialEq)]
enum End {
    Partial,
    Refused,
    Enough,
}

fuzz_target!(|input: &[u8]| {
    // The last byte says how, so that a request with one byte more is a seed.
    let Some((&how, sent)) = input.split_last() else {
        return;
    };
    let limits = match how & 1 {
        0 => HeadLimits::default(),
        _ => HeadLimits {
            head_len_max: 256,
            target_len_max: 64,
        },
    };
    let piece = usize::from(how >> 1) + 1;
    let (at_once, end) = read(sent, usize::MAX, limits);
    let (in_pieces, end_in_pieces) = read(sent, piece, limits);
    assert_eq!(at_once, in_pieces, "pieces make no difference");
    match end {
        // What is refused before its end is found so a little later in pieces.
        End::Refused => assert_ne!(end_in_pieces, End::Enough),
        _ => assert_eq!(end, end_in_pieces),
    }
});

/// Reads heads as a connection does, `piece` bytes at a time; gives what they say, and the end.
fn read(sent: &[u8], piece: usize, limits: HeadLimits) -> (Vec<String>, End) {
    let mut parser = HeadParser::new(limits);
    let (mut buffer, mut heads) = (Vec::new(), Vec::new());
    let mut pieces = sent.chunks(piece.min(sent.len()).max(1));
    loop {
        buffer.drain(..empty_lines_len(&buffer));
        match parser.parse(&buffer) {
            Err(_) => return (heads, End::Refused),
            Ok(Parsed::Complete { head, consumed }) => {
                check_consumed(&buffer, consumed, limits);
                check(&head, &buffer[..consumed], limits);
                answer(&head);
                heads.push(format!("{consumed} {head:?}"));
                // What follows a body is unknown: the connection ends.
                if head.has_body || heads.len() == HEADS_MAX {
                    return (heads, End::Enough);
                }
                buffer.drain(..consumed);
            }
            Ok(Parsed::Partial) => {
                assert!(buffer.len() <= limits.head_len_max, "it waits within limits");
                let Some(more) = pieces.next() else {
                    return (heads, End::Partial);
                };
                buffer.extend_from_slice(more);
            }
        }
    }
}

fn check_consumed(buffer: &[u8], consumed: usize, limits: HeadLimits) {
    assert!(consumed <= limits.head_len_max && consumed <= buffer.len());
    let text = &buffer[..consumed];
    assert!(text.ends_with(b"\n\n") || text.ends_with(b"\n\r\n"));
    let first_end = text.windows(2).position(|pair| pair == b"\n\n");
    let or_end = text.windows(3).position(|part| part == b"\n\r\n");
    let end = first_end.map(|at| at + 2).into_iter().chain(or_end.map(|at| at + 3));
    assert_eq!(end.min(), Some(consumed), "no more than a head");
}

fn check(head: &Head<'_>, text: &[u8], limits: HeadLimits) {
    let target_len = head.path.len() + head.query.map_or(0, |query| query.len() + 1);
    assert!(target_len <= limits.target_len_max + 1);
    if head.method != Method::Other {
        assert!(head.path.starts_with(b"/"));
        assert!(!head.path.iter().any(|byte| b"?#".contains(byte)));
    }
    let mut target = head.path.iter().chain(head.query.unwrap_or_default());
    assert!(target.all(|&byte| byte > b' ' && byte != 0x7f), "a target is one word");
    // Whatever another reader may take for the announcement of a body, be it ill-formed, is one.
    for line in text.split(|&byte| byte == b'\n' || byte == b'\r').skip(1) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let names = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        let is_zero = !value.is_empty() && value.iter().all(|&byte| byte == b'0');
        if names("transfer-encoding") || (names("content-length") && !is_zero) {
            assert!(head.has_body, "{}", text.escape_ascii());
        }
    }
}

/// Answers it, with every part of the head that an answer depends on.
fn answer(head: &Head<'_>) {
    let content = [b'x'; 100];
    let resource = Resource {
        len: 100,
        content_type: "text/plain",
        etag: Some(ETag::of_content(&content)),
        last_modified: Some(784_111_777),
        ranges: Ranges::Many,
        cache_control: None,
    };
    let mut boundaries = BoundarySource::from_key([0; 32]);
    for resource in [None, Some(&resource)] {
        let plan = plan::respond(head, resource, 1_000_000_000, &mut boundaries);
        let mut out = Vec::new();
        plan.write_head(&DateCache::new(1_000_000_000), &mut out);
        assert!(out.starts_with(b"HTTP/1.1 ") && out.ends_with(b"\r\n\r\n"));
        let ends = out.windows(4).filter(|part| part == b"\r\n\r\n").count();
        assert_eq!(ends, 1, "{}", out.escape_ascii());
        assert!(!head.has_body || !plan.keeps_connection());
        assert!(head.keep_alive || !plan.keeps_connection());
        if let (Body::Range(range), Some(resource)) = (plan.body, resource) {
            assert!(range.start < range.end && range.end <= resource.len);
            assert_eq!(plan.content_length, Some(range.len()));
        }
    }
}
