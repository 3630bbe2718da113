//! Mapped views beyond what the regressions cover.

mod util;

use blobio::{Advice, BlobSlice, MemoryMapBlob, NativeFileBlobRandomReader};

use util::{content, file_of};

#[test]
fn advice_is_taken_within_the_view_and_refused_outside() {
    let file = file_of(&content(100_000));
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    let view = reader.mmap(21, 90_000).unwrap();
    for advice in [
        Advice::Random,
        Advice::Sequential,
        Advice::WillNeed,
        Advice::Normal,
    ] {
        view.advise(advice).unwrap();
        view.advise_range(advice, 12_345, 20_000).unwrap();
        view.advise_range(advice, 90_000, 0).unwrap();
    }
    for (offset, len) in [(0, 90_001), (90_000, 1), (usize::MAX, 2)] {
        let error = view.advise_range(Advice::Random, offset, len).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn empty_views_of_empty_and_other_files() {
    let empty = file_of(&[]);
    let reader = NativeFileBlobRandomReader::open(empty.path()).unwrap();
    let view = reader.mmap(0, 0).unwrap();
    assert!(view.is_empty());
    view.advise(Advice::WillNeed).unwrap();
    let slice = BlobSlice::new(&reader, 0, 0).unwrap();
    assert!(slice.mmap(0, 0).unwrap().is_empty());
    reader.mmap(1, 0).expect_err("its start is outside");
}

#[test]
fn views_are_shared_between_threads() {
    let content = content(50_000);
    let file = file_of(&content);
    let view = NativeFileBlobRandomReader::open(file.path())
        .unwrap()
        .mmap(1, 49_999)
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(&view[..], &content[1..]));
        }
    });
}
