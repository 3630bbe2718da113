//! What was put into a pack comes out of it, whatever the sizes, the options and the ranges.
#![cfg(feature = "pack")]

mod util;

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::ops::Bound;

use blobio::pack::chunked::{
    BuildOptions, Compression, ContentHash, Pack, PackErrorKind as Kind, PackOptions, PackWriter,
};
use blobio::{BlobMetadata, MemoryBlob, RandomReadBlob};
use proptest::prelude::*;

use util::packs::{Counting, index, open, options, pack_of, paths, read, text};
use util::{content, read_marked};

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd(3)];

#[test]
fn contents_of_every_size() {
    const BLOCK: usize = 64 << 10;
    let (text, noise) = (text(3 * BLOCK + 7), content(3 * BLOCK + 7));
    let lens = [
        0,
        1,
        17,
        4096,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        2 * BLOCK,
        3 * BLOCK + 7,
    ];
    let mut entries = Vec::new();
    for len in lens {
        entries.push((format!("text/{len}"), &text[..len]));
        entries.push((format!("noise/{len}"), &noise[..len]));
    }
    for compression in COMPRESSIONS {
        let (bytes, summary) = pack_of(&entries, options(compression));
        assert_eq!(summary.file_len, bytes.len() as u64);
        assert_eq!(summary.entries, entries.len() as u64);
        let pack = open(&bytes).unwrap();
        assert_eq!(pack.len(), summary.entries);
        assert_eq!(pack.content_count(), summary.contents);
        for (path, content) in &entries {
            let entry = pack.entry(path).unwrap();
            assert_eq!(entry.len(), content.len() as u64);
            assert_eq!(entry.hash(), ContentHash::of(content));
            assert_eq!(
                read(&pack, path).unwrap(),
                *content,
                "{path} {compression:?}"
            );
            let found = pack.content(&entry.hash()).unwrap().unwrap();
            assert_eq!(pack.content_data(&found).read_to_end(0).unwrap(), *content);
        }
        let mut sorted: Vec<_> = entries.iter().map(|(path, _)| path.clone()).collect();
        sorted.sort();
        for batch in [1, 2, 7, 1000] {
            assert_eq!(paths(&pack, batch).unwrap(), sorted);
        }
        let verified = pack.verify(|e| panic!("{e}"), |_| ());
        assert_eq!(verified.contents_len, summary.contents_len);
    }
}

#[test]
fn an_empty_pack() {
    let (bytes, summary) = pack_of::<&str, &[u8]>(&[], BuildOptions::default());
    assert_eq!((summary.entries, summary.file_len), (0, 16 << 10));
    let pack = open(&bytes).unwrap();
    assert!(pack.is_empty());
    assert!(pack.get("a").unwrap().is_none());
    assert!(pack.list(Bound::Unbounded, 10).unwrap().is_empty());
    let error = pack.entry("a").unwrap_err();
    assert!(matches!(error.kind(), Kind::NotFound));
    assert_eq!(error.to_string(), "test.clpk: entry \"a\": no such entry");
    assert_eq!(pack.verify(|e| panic!("{e}"), |_| ()).errors, 0);
}

#[test]
fn a_range_touches_its_blocks_and_no_others() {
    const LARGE: u64 = 100_000_000;
    for (compression, len) in [(Compression::None, 20_000_000), (Compression::Lz4, LARGE)] {
        let out = Cursor::new(Vec::new());
        let mut writer = PackWriter::new(out, "large", options(compression)).unwrap();
        writer.add("large", Numbered::default().take(len)).unwrap();
        let (out, _) = writer.finish().unwrap();
        let pack = open(&out.into_inner()).unwrap();
        let data = pack.entry("large").unwrap();
        let data = pack.data(&data);
        for pos in [0, 65_536 - 2048, 65_536 * 200 - 1, len / 2, len - 4096] {
            let before = pack.stats();
            let got = data.read_vec(pos, 4096).unwrap();
            let after = pack.stats();
            let mut expected = vec![0; 4096];
            Numbered { pos }.read_exact(&mut expected).unwrap();
            assert!(got == expected, "at {pos}");
            assert!(
                after.blocks_decoded - before.blocks_decoded <= 2,
                "at {pos}"
            );
            assert!(after.pages_read - before.pages_read <= 2, "at {pos}");
            // However many slices they go to.
            let mut parts = vec![vec![0; 16]; 256];
            data.readv(pos, &mut util::slices(&mut parts)).unwrap();
            assert!(parts.concat() == expected, "at {pos}");
            assert!(pack.stats().blocks_decoded - after.blocks_decoded <= 2);
        }
    }
}

