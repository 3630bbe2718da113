//! One suite over every asynchronous reader that needs no particular executor.

mod util;

use std::rc::Rc;
use std::sync::Arc;

use blobio::{BlobSlice, MemoryBlob, NativeFileBlobRandomReader, RandomReadBlobAsync};
use futures_executor::block_on;

use util::async_suite::check;
use util::blobs::Slow;
use util::{content, file_of, slices};

const LEN: usize = 20_000;

#[test]
fn memory() {
    let content = content(LEN);
    block_on(check("Vec", &MemoryBlob::new(content.clone()), &content));
}

#[test]
fn pending_reads() {
    let content = content(LEN);
    block_on(check(
        "slow",
        &Slow(MemoryBlob::new(content.clone()), 3),
        &content,
    ));
    let file = file_of(&content);
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    block_on(check("slow file", &Slow(reader, 1), &content));
}

#[test]
fn pointers_to_readers() {
    let content = content(300);
    let blob = Slow(MemoryBlob::new(content.clone()), 1);
    block_on(check("&T", &&blob, &content));
    block_on(check("Box", &Box::new(blob.clone()), &content));
    block_on(check("Rc", &Rc::new(blob.clone()), &content));
    block_on(check("Arc", &Arc::new(blob), &content));
}

#[test]
fn slices_of_readers() {
    let content = content(LEN);
    let blob = Slow(MemoryBlob::new(content.clone()), 2);
    let part = BlobSlice::new(blob.clone(), 777, 5000).unwrap();
    block_on(check("slice", &part, &content[777..5777]));
    let part = BlobSlice::new(&part, 100, 200).unwrap();
    block_on(check("slice of a slice", &part, &content[877..1077]));
    let past = BlobSlice::new(&blob, LEN as u64 - 150, u64::from(u32::MAX)).unwrap();
    block_on(check("slice past the end", &past, &content[LEN - 150..]));
}

#[test]
fn long_vectored_reads() {
    let content = content((5 << 20) + 17);
    let blob = Slow(MemoryBlob::new(content.clone()), 1);
    let mut parts: Vec<_> = [0, 1, 700_000, 2 << 20, 3, 0, 1 << 20]
        .map(|len| vec![0; len])
        .into();
    let len = parts.iter().map(Vec::len).sum::<usize>();
    block_on(blob.readv_all_async(11, &mut slices(&mut parts))).unwrap();
    assert_eq!(parts.concat(), content[11..11 + len]);
}
