//! Lengths and ranges as people write and read them.

use std::fmt;
use std::time::Duration;

/// A range of bytes as it is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Range {
    /// From the first to the last, both included.
    FromTo(u64, u64),
    /// From this one on.
    From(u64),
    /// The last so many.
    Last(u64),
}

impl Range {
    /// Returns the first byte and the number of bytes that a content of `len` bytes has of it, or
    /// nothing when it begins past the end.
    pub(crate) fn within(self, len: u64) -> Option<(u64, u64)> {
        let (begin, end) = match self {
            Self::FromTo(first, last) => (first, last.saturating_add(1).min(len)),
            Self::From(first) => (first, len),
            Self::Last(count) => (len.saturating_sub(count), len),
        };
        (begin < end).then(|| (begin, end - begin))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTo(first, last) => write!(f, "{first}-{last}"),
            Self::From(first) => write!(f, "{first}-"),
            Self::Last(count) => write!(f, "-{count}"),
        }
    }
}

/// Reads `A-B`, `A-` or `-N`.
pub(crate) fn parse_range(text: &str) -> Result<Range, String> {
    let wrong = || "it must be A-B, A- or -N, with A not above B".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    match (first, last) {
        ("", count) => number(count).map(Range::Last),
        (first, "") => number(first).map(Range::From),
        (first, last) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(Range::FromTo(first, last)),
            _ => Err(wrong()),
        },
    }
}

/// Reads a number of bytes, with a suffix K, M or G or none.
pub(crate) fn parse_len(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("the suffix must be K, M or G".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "it must be a number".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "it is too large".to_owned())
}

/// Shows a number of bytes: `512 B`, `1.5 MiB`.
pub(crate) struct Len(pub(crate) u64);

impl fmt::Display for Len {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut tenths = u128::from(self.0) * 10 / 1024;
        let mut unit = 0;
        while tenths >= 10_240 && unit + 1 < UNITS.len() {
            tenths /= 1024;
            unit += 1;
        }
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// Shows nanoseconds as microseconds or milliseconds.
pub(crate) struct Time(pub(crate) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1000;
        if micros < 10_000 {
            write!(f, "{micros}.{} us", self.0 % 1000 / 100)
        } else {
            write!(f, "{}.{} ms", micros / 1000, micros % 1000 / 100)
        }
    }
}

/// Returns how many there are in a second.
pub(crate) fn per_second(count: u64, took: Duration) -> u64 {
    let ns = took.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Len, Range, Time, parse_len, parse_range, per_second};
    use std::time::Duration;

    #[test]
    fn lengths_have_suffixes() {
        for (text, len) in [
            ("0", 0),
            ("65536", 65536),
            ("64K", 65536),
            ("64k", 65536),
            ("64KiB", 65536),
            ("3M", 3 << 20),
            ("17179869183G", 17_179_869_183 << 30),
        ] {
            assert_eq!(parse_len(text), Ok(len), "{text}");
        }
        for text in [
            "",
            "K",
            "-1",
            "1.5M",
            "1T",
            "1 K",
            "17179869184G",
            "0x10",
            "1é",
        ] {
            assert!(parse_len(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_those_of_http() {
        for (text, range, within_10) in [
            ("0-0", Range::FromTo(0, 0), Some((0, 1))),
            ("2-5", Range::FromTo(2, 5), Some((2, 4))),
            ("2-99", Range::FromTo(2, 99), Some((2, 8))),
            (
                "9-18446744073709551615",
                Range::FromTo(9, u64::MAX),
                Some((9, 1)),
            ),
            ("10-12", Range::FromTo(10, 12), None),
            ("3-", Range::From(3), Some((3, 7))),
            ("10-", Range::From(10), None),
            ("-4", Range::Last(4), Some((6, 4))),
            ("-99", Range::Last(99), Some((0, 10))),
            ("-0", Range::Last(0), None),
        ] {
            assert_eq!(parse_range(text), Ok(range), "{text}");
            assert_eq!(range.within(10), within_10, "{text}");
            assert_eq!(range.to_string(), text);
        }
        for text in ["", "-", "5", "5-4", "a-b", "1--2", "1-2-3", "+1-2x"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_and_times_are_short() {
        for (len, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Len(len).to_string(), text);
        }
        assert_eq!(Time(1_234).to_string(), "1.2 us");
        assert_eq!(Time(12_345_678).to_string(), "12.3 ms");
        assert_eq!(per_second(10, Duration::from_millis(500)), 20);
        assert_eq!(per_second(0, Duration::ZERO), 0);
    }
}
