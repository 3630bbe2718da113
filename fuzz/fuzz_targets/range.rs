//! Reads any `Range` of any length, and plans the answer.
#![no_main]

use asset_server::http::multipart::{BoundarySource, Parts};
use asset_server::http::range::{ByteRange, RANGES_MAX, Selection, select};
use asset_server::http::request::{HeadLimits, HeadParser, Parsed};
use asset_server::plan::{self, Body, ContentRange, Plan, Ranges, Resource};
use libfuzzer_sys::fuzz_target;

/// Up to this length a selection is compared byte by byte with one made in another way.
const SHORT_MAX: u64 = 4096;

const LIMITS: HeadLimits = HeadLimits {
    head_len_max: 1 << 20,
    target_len_max: 100,
};

fuzz_target!(|input: &[u8]| {
    // The last nine bytes are a length, and how many bits of it count.
    let Some((value, len)) = input.split_last_chunk::<9>() else {
        return;
    };
    let bits = u32::from(len[8]) % 65;
    let len = u64::from_le_bytes(len[..8].try_into().expect("eight bytes"));
    let len = len & 1_u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
    let selection = select(value, len);
    check_selection(&selection, len);
    if len <= SHORT_MAX {
        check_bytes(&selection, value, len);
    }
    check_plan(value, len);
});

fn check_selection(selection: &Selection, len: u64) {
    let Selection::Ranges(ranges) = selection else {
        return;
    };
    let ranges = ranges.as_slice();
    assert!((1..=RANGES_MAX).contains(&ranges.len()));
    for (index, range) in ranges.iter().enumerate() {
        assert!(range.start < range.end && range.end <= len);
        for other in &ranges[..index] {
            assert!(range.end < other.start || other.end < range.start, "apart");
        }
    }
    let total: u128 = ranges.iter().map(|range| u128::from(range.len())).sum();
    assert!(total <= u128::from(len), "no byte twice");
}

/// Reads a selection plainly, in numbers that cannot overflow here, into a flag for each byte.
fn check_bytes(selection: &Selection, value: &[u8], len: u64) {
    let mut selected = vec![false; len as usize];
    match (selection, naive(value, len)) {
        (Selection::Whole, None) => return,
        (Selection::Unsatisfiable, Some(ranges)) => assert!(ranges.is_empty()),
        (Selection::Ranges(found), Some(ranges)) => {
            for range in ranges {
                selected[range.start as usize..range.end as usize].fill(true);
            }
            for range in found.as_slice() {
                let part = &mut selected[range.start as usize..range.end as usize];
                assert!(part.iter().all(|&is_selected| is_selected));
                part.fill(false);
            }
            assert!(!selected.contains(&true), "all that was asked for");
        }
        (selection, naive) => panic!("{selection:?} and {naive:?}"),
    }
}

/// `None` where the whole is selected.
fn naive(value: &[u8], len: u64) -> Option<Vec<ByteRange>> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // As many digits as there may be, and a number beyond all others for more.
    let number = |text: &str| -> Option<u128> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u128::MAX))
    };
    let white = |byte: char| byte.is_ascii_whitespace();
    let specs = set.split(',').map(|spec| spec.trim_matches(white));
    let specs: Vec<_> = specs.filter(|spec| !spec.is_empty()).collect();
    if specs.is_empty() || specs.len() > RANGES_MAX {
        return None;
    }
    let end = u128::from(len);
    let mut ranges = Vec::new();
    for spec in specs {
        let (first, last) = spec.split_once('-')?;
        let (from, to) = match (first, last) {
            ("", suffix) => {
                let suffix = number(suffix)?;
                if suffix > 0 && end == 0 {
                    return None;
                }
                (end - suffix.min(end), end)
            }
            (first, "") => (number(first)?, end),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                // Both beyond 64 bits are the same number.
                let most = u128::from(u64::MAX);
                if first.min(most) > last.min(most) {
                    return None;
                }
                (first, last.saturating_add(1).min(end))
            }
        };
        if from < to {
            ranges.push(ByteRange {
                start: from as u64,
                end: to as u64,
            });
        }
    }
    Some(ranges)
}

fn check_plan(value: &[u8], len: u64) {
    let request = [b"GET / HTTP/1.1\r\nHost: x\r\nRange: ", value, b"\r\n\r\n"].concat();
    let mut parser = HeadParser::new(LIMITS);
    let Ok(Parsed::Complete { head, .. }) = parser.parse(&request) else {
        return;
    };
    let mut boundaries = BoundarySource::from_key([7; 32]);
    for ranges in [Ranges::None, Ranges::One, Ranges::Many] {
        let resource = Resource {
            len,
            content_type: "application/octet-stream",
            etag: None,
            last_modified: None,
            ranges,
            cache_control: None,
        };
        let plan = plan::respond(&head, Some(&resource), 0, &mut boundaries);
        check_lengths(&plan, len);
        assert!(!matches!((ranges, plan.body), (Ranges::One, Body::Parts(_))));
        assert!(ranges != Ranges::None || plan.content_range.is_none());
    }
}

/// What is announced is what is sent.
fn check_lengths(plan: &Plan, len: u64) {
    let announced = plan.content_length.expect("every answer to GET has a length");
    match &plan.body {
        Body::Nothing => assert_eq!(announced, 0),
        Body::Text(text) => assert_eq!(announced, text.len() as u64),
        Body::Range(range) => {
            assert_eq!(announced, range.end - range.start);
            let is_whole = range.start == 0 && range.end == len;
            match plan.content_range {
                None => assert!(is_whole),
                Some(given) => assert_eq!(given, ContentRange::Bytes(*range, len)),
            }
        }
        Body::Parts(parts) => {
            assert!(parts.ranges.as_slice().len() > 1);
            assert_eq!(u128::from(announced), sent_len(parts).min(u128::from(u64::MAX)));
        }
    }
}

fn sent_len(parts: &Parts) -> u128 {
    let mut framing = Vec::new();
    let mut total = 0;
    for (index, range) in parts.ranges.as_slice().iter().enumerate() {
        parts.write_part_head(index, &mut framing);
        total += u128::from(range.len());
    }
    parts.write_tail(&mut framing);
    total + framing.len() as u128
}
