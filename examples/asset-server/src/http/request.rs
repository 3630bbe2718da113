//! Reads a request head out of a receive buffer.
//!
//! The parser is pulled: the connection appends what it received and asks again. A head is either
//! taken whole or refused; a refused head always ends the connection, because where the next one
//! would begin is then unknown. A request that announces a body is answered, its body is never
//! read, and the connection is closed after the answer, so that no byte of a body can pass for a
//! request.

use super::target::{is_host, split_target};
use crate::http::status::Status;

/// How many header fields one head may have.
pub const FIELDS_MAX: usize = 64;

/// The limits on a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Longest head in bytes, request line and final empty line included; past it, 431 (414 when
    /// not even the request line ended).
    pub head_len_max: usize,
    /// Longest request target in bytes; past it, 414.
    pub target_len_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_len_max: 16 * 1024,
            target_len_max: 8 * 1024,
        }
    }
}

/// A method, as far as this server tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// Any other, answered 405.
    Other,
}

/// The protocol version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1, or a later one of HTTP/1
    Http11,
}

/// A request head that may not be answered in the normal way. The connection ends after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What to answer.
    pub status: Status,
    /// What was wrong, for a log.
    pub reason: &'static str,
}

/// What [`HeadParser::parse`] found in the buffer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once; a box would allocate per head"
)]
pub enum Parsed<'b> {
    /// The head has not ended yet: receive more.
    Partial,
    /// A whole head, and how many bytes of the buffer it took.
    Complete {
        /// The head.
        head: Head<'b>,
        /// Where the next request begins.
        consumed: usize,
    },
}

/// A request head, borrowed from the receive buffer.
#[derive(Debug, Clone)]
pub struct Head<'b> {
    /// The method.
    pub method: Method,
    /// The protocol version.
    pub version: Version,
    /// The path of the target, still percent-encoded. Starts with `/` for GET and HEAD; for other
    /// methods it is the whole target, whatever its form.
    pub path: &'b [u8],
    /// What follows the target's `?`.
    pub query: Option<&'b [u8]>,
    /// Whether the client leaves the connection open after the answer.
    pub keep_alive: bool,
    /// Whether a body follows, which this server does not read.
    pub has_body: bool,
    fields: [httparse::Header<'b>; FIELDS_MAX],
    fields_count: usize,
}

/// How often a field that may occur once does occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Single<'b> {
    /// Not at all.
    Absent,
    /// Once, with this value.
    One(&'b [u8]),
    /// More than once: the value means nothing.
    Repeated,
}

impl<'b> Head<'b> {
    /// Returns the values of the fields of that name, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'b [u8]> + 'a {
        values(&self.fields[..self.fields_count], name)
    }

    /// Returns the value of a field that may occur only once.
    pub fn single(&self, name: &str) -> Single<'b> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (None, _) => Single::Absent,
            (Some(value), None) => Single::One(value),
            (Some(_), Some(_)) => Single::Repeated,
        }
    }
}

/// Finds heads in a buffer that grows. One per connection.
///
/// The end of the head is searched once over every byte, and a head that has not ended is parsed
/// only each time its length has doubled (to refuse garbage early), so that a client that sends
/// byte by byte costs linear time.
#[derive(Debug)]
pub struct HeadParser {
    limits: HeadLimits,
    /// No head ends before this position.
    searched: usize,
    /// Length at the last parse of an unfinished head.
    attempted: usize,
}

