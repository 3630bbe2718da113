//! What to read for what is wanted: ranges of one blob become reads and a scatter map.
//!
//! All of it is a function over values. Nothing here reads, allocates once a [`Plan`] is warm, or
//! fails: any limits and any wants that can be written down have a plan.
//!
//! - Every byte that is wanted is read once, whoever else wants it: ranges that overlap share a
//!   read, and so do ranges that need the same aligned block.
//! - Ranges that touch, or lie close, share a read when the caller says that merging pays and the
//!   [`Limits`] allow it.
//! - No read is longer than [`Limits::read_max`], so one want may be served by several reads.
//! - The [`Part`]s of a plan cover each byte of each want exactly once.
//!
//! ```
//! use blobio::plan::{Limits, Plan, Want, plan};
//!
//! let wants = [(0, 100, 50), (1, 160, 40), (2, 9000, 10)]
//!     .map(|(id, pos, len)| Want::new(id, pos, len).expect("it ends within 64 bits"));
//! let mut out = Plan::new();
//! plan(wants, &Limits::default(), true, &mut out);
//!
//! let [first, second] = out.reads() else { panic!("two of them lie close") };
//! assert_eq!((first.pos, first.len), (100, 100));
//! assert_eq!(out.parts(first)[1].read_offset, 60);
//! assert_eq!(out.sole(second).map(|part| part.want), Some(2));
//! ```

mod cover;
mod limits;
mod scatter;
mod totals;
mod want;

pub use limits::Limits;
pub use totals::Totals;
pub use want::{Want, by_blob};

use cover::Cover;

/// Plans the reads of one blob into `out`, which is cleared first.
///
/// The wants may come in any order and may repeat. One of no length gets no part: there is nothing
/// to wait for. With `merge` unset, ranges share a read only where one would otherwise read the
/// same bytes twice.
///
/// A blob may end before a read does when reads are aligned, or when a want reaches past its end;
/// what a short read brought then says which parts are whole.
pub fn plan(wants: impl IntoIterator<Item = Want>, limits: &Limits, merge: bool, out: &mut Plan) {
    out.clear();
    out.wants.extend(wants);
    out.totals.wants = out.wants.len();
    out.wants.retain(|want| want.len() > 0);
    out.wants.sort_unstable_by_key(Want::order);
    let mut cover = Cover::new(limits, merge, &mut out.reads);
    for want in &out.wants {
        cover.add(want);
    }
    out.totals.bytes_distinct = cover.finish();
    scatter::scatter(out);
}

/// One read of a plan. Reads are in order of position and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where it begins in the blob, in bytes.
    pub pos: u64,
    /// How many bytes it asks for; at most [`Limits::read_max`], rounded to the alignment.
    pub len: usize,
    parts_start: usize,
    parts_count: usize,
}

/// A run of bytes that goes from a read to the destination of a want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The [`Want::id`] it belongs to.
    pub want: u32,
    /// Where the run begins in the want's destination.
    pub want_offset: usize,
    /// Where the run begins in what was read.
    pub read_offset: usize,
    /// How many bytes it has; never none.
    pub len: usize,
}

/// Reads, and where their bytes go. Keeps its memory from one plan to the next.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    reads: Vec<Read>,
    /// Grouped by read; within one, in order of the wants' positions.
    parts: Vec<Part>,
    /// What was asked, sorted. Scratch, kept for its memory.
    wants: Vec<Want>,
    totals: Totals,
}

impl Plan {
    /// Makes an empty plan, without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the reads in order of position.
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Returns where the bytes of one of this plan's reads go.
    ///
    /// # Panics
    ///
    /// Panics when the read is of another plan that had more parts.
    #[must_use]
    pub fn parts(&self, read: &Read) -> &[Part] {
        &self.parts[read.parts_start..][..read.parts_count]
    }

    /// Returns the one part that a read is for, when it has one that takes all of its bytes.
    ///
    /// Such a read may go straight to its destination; any other needs memory of its own.
    ///
    /// # Panics
    ///
    /// Panics when the read is of another plan that had more parts.
    #[must_use]
    pub fn sole(&self, read: &Read) -> Option<&Part> {
        match self.parts(read) {
            [part] if part.len == read.len => Some(part),
            _ => None,
        }
    }

    /// Returns what was asked and what will be read.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Forgets the reads and parts and keeps their memory.
    pub fn clear(&mut self) {
        self.reads.clear();
        self.parts.clear();
        self.wants.clear();
        self.totals = Totals::default();
    }
}
