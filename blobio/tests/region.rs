//! Regions: reads land where they should, and nowhere else, and the owner lives long enough.
#![allow(unsafe_code, reason = "a region has one unsafe constructor")]

mod util;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blobio::{
    BlobSlice, MemoryBlob, NativeFileBlobRandomReader, RandomReadBlob, Region, RegionSlice,
    read_exact_into_region, read_into_region,
};

use util::sync_suite::assert_names;
use util::{MARK, content, file_of};

/// Memory that a region borrows by pointer; it says when the region has let go of it.
struct Owner {
    memory: *mut [u8],
    released: Arc<AtomicBool>,
}

// SAFETY: the pointer is used in `drop` alone.
unsafe impl Send for Owner {}
// SAFETY: as above.
unsafe impl Sync for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

/// A region over marked memory; the memory is leaked to the test, which looks at it at the end.
fn region(len: usize) -> (RegionSlice, *mut [u8], Arc<AtomicBool>) {
    let memory = Box::into_raw(vec![MARK; len].into_boxed_slice());
    let released = Arc::new(AtomicBool::new(false));
    let owner = Owner {
        memory,
        released: Arc::clone(&released),
    };
    let start = NonNull::new(owner.memory.cast::<u8>()).unwrap();
    // SAFETY: the memory is a live allocation of `len` bytes, which is freed in `into_memory`
    // after the region is gone, and nothing else points to it until then.
    let region = unsafe { Region::new(start, len, owner) };
    (region.into_slice(), memory, released)
}

/// Takes the memory back, which the region must have let go of.
fn into_memory(memory: *mut [u8], released: &AtomicBool) -> Box<[u8]> {
    assert!(
        released.load(Ordering::SeqCst),
        "the owner is dropped with the last slice"
    );
    // SAFETY: it came from `Box::into_raw` in `region`, whose pointers are gone.
    unsafe { Box::from_raw(memory) }
}

#[test]
fn reads_fill_disjoint_slices_and_nothing_else() {
    let content = content(5000);
    let file = file_of(&content);
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    let slice = BlobSlice::new(&reader, 1000, 2000).unwrap();
    let blobs: [(&dyn RandomReadBlob, usize); 3] = [
        (&reader, 0),
        (&slice, 1000),
        (&MemoryBlob::new(&content[..]), 0),
    ];
    for (blob, base) in blobs {
        let (whole, memory, released) = region(300);
        let (mut head, rest) = whole.split_at(100);
        let (gap, mut tail) = rest.split_at(50);
        assert_eq!((head.len(), gap.len(), tail.len()), (100, 50, 150));
        read_exact_into_region(blob, 900, &mut tail).unwrap();
        assert_eq!(read_into_region(blob, 7, &mut head).unwrap(), 100);
        drop((head, tail));
        assert!(!released.load(Ordering::SeqCst), "a slice is left");
        drop(gap);
        let memory = into_memory(memory, &released);
        assert_eq!(memory[..100], content[base + 7..base + 107]);
        assert!(memory[100..150].iter().all(|b| *b == MARK));
        assert_eq!(memory[150..], content[base + 900..base + 1050]);
    }
}

#[test]
fn a_short_read_leaves_the_rest_as_it_was() {
    let blob = MemoryBlob::new(content(150));
    let (mut whole, memory, released) = region(100);
    assert_eq!(read_into_region(&blob, 100, &mut whole).unwrap(), 50);
    assert_names(
        &read_exact_into_region(&blob, 100, &mut whole).unwrap_err(),
        100,
        100,
        50,
    );
    drop(whole);
    let memory = into_memory(memory, &released);
    assert_eq!(memory[..50], content(150)[100..]);
    assert!(memory[50..].iter().all(|b| *b == MARK), "never zeroed");
}

#[test]
fn slices_go_to_other_threads() {
    let blob = MemoryBlob::new(content(4000));
    let (mut rest, memory, released) = region(4000);
    std::thread::scope(|scope| {
        for part in 0..8 {
            let (mut slice, tail) = rest.split_at(500);
            rest = tail;
            let blob = &blob;
            scope.spawn(move || read_exact_into_region(blob, part * 500, &mut slice).unwrap());
        }
        assert!(rest.is_empty());
        drop(rest);
    });
    assert_eq!(into_memory(memory, &released)[..], content(4000));
}

#[test]
#[should_panic(expected = "split at 11 of a region slice of 10 bytes")]
fn a_split_past_the_end_panics() {
    let (whole, memory, _) = region(10);
    // SAFETY: it came from `Box::into_raw`, and the region writes nothing.
    let _memory = unsafe { Box::from_raw(memory) };
    let _ = whole.split_at(11);
}
