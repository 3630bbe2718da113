//! What is merged, shared and split, case by case.

use blobio::plan::{Limits, Part, Plan, Want, plan};

const PACKED: Limits = Limits {
    gap_max: 100,
    span_max: 1000,
    amplification_max: 1200,
    read_max: 4000,
    align: 1,
};

const DIRECT: Limits = Limits {
    align: 512,
    gap_max: 1024,
    span_max: 1 << 20,
    read_max: 1 << 20,
    ..PACKED
};

/// The reads for `(pos, len)` of each want, as `(pos, len)`.
fn reads(wants: &[(u64, usize)], limits: &Limits, merge: bool) -> Vec<(u64, usize)> {
    let out = planned(wants, limits, merge);
    out.reads()
        .iter()
        .map(|read| (read.pos, read.len))
        .collect()
}

fn planned(wants: &[(u64, usize)], limits: &Limits, merge: bool) -> Plan {
    let mut out = Plan::new();
    let wants = wants.iter().zip(0..);
    let wants = wants.map(|(&(pos, len), id)| Want::new(id, pos, len).unwrap());
    plan(wants, limits, merge, &mut out);
    out
}

#[test]
fn nothing_is_merged_that_does_not_pay() {
    let touching = [(0, 100), (100, 100), (200, 100)];
    assert_eq!(
        reads(&touching, &PACKED, false),
        [(0, 100), (100, 100), (200, 100)]
    );
    assert_eq!(reads(&touching, &PACKED, true), [(0, 300)]);
}

#[test]
fn overlaps_share_a_read_even_so() {
    let twice = [(50, 100), (50, 100)];
    assert_eq!(reads(&twice, &PACKED, false), [(50, 100)]);
    let chain = [(0, 100), (90, 100), (180, 10), (190, 10)];
    assert_eq!(reads(&chain, &PACKED, false), [(0, 190), (190, 10)]);
}

#[test]
fn an_overlap_that_is_too_long_for_a_read_is_still_read_once() {
    let wants = [(0, 3000), (2000, 3000)];
    let out = planned(&wants, &PACKED, false);
    let [first, second] = out.reads() else {
        panic!("5,000 bytes are two reads: {:?}", out.reads());
    };
    assert_eq!(
        [(first.pos, first.len), (second.pos, second.len)],
        [(0, 3000), (3000, 2000)]
    );
    let part = |want, want_offset, read_offset, len| Part {
        want,
        want_offset,
        read_offset,
        len,
    };
    assert_eq!(
        out.parts(first),
        [part(0, 0, 0, 3000), part(1, 0, 2000, 1000)]
    );
    assert_eq!(out.parts(second), [part(1, 1000, 0, 2000)]);
    assert_eq!(out.sole(first), None);
    assert_eq!(out.sole(second), Some(&part(1, 1000, 0, 2000)));
}

#[test]
fn the_gap_ends_a_read() {
    let limits = Limits {
        amplification_max: u32::MAX,
        ..PACKED
    };
    assert_eq!(reads(&[(0, 10), (110, 10)], &limits, true), [(0, 120)]);
    assert_eq!(
        reads(&[(0, 10), (111, 10)], &limits, true),
        [(0, 10), (111, 10)]
    );
}

#[test]
fn the_amplification_ends_a_read() {
    assert_eq!(reads(&[(0, 500), (600, 100)], &PACKED, true), [(0, 700)]);
    assert_eq!(
        reads(&[(0, 400), (500, 99)], &PACKED, true),
        [(0, 400), (500, 99)]
    );
    let none = Limits {
        amplification_max: 0,
        ..PACKED
    };
    assert_eq!(
        reads(&[(0, 500), (501, 500)], &none, true),
        [(0, 500), (501, 500)]
    );
    assert_eq!(reads(&[(0, 500), (500, 500)], &none, true), [(0, 1000)]);
}

