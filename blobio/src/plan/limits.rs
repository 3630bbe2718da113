//! How far merging may go.

use super::Want;

/// How far merging may go, how long a read may be, and what it must be aligned to.
///
/// Every combination of values is of use: what contradicts itself is read as its field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes between two ranges that are read and thrown away to merge them.
    pub gap_max: u64,
    /// The longest read that merging makes, in bytes; `read_max` where that is less.
    pub span_max: u64,
    /// The most that a read with gaps in it reads for each 1,000 distinct bytes asked of it.
    ///
    /// Less than 1,000 is no amplification. Aligning amplifies too and counts, but a read whose
    /// every block had to be read anyway is never refused.
    pub amplification_max: u32,
    /// The longest read worth issuing, in bytes; rounded down to `align`, and never less than it.
    pub read_max: u32,
    /// What the position and the length of a read are multiples of, in bytes; 0 and 1 are none.
    ///
    /// A read that would be widened past 2^64 - 1 ends there instead.
    pub align: u32,
}

impl Default for Limits {
    /// Gaps of 4 KiB, merged reads of 256 KiB, a fifth of it wasted, reads of 1 MiB, unaligned.
    fn default() -> Self {
        Self {
            gap_max: 4 << 10,
            span_max: 256 << 10,
            amplification_max: 1200,
            read_max: 1 << 20,
            align: 1,
        }
    }
}

impl Limits {
    /// The longest read in bytes: a multiple of the alignment, at least 1.
    pub(super) fn read_cap(&self) -> u64 {
        let align = self.align();
        let read_max = u64::from(self.read_max);
        (read_max - read_max % align).max(align)
    }

    /// The longest read that merging makes.
    pub(super) fn span_cap(&self) -> u64 {
        self.span_max.min(self.read_cap())
    }

    /// Whether `read` bytes may be read for `asked`.
    pub(super) fn amplifies_little(&self, read: u64, asked: u64) -> bool {
        let permille = u128::from(self.amplification_max.max(1000));
        u128::from(read) * 1000 <= u128::from(asked) * permille
    }

    /// The aligned range that has the want's bytes: its start and its end.
    pub(super) fn widened(&self, want: &Want) -> (u64, u64) {
        let align = self.align();
        let start = want.pos() - want.pos() % align;
        let end = want.end().checked_next_multiple_of(align);
        (start, end.unwrap_or(u64::MAX))
    }

    fn align(&self) -> u64 {
        u64::from(self.align.max(1))
    }
}
