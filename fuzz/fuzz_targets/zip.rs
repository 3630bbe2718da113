//! Opens any bytes as a zip archive and reads its entries.
#![no_main]

use blobio::pack::zip::{Archive, EntryData, Limits};
use blobio::{MemoryBlob, RandomReadBlob};
use libfuzzer_sys::fuzz_target;

/// The most bytes that are inflated of one input.
const TOTAL_MAX: u64 = 8 << 20;

fuzz_target!(|input: &[u8]| {
    let limits = Limits {
        catalogue_bytes_max: 1 << 20,
        entries_max: 1000,
    };
    let Ok(archive) = Archive::open_with(MemoryBlob::new(input), "fuzz", limits) else {
        return;
    };
    let mut total = 0;
    let mut chunk = vec![0; 64 << 10];
    for entry in archive.entries() {
        assert!(archive.get(entry.name()).is_some());
        match archive.data(entry) {
            Err(_) => {}
            Ok(EntryData::Stored(data)) => {
                let bytes = data.read_vec(0, chunk.len()).expect("memory can be read");
                assert!(bytes.len() as u64 <= entry.len());
                if entry.len() <= input.len() as u64 {
                    let _ = archive.read(entry);
                }
            }
            Ok(EntryData::Deflated(mut reader)) => {
                let mut given = 0;
                while let Ok(got @ 1..) = reader.next_bytes(&mut chunk) {
                    given += got as u64;
                    assert!(given <= entry.len(), "no more than declared");
                    total += got as u64;
                    if total > TOTAL_MAX {
                        return;
                    }
                }
            }
        }
    }
});