/// Bytes that differ from block to block and compress.
#[derive(Default)]
struct Numbered {
    pos: u64,
}

impl Read for Numbered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Up to the next number's end.
        let into = index(self.pos % 4096);
        let len = buf.len().min(if into < 8 { 8 - into } else { 4096 - into });
        if into < 8 {
            let number = (self.pos / 4096).to_le_bytes();
            buf[..len].copy_from_slice(&number[into..into + len]);
        } else {
            buf[..len].fill(b'.');
        }
        self.pos += len as u64;
        Ok(len)
    }
}

#[test]
fn equal_contents_and_equal_blocks_are_stored_once() {
    let (a, b) = (text(200_000), content(200_000));
    let mut shifted = content(65_536);
    shifted.extend_from_slice(&a[..131_072]);
    let entries = [
        ("a", &a),
        ("a/again", &a),
        ("b", &b),
        ("b/again", &b),
        ("c", &shifted),
    ];
    let (bytes, summary) = pack_of(&entries, options(Compression::Zstd(1)));
    assert_eq!((summary.entries, summary.contents), (5, 3));
    // Of the last one, the first block is b's and the others are not cut where a's are.
    assert_eq!(summary.blocks, 4 + 4, "{summary:?}");
    let pack = open(&bytes).unwrap();
    for (path, content) in entries {
        assert_eq!(read(&pack, path).unwrap(), *content);
    }
    let (alone, _) = pack_of(&entries[..1], options(Compression::None));
    let (twice, summary) = pack_of(&entries[..2], options(Compression::None));
    assert!(twice.len() - alone.len() < 300, "taken back: {summary:?}");
    assert_eq!(
        open(&twice)
            .unwrap()
            .verify(|e| panic!("{e}"), |_| ())
            .errors,
        0
    );
    let without = BuildOptions {
        dedup_blocks: false,
        ..options(Compression::Zstd(1))
    };
    let (bytes, summary) = pack_of(&entries, without);
    assert_eq!((summary.contents, summary.blocks), (3, 4 + 4 + 3));
    let pack = open(&bytes).unwrap();
    assert_eq!(pack.verify(|e| panic!("{e}"), |_| ()).errors, 0);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let entries: Vec<_> = (0..300_usize)
        .map(|n| (format!("dir{}/file{n}", n % 7), text(n * 997 % 150_000)))
        .collect();
    for compression in [Compression::Lz4, Compression::Zstd(3)] {
        let packs = [1, 2, 5].map(|threads| {
            let options = BuildOptions {
                threads: threads.try_into().unwrap(),
                ..options(compression)
            };
            pack_of(&entries, options).0
        });
        assert!(packs[0] == packs[1] && packs[0] == packs[2]);
        assert_eq!(
            open(&packs[0])
                .unwrap()
                .verify(|e| panic!("{e}"), |_| ())
                .errors,
            0
        );
    }
}

#[test]
fn what_lies_as_it_is_is_aligned_and_read_straight() {
    let (long, short, packed) = (content(200_000), content(3000), text(200_000));
    let entries = [
        ("odd", &text(777)),
        ("long", &long),
        ("short", &short),
        ("packed", &packed),
    ];
    for align in [1_u32, 512, 4096, 65_536] {
        let options = BuildOptions {
            align,
            ..options(Compression::Zstd(3))
        };
        let (bytes, _) = pack_of(&entries, options);
        let checked = open(&bytes).unwrap();
        assert_eq!(checked.align(), u64::from(align));
        let straight = PackOptions {
            check_plain: false,
            ..PackOptions::default()
        };
        let straight = Pack::open_with(MemoryBlob::new(bytes), "test", straight).unwrap();
        for (path, content) in [("long", &long), ("short", &short)] {
            let entry = checked.entry(path).unwrap();
            let at = entry
                .content()
                .plain_position()
                .expect("noise lies as it is");
            assert_eq!(at % u64::from(align), 0, "{path}");
            assert_eq!(
                checked
                    .data(&entry)
                    .plain()
                    .unwrap()
                    .read_to_end(0)
                    .unwrap(),
                *content
            );
            assert!(checked.data_owned(&entry).into_plain().is_ok());
            assert_eq!(read(&straight, path).unwrap(), *content);
            assert_eq!(
                read_marked(&straight.data(&entry), 100, 50).1,
                content[100..150]
            );
        }
        assert_eq!(straight.stats().blocks_decoded, 0);
        assert!(straight.stats().straight_len > 203_000);
        let entry = checked.entry("packed").unwrap();
        assert!(checked.data(&entry).plain().is_none());
        assert!(checked.data_owned(&entry).into_plain().is_err());
    }
}

