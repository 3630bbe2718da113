//! Plans against the naive answer: one read per want, byte by byte.

mod plan_cases;

use std::collections::BTreeMap;

use blobio::plan::{Limits, Plan, Read, Totals, Want, by_blob, plan};
use proptest::prelude::*;
use proptest::sample::select;

/// All wants lie in this many bytes from the base on.
const WINDOW: u64 = 8192;
/// What aligning may add before and behind, for the tables of the model.
const MARGIN: u64 = 1024;

#[derive(Clone, Debug)]
struct Case {
    base: u64,
    /// Position from the base, and length.
    ranges: Vec<(u64, usize)>,
    limits: Limits,
    merge: bool,
}

impl Case {
    fn wants(&self) -> Vec<Want> {
        let ranges = self.ranges.iter().zip(0..);
        let wants = ranges.map(|(&(pos, len), id)| Want::new(id, self.base + pos, len).unwrap());
        wants.collect()
    }

    fn plan(&self) -> Plan {
        let mut out = Plan::new();
        plan(self.wants(), &self.limits, self.merge, &mut out);
        out
    }

    fn align(&self) -> u64 {
        u64::from(self.limits.align.max(1))
    }

    fn read_cap(&self) -> u64 {
        let read_max = u64::from(self.limits.read_max);
        (read_max / self.align() * self.align()).max(self.align())
    }

