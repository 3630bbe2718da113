//! Mends the checksums of a damaged pack, so that what lies behind them is reached.

use xxhash_rust::xxh3::xxh3_64;

const HEAD_LEN: usize = 16 << 10;
const PAGE_LEN_MAX: usize = 16 << 10;
const ROWS_PER_PAGE: u64 = 681;
/// The most pages that are mended.
const PAGES_MAX: usize = 64;

/// Gives the header, the pages that can be reached, and the rows in them the checksums and
/// positions that they would have if all else in them were meant.
pub fn mend(pack: &mut [u8]) {
    if pack.len() < HEAD_LEN {
        return;
    }
    let file_len = pack.len() as u64;
    put(pack, 24, &file_len.to_le_bytes());
    let mut pages = 0;
    for root in [72, 80] {
        let (position, len) = (u32_at(pack, root), u32_at(pack, root + 4));
        mend_tree(pack, u64::from(position), len, &mut pages);
    }
    let (rows, table) = (u64_at(pack, 56), u64_at(pack, 64));
    for number in 0..rows.div_ceil(ROWS_PER_PAGE).min(PAGES_MAX as u64) {
        let count = (rows - number * ROWS_PER_PAGE).min(ROWS_PER_PAGE);
        let position = table.wrapping_add(number * PAGE_LEN_MAX as u64);
        let Some(page) = page_range(pack, position, 32 + 24 * count) else {
            break;
        };
        for row in 0..count as usize {
            mend_row(pack, page.start + 32 + 24 * row);
        }
        put(
            pack,
            page.start + 24,
            &(number * ROWS_PER_PAGE).to_le_bytes(),
        );
        mend_page(pack, page);
    }
    let sum = xxh3_64(&pack[..120]);
    put(pack, 120, &sum.to_le_bytes());
}

fn mend_tree(pack: &mut [u8], position: u64, len: u32, pages: &mut usize) {
    *pages += 1;
    let Some(page) = page_range(pack, position, len.into()).filter(|_| *pages <= PAGES_MAX) else {
        return;
    };
    let (kind, level) = (pack[page.start], pack[page.start + 1]);
    let count = usize::from(u16_at(pack, page.start + 2));
    for record in 0..count.min(page.len() / 2) {
        let slot = page.start + 32 + 2 * record;
        if slot + 2 > page.end {
            break;
        }
        let at = page.start + usize::from(u16_at(pack, slot));
        if at + 2 > page.end {
            continue;
        }
        let value = at + 2 + usize::from(u16_at(pack, at));
        if level > 0 {
            if value + 12 <= page.end {
                let (child, len) = (u64_at(pack, value), u32_at(pack, value + 8));
                mend_tree(pack, child, len, pages);
            }
            continue;
        }
        let content = if kind == 1 { value + 32 } else { value };
        if content + 40 <= page.end && pack[content + 8] == 1 {
            mend_row(pack, content + 16);
        }
    }
    mend_page(pack, page);
}

fn mend_row(pack: &mut [u8], row: usize) {
    let (position, len) = (u64_at(pack, row), u32_at(pack, row + 16));
    let range = usize::try_from(position).ok();
    let range = range.and_then(|begin| Some(begin..begin.checked_add(len as usize)?));
    if let Some(stored) = range.and_then(|range| pack.get(range)) {
        let sum = xxh3_64(stored);
        put(pack, row + 8, &sum.to_le_bytes());
    }
}

fn mend_page(pack: &mut [u8], page: std::ops::Range<usize>) {
    let len = page.len() as u32;
    put(pack, page.start + 4, &len.to_le_bytes());
    put(pack, page.start + 16, &(page.start as u64).to_le_bytes());
    put(pack, page.start + 8, &[0; 8]);
    let sum = xxh3_64(&pack[page.clone()]);
    put(pack, page.start + 8, &sum.to_le_bytes());
}

fn page_range(pack: &[u8], position: u64, len: u64) -> Option<std::ops::Range<usize>> {
    let begin = usize::try_from(position).ok()?;
    let len = usize::try_from(len).ok()?;
    let end = begin.checked_add(len)?;
    ((32..=PAGE_LEN_MAX).contains(&len) && end <= pack.len()).then_some(begin..end)
}

fn put(pack: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = pack.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn u16_at(pack: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([pack[at], pack[at + 1]])
}

fn u32_at(pack: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| pack[at + n]))
}

fn u64_at(pack: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| pack[at + n]))
}
