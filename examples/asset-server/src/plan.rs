//! Decides the answer to a request.
//!
//! A plan says everything that goes out: [`Plan::write_head`] writes the head, and [`Body`] lists
//! the bytes. Carrying it out takes no further decision.

use crate::etag::ETag;
use crate::http::conditional::{Validators, Verdict, evaluate, range_applies};
use crate::http::multipart::{Boundary, BoundarySource, Parts};
use crate::http::range::{ByteRange, Selection, select};
use crate::http::request::{Head, Method, Refusal, Single, Version};
use crate::http::status::Status;

/// What is known of a resource before any of its bytes is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// The length in bytes.
    pub len: u64,
    /// The media type.
    pub content_type: &'static str,
    /// The entity tag, if there is one.
    pub etag: Option<ETag>,
    /// When it was last modified, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// Which parts of it may be asked for.
    pub ranges: Ranges,
    /// The `Cache-Control` field, if any.
    pub cache_control: Option<&'static str>,
}

/// Which parts of a resource a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges {
    /// None: a page made on the spot.
    None,
    /// One at a time; who asks for several gets the whole.
    One,
    /// Several at a time.
    Many,
}

/// The bytes that follow the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per request, on the stack; no allocation"
)]
pub enum Body {
    /// None.
    Nothing,
    /// A constant text.
    Text(&'static str),
    /// These bytes of the resource.
    Range(ByteRange),
    /// Several ranges of the resource, framed.
    Parts(Parts),
}

/// What `Content-Range` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// These bytes out of so many.
    Bytes(ByteRange, u64),
    /// None of so many could be given.
    Unsatisfied(u64),
}

/// What `Content-Type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// A media type.
    Media(&'static str),
    /// `multipart/byteranges` with the body's boundary.
    ByteRanges(Boundary),
}

/// What `Connection` says, and what happens after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Stays open, as HTTP/1.1 has it.
    Persistent,
    /// Stays open, and an HTTP/1.0 client has to be told.
    KeepAlive,
    /// Closed after the answer; nothing that the client sent is left to read.
    Close,
    /// Closed after the answer, while the client may still be sending: end the sending side, then
    /// read and discard for a moment, or the reset would take the answer with it.
    CloseLingering,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The status.
    pub status: Status,
    /// What becomes of the connection.
    pub connection: Connection,
    /// `Content-Length`; for HEAD the length that GET would have given.
    pub content_length: Option<u64>,
    /// `Content-Type`.
    pub content_type: Option<ContentType>,
    /// `Content-Range`.
    pub content_range: Option<ContentRange>,
    /// `ETag`.
    pub etag: Option<ETag>,
    /// `Last-Modified`, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// `Cache-Control`.
    pub cache_control: Option<&'static str>,
    /// `Accept-Ranges: bytes`.
    pub accepts_ranges: bool,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
    /// The bytes to send after the head.
    pub body: Body,
}

/// Plans the answer to a request for a resource, or for something that is not there.
///
/// `now` is in seconds since 1970. A modification time that is not over by then is withheld: no
/// date in the future may be sent, and one of the running second is no validator yet.
pub fn respond(
    head: &Head<'_>,
    resource: Option<&Resource>,
    now: u64,
    boundaries: &mut BoundarySource,
) -> Plan {
    if head.method == Method::Other {
        return failure(head, Status::MethodNotAllowed);
    }
    let Some(resource) = resource else {
        return failure(head, Status::NotFound);
    };
    let last_modified = resource.last_modified.filter(|&modified| modified < now);
    let validators = Validators {
        etag: resource.etag,
        last_modified,
        modified: resource.last_modified,
    };
    match evaluate(head, &validators) {
        Verdict::Failed => return failure(head, Status::PreconditionFailed),
        Verdict::NotModified => return not_modified(head, resource, &validators),
        Verdict::Proceed => {}
    }
    let may_select = resource.ranges != Ranges::None && range_applies(head, &validators);
    let selection = match head.single("range") {
        Single::One(value) if may_select => select(value, resource.len),
        _ => Selection::Whole,
    };
    let mut plan = whole(head, resource, &validators);
    match selection {
        Selection::Whole => {}
        Selection::Unsatisfiable => {
            plan = failure(head, Status::RangeNotSatisfiable);
            plan.content_range = Some(ContentRange::Unsatisfied(resource.len));
            plan.accepts_ranges = true;
        }
        Selection::Ranges(ranges)
            if resource.ranges == Ranges::One && ranges.as_slice().len() > 1 => {}
        Selection::Ranges(ranges) => {
            plan.status = Status::PartialContent;
            if let [range] = *ranges.as_slice() {
                plan.content_range = Some(ContentRange::Bytes(range, resource.len));
                plan.content_length = Some(range.len());
                plan.body = Body::Range(range);
            } else {
                let boundary = boundaries.next_boundary();
                let content_type = resource.content_type;
                let parts = Parts {
                    ranges,
                    boundary,
                    content_type,
                    full_len: resource.len,
                };
                plan.content_type = Some(ContentType::ByteRanges(boundary));
                plan.content_length = Some(parts.body_len());
                plan.body = Body::Parts(parts);
            }
        }
    }
    plan
}

