//! Request heads: limits, arrival in pieces, and what is taken from a head.
#![forbid(unsafe_code)]

use asset_server::etag::ETag;
use asset_server::http::multipart::BoundarySource;
use asset_server::http::request::{
    FIELDS_MAX, Head, HeadLimits, HeadParser, Method, Parsed, Refusal, Single, Version,
};
use asset_server::http::response::DateCache;
use asset_server::http::status::Status;
use asset_server::plan::{self, Body, Connection, Ranges, Resource};
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits {
    head_len_max: 512,
    target_len_max: 100,
};

fn parse(buf: &[u8]) -> Result<Option<(Head<'_>, usize)>, Refusal> {
    match HeadParser::new(LIMITS).parse(buf)? {
        Parsed::Partial => Ok(None),
        Parsed::Complete { head, consumed } => Ok(Some((head, consumed))),
    }
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes()
}

#[test]
fn a_head_is_taken_apart() {
    let text = "HEAD http://x?p=1&q HTTP/1.0\r\nRANGE:  bytes=0-1 \r\nvia: a\r\nVia: b\r\n\r\nrest";
    let (head, consumed) = parse(text.as_bytes()).unwrap().unwrap();
    assert_eq!(consumed, text.len() - "rest".len());
    assert_eq!((head.method, head.version), (Method::Head, Version::Http10));
    assert_eq!(
        (head.path, head.query),
        (b"/".as_slice(), Some(b"p=1&q".as_slice()))
    );
    assert!(!head.keep_alive && !head.has_body);
    assert_eq!(head.single("range"), Single::One(b"bytes=0-1"));
    assert_eq!(head.single("Via"), Single::Repeated);
    assert_eq!(head.single("host"), Single::Absent);
    assert_eq!(head.values("VIA").collect::<Vec<_>>(), [b"a", b"b"]);
}

#[test]
fn limits_have_their_own_statuses_and_are_exact() {
    let fitting = get("/", &format!("X: {}\r\n", "x".repeat(512 - 25 - 5 - 2)));
    assert_eq!(fitting.len(), 512);
    assert_eq!(parse(&fitting).unwrap().unwrap().1, 512);
    let fields = |count: usize| "X: y\r\n".repeat(count - 1);
    let wide = HeadLimits {
        head_len_max: 64 * 1024,
        target_len_max: 100,
    };
    let status = |buf: &[u8], limits| HeadParser::new(limits).parse(buf).unwrap_err().status;

    let one_more = get("/", &format!("X: {}\r\n", "x".repeat(512 - 25 - 5 - 2 + 1)));
    assert_eq!(status(&one_more, LIMITS), Status::HeaderFieldsTooLarge);
    assert_eq!(
        status(&one_more[..513], LIMITS),
        Status::HeaderFieldsTooLarge,
        "while unfinished"
    );
    assert!(parse(&one_more[..512]).unwrap().is_none());

    let target = |len: usize| get(&format!("/{}", "x".repeat(len - 1)), "");
    assert!(parse(&target(100)).unwrap().is_some());
    assert_eq!(status(&target(101), LIMITS), Status::UriTooLong);
    assert_eq!(
        status(&target(600)[..513], LIMITS),
        Status::UriTooLong,
        "no line end in the limit"
    );

    let most = get("/", &fields(FIELDS_MAX));
    assert!(matches!(
        HeadParser::new(wide).parse(&most),
        Ok(Parsed::Complete { .. })
    ));
    let too_many = get("/", &fields(FIELDS_MAX + 1));
    assert_eq!(status(&too_many, wide), Status::HeaderFieldsTooLarge);
    assert_eq!(
        status(&b"\r\n".repeat(300), LIMITS),
        Status::UriTooLong,
        "empty lines for ever"
    );
}

#[test]
fn what_is_too_long_does_not_depend_on_how_much_came_with_it() {
    let line_too_long = get(&format!("/{}", "x".repeat(600)), "X: y\r\n");
    let fields_too_long = get("/", &"X: y\r\n".repeat(100));
    for (buf, expected) in [
        (line_too_long, Status::UriTooLong),
        (fields_too_long, Status::HeaderFieldsTooLarge),
    ] {
        for len in [513, 600, buf.len()] {
            let mut parser = HeadParser::new(HeadLimits {
                target_len_max: 512,
                ..LIMITS
            });
            let refusal = parser.parse(&buf[..len]).unwrap_err();
            assert_eq!(refusal.status, expected, "{len}");
        }
    }
}