#[test]
fn the_span_ends_a_merged_read_and_no_other() {
    let touching = [(0, 600), (600, 400), (1000, 1)];
    assert_eq!(reads(&touching, &PACKED, true), [(0, 1000), (1000, 1)]);
    assert_eq!(reads(&[(0, 2500)], &PACKED, true), [(0, 2500)]);
}

#[test]
fn a_long_want_is_split_and_its_end_merges() {
    let out = planned(&[(7, 9000), (9007, 50)], &PACKED, true);
    let lens: Vec<_> = out
        .reads()
        .iter()
        .map(|read| (read.pos, read.len))
        .collect();
    assert_eq!(lens, [(7, 4000), (4007, 4000), (8007, 1000), (9007, 50)]);
    let out = planned(&[(7, 8900), (8907, 50)], &PACKED, true);
    let lens: Vec<_> = out
        .reads()
        .iter()
        .map(|read| (read.pos, read.len))
        .collect();
    assert_eq!(lens, [(7, 4000), (4007, 4000), (8007, 950)]);
    assert_eq!(
        (out.totals().wants_split, out.totals().wants_merged),
        (1, 2)
    );
}

#[test]
fn an_aligned_block_is_read_once() {
    let small = [(10, 100), (300, 100), (700, 100)];
    assert_eq!(reads(&small, &DIRECT, false), [(0, 512), (512, 512)]);
    assert_eq!(reads(&small, &DIRECT, true), [(0, 1024)]);
    let across = [(500, 20), (1000, 30), (2000, 10)];
    assert_eq!(reads(&across, &DIRECT, false), [(0, 1536), (1536, 512)]);
}

#[test]
fn aligning_counts_as_amplification() {
    let out = planned(&[(10, 100)], &DIRECT, true);
    assert_eq!(out.totals().amplification_permille(), Some(5120));
    assert_eq!(
        planned(&[], &DIRECT, true)
            .totals()
            .amplification_permille(),
        None
    );
    // Blocks that must be read anyway are merged; a block between them would be one too many.
    assert_eq!(reads(&[(10, 100), (600, 100)], &DIRECT, true), [(0, 1024)]);
    assert_eq!(
        reads(&[(10, 100), (1100, 100)], &DIRECT, true),
        [(0, 512), (1024, 512)]
    );
}

#[test]
fn wants_of_nothing_have_no_part() {
    let out = planned(&[(0, 0), (50, 0), (u64::MAX, 0)], &DIRECT, true);
    assert_eq!((out.reads().len(), out.totals().wants), (0, 3));
    let out = planned(&[(50, 0), (0, 100)], &PACKED, true);
    assert_eq!(out.parts(&out.reads()[0]).len(), 1);
}

#[test]
fn the_last_position_is_within_reach_and_none_behind_it() {
    assert_eq!(Want::new(0, u64::MAX, 1), None);
    assert_eq!(Want::new(0, 1, usize::MAX), None);
    let last = [(u64::MAX - 10, 10)];
    assert_eq!(reads(&last, &PACKED, true), [(u64::MAX - 10, 10)]);
    assert_eq!(reads(&last, &DIRECT, true), [(u64::MAX - 511, 511)]);
    let signed = i64::MAX as u64;
    assert_eq!(
        reads(&[(signed - 5, 10)], &DIRECT, true),
        [(signed - 511, 1024)]
    );
}

#[test]
fn limits_of_zero_are_the_least_that_works() {
    let zero = Limits {
        gap_max: 0,
        span_max: 0,
        amplification_max: 0,
        read_max: 0,
        align: 0,
    };
    assert_eq!(
        reads(&[(3, 2), (5, 1)], &zero, true),
        [(3, 1), (4, 1), (5, 1)]
    );
    let blocks = Limits { align: 512, ..zero };
    assert_eq!(reads(&[(3, 600)], &blocks, true), [(0, 512), (512, 512)]);
}
