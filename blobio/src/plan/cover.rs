//! The reads that cover what is wanted, want by want in order of position.

use super::{Limits, Read, Want};

/// Grows a list of reads. The last one is held in `run` while it may still become longer.
#[derive(Debug)]
pub(super) struct Cover<'plan> {
    limits: &'plan Limits,
    merge: bool,
    reads: &'plan mut Vec<Read>,
    run: Option<Run>,
    /// The end of what has been wanted so far: bytes before it are not asked for the first time.
    asked_end: u64,
    asked: u64,
}

/// The read that is growing.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    end: u64,
    /// Distinct bytes asked of it. Bytes wanted of an earlier read's end are not counted again.
    asked: u64,
    /// Whether it holds ranges that do not overlap, and so must respect the span.
    merged: bool,
    /// Whether it reads blocks that nobody wants, and so must respect the amplification.
    bridged: bool,
}

impl<'plan> Cover<'plan> {
    pub(super) fn new(limits: &'plan Limits, merge: bool, reads: &'plan mut Vec<Read>) -> Self {
        Self {
            limits,
            merge,
            reads,
            run: None,
            asked_end: 0,
            asked: 0,
        }
    }

    /// Covers one more want, which begins at or after all before it.
    pub(super) fn add(&mut self, want: &Want) {
        let (start, end) = self.limits.widened(want);
        let fresh = want.pos().max(self.asked_end)..want.end();
        self.asked_end = self.asked_end.max(want.end());
        self.asked += within(&fresh, 0, u64::MAX);
        let Some(run) = self.run.take() else {
            return self.begin(start, end, &fresh);
        };
        let joined = Run {
            end: run.end.max(end),
            asked: run.asked + within(&fresh, 0, u64::MAX),
            merged: run.merged || start >= run.end,
            bridged: run.bridged || start > run.end,
            ..run
        };
        if end <= run.end || self.may_join(&run, &joined, start) {
            self.run = Some(joined);
            return;
        }
        // What the run has of the want is not read again: the next read begins where it ends.
        self.close(run);
        self.begin(start.max(run.end), end, &fresh);
    }

    /// Ends the last read and returns how many distinct bytes were asked for.
    pub(super) fn finish(mut self) -> u64 {
        if let Some(run) = self.run.take() {
            self.close(run);
        }
        self.asked
    }

    fn may_join(&self, run: &Run, joined: &Run, start: u64) -> bool {
        let len = joined.end - joined.start;
        let cap = match joined.merged {
            true => self.limits.span_cap(),
            false => self.limits.read_cap(),
        };
        let gap = start.saturating_sub(run.end);
        (start < run.end || self.merge)
            && gap <= self.limits.gap_max
            && len <= cap
            && (!joined.bridged || self.limits.amplifies_little(len, joined.asked))
    }

    /// Begins a read, or as many as the range is too long for one.
    fn begin(&mut self, mut start: u64, end: u64, fresh: &std::ops::Range<u64>) {
        let cap = self.limits.read_cap();
        loop {
            let piece_end = end.min(start.saturating_add(cap));
            let run = Run {
                start,
                end: piece_end,
                asked: within(fresh, start, piece_end),
                merged: false,
                bridged: false,
            };
            if piece_end == end {
                self.run = Some(run);
                return;
            }
            self.close(run);
            start = piece_end;
        }
    }

    fn close(&mut self, run: Run) {
        self.reads.push(Read {
            pos: run.start,
            len: super::scatter::narrow(run.end - run.start),
            parts_start: 0,
            parts_count: 0,
        });
    }
}

/// How many bytes of `range`, which may be empty and backwards, lie between `start` and `end`.
fn within(range: &std::ops::Range<u64>, start: u64, end: u64) -> u64 {
    range.end.min(end).saturating_sub(range.start.max(start))
}