impl HeadParser {
    /// Makes a parser at the start of a request.
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            searched: 0,
            attempted: 0,
        }
    }

    /// Looks for one head at the start of `buf`, which holds everything received and not yet
    /// consumed. After [`Parsed::Complete`] the caller drops `consumed` bytes from the buffer and
    /// calls again for the next, pipelined, request.
    ///
    /// # Errors
    /// A [`Refusal`]: answer its status and close.
    pub fn parse<'b>(&mut self, buf: &'b [u8]) -> Result<Parsed<'b>, Refusal> {
        let start = empty_lines_len(buf);
        let Some(end) = head_end(buf, self.searched.max(start)) else {
            return self.unfinished(buf, start);
        };
        if end > self.limits.head_len_max {
            return Err(self.too_long(buf, start));
        }
        *self = Self::new(self.limits);
        let head = head(&buf[..end], self.limits)?
            .ok_or_else(|| refuse(Status::BadRequest, "malformed head"))?;
        Ok(Parsed::Complete {
            head,
            consumed: end,
        })
    }

    fn unfinished<'b>(&mut self, buf: &'b [u8], start: usize) -> Result<Parsed<'b>, Refusal> {
        if buf.len() > self.limits.head_len_max {
            return Err(self.too_long(buf, start));
        }
        if buf.len() >= self.attempted.saturating_mul(2) {
            self.attempted = buf.len();
            head(buf, self.limits)?;
        }
        // The last two bytes may be the beginning of the empty line.
        self.searched = buf.len().saturating_sub(2);
        Ok(Parsed::Partial)
    }

    /// Says what of a head is too long, by what lies within the limit: how much more was received
    /// with it makes no difference.
    fn too_long(&self, buf: &[u8], start: usize) -> Refusal {
        let within = &buf[start..self.limits.head_len_max.max(start)];
        if within.contains(&b'\n') {
            refuse(Status::HeaderFieldsTooLarge, "head too long")
        } else {
            refuse(Status::UriTooLong, "request line too long")
        }
    }
}

/// Returns the length of the empty lines at the start, which are no part of the request that
/// follows (RFC 9112, 2.2).
pub fn empty_lines_len(buf: &[u8]) -> usize {
    let mut len = 0;
    loop {
        match &buf[len..] {
            [b'\n', ..] => len += 1,
            [b'\r', b'\n', ..] => len += 2,
            _ => return len,
        }
    }
}

/// Returns the position after the empty line that ends a head; line ends before `from` are not
/// looked at.
fn head_end(buf: &[u8], from: usize) -> Option<usize> {
    let mut position = from;
    while let Some(found) = buf.get(position..)?.iter().position(|&byte| byte == b'\n') {
        position += found + 1;
        match &buf[position..] {
            [b'\n', ..] => return Some(position + 1),
            [b'\r', b'\n', ..] => return Some(position + 2),
            _ => {}
        }
    }
    None
}

pub(super) fn refuse(status: Status, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// What a head says before anything is made of it.
struct Raw<'b> {
    method: &'b [u8],
    target: &'b [u8],
    version: Version,
    fields_count: usize,
}

type Fields<'b> = [httparse::Header<'b>; FIELDS_MAX];

/// Parses and checks a head; `None` while it has not ended.
fn head(buf: &[u8], limits: HeadLimits) -> Result<Option<Head<'_>>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let Some(raw) = take_apart(buf, &mut fields)? else {
        return Ok(None);
    };
    let Raw {
        target,
        version,
        fields_count,
        ..
    } = raw;
    let method = match raw.method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    };
    if target.len() > limits.target_len_max {
        return Err(refuse(Status::UriTooLong, "target too long"));
    }
    let used = &fields[..fields_count];
    check_host(used, version)?;
    let has_body = has_body(used, version)?;
    let keep_alive = keep_alive(used, version);
    let (path, query) = split_target(method, target)?;
    Ok(Some(Head {
        method,
        version,
        path,
        query,
        keep_alive,
        has_body,
        fields,
        fields_count,
    }))
}

fn take_apart<'b>(buf: &'b [u8], fields: &mut Fields<'b>) -> Result<Option<Raw<'b>>, Refusal> {
    let mut request = httparse::Request::new(fields);
    match request.parse(buf) {
        Ok(httparse::Status::Complete(_)) => Ok(Some(Raw {
            method: request.method.unwrap_or_default().as_bytes(),
            target: request.path.unwrap_or_default().as_bytes(),
            version: match request.version {
                Some(0) => Version::Http10,
                _ => Version::Http11,
            },
            fields_count: request.headers.len(),
        })),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::Version) => later_minor(buf, fields),
        Err(error) => Err(malformed(error)),
    }
}

