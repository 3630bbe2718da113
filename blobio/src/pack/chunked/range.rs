//! Which blocks a range of a content touches, as steps. Pure.

use std::ops::Range;

use super::entry::{Content, Layout};
use super::error::PackErrorKind;
use super::format::{Header, PageRef, ROWS_PER_PAGE, Row};
use super::page::{Expected, Page, PageKind};
use crate::decode::Codec;
use crate::uninit;

/// The most stored bytes that are read at once, unless one block is longer.
const RUN_LEN_MAX: u64 = 512 << 10;
/// The most blocks that are read at once, and so decompressed at the same time.
const RUN_BLOCKS_MAX: usize = 8;

/// A range of a content on its way.
#[derive(Debug)]
pub(super) struct RangeRead {
    content: Content,
    begin: u64,
    end: u64,
    /// The next block to read.
    block: u64,
}

/// What a range needs next.
#[derive(Debug)]
pub(super) enum RangeStep {
    /// A page of the table.
    Page(PageRef, Expected),
    /// Blocks that lie one behind the other.
    Blocks(Run),
    /// Nothing.
    Done,
}

/// Blocks that are read at once.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) position: u64,
    pub(super) len: usize,
    pub(super) blocks: Vec<RunBlock>,
}

/// A block of a run.
#[derive(Clone, Debug)]
pub(super) struct RunBlock {
    pub(super) row: Row,
    /// Where its stored bytes are in the run.
    pub(super) stored: Range<usize>,
    /// Its raw length.
    pub(super) raw_len: usize,
    /// What is wanted of its raw bytes.
    pub(super) wanted: Range<usize>,
    /// Where that goes in the destination.
    pub(super) to: usize,
}

impl RangeRead {
    /// Begins to read up to `len` bytes at `pos`.
    pub(super) fn new(content: &Content, pos: u64, len: usize, header: &Header) -> Self {
        let begin = pos.min(content.len());
        let len = uninit::clamp(len, content.len() - begin);
        Self {
            content: *content,
            begin,
            end: begin + len as u64,
            block: begin / header.block_len(),
        }
    }

    /// Gives the number of bytes that the range has.
    pub(super) fn len(&self) -> usize {
        // As many as the caller asked for at most, and that is a `usize`.
        usize::try_from(self.end - self.begin).unwrap_or(usize::MAX)
    }

    /// Says what is next, given the page that was asked for.
    pub(super) fn step(
        &mut self,
        header: &Header,
        page: Option<&Page>,
    ) -> Result<RangeStep, PackErrorKind> {
        if self.begin == self.end || self.block * header.block_len() >= self.end {
            return Ok(RangeStep::Done);
        }
        let first_row = match self.content.layout() {
            Layout::Empty => return Ok(RangeStep::Done),
            Layout::Single(row) => {
                let run = Run::begin(row, self.place(header));
                self.block += 1;
                return Ok(RangeStep::Blocks(run));
            }
            Layout::Plain { first_row, .. } | Layout::Blocks { first_row } => first_row,
        };
        let rows_per_page = ROWS_PER_PAGE as u64;
        let number = (first_row + self.block) / rows_per_page;
        let Some(page) = page else {
            let expected = Expected {
                kind: PageKind::Table,
                level: Some(0),
                first_row: number * rows_per_page,
            };
            return Ok(RangeStep::Page(header.table_page(number), expected));
        };
        let mut run: Option<Run> = None;
        while self.block * header.block_len() < self.end {
            let row_number = first_row + self.block;
            if row_number / rows_per_page != number {
                break;
            }
            let place = self.place(header);
            let index = usize::try_from(row_number % rows_per_page).expect("in the page");
            let row = page.row(index, header, place.raw_len as u64)?;
            self.check_plain(&row, header)?;
            match &mut run {
                None => run = Some(Run::begin(row, place)),
                Some(run) if run.has_room(&row) => run.push(row, place),
                Some(_) => break,
            }
            self.block += 1;
        }
        Ok(run.map_or(RangeStep::Done, RangeStep::Blocks))
    }

    /// Holds a row of a content that lies as it is against where that is.
    fn check_plain(&self, row: &Row, header: &Header) -> Result<(), PackErrorKind> {
        if let Layout::Plain { position, .. } = self.content.layout() {
            let at = position + self.block * header.block_len();
            if row.codec != Codec::None || row.position != at {
                return Err(PackErrorKind::Directory(
                    "row of a plain content contradicts it",
                ));
            }
        }
        Ok(())
    }

    fn place(&self, header: &Header) -> Place {
        let block_begin = self.block * header.block_len();
        let block_end = (block_begin + header.block_len()).min(self.content.len());
        let begin = self.begin.max(block_begin);
        let end = self.end.min(block_end);
        let small = |len: u64| usize::try_from(len).expect("within a block, or what was asked");
        Place {
            raw_len: small(block_end - block_begin),
            wanted: small(begin - block_begin)..small(end - block_begin),
            to: small(begin - self.begin),
        }
    }
}

/// What a block is to a range.
struct Place {
    raw_len: usize,
    wanted: Range<usize>,
    to: usize,
}

impl Run {
    fn begin(row: Row, place: Place) -> Self {
        let mut run = Self {
            position: row.position,
            len: 0,
            blocks: Vec::new(),
        };
        run.push(row, place);
        run
    }

    fn has_room(&self, row: &Row) -> bool {
        self.blocks.len() < RUN_BLOCKS_MAX
            && row.position == self.position + self.len as u64
            && self.len as u64 + u64::from(row.stored_len) <= RUN_LEN_MAX
    }

    fn push(&mut self, row: Row, place: Place) {
        let begin = self.len;
        self.len += row.stored_len as usize;
        self.blocks.push(RunBlock {
            row,
            stored: begin..self.len,
            raw_len: place.raw_len,
            wanted: place.wanted,
            to: place.to,
        });
    }
}
