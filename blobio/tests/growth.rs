//! Blobs whose length changes while they are read.

mod util;

use std::cell::Cell;

use blobio::{BlobMetadata, BlobSlice, NativeFileBlobRandomReader, RandomReadBlob};
use std::io::Write;

use util::blobs::Growing;
use util::content;

#[test]
fn read_to_end_goes_on_when_the_blob_grows() {
    for step in [17, 100, 5000, 3 << 20] {
        let bytes = content(30_000);
        let blob = Growing {
            bytes: bytes.clone(),
            visible: Cell::new(1000),
            step,
        };
        let got = blob.read_to_end(10).unwrap();
        assert!(got.len() > 990, "step {step}: the growth was seen");
        assert_eq!(got, bytes[10..10 + got.len()]);
        if step >= 5000 {
            assert_eq!(got.len(), 30_000 - 10, "step {step}: until the end");
        }
    }
}

#[test]
fn lengths_and_ends_are_those_of_now() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    let slice = BlobSlice::new(&reader, 5, 10).unwrap();
    let mut writer = file.as_file();
    for (add, len, tail) in [(&b"0123"[..], 0, &b""[..]), (b"456789", 5, b"56789")] {
        writer.write_all(add).unwrap();
        assert_eq!(slice.byte_length().unwrap(), len);
        assert_eq!(slice.read_to_end(0).unwrap(), tail);
    }
    file.as_file().set_len(7).unwrap();
    assert_eq!(slice.read_vec(0, 10).unwrap(), b"56");
}
