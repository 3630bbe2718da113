//! What every asynchronous reader promises of reads into a [`Destination`]; run it on a worker.
#![allow(unsafe_code, reason = "a region has one unsafe constructor")]

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Arc;

use blobio::{Destination, RandomReadBlobAsync, ReadHow, Region};
use corelane::buf::AlignedBuf;

use super::MARK;

/// How much more than asked for fits the destinations.
const SLACK: usize = 32;

/// Memory that a region writes to and that the test looks at when the region is gone.
pub(crate) struct Memory(Arc<Cells>);

struct Cells(Box<[UnsafeCell<u8>]>);

// SAFETY: written through the region alone, and read after it is gone.
unsafe impl Sync for Cells {}

impl Memory {
    /// Makes marked memory, and a region over all of it.
    pub(crate) fn new(len: usize) -> (Self, Region) {
        let cells: Box<[_]> = (0..len).map(|_| UnsafeCell::new(MARK)).collect();
        let start = NonNull::new(cells.as_ptr().cast_mut().cast::<u8>()).unwrap();
        let memory = Arc::new(Cells(cells));
        // SAFETY: the cells are kept alive by the owner, may be written through shared pointers,
        // and are read in `into_bytes` alone, after the owner is gone.
        let region = unsafe { Region::new(start, len, Arc::clone(&memory)) };
        (Self(memory), region)
    }

    /// Gives the memory's bytes, of which every slice must be gone.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let cells = Arc::into_inner(self.0).expect("a region outlived its read");
        cells.0.into_iter().map(UnsafeCell::into_inner).collect()
    }
}

/// Reads `len` bytes at `pos` into each kind of destination, and compares with `content`.
pub(crate) async fn check_at(
    blob: &impl RandomReadBlobAsync,
    content: &[u8],
    pos: u64,
    len: usize,
    how: ReadHow,
) {
    let total = content.len();
    let from = usize::try_from(pos).unwrap_or(usize::MAX).min(total);
    let expected = &content[from..total.min(from.saturating_add(len))];
    let what = format!("{len} at {pos}, {how:?}");

    let used = vec![MARK; 3];
    let (got, dest) = blob.read_into_async(pos, len, used.into(), how).await;
    assert_eq!(got.unwrap(), expected.len(), "vector, {what}");
    assert!(dest.into_vec().unwrap() == expected, "vector, {what}");

    for align in [1, 4096] {
        let aligned = AlignedBuf::new(len + SLACK, align);
        let (got, dest) = blob.read_into_async(pos, len, aligned.into(), how).await;
        assert_eq!(got.unwrap(), expected.len(), "aligned, {what}");
        assert!(dest.bytes() == expected, "aligned, {what}");
    }

    let pooled = corelane::pool().unwrap().get().await;
    if len <= pooled.capacity() {
        let (got, dest) = blob.read_into_async(pos, len, pooled.into(), how).await;
        assert_eq!(got.unwrap(), expected.len(), "pool, {what}");
        assert!(dest.bytes() == expected, "pool, {what}");
    }

    let (memory, region) = Memory::new(len + SLACK);
    let slice = region.into_slice();
    let (got, dest) = blob.read_into_async(pos, len, slice.into(), how).await;
    assert_eq!(got.unwrap(), expected.len(), "region, {what}");
    assert!(matches!(&dest, Destination::Region(slice) if slice.len() == len + SLACK));
    drop(dest);
    let bytes = memory.into_bytes();
    assert!(&bytes[..expected.len()] == expected, "region, {what}");
    let rest = &bytes[len.max(expected.len())..];
    assert!(
        rest.iter().all(|byte| *byte == MARK),
        "region, {what}: too much"
    );
}

/// Holds `blob`, whose content is `content`, to the contract of reads into destinations.
pub(crate) async fn check(name: &str, blob: &impl RandomReadBlobAsync, content: &[u8]) {
    println!("reader: {name}");
    let total = content.len();
    let cases = [
        (0, total),
        (0, 0),
        (0, 1),
        (1, 7),
        (total - 1, 1),
        (total - 5, 50),
        (0, total + 1000),
        (total, 10),
        (total + 1, 10),
        (total / 2, total),
    ];
    for how in [ReadHow::Auto, ReadHow::Inline, ReadHow::Async] {
        for (pos, len) in cases {
            check_at(blob, content, pos as u64, len, how).await;
        }
        check_at(blob, content, u64::MAX, 10, how).await;
    }
    let small = AlignedBuf::new(8, 8).into();
    let (got, dest) = blob.read_into_async(0, 9, small, ReadHow::Auto).await;
    assert_eq!(
        got.unwrap_err().to_string(),
        "a read of 9 bytes does not fit its destination of 8"
    );
    assert_eq!(
        dest.capacity(),
        8,
        "the destination comes back with the error"
    );
}
