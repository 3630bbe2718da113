//! Defect 9 of the reader that this crate re-does: two allocations and a lock for each read. A
//! read into a buffer that is given allocates nothing.
#![cfg(feature = "executor")]
#![allow(unsafe_code, reason = "an allocator is an unsafe trait")]

mod util;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::NonNull;

use blobio::{BlobSlice, NativeFileAsyncBlobRandomReader, RandomReadBlobAsync, Region};
use corelane::{Config, Worker};

use util::{content, file_of};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn defect_09_owned_reads_allocate_nothing() {
    let content = content(100_000);
    let file = file_of(&content);
    Worker::new(Config::default()).unwrap().block_on(async {
        let reader = NativeFileAsyncBlobRandomReader::open(file.path())
            .await
            .unwrap();
        let slice = BlobSlice::new(reader.clone(), 100, 90_000).unwrap();
        let mut buf = Vec::with_capacity(4096);
        let memory = NonNull::from(Box::leak(Box::new([0_u8; 4096]))).cast();
        // SAFETY: the memory is leaked, 4,096 bytes long, and nothing else refers to it.
        let mut region = unsafe { Region::new(memory, 4096, ()) }.into_slice();
        let mut allocations = 0;
        for round in 0..20_000_u64 {
            if round == 1000 {
                allocations = COUNT.with(Cell::get);
            }
            let pos = round % 80_000;
            let (got, back) = slice.read_owned_async(pos, 4096, buf).await;
            assert_eq!(got.unwrap(), 4096);
            let (got, back) = reader.read_at(back, pos).await;
            assert_eq!(got.unwrap(), 4096);
            buf = back;
            let (got, back) = reader.read_at(region, pos).await;
            assert_eq!(got.unwrap(), 4096);
            region = back;
        }
        assert_eq!(COUNT.with(Cell::get) - allocations, 0);
    });
}