/// Plans the answer to a well-formed request that fails. That its method is not allowed goes before
/// any other failure.
pub fn failure(head: &Head<'_>, status: Status) -> Plan {
    let status = if head.method == Method::Other {
        Status::MethodNotAllowed
    } else {
        status
    };
    let body = if head.method == Method::Head {
        Body::Nothing
    } else {
        Body::Text(status.text())
    };
    Plan {
        connection: connection(head),
        body,
        ..text(status)
    }
}

/// Plans the answer to a head that was refused; the connection ends with it.
pub fn refusal(refusal: Refusal) -> Plan {
    text(refusal.status)
}

/// Plans the answer to a request that did not arrive in time; the connection ends with it.
pub fn timed_out() -> Plan {
    text(Status::RequestTimeout)
}

/// Plans the answer to a connection beyond the limit, before anything was read from it.
pub fn unavailable(retry_after_s: u32) -> Plan {
    Plan {
        retry_after_s: Some(retry_after_s),
        ..text(Status::ServiceUnavailable)
    }
}

impl Plan {
    /// Returns whether the connection can carry another request.
    pub fn keeps_connection(&self) -> bool {
        matches!(
            self.connection,
            Connection::Persistent | Connection::KeepAlive
        )
    }

    /// Makes the connection end with this answer, as while the server shuts down.
    pub fn close(&mut self) {
        if self.keeps_connection() {
            self.connection = Connection::Close;
        }
    }
}

fn whole(head: &Head<'_>, resource: &Resource, validators: &Validators) -> Plan {
    let body = if head.method == Method::Head || resource.len == 0 {
        Body::Nothing
    } else {
        Body::Range(ByteRange {
            start: 0,
            end: resource.len,
        })
    };
    Plan {
        status: Status::Ok,
        connection: connection(head),
        content_length: Some(resource.len),
        content_type: Some(ContentType::Media(resource.content_type)),
        content_range: None,
        etag: validators.etag,
        last_modified: validators.last_modified,
        cache_control: resource.cache_control,
        accepts_ranges: resource.ranges != Ranges::None,
        retry_after_s: None,
        body,
    }
}

/// RFC 9110, 15.4.5: of the resource's own fields only those that a cache needs.
fn not_modified(head: &Head<'_>, resource: &Resource, validators: &Validators) -> Plan {
    let last_modified = validators
        .last_modified
        .filter(|_| validators.etag.is_none());
    Plan {
        status: Status::NotModified,
        content_length: None,
        content_type: None,
        last_modified,
        accepts_ranges: false,
        body: Body::Nothing,
        ..whole(head, resource, validators)
    }
}

fn text(status: Status) -> Plan {
    let text = status.text();
    Plan {
        status,
        connection: Connection::CloseLingering,
        content_length: Some(u64::try_from(text.len()).expect("a short text")),
        content_type: Some(ContentType::Media("text/plain; charset=utf-8")),
        content_range: None,
        etag: None,
        last_modified: None,
        cache_control: None,
        accepts_ranges: false,
        retry_after_s: None,
        body: Body::Text(text),
    }
}

fn connection(head: &Head<'_>) -> Connection {
    match (head.has_body, head.keep_alive, head.version) {
        (true, _, _) => Connection::CloseLingering,
        (false, false, _) => Connection::Close,
        (false, true, Version::Http10) => Connection::KeepAlive,
        (false, true, Version::Http11) => Connection::Persistent,
    }
}
