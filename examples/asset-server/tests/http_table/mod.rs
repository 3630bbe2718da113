//! The table of HTTP cases, in terms of what goes over the wire.
//!
//! Each case is the bytes of one connection's requests and what must come back. It can be run
//! against anything that turns the one into the other: the planner in memory, or a socket.
//!
//! The site under test has two assets, `data.bin` (the bytes of [`data`]) and `empty.bin` (none).
//! In a request `{etag}` and `{date}` stand for the validators of `data.bin`.

mod conditions;
mod messages;
mod ranges;

use std::collections::BTreeMap;

/// One case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What the client sends, whole.
    pub(crate) sent: &'static str,
    /// What comes back, in order. If the last one says that the connection stays open, it does.
    pub(crate) answers: &'static [Answer],
}

/// What one answer must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Fields that must be there once, with this value; `{etag}` and `{date}` as in the request.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// Fields that must not be there.
    pub(crate) absent: &'static [&'static str],
    pub(crate) body: Expected,
    /// Whether the connection stays open after it.
    pub(crate) keeps: bool,
}

/// What a body must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// No byte follows the head; `Content-Length`, if given, is that of GET.
    Nothing,
    /// The status line's text.
    Status,
    /// These bytes of `data.bin`.
    Data(usize, usize),
    /// A `multipart/byteranges` of these.
    Parts(&'static [(usize, usize)]),
}

/// How `data.bin` can be recognised, on the site at hand.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) etag: String,
    pub(crate) date: String,
}

pub(crate) const DATA_LEN: usize = 1000;

/// The bytes of `data.bin`; no run of them repeats within the file.
pub(crate) fn data() -> Vec<u8> {
    (0..DATA_LEN)
        .map(|index| u8::try_from((index * 7 + index / 256) % 256).unwrap())
        .collect()
}

/// Every case.
pub(crate) fn cases() -> impl Iterator<Item = &'static Case> {
    messages::CASES
        .iter()
        .chain(ranges::CASES)
        .chain(conditions::CASES)
}

impl Case {
    /// The bytes to send.
    pub(crate) fn request(&self, names: &Names) -> Vec<u8> {
        names.fill(self.sent).into_bytes()
    }

    /// Whether each answer is to a HEAD, which the reader of a socket has to know.
    pub(crate) fn heads(&self) -> Vec<bool> {
        let methods = self.sent.split("\r\n\r\n").map(|head| head.trim_start());
        let mut heads: Vec<_> = methods.map(|head| head.starts_with("HEAD ")).collect();
        heads.resize(self.answers.len(), false);
        heads
    }

    /// Checks everything that came back, panicking with the case's name at the first difference.
    pub(crate) fn check(&self, names: &Names, received: &[u8], closed: bool) {
        let mut rest = received;
        for (index, (answer, is_head)) in self.answers.iter().zip(self.heads()).enumerate() {
            let at = format!("{}, answer {index}", self.name);
            let message = Message::take(&at, &mut rest, is_head);
            answer.check(&at, names, &message);
        }
        assert!(
            rest.is_empty(),
            "{}: also came {}",
            self.name,
            rest.escape_ascii()
        );
        let keeps = self.answers.last().is_none_or(|answer| answer.keeps);
        assert_eq!(!closed, keeps, "{}: open afterwards", self.name);
    }
}

impl Names {
    fn fill(&self, text: &str) -> String {
        text.replace("{etag}", &self.etag)
            .replace("{date}", &self.date)
    }
}

impl Answer {
    fn check(&self, at: &str, names: &Names, message: &Message) {
        assert_eq!(message.status, self.status, "{at}: {message:?}");
        for (name, value) in self.fields {
            let expected = names.fill(value);
            assert_eq!(
                message.field(name),
                Some(expected.as_str()),
                "{at}: {name}: {message:?}"
            );
        }
        for name in self.absent {
            assert_eq!(message.field(name), None, "{at}: {name}");
        }
        assert!(message.field("date").is_some(), "{at}: no Date");
        let says_close = message.field("connection") == Some("close");
        assert_eq!(!says_close, self.keeps, "{at}: Connection");
        match self.body {
            Expected::Nothing => assert!(message.body.is_empty(), "{at}: a body"),
            Expected::Status => {
                let text = String::from_utf8(message.body.clone()).unwrap();
                assert_eq!(
                    text,
                    format!("{} {}\n", message.status, message.reason),
                    "{at}"
                );
            }
            Expected::Data(start, end) => assert_eq!(message.body, data()[start..end], "{at}"),
            Expected::Parts(ranges) => message.check_parts(at, ranges),
        }
    }
}

