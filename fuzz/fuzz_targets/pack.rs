//! Opens, lists, finds and reads any bytes as a pack.
#![no_main]

use std::ops::Bound;

use blobio::pack::chunked::{EntryBlob, Pack, PackOptions};
use blobio::{MemoryBlob, RandomReadBlob};
use libfuzzer_sys::fuzz_target;

/// The most that is read of one content, and the most entries that are listed at once.
const READ_MAX: usize = 1 << 20;
const LIST_MAX: usize = 64;
/// The most bytes that are read of one input.
const TOTAL_MAX: u64 = 8 << 20;

fuzz_target!(|input: &[u8]| {
    // The last byte says how, so that a pack with one byte more is a seed.
    let Some((how, pack)) = input.split_last() else {
        return;
    };
    let mut pack = pack.to_vec();
    if how % 4 != 0 {
        corelane_fuzz::mend(&mut pack);
    }
    let options = PackOptions {
        pages_max: 4,
        check_plain: how & 4 == 0,
    };
    let Ok(pack) = Pack::open_with(MemoryBlob::new(&pack[..]), "fuzz", options) else {
        return;
    };
    let mut total = 0;
    let mut last: Option<String> = None;
    loop {
        let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let Ok(entries) = pack.list(start, LIST_MAX) else {
            break;
        };
        let Some(end) = entries.last() else { break };
        if let Some(last) = &last {
            assert!(last.as_str() < end.path(), "a listing goes on");
        }
        last = Some(end.path().to_owned());
        for entry in &entries {
            if let Ok(found) = pack.get(entry.path()) {
                assert!(found.is_none_or(|found| found.path() == entry.path()));
            }
            let _ = pack.content(&entry.hash());
            total += read(&pack.data(entry));
        }
        if total > TOTAL_MAX {
            return;
        }
    }
    for content in pack
        .list_contents(Bound::Unbounded, LIST_MAX)
        .unwrap_or_default()
    {
        if content.len() < READ_MAX as u64 {
            let _ = pack.verify_content(&content);
        }
    }
});

/// Reads the beginning, the end and a piece in between; what is read twice is the same.
fn read<B: RandomReadBlob>(data: &EntryBlob<B>) -> u64 {
    let len = data.len();
    let begin = data.read_vec(0, READ_MAX);
    if let Ok(begin) = &begin {
        assert!(begin.len() as u64 == len.min(READ_MAX as u64));
    }
    let middle = data.read_vec(len / 2, 5000);
    if let (Ok(begin), Ok(middle)) = (&begin, &middle) {
        if len <= READ_MAX as u64 {
            assert!(begin[len as usize / 2..].starts_with(middle));
        }
    }
    let _ = data.read_vec(len.saturating_sub(3), 5000);
    assert!(data.read_vec(len, 10).is_ok_and(|bytes| bytes.is_empty()));
    len.min(READ_MAX as u64)
}
