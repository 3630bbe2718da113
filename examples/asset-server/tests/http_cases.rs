//! The table of HTTP cases, run against the planner: a connection in memory, fed in pieces of
//! every size, answers byte for byte as a socket would.
#![forbid(unsafe_code)]

mod http_table;

use asset_server::etag::ETag;
use asset_server::http::multipart::BoundarySource;
use asset_server::http::request::{Head, HeadLimits, HeadParser, Parsed};
use asset_server::http::response::DateCache;
use asset_server::mime;
use asset_server::path::RelPath;
use asset_server::plan::{self, Body, Plan, Ranges, Resource};
use asset_server::route::{Route, route};
use http_table::{Names, data};

/// 1994-11-15 12:45:26, when the site is asked.
const NOW: u64 = 784_903_526;
/// Twelve hours before.
const MODIFIED: u64 = NOW - 43_200;

#[test]
fn every_case_is_answered_as_the_standards_ask() {
    let names = names();
    for case in http_table::cases() {
        let (received, closed) = Site::new().converse(&case.request(&names), usize::MAX);
        case.check(&names, &received, closed);
    }
}

#[test]
fn the_answers_do_not_depend_on_how_the_requests_arrive() {
    let names = names();
    for case in http_table::cases() {
        for step in [1, 2, 3, 7] {
            let (received, closed) = Site::new().converse(&case.request(&names), step);
            case.check(&names, &received, closed);
        }
    }
}

#[test]
fn case_names_are_distinct() {
    let mut seen = std::collections::HashSet::new();
    for case in http_table::cases() {
        assert!(seen.insert(case.name), "{}", case.name);
    }
    assert!(seen.len() > 150, "{}", seen.len());
}

fn names() -> Names {
    let etag = String::from_utf8(ETag::of_content(&data()).as_bytes().to_vec()).unwrap();
    Names {
        etag,
        date: "Tue, 15 Nov 1994 00:45:26 GMT".to_owned(),
    }
}

/// The site, and one connection to it.
struct Site {
    boundaries: BoundarySource,
    date: DateCache,
    path: RelPath,
}

impl Site {
    fn new() -> Self {
        Self {
            boundaries: BoundarySource::from_key([7; 32]),
            date: DateCache::new(NOW),
            path: RelPath::root(),
        }
    }

    /// Sends the bytes in pieces; returns what comes back and whether the connection was closed.
    fn converse(&mut self, sent: &[u8], step: usize) -> (Vec<u8>, bool) {
        let mut parser = HeadParser::new(HeadLimits::default());
        let (mut buf, mut out) = (Vec::new(), Vec::new());
        for piece in sent.chunks(step) {
            buf.extend_from_slice(piece);
            loop {
                let (plan, content, consumed) = match parser.parse(&buf) {
                    Ok(Parsed::Partial) => break,
                    Ok(Parsed::Complete { head, consumed }) => {
                        let (plan, content) = self.answer(&head);
                        (plan, content, consumed)
                    }
                    Err(refusal) => (plan::refusal(refusal), Vec::new(), buf.len()),
                };
                self.carry_out(&plan, &content, &mut out);
                if !plan.keeps_connection() {
                    return (out, true);
                }
                buf.drain(..consumed);
            }
        }
        (out, false)
    }

    fn answer(&mut self, head: &Head<'_>) -> (Plan, Vec<u8>) {
        let content = match route(head.path, &mut self.path) {
            Route::Refused(status) => {
                return (plan::failure(head, status), Vec::new());
            }
            Route::Asset if !self.path.is_folder() => match self.path.as_bytes() {
                b"data.bin" => Some(data()),
                b"empty.bin" => Some(Vec::new()),
                _ => None,
            },
            _ => None,
        };
        let resource = content.as_ref().map(|content| Resource {
            len: u64::try_from(content.len()).unwrap(),
            content_type: mime::content_type(self.path.file_name()),
            etag: Some(ETag::of_content(content)),
            last_modified: Some(MODIFIED),
            ranges: Ranges::Many,
            cache_control: None,
        });
        let plan = plan::respond(head, resource.as_ref(), NOW, &mut self.boundaries);
        (plan, content.unwrap_or_default())
    }

    fn carry_out(&self, plan: &Plan, content: &[u8], out: &mut Vec<u8>) {
        plan.write_head(&self.date, out);
        let start = out.len();
        let bytes = |range: asset_server::http::range::ByteRange| {
            &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
        };
        match plan.body {
            Body::Nothing => return,
            Body::Text(text) => out.extend_from_slice(text.as_bytes()),
            Body::Range(range) => out.extend_from_slice(bytes(range)),
            Body::Parts(parts) => {
                for (index, &range) in parts.ranges.as_slice().iter().enumerate() {
                    parts.write_part_head(index, out);
                    out.extend_from_slice(bytes(range));
                }
                parts.write_tail(out);
            }
        }
        let sent = u64::try_from(out.len() - start).unwrap();
        assert_eq!(plan.content_length, Some(sent), "{:?}", plan.status);
    }
}
