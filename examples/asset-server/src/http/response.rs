//! Writes response heads. Nothing is allocated but what the output buffer lacks.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::status::Status;
use crate::plan::{Connection, ContentRange, ContentType, Plan};

const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// The last second that an HTTP date can name.
const DATE_MAX_S: u64 = 253_402_300_799;

/// The `Date` of the current second, formatted once. One per worker.
#[derive(Debug, Clone)]
pub struct DateCache {
    second: u64,
    text: [u8; DATE_LEN],
}

impl DateCache {
    /// Makes a cache that holds the given second since 1970.
    pub fn new(now: u64) -> Self {
        Self {
            second: now,
            text: format_date(now),
        }
    }

    /// Moves to the given second; does nothing if it is the one held.
    pub fn set(&mut self, now: u64) {
        if self.second != now {
            *self = Self::new(now);
        }
    }

    /// Returns the second held.
    pub fn second(&self) -> u64 {
        self.second
    }
}

impl Plan {
    /// Appends the head of the answer, its final empty line included.
    pub fn write_head(&self, date: &DateCache, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.text().trim_end().as_bytes());
        field(out, "Date", &date.text);
        match self.connection {
            Connection::Persistent => {}
            Connection::KeepAlive => field(out, "Connection", b"keep-alive"),
            Connection::Close | Connection::CloseLingering => field(out, "Connection", b"close"),
        }
        if self.status == Status::MethodNotAllowed {
            field(out, "Allow", b"GET, HEAD");
        }
        if let Some(seconds) = self.retry_after_s {
            number(out, "Retry-After", u64::from(seconds));
        }
        self.write_representation(out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn write_representation(&self, out: &mut Vec<u8>) {
        if let Some(content_type) = &self.content_type {
            match content_type {
                ContentType::Media(media) => field(out, "Content-Type", media.as_bytes()),
                ContentType::ByteRanges(boundary) => {
                    field(out, "Content-Type", b"multipart/byteranges; boundary=");
                    out.extend_from_slice(boundary.as_bytes());
                }
            }
            field(out, "X-Content-Type-Options", b"nosniff");
        }
        if let Some(len) = self.content_length {
            number(out, "Content-Length", len);
        }
        match self.content_range {
            Some(ContentRange::Bytes(range, len)) => {
                write!(
                    out,
                    "\r\nContent-Range: bytes {}-{}/{len}",
                    range.start,
                    range.end - 1
                )
                .expect("writing to memory cannot fail");
            }
            Some(ContentRange::Unsatisfied(len)) => {
                write!(out, "\r\nContent-Range: bytes */{len}")
                    .expect("writing to memory cannot fail");
            }
            None => {}
        }
        if self.accepts_ranges {
            field(out, "Accept-Ranges", b"bytes");
        }
        if let Some(etag) = &self.etag {
            field(out, "ETag", etag.as_bytes());
        }
        if let Some(modified) = self.last_modified {
            field(out, "Last-Modified", &format_date(modified));
        }
        if let Some(cache_control) = self.cache_control {
            field(out, "Cache-Control", cache_control.as_bytes());
        }
    }
}

/// Starts a line, so that each field ends where the next begins.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    write!(out, "\r\n{name}: {value}").expect("writing to memory cannot fail");
}

/// Formats a second since 1970; times past the year 9999 are its last second.
fn format_date(second: u64) -> [u8; DATE_LEN] {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(second.min(DATE_MAX_S));
    let mut text = [b' '; DATE_LEN];
    write!(&mut text[..], "{}", httpdate::HttpDate::from(time))
        .expect("an HTTP date has a fixed length");
    text
}

#[cfg(test)]
mod tests {
    use super::{DATE_MAX_S, DateCache, format_date};

    #[test]
    fn dates_have_the_fixed_form_up_to_the_end_of_time() {
        assert_eq!(&format_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format_date(DATE_MAX_S), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(format_date(u64::MAX), format_date(DATE_MAX_S));
    }

    #[test]
    fn the_cache_follows_the_second_it_is_given() {
        let mut cache = DateCache::new(10);
        cache.set(11);
        assert_eq!((cache.second(), cache.text), (11, format_date(11)));
        cache.set(9);
        assert_eq!((cache.second(), cache.text), (9, format_date(9)));
    }
}