#[test]
fn garbage_is_refused_before_it_ends() {
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01".as_slice(),
        b"GET / HTTP/1.1\r\nHo st",
        b"\0",
    ] {
        assert_eq!(
            parse(garbage).unwrap_err().status,
            Status::BadRequest,
            "{garbage:?}"
        );
    }
    // A version that nobody has, seen at the end of a line that is wrong before it.
    let line = b"!ET /a+ HTTP/1!ET /a+ HTTP/1.7\r";
    for len in 16..=line.len() {
        assert!(parse(&line[..len]).is_err(), "{len}");
    }
}

#[test]
fn a_parser_is_ready_for_the_next_head_after_each() {
    let (first, second) = (get("/1", ""), get("/22", "X: y\r\n"));
    let mut buf = [first.as_slice(), &second].concat();
    let mut parser = HeadParser::new(LIMITS);
    for (path, len) in [(b"/1".as_slice(), first.len()), (b"/22", second.len())] {
        let Ok(Parsed::Complete { head, consumed }) = parser.parse(&buf) else {
            panic!()
        };
        assert_eq!((head.path, consumed), (path, len));
        buf.drain(..consumed);
    }
    assert!(matches!(parser.parse(&buf), Ok(Parsed::Partial)));
}

#[test]
fn a_time_that_is_not_over_is_no_validator_and_not_sent() {
    let text = get("/", "If-Modified-Since: Sun, 06 Nov 9994 08:49:37 GMT\r\n");
    let (head, _) = parse(&text).unwrap().unwrap();
    let mut boundaries = BoundarySource::from_key([0; 32]);
    for (modified, status) in [(99, 304), (100, 200), (101, 200), (u64::MAX, 200)] {
        let resource = Resource {
            len: 5,
            content_type: "text/plain",
            etag: None,
            last_modified: Some(modified),
            ranges: Ranges::Many,
            cache_control: Some("no-cache"),
        };
        let plan = plan::respond(&head, Some(&resource), 100, &mut boundaries);
        assert_eq!(plan.status.code(), status, "{modified}");
        // The only validator there is goes into a 304 too.
        assert_eq!(plan.last_modified, (modified < 100).then_some(modified));
        assert_eq!(plan.cache_control, Some("no-cache"));
    }
}

#[test]
fn pages_have_no_ranges() {
    let text = get("/", "Range: bytes=0-1\r\n");
    let (head, _) = parse(&text).unwrap().unwrap();
    let resource = Resource {
        len: 5,
        content_type: "text/html",
        etag: Some(ETag::of_content(b"hello")),
        last_modified: None,
        ranges: Ranges::None,
        cache_control: None,
    };
    let plan = plan::respond(&head, Some(&resource), 0, &mut BoundarySource::random());
    assert_eq!((plan.status, plan.accepts_ranges), (Status::Ok, false));
}

#[test]
fn answers_without_a_request_close_the_connection() {
    let refusal = Refusal {
        status: Status::BadRequest,
        reason: "",
    };
    let plans = [
        plan::unavailable(7),
        plan::timed_out(),
        plan::refusal(refusal),
    ];
    let expected = [
        (503, "\r\nRetry-After: 7\r\n"),
        (408, "\r\n"),
        (400, "\r\n"),
    ];
    for (plan, (code, field)) in plans.into_iter().zip(expected) {
        let mut out = Vec::new();
        plan.write_head(&DateCache::new(0), &mut out);
        let head = String::from_utf8(out).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{head}");
        assert!(
            head.contains(field) && head.contains("\r\nConnection: close\r\n"),
            "{head}"
        );
        assert!(
            head.ends_with("\r\n\r\n") && !head.trim_end().contains("\r\n\r\n"),
            "{head}"
        );
        assert_eq!(plan.body, Body::Text(plan.status.text()));
        assert!(!plan.keeps_connection());
    }
}

