//! The suites of every reader, over entries of packs.
#![cfg(feature = "pack")]

mod util;

use std::sync::Arc;

use blobio::decode::{DecodePool, PoolConfig};
use blobio::pack::chunked::{Compression, EntryBlob, Pack, PackOptions};
use blobio::queue::Class;
use blobio::{MemoryBlob, RandomReadBlobAsync};
use futures_executor::block_on;

use util::blobs::Slow;
use util::content;
use util::packs::{Memory, options, pack_of, text};

/// A little more than a block.
const LEN: usize = (64 << 10) + 100;

/// Entries of every layout, with what errors shall call them and their contents.
fn entries(check_plain: bool) -> Vec<(String, EntryBlob<Memory>, Vec<u8>)> {
    let contents = [
        ("blocks", text(LEN)),
        ("plain", content(LEN)),
        ("single", text(5000)),
        ("small", content(700)),
    ];
    let (bytes, _) = pack_of(&contents, options(Compression::Lz4));
    let memory = MemoryBlob::new(Arc::from(bytes));
    let options = PackOptions {
        check_plain,
        ..PackOptions::default()
    };
    let pack = Pack::open_with(memory, "test", options).unwrap();
    let blobs = contents.into_iter().map(|(path, content)| {
        let blob = pack.data_owned(&pack.entry(path).unwrap());
        (format!("{path}, checked: {check_plain}"), blob, content)
    });
    blobs.collect()
}

#[test]
fn blocking() {
    for (name, blob, content) in [entries(true), entries(false)].concat() {
        util::sync_suite::check(&name, &blob, &content);
    }
}

#[test]
fn asynchronous() {
    let some = entries(true).into_iter().step_by(2);
    for (name, blob, content) in some.chain(entries(false).into_iter().skip(3)) {
        block_on(util::async_suite::check(&name, &blob, &content));
    }
}

#[test]
fn asynchronous_with_pending_reads_and_a_pool() {
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let contents = [("blocks", text(LEN)), ("small", content(700))];
    let (bytes, _) = pack_of(&contents, options(Compression::Lz4));
    let slow = Arc::new(Slow(MemoryBlob::new(bytes), 2));
    block_on(async {
        let pack = Pack::open_async(slow, "test").await.unwrap();
        let pack = pack.decode_on(pool, Class::High);
        for (path, content) in contents {
            let entry = pack.entry_async(path).await.unwrap();
            util::async_suite::check(path, &pack.data_owned(&entry), &content).await;
        }
    });
}

#[test]
fn hints_say_where_merging_pays() {
    for (name, blob, _) in [entries(true), entries(false)].concat() {
        let straight = name == "plain, checked: false" || name == "small, checked: false";
        assert_eq!(blob.hints().merge_pays, !straight, "{name}");
    }
}

#[cfg(feature = "executor")]
#[test]
fn into_destinations() {
    let worker = corelane::Worker::new(corelane::Config::default()).unwrap();
    worker.block_on(async {
        let some = entries(true).into_iter().skip(2);
        for (name, blob, content) in some.chain(entries(false).into_iter().skip(3)) {
            util::into_suite::check(&name, &blob, &content).await;
        }
    });
}
