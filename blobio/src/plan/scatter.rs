//! The scatter map: which bytes of which read go where.

use super::{Part, Plan, Read, Want};

/// Fills in the parts of a plan that has its reads and its sorted wants.
pub(super) fn scatter(plan: &mut Plan) {
    let Plan {
        reads,
        parts,
        wants,
        totals,
    } = plan;
    each_part(wants, reads, |reads, index, _| {
        reads[index].parts_count += 1;
    });
    let mut parts_count = 0;
    for read in reads.iter_mut() {
        read.parts_start = parts_count;
        parts_count += read.parts_count;
        totals.bytes_read += read.len as u64;
    }
    parts.resize(parts_count, NO_PART);
    // `parts_start` is where the next part of the read goes until all have been placed.
    each_part(wants, reads, |reads, index, part| {
        parts[reads[index].parts_start] = part;
        reads[index].parts_start += 1;
    });
    for read in reads.iter_mut() {
        read.parts_start -= read.parts_count;
    }
    totals.reads = reads.len();
    totals.count_sharing(wants, reads);
}

const NO_PART: Part = Part {
    want: 0,
    want_offset: 0,
    read_offset: 0,
    len: 0,
};

/// Calls `found` with every part and the index of its read; wants and reads are sorted.
fn each_part(wants: &[Want], reads: &mut [Read], mut found: impl FnMut(&mut [Read], usize, Part)) {
    let mut first = 0;
    for want in wants {
        while end_of(&reads[first]) <= want.pos() {
            first += 1;
        }
        let mut pos = want.pos();
        let mut index = first;
        while pos < want.end() {
            let read = reads[index];
            let end = want.end().min(end_of(&read));
            let part = Part {
                want: want.id(),
                want_offset: narrow(pos - want.pos()),
                read_offset: narrow(pos - read.pos),
                len: narrow(end - pos),
            };
            found(reads, index, part);
            pos = end;
            index += 1;
        }
    }
}

pub(super) fn end_of(read: &Read) -> u64 {
    read.pos + read.len as u64
}

/// A distance inside a want or a read, both of which have a `usize` length.
pub(super) fn narrow(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance inside a range whose length is a usize")
}