#[test]
fn closing_keeps_the_lingering() {
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n";
    let (head, _) = parse(post).unwrap().unwrap();
    let mut plan = plan::respond(&head, None, 0, &mut BoundarySource::random());
    plan.close();
    assert_eq!(plan.connection, Connection::CloseLingering);
    let text = get("/", "");
    let (head, _) = parse(&text).unwrap().unwrap();
    let mut plan = plan::respond(&head, None, 0, &mut BoundarySource::random());
    assert_eq!(plan.connection, Connection::Persistent);
    plan.close();
    assert_eq!(plan.connection, Connection::Close);
}

#[test]
fn boundaries_of_one_source_and_of_two_differ() {
    let (mut one, mut two) = (BoundarySource::random(), BoundarySource::random());
    let made = [
        one.next_boundary(),
        one.next_boundary(),
        two.next_boundary(),
    ];
    assert!(
        made[0] != made[1] && made[0] != made[2] && made[1] != made[2],
        "{made:?}"
    );
}

proptest! {
    /// Whatever comes, in whatever pieces, the outcome is that of the whole at once, and no byte
    /// beyond the head is taken.
    #[test]
    fn pieces_do_not_matter(
        lines in prop::collection::vec("(GET|HEAD|POST) /[a-c%?]{0,4} HTTP/1.[01]|Host: x|[A-D]: ?[ -~]{0,6}|\r?|\u{1}", 0..8),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let text = lines.join("\r\n") + "\r\n\r\nGET";
        let buf = text.as_bytes();
        let outcome = |parsed: Result<Parsed<'_>, Refusal>| match parsed {
            Ok(Parsed::Partial) => None,
            Ok(Parsed::Complete { head, consumed }) => Some(Ok((
                head.path.to_vec(), head.query.map(<[u8]>::to_vec), head.keep_alive, consumed,
            ))),
            Err(refusal) => Some(Err(refusal.status)),
        };
        let whole = outcome(HeadParser::new(LIMITS).parse(buf));
        let mut parser = HeadParser::new(LIMITS);
        let mut len = 0;
        let mut found = None;
        for cut in cuts.iter().cycle() {
            len = buf.len().min(len + cut);
            found = outcome(parser.parse(&buf[..len]));
            if found.is_some() || len == buf.len() {
                break;
            }
        }
        prop_assert_eq!(&found, &whole);
        if let Some(Ok((.., consumed))) = found {
            prop_assert!(buf[..consumed].ends_with(b"\n"));
        }
    }

    /// No input makes the parser panic or take more than there is.
    #[test]
    fn bytes_of_any_kind_are_survived(buf in prop::collection::vec(any::<u8>(), 0..700)) {
        if let Ok(Some((_, consumed))) = parse(&buf) {
            prop_assert!(consumed <= buf.len());
        }
    }
}

/// It is no validator, but it is later than the date all the same.
#[test]
fn a_time_that_is_not_over_is_still_after_an_earlier_one() {
    let text = get(
        "/",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    );
    let (head, _) = parse(&text).unwrap().unwrap();
    let since = 784_111_777;
    let mut boundaries = BoundarySource::from_key([0; 32]);
    for (modified, status) in [(since, 200), (since + 1, 412), (since + 99, 412)] {
        let resource = Resource {
            len: 5,
            content_type: "text/plain",
            etag: None,
            last_modified: Some(modified),
            ranges: Ranges::Many,
            cache_control: None,
        };
        let plan = plan::respond(&head, Some(&resource), since, &mut boundaries);
        assert_eq!(plan.status.code(), status, "{modified}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_a_port() {
    for (host, is_valid) in [
        ("x", true),
        ("x:80", true),
        ("x:", true),
        ("", true),
        ("a-b.c~%41!", true),
        ("[::1]", true),
        ("[::1]:8080", true),
        ("[v1.x:y]", true),
        ("x:y", false),
        ("x:80:80", false),
        ("::1", false),
        ("[]", false),
        ("[::1", false),
        ("::1]", false),
        ("[::1]80", false),
        ("[[::1]]", false),
        ("a[b]c", false),
        ("u@x", false),
        ("a/b", false),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(parse(text.as_bytes()).is_ok(), is_valid, "{host:?}");
    }
}
