//! Byte ranges: RFC 9110, section 14.

/// How many ranges one request may ask for; a request for more is answered with the whole.
pub const RANGES_MAX: usize = 16;

/// A non-empty range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte; greater than `start`.
    pub end: u64,
}

impl ByteRange {
    /// Returns the number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    fn touches(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn hull(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// Up to [`RANGES_MAX`] ranges that neither overlap nor touch, in the order asked for.
#[derive(Debug, Clone, Copy)]
pub struct RangeList {
    ranges: [ByteRange; RANGES_MAX],
    count: usize,
}

impl RangeList {
    /// Returns the ranges.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.ranges[..self.count]
    }

    fn empty() -> Self {
        Self {
            ranges: [ByteRange { start: 0, end: 1 }; RANGES_MAX],
            count: 0,
        }
    }

    /// Adds a range, merged with every one that it overlaps or touches; the result stands where
    /// the first of those stood.
    fn add(&mut self, range: ByteRange) {
        let Some(first) = self
            .as_slice()
            .iter()
            .position(|other| other.touches(range))
        else {
            self.ranges[self.count] = range;
            self.count += 1;
            return;
        };
        let mut merged = self.ranges[first].hull(range);
        let mut kept = first + 1;
        // The list's ranges do not touch each other, so one pass over it finds all that the hull
        // reaches: it is the union of `range` and ranges already passed.
        for position in first + 1..self.count {
            let other = self.ranges[position];
            if other.touches(merged) {
                merged = merged.hull(other);
            } else {
                self.ranges[kept] = other;
                kept += 1;
            }
        }
        self.ranges[first] = merged;
        self.count = kept;
    }
}

impl PartialEq for RangeList {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for RangeList {}

/// What a `Range` field selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once; a box would allocate"
)]
pub enum Selection {
    /// Everything: the field is not to be heeded.
    Whole,
    /// Nothing: 416.
    Unsatisfiable,
    /// These bytes: 206.
    Ranges(RangeList),
}

/// Reads a `Range` field against a representation of `len` bytes.
///
/// Another unit, invalid syntax and more than [`RANGES_MAX`] ranges select the whole, and so does
/// a suffix of an empty representation (it is satisfiable, and no `Content-Range` can say it).
/// Positions beyond 64 bits count as beyond the end.
pub fn select(value: &[u8], len: u64) -> Selection {
    let Some(set) = bytes_set(value) else {
        return Selection::Whole;
    };
    let mut ranges = RangeList::empty();
    let mut count = 0;
    let mut selects_empty = false;
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if spec.is_empty() {
            continue;
        }
        count += 1;
        if count > RANGES_MAX {
            return Selection::Whole;
        }
        match resolve(spec, len) {
            Spec::Invalid => return Selection::Whole,
            Spec::Beyond => {}
            Spec::Empty => selects_empty = true,
            Spec::Bytes(range) => ranges.add(range),
        }
    }
    if count == 0 || selects_empty {
        Selection::Whole
    } else if ranges.count == 0 {
        Selection::Unsatisfiable
    } else {
        Selection::Ranges(ranges)
    }
}

fn bytes_set(value: &[u8]) -> Option<&[u8]> {
    let equals = value.iter().position(|&byte| byte == b'=')?;
    let (unit, set) = value.split_at(equals);
    unit.eq_ignore_ascii_case(b"bytes").then_some(&set[1..])
}

enum Spec {
    Invalid,
    Beyond,
    Empty,
    Bytes(ByteRange),
}

fn resolve(spec: &[u8], len: u64) -> Spec {
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else {
        return Spec::Invalid;
    };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    let last = if last.is_empty() {
        None
    } else {
        Some(position(last))
    };
    match (first.is_empty(), position(first), last) {
        (true, _, Some(Some(suffix))) => match (suffix, len) {
            (0, _) => Spec::Beyond,
            (_, 0) => Spec::Empty,
            _ => Spec::Bytes(ByteRange {
                start: len.saturating_sub(suffix),
                end: len,
            }),
        },
        (false, Some(start), None) if start < len => Spec::Bytes(ByteRange { start, end: len }),
        (false, Some(start), Some(Some(end))) if start <= end && start < len => {
            Spec::Bytes(ByteRange {
                start,
                end: end.saturating_add(1).min(len),
            })
        }
        (false, Some(_), None) => Spec::Beyond,
        (false, Some(start), Some(Some(end))) if start <= end => Spec::Beyond,
        _ => Spec::Invalid,
    }
}

/// Reads digits; a number beyond 64 bits is the greatest one.
fn position(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}