#[test]
fn a_large_directory_is_found_in_few_reads() {
    let folder = "a-folder-with-a-rather-long-name/".repeat(6);
    let entries: Vec<_> = (0..20_000)
        .map(|n| (format!("{folder}{n:06}"), []))
        .collect();
    let (bytes, summary) = pack_of(&entries, options(Compression::None));
    assert_eq!((summary.entries, summary.contents), (20_000, 1));
    let blob = Counting::new(MemoryBlob::new(bytes));
    let cold = PackOptions {
        pages_max: 0,
        ..PackOptions::default()
    };
    let pack = Pack::open_with(&blob, "large", cold).unwrap();
    assert_eq!(blob.take(), 1);
    for n in (0..20_000).step_by(997) {
        let entry = pack.entry(&format!("{folder}{n:06}")).unwrap();
        assert_eq!(entry.len(), 0);
        assert!(blob.take() <= 2, "{n}");
        assert!(pack.get(&format!("{folder}{n:06}x")).unwrap().is_none());
        assert!(blob.take() <= 2, "{n}");
        assert!(pack.get(&format!("{folder}{n:05}")).unwrap().is_none());
        assert!(blob.take() <= 2, "{n}");
    }
    let listed = paths(&Pack::open(&blob, "large").unwrap(), 999).unwrap();
    assert!(listed.iter().eq(entries.iter().map(|(path, _)| path)));
}

/// Random trees: paths of few letters, so that they meet, and contents around the block's length.
fn trees() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let path = "[ab]{1,3}(/[abc]{1,2}){0,2}";
    let len = prop_oneof![0..50_usize, 65_530..65_545_usize, 100_000..200_000_usize];
    let content = (any::<bool>(), 0..4_usize, len).prop_map(|(packs, from, len)| {
        let all = if packs {
            text(len + from)
        } else {
            content(len + from)
        };
        all[from..].to_vec()
    });
    proptest::collection::btree_map(path, content, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn random_trees(
        tree in trees(),
        compression in 0..3_usize,
        block_log2 in 16..19_u32,
        align_log2 in 0..17_u32,
        dedup_blocks: bool,
        ranges in proptest::collection::vec((0..220_000_u64, 0..140_000_usize), 1..6),
    ) {
        let options = BuildOptions {
            block_len: 1 << block_log2,
            align: 1 << align_log2,
            dedup_blocks,
            ..options(COMPRESSIONS[compression])
        };
        let entries: Vec<_> = tree.iter().collect();
        let (bytes, summary) = pack_of(&entries, options);
        let pack = open(&bytes).unwrap();
        prop_assert!(paths(&pack, 5).unwrap().iter().eq(tree.keys()));
        for (path, content) in &tree {
            prop_assert_eq!(&read(&pack, path).unwrap(), content);
            let data = pack.entry(path).unwrap();
            let data = pack.data(&data);
            prop_assert_eq!(data.byte_length().unwrap(), content.len() as u64);
            for (pos, len) in &ranges {
                let begin = content.len().min(index(*pos));
                let end = content.len().min(begin + len);
                prop_assert_eq!(&data.read_vec(*pos, *len).unwrap(), &content[begin..end]);
                prop_assert_eq!(&read_marked(&data, *pos, *len).1[..end - begin], &content[begin..end]);
            }
        }
        let verified = pack.verify(|e| panic!("{e}"), |_| ());
        prop_assert_eq!(verified.contents, summary.contents);
    }
}

/// `BLOBIO_PACK_CASES` sets how many random trees are tried.
fn cases() -> u32 {
    std::env::var("BLOBIO_PACK_CASES").map_or(8, |cases| cases.parse().expect("a number"))
}
