//! Conditional requests: RFC 9110, section 13.

use std::time::UNIX_EPOCH;

use crate::etag::ETag;
use crate::http::request::{Head, Method, Single};

/// What a representation can be recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators {
    /// Its entity tag, always strong.
    pub etag: Option<ETag>,
    /// When it was last modified, in seconds since 1970. Only a second that is over may stand
    /// here: within it the representation may change again, and the date would not tell.
    pub last_modified: Option<u64>,
    /// The same whether that second is over or not: no validator, but enough to tell that the
    /// representation was modified after a date.
    pub modified: Option<u64>,
}

/// What the preconditions of a request say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD whose answer would otherwise be 200 or 206, in the
/// order of section 13.2.2.
pub fn evaluate(head: &Head<'_>, validators: &Validators) -> Verdict {
    match matches(head, "if-match", Comparison::Strong, validators) {
        Some(true) => {}
        Some(false) => return Verdict::Failed,
        None => match (date(head, "if-unmodified-since"), validators.modified) {
            (Some(since), Some(modified)) if modified > since => return Verdict::Failed,
            _ => {}
        },
    }
    match matches(head, "if-none-match", Comparison::Weak, validators) {
        Some(true) => Verdict::NotModified,
        Some(false) => Verdict::Proceed,
        None => match (date(head, "if-modified-since"), validators.last_modified) {
            (Some(since), Some(modified)) if modified <= since => Verdict::NotModified,
            _ => Verdict::Proceed,
        },
    }
}

/// Returns whether the `Range` field is to be heeded: only with GET, and only if `If-Range`, where
/// there is one, names this very representation.
pub fn range_applies(head: &Head<'_>, validators: &Validators) -> bool {
    if head.method != Method::Get {
        return false;
    }
    match head.single("if-range") {
        Single::Absent => true,
        Single::Repeated => false,
        Single::One(value) if value.starts_with(b"\"") => {
            let Some((tag, rest)) = EntityTag::take(value) else {
                return false;
            };
            rest.is_empty() && is_match(tag, Comparison::Strong, validators)
        }
        Single::One(value) => {
            let since = parse_date(value);
            since.is_some() && since == validators.last_modified
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Evaluates a list of entity tags: `None` if the field is absent. What follows a syntax error in
/// a field line is not looked at.
fn matches(
    head: &Head<'_>,
    name: &str,
    comparison: Comparison,
    validators: &Validators,
) -> Option<bool> {
    let mut is_present = false;
    for line in head.values(name) {
        is_present = true;
        // The representation exists, or there would be nothing to evaluate against.
        if line == b"*" || tags(line).any(|tag| is_match(tag, comparison, validators)) {
            return Some(true);
        }
    }
    is_present.then_some(false)
}

fn is_match(tag: EntityTag<'_>, comparison: Comparison, validators: &Validators) -> bool {
    let is_admitted = comparison == Comparison::Weak || !tag.is_weak;
    is_admitted
        && validators
            .etag
            .is_some_and(|etag| etag.as_bytes() == tag.quoted)
}

#[derive(Debug, Clone, Copy)]
struct EntityTag<'b> {
    is_weak: bool,
    /// The opaque tag with its quotes.
    quoted: &'b [u8],
}

impl<'b> EntityTag<'b> {
    /// Takes one tag off the front.
    fn take(text: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let (is_weak, text) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let inner = text.strip_prefix(b"\"")?;
        let len = inner.iter().position(|&byte| byte == b'"')?;
        let is_valid = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
        if !inner[..len].iter().all(is_valid) {
            return None;
        }
        let (quoted, rest) = text.split_at(len + 2);
        Some((Self { is_weak, quoted }, rest))
    }
}

fn tags(mut list: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    std::iter::from_fn(move || {
        while let [b',' | b' ' | b'\t', rest @ ..] = list {
            list = rest;
        }
        let (tag, rest) = EntityTag::take(list)?;
        let rest = rest.trim_ascii_start();
        let is_delimited = rest.is_empty() || rest.starts_with(b",");
        list = rest;
        is_delimited.then_some(tag)
    })
}

/// A date that is repeated, or is none, is ignored (sections 13.1.3 and 13.1.4).
fn date(head: &Head<'_>, name: &str) -> Option<u64> {
    match head.single(name) {
        Single::One(value) => parse_date(value),
        Single::Absent | Single::Repeated => None,
    }
}

fn parse_date(value: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
