//! Shares by weight: start-time fair queueing over lines.
//!
//! Each line has a pass, which grows by cost over weight with all that is taken from it; the line
//! with the least pass is next. A line that was empty or held back begins at the present pass of
//! those that were served, so that nobody saves up a share while others use it.

use super::{Class, Policy};

/// The four classes by [`Class::index`], and after them the line of what has aged.
pub(super) const LINES: usize = Class::COUNT + 1;
pub(super) const AGED: usize = Class::COUNT;

/// The pass of each line. 2^128 is 2^32 requests of 2^64 bytes at weight 1.
#[derive(Debug)]
pub(super) struct Shares {
    pass: [u128; LINES],
    /// What a byte adds to the pass.
    stride: [u64; LINES],
    /// The largest pass that a line had when it was served.
    present: u128,
}

impl Shares {
    pub(super) fn new(policy: &Policy) -> Self {
        let [realtime, high, normal, low] = policy.weights;
        let weights = [realtime, high, normal, low, policy.aged_weight];
        Self {
            pass: [0; LINES],
            stride: weights.map(|weight| (1 << 32) / u64::from(weight)),
            present: 0,
        }
    }

    /// Returns the marked line with the least pass; of equal ones the more important.
    pub(super) fn least(&self, marked: &[bool; LINES]) -> Option<usize> {
        let lines = (0..LINES).filter(|&line| marked[line]);
        lines.min_by_key(|&line| self.pass[line])
    }

    /// Lets a line begin again that was empty or held back.
    pub(super) fn begin(&mut self, line: usize) {
        self.pass[line] = self.pass[line].max(self.present);
    }

    /// Makes a line's pass the present one; it has its turn.
    pub(super) fn serve(&mut self, line: usize) {
        self.present = self.present.max(self.pass[line]);
    }

    /// Charges the line that has its turn for what is taken from it.
    pub(super) fn charge(&mut self, line: usize, cost: u64) {
        self.pass[line] = self.pass[line].saturating_add(self.price(line, cost));
    }

    /// Charges a line for what was taken from it out of its turn, `lead_max` bytes at most in all.
    pub(super) fn charge_ahead(&mut self, line: usize, cost: u64, lead_max: u64) {
        let lead = self.price(line, lead_max);
        let charged = self.pass[line].saturating_add(self.price(line, cost));
        let most = self.present.saturating_add(lead);
        self.pass[line] = charged.min(most).max(self.pass[line]);
    }

    /// Forgets who is ahead; nothing is queued.
    pub(super) fn level(&mut self) {
        self.pass = [0; LINES];
        self.present = 0;
    }

    fn price(&self, line: usize, cost: u64) -> u128 {
        u128::from(cost) * u128::from(self.stride[line])
    }
}
