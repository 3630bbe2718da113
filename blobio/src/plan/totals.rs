//! What a plan amounts to.

use std::ops::AddAssign;

use super::scatter::end_of;
use super::{Read, Want};

/// What was asked of a plan and what it reads; adds up over plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Wants, those of no length included.
    pub wants: usize,
    /// Reads.
    pub reads: usize,
    /// Wants of which a read brings bytes of another want as well.
    pub wants_merged: usize,
    /// Wants that more than one read serves.
    pub wants_split: usize,
    /// Bytes of all wants.
    pub bytes_asked: u64,
    /// Bytes of all wants, those that are wanted twice counted once.
    pub bytes_distinct: u64,
    /// Bytes of all reads, what aligning added included.
    pub bytes_read: u64,
}

impl Totals {
    /// Returns how many bytes are read for each 1,000 distinct bytes asked; `None` for none.
    #[must_use]
    pub fn amplification_permille(&self) -> Option<u64> {
        let read = u128::from(self.bytes_read) * 1000;
        let permille = read.checked_div(u128::from(self.bytes_distinct))?;
        Some(u64::try_from(permille).unwrap_or(u64::MAX))
    }

    /// Counts the wants that share a read or have several. Both lists are sorted.
    pub(super) fn count_sharing(&mut self, wants: &[Want], reads: &[Read]) {
        let mut first = 0;
        for want in wants {
            self.bytes_asked = self.bytes_asked.saturating_add(want.len() as u64);
            while end_of(&reads[first]) <= want.pos() {
                first += 1;
            }
            let serving = reads[first..]
                .iter()
                .take_while(|read| read.pos < want.end());
            let mut count = 0;
            let mut shared = false;
            for read in serving {
                count += 1;
                shared |= read.parts_count > 1;
            }
            self.wants_merged += usize::from(shared);
            self.wants_split += usize::from(count > 1);
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.wants += other.wants;
        self.reads += other.reads;
        self.wants_merged += other.wants_merged;
        self.wants_split += other.wants_split;
        self.bytes_asked = self.bytes_asked.saturating_add(other.bytes_asked);
        self.bytes_distinct = self.bytes_distinct.saturating_add(other.bytes_distinct);
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
    }
}