/// An answer as it came.
#[derive(Debug)]
struct Message {
    status: u16,
    reason: String,
    fields: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Message {
    fn take(at: &str, rest: &mut &[u8], is_head: bool) -> Self {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(len)) = response.parse(rest) else {
            panic!("{at}: no answer in {}", rest.escape_ascii());
        };
        let mut message = Self {
            status: response.code.unwrap(),
            reason: response.reason.unwrap().to_owned(),
            fields: BTreeMap::new(),
            body: Vec::new(),
        };
        assert_eq!(response.version, Some(1), "{at}");
        for field in response.headers {
            let value = String::from_utf8(field.value.to_vec()).unwrap();
            let before = message
                .fields
                .insert(field.name.to_ascii_lowercase(), value);
            assert_eq!(before, None, "{at}: {} twice", field.name);
        }
        let body_len = match message.field("content-length") {
            Some(_) if is_head => 0,
            Some(len) => len.parse().unwrap(),
            None => 0,
        };
        assert!(body_len <= rest.len() - len, "{at}: the body is cut off");
        message.body = rest[len..len + body_len].to_vec();
        *rest = &rest[len + body_len..];
        message
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .get(&name.to_ascii_lowercase())
            .map(String::as_str)
    }

    /// Takes a multipart body apart as RFC 2046 says, independently of how it was put together.
    fn check_parts(&self, at: &str, ranges: &[(usize, usize)]) {
        let boundary = self
            .field("content-type")
            .and_then(|value| value.strip_prefix("multipart/byteranges; boundary="))
            .unwrap_or_else(|| panic!("{at}: {self:?}"));
        let delimiter = format!("\r\n--{boundary}");
        // The first delimiter may lack its line end.
        let body = [b"\r\n", self.body.as_slice()].concat();
        let mut parts = split(&body, delimiter.as_bytes());
        assert_eq!(
            parts.remove(0),
            b"",
            "{at}: something before the first part"
        );
        assert_eq!(parts.pop().unwrap(), b"--\r\n", "{at}: the end");
        assert_eq!(parts.len(), ranges.len(), "{at}: parts");
        for (part, &(start, end)) in parts.iter().zip(ranges) {
            let expected = [
                b"\r\nContent-Type: application/octet-stream\r\nContent-Range: ".as_slice(),
                format!("bytes {start}-{}/{DATA_LEN}\r\n\r\n", end - 1).as_bytes(),
                &data()[start..end],
            ]
            .concat();
            assert_eq!(
                part.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{at}"
            );
        }
    }
}

fn split<'a>(mut text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = text
        .windows(delimiter.len())
        .position(|window| window == delimiter)
    {
        parts.push(&text[..at]);
        text = &text[at + delimiter.len()..];
    }
    parts.push(text);
    parts
}

const WHOLE: Answer = Answer {
    status: 200,
    fields: &[
        ("Content-Length", "1000"),
        ("Content-Type", "application/octet-stream"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
        ("ETag", "{etag}"),
        ("Last-Modified", "{date}"),
    ],
    absent: &["Content-Range", "Transfer-Encoding"],
    body: Expected::Data(0, DATA_LEN),
    keeps: true,
};

const WHOLE_HEAD: Answer = Answer {
    body: Expected::Nothing,
    ..WHOLE
};

const NOT_MODIFIED: Answer = Answer {
    status: 304,
    fields: &[("ETag", "{etag}")],
    absent: &[
        "Content-Length",
        "Content-Type",
        "Content-Range",
        "Last-Modified",
    ],
    body: Expected::Nothing,
    keeps: true,
};

/// A status whose body is its text.
const fn failure(status: u16) -> Answer {
    Answer {
        status,
        fields: &[("Content-Type", "text/plain; charset=utf-8")],
        absent: &["ETag", "Last-Modified", "Content-Range", "Accept-Ranges"],
        body: Expected::Status,
        keeps: true,
    }
}

/// The same, and the connection ends.
const fn last(answer: Answer) -> Answer {
    Answer {
        keeps: false,
        ..answer
    }
}