/// Takes apart a head of HTTP/1.2 to HTTP/1.9, to be read as one of HTTP/1.1 (RFC 9110, 2.5).
/// There is no such version, so it may take a copy of the request line.
fn later_minor<'b>(buf: &'b [u8], fields: &mut Fields<'b>) -> Result<Option<Raw<'b>>, Refusal> {
    let start = empty_lines_len(buf);
    let end = buf[start..].iter().position(|&byte| byte == b'\n');
    let end = end.map(|len| start + len);
    let line = &buf[start..end.unwrap_or(buf.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let begin = match line {
        [begin @ .., b'2'..=b'9'] if begin.ends_with(b" HTTP/1.") => begin,
        _ if names_other_version(line) => {
            let reason = "not HTTP/1";
            return Err(refuse(Status::VersionNotSupported, reason));
        }
        _ => return Err(malformed(httparse::Error::Version)),
    };
    let copy = [begin, b"1\r\n\r\n"].concat();
    let mut request = httparse::Request::new(&mut []);
    if !request.parse(&copy).map_err(malformed)?.is_complete() {
        return Err(malformed(httparse::Error::Version));
    }
    let Some(end) = end else {
        return Ok(None);
    };
    let len_of = |text: Option<&str>| text.map_or(0, str::len);
    let (method, rest) = line.split_at(len_of(request.method));
    // One space stands between the two.
    let target = rest.get(1..=len_of(request.path));
    let target = target.ok_or_else(|| malformed(httparse::Error::Token))?;
    match httparse::parse_headers(&buf[end + 1..], fields).map_err(malformed)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete((_, taken)) => Ok(Some(Raw {
            method,
            target,
            version: Version::Http11,
            fields_count: taken.len(),
        })),
    }
}

fn malformed(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            refuse(Status::HeaderFieldsTooLarge, "too many header fields")
        }
        _ => refuse(Status::BadRequest, "malformed head"),
    }
}

/// Tells a line that ends in `HTTP/2.0` from one that is not HTTP at all.
fn names_other_version(line: &[u8]) -> bool {
    let version = line
        .trim_ascii_end()
        .rsplit(|&byte| byte == b' ')
        .next()
        .unwrap_or_default();
    matches!(version.strip_prefix(b"HTTP/"), Some([digit, ..]) if digit.is_ascii_digit())
}

fn values<'b, 'a>(
    fields: &'a [httparse::Header<'b>],
    name: &'a str,
) -> impl Iterator<Item = &'b [u8]> + 'a {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value.trim_ascii())
}

/// RFC 9112, 3.2: exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0.
fn check_host(fields: &[httparse::Header<'_>], version: Version) -> Result<(), Refusal> {
    let mut hosts = values(fields, "host");
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(refuse(Status::BadRequest, "no Host")),
        (Some(_), Some(_)) => Err(refuse(Status::BadRequest, "more than one Host")),
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(refuse(Status::BadRequest, "malformed Host")),
    }
}

/// RFC 9112, 6.3. Everything that two readers could frame differently is refused.
fn has_body(fields: &[httparse::Header<'_>], version: Version) -> Result<bool, Refusal> {
    let ambiguous = Err(refuse(Status::BadRequest, "ambiguous body framing"));
    let mut lengths = values(fields, "content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return ambiguous;
    }
    let last_coding = values(fields, "transfer-encoding").last();
    match (last_coding, length) {
        (None, None) => Ok(false),
        (None, Some(length)) => match decimal(length) {
            Some(length) => Ok(length > 0),
            None => Err(refuse(Status::BadRequest, "malformed Content-Length")),
        },
        (Some(_), Some(_)) => ambiguous,
        (Some(_), None) if version == Version::Http10 => ambiguous,
        (Some(codings), None) => {
            let last = codings
                .rsplit(|&byte| byte == b',')
                .next()
                .unwrap_or_default();
            if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                Ok(true)
            } else {
                ambiguous
            }
        }
    }
}

/// Reads digits and nothing else (no sign, as `str::parse` would take).
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// RFC 9112, 9.3.
fn keep_alive(fields: &[httparse::Header<'_>], version: Version) -> bool {
    let has = |wanted: &[u8]| {
        values(fields, "connection")
            .flat_map(|list| list.split(|&byte| byte == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    match version {
        Version::Http11 => !has(b"close"),
        Version::Http10 => has(b"keep-alive") && !has(b"close"),
    }
}