    fn widened(&self, want: &Want) -> (u64, u64) {
        let align = u128::from(self.align());
        let end = u128::from(want.pos()) + want.len() as u128;
        let end = end.div_ceil(align) * align;
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        (want.pos() / self.align() * self.align(), end)
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let read_max = prop_oneof![1 => 0_u32..8, 4 => 1_u32..700, 4 => 1_u32..9000];
    let span_max = prop_oneof![1 => 0_u64..64, 4 => 1_u64..9000, 1 => Just(u64::MAX)];
    let gap_max = prop_oneof![1 => Just(0), 4 => 0_u64..700, 1 => Just(u64::MAX)];
    let amplification_max = prop_oneof![4 => 900_u32..2500, 1 => Just(u32::MAX)];
    let align = select(vec![0, 1, 1, 2, 3, 64, 512]);
    (gap_max, span_max, amplification_max, read_max, align).prop_map(
        |(gap_max, span_max, amplification_max, read_max, align)| Limits {
            gap_max,
            span_max,
            amplification_max,
            read_max,
            align,
        },
    )
}

fn cases() -> impl Strategy<Value = Case> {
    let base = select(vec![
        0,
        (1 << 32) - 100,
        i64::MAX as u64 - WINDOW / 2,
        u64::MAX - WINDOW,
    ]);
    let ranges = (1_u64..6000, 1_usize..2000).prop_flat_map(|(spread, len)| {
        let len = prop_oneof![1 => Just(0), 4 => 0..=len, 4 => 0..=len.div_ceil(16)];
        let at_the_end = (Just(WINDOW), Just(0));
        prop::collection::vec(prop_oneof![60 => (0..spread, len), 1 => at_the_end], 0..40)
    });
    (base, ranges, limits(), any::<bool>()).prop_map(|(base, ranges, limits, merge)| Case {
        base,
        ranges,
        limits,
        merge,
    })
}

/// What the blob has at a position.
fn byte_at(pos: u64) -> u8 {
    pos.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn end(read: &Read) -> u64 {
    read.pos.checked_add(read.len as u64).unwrap()
}

/// What is so of each byte near the base: index 0 is `MARGIN` before it.
struct Model {
    origin: i128,
    asked: Vec<bool>,
    /// In a block that has to be read.
    needed: Vec<bool>,
    /// A widened range holds this byte and the one before it.
    joined: Vec<bool>,
}

impl Model {
    fn new(case: &Case) -> Self {
        let len = index(i128::from(WINDOW + 2 * MARGIN));
        let mut model = Self {
            origin: i128::from(case.base) - i128::from(MARGIN),
            asked: vec![false; len],
            needed: vec![false; len],
            joined: vec![false; len],
        };
        for want in case.wants().iter().filter(|want| want.len() > 0) {
            let asked = model.range(want.pos(), want.pos() + want.len() as u64);
            model.asked[asked].fill(true);
            let (start, end) = case.widened(want);
            let needed = model.range(start, end);
            model.joined[needed.start + 1..needed.end].fill(true);
            model.needed[needed].fill(true);
        }
        model
    }

    fn range(&self, start: u64, end: u64) -> std::ops::Range<usize> {
        index(i128::from(start) - self.origin)..index(i128::from(end) - self.origin)
    }

    fn asked(&self, start: u64, end: u64) -> u64 {
        let asked = self.asked[self.range(start, end)].iter();
        asked.filter(|&&asked| asked).count() as u64
    }
}

fn index(distance: i128) -> usize {
    usize::try_from(distance).unwrap()
}

/// Reads what the plan says and gives each want its bytes; a byte that came twice is an error.
fn carry_out(case: &Case, out: &Plan) -> Result<(), TestCaseError> {
    let mut destinations: Vec<Vec<Option<u8>>> = case
        .ranges
        .iter()
        .map(|&(_, len)| vec![None; len])
        .collect();
    for read in out.reads() {
        for part in out.parts(read) {
            prop_assert!(part.len > 0);
            prop_assert!(part.read_offset + part.len <= read.len);
            for offset in 0..part.len {
                let pos = read.pos + (part.read_offset + offset) as u64;
                let place = &mut destinations[part.want as usize][part.want_offset + offset];
                prop_assert_eq!(place.replace(byte_at(pos)), None, "written twice");
            }
        }
    }
    for (got, &(pos, _)) in destinations.iter().zip(&case.ranges) {
        for (got, pos) in got.iter().zip(case.base + pos..) {
            prop_assert_eq!(*got, Some(byte_at(pos)));
        }
    }
    Ok(())
}

/// Every read obeys the limits and reads no more than somebody has use for.
fn check_reads(case: &Case, out: &Plan) -> Result<(), TestCaseError> {
    let (model, align, cap) = (Model::new(case), case.align(), case.read_cap());
    for pair in out.reads().windows(2) {
        prop_assert!(end(&pair[0]) <= pair[1].pos, "a byte is read twice");
    }
    for read in out.reads() {
        let (start, end) = (read.pos, end(read));
        prop_assert_eq!(start % align, 0);
        prop_assert!(end % align == 0 || end == u64::MAX);
        prop_assert!(read.len as u64 <= cap);
        prop_assert!(!out.parts(read).is_empty());
        let last_block = (end - 1) / align * align;
        prop_assert!(model.asked(start, end.min(start.saturating_add(align))) > 0);
        prop_assert!(model.asked(last_block, end) > 0);
        check_merging(case, &model, read)?;
    }
    Ok(())
}

fn check_merging(case: &Case, model: &Model, read: &Read) -> Result<(), TestCaseError> {
    let range = model.range(read.pos, end(read));
    let merged = model.joined[range.start + 1..range.end].contains(&false);
    let gaps = model.needed[range].split(|&needed| needed);
    let gap_max = gaps.map(<[bool]>::len).max().unwrap_or(0) as u64;
    if merged {
        prop_assert!(case.merge, "merging does not pay");
        prop_assert!(read.len as u64 <= case.limits.span_max);
        prop_assert!(gap_max <= case.limits.gap_max);
    }
    if gap_max > 0 {
        let asked = u128::from(model.asked(read.pos, end(read)));
        let permille = u128::from(case.limits.amplification_max.max(1000));
        prop_assert!(read.len as u128 * 1000 <= asked * permille);
    }
    Ok(())
}

fn naive_totals(case: &Case, out: &Plan) -> Totals {
    let mut reads_of: BTreeMap<u32, (usize, bool)> = BTreeMap::new();
    for read in out.reads() {
        for part in out.parts(read) {
            let (reads, shared) = reads_of.entry(part.want).or_default();
            *reads += 1;
            *shared |= out.parts(read).len() > 1;
        }
    }
    Totals {
        wants: case.ranges.len(),
        reads: out.reads().len(),
        wants_merged: reads_of.values().filter(|(_, shared)| *shared).count(),
        wants_split: reads_of.values().filter(|(reads, _)| *reads > 1).count(),
        bytes_asked: case.ranges.iter().map(|&(_, len)| len as u64).sum(),
        bytes_distinct: Model::new(case).asked(case.base, case.base + WINDOW),
        bytes_read: out.reads().iter().map(|read| read.len as u64).sum(),
    }
}

proptest! {
    #![proptest_config(plan_cases::config())]

    #[test]
    fn each_destination_gets_exactly_its_bytes(case in cases()) {
        let out = case.plan();
        carry_out(&case, &out)?;
        prop_assert_eq!(out.totals(), naive_totals(&case, &out));
    }

    #[test]
    fn each_read_obeys_the_limits(case in cases()) {
        check_reads(&case, &case.plan())?;
    }

    #[test]
    fn no_more_is_issued_and_read_than_want_by_want(case in cases()) {
        let (mut reads, mut bytes) = (0, 0);
        for want in case.wants().iter().filter(|want| want.len() > 0) {
            let (start, end) = case.widened(want);
            reads += (end - start).div_ceil(case.read_cap());
            bytes += end - start;
        }
        let totals = case.plan().totals();
        prop_assert!(totals.reads as u64 <= reads);
        if !case.merge {
            prop_assert!(totals.bytes_read <= bytes);
        }
    }

    #[test]
    fn neither_the_order_nor_an_earlier_plan_matters(case in cases(), before in cases()) {
        let out = case.plan();
        let mut wants = case.wants();
        wants.reverse();
        let mut warm = before.plan();
        plan(wants, &case.limits, case.merge, &mut warm);
        prop_assert_eq!(warm.reads(), out.reads());
        prop_assert_eq!(warm.totals(), out.totals());
        for read in out.reads() {
            prop_assert_eq!(warm.parts(read), out.parts(read));
        }
    }

    #[test]
    fn wants_come_blob_by_blob(
        ranges in prop::collection::vec((0_u8..5, 0_u64..100, 0_usize..9), 0..40),
    ) {
        let wants = ranges.iter().zip(0..);
        let mut wanted: Vec<(u8, Want)> = wants
            .map(|(&(blob, pos, len), id)| (blob, Want::new(id, pos, len).unwrap()))
            .collect();
        let mut expected: BTreeMap<u8, Vec<Want>> = BTreeMap::new();
        for (blob, want) in &wanted {
            expected.entry(*blob).or_default().push(*want);
        }
        let mut seen = 0;
        for group in by_blob(&mut wanted) {
            let expected = expected.remove(&group[0].0).expect("a blob comes once");
            prop_assert!(group.iter().all(|(blob, _)| *blob == group[0].0));
            prop_assert!(group.iter().all(|(_, want)| expected.contains(want)));
            prop_assert_eq!(group.len(), expected.len());
            prop_assert!(group.is_sorted_by_key(|(_, want)| want.pos()));
            seen += group.len();
        }
        prop_assert_eq!(seen, ranges.len());
    }
}
