//! Slices and adapters against simple models, on random operations.

mod util;

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;

use blobio::adapters::{AsyncReadSeek, BufferedBlobReader, ReadSeek};
use blobio::{BlobMetadata, BlobSlice, MemoryBlob, RandomReadBlob, RandomReadBlobAsync};
use futures_executor::block_on;
use futures_util::{AsyncReadExt, AsyncSeekExt};
use proptest::prelude::*;

use util::blobs::{Minimal, Slow};
use util::{content, read_marked, slices};

const LEN: usize = 500;

#[derive(Clone, Debug)]
enum Op {
    Read(usize),
    Start(u64),
    Current(i64),
    End(i64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0_usize..200).prop_map(Op::Read),
        1 => (0_u64..700).prop_map(Op::Start),
        1 => (-300_i64..300).prop_map(Op::Current),
        1 => (-600_i64..100).prop_map(Op::End),
    ];
    prop::collection::vec(op, 0..30)
}

fn index(pos: u64) -> usize {
    usize::try_from(pos).unwrap()
}

fn seek_of(op: &Op) -> Option<SeekFrom> {
    match op {
        Op::Read(_) => None,
        Op::Start(pos) => Some(SeekFrom::Start(*pos)),
        Op::Current(delta) => Some(SeekFrom::Current(*delta)),
        Op::End(delta) => Some(SeekFrom::End(*delta)),
    }
}

proptest! {
    #[test]
    fn a_slice_of_a_slice_is_a_range_of_a_range(
        (outer, inner) in ((0_u64..600, 0_u64..600), (0_u64..600, 0_u64..600)),
        pos in 0_u64..600,
        shape in prop::collection::vec(0_usize..80, 0..8),
        pending in 0_u32..3,
    ) {
        let bytes = content(LEN);
        let range = |bytes: &[u8], (offset, len): (u64, u64)| {
            let start = bytes.len().min(index(offset));
            bytes[start..bytes.len().min(start + index(len))].to_vec()
        };
        let model = range(&range(&bytes, outer), inner);
        let blob = BlobSlice::new(MemoryBlob::new(bytes), outer.0, outer.1).unwrap();
        let slice = BlobSlice::new(blob, inner.0, inner.1).unwrap();
        prop_assert_eq!(slice.byte_length().unwrap(), model.len() as u64);

        let want: usize = shape.iter().sum();
        let expected = range(&model, (pos, want as u64));
        let (got, memory) = read_marked(&slice, pos, want);
        prop_assert_eq!(&memory[..got], &expected[..]);
        prop_assert_eq!(slice.read_vec(pos, want).unwrap(), expected.clone());
        let mut parts: Vec<_> = shape.iter().map(|len| vec![0; *len]).collect();
        let got = slice.readv(pos, &mut slices(&mut parts)).unwrap();
        prop_assert_eq!(&parts.concat()[..got], &expected[..]);

        let slow = BlobSlice::new(Slow(slice, pending), 0, u64::MAX).unwrap();
        block_on(async {
            let mut parts: Vec<_> = shape.iter().map(|len| vec![0; *len]).collect();
            let got = slow.readv_async(pos, &mut slices(&mut parts)).await.unwrap();
            assert_eq!(parts.concat()[..got], expected);
            let mut memory = vec![MaybeUninit::uninit(); want];
            assert_eq!(slow.read_async(pos, &mut memory).await.unwrap(), expected.len());
        });
    }

    #[test]
    fn a_cursor_is_a_cursor(ops in ops()) {
        let mut model = Cursor::new(content(LEN));
        let mut cursor = ReadSeek::new(Minimal(content(LEN)));
        for op in &ops {
            if let Some(to) = seek_of(op) {
                prop_assert_eq!(cursor.seek(to).ok(), model.seek(to).ok());
            } else if let Op::Read(len) = *op {
                let (mut a, mut b) = (vec![0; len], vec![0; len]);
                let got = cursor.read(&mut a).unwrap();
                prop_assert_eq!(got, model.read(&mut b).unwrap());
                prop_assert_eq!(a, b);
            }
            prop_assert_eq!(cursor.stream_position().unwrap(), model.position());
        }
        let (mut a, mut b) = (vec![1], vec![1]);
        cursor.read_to_end(&mut a).unwrap();
        model.read_to_end(&mut b).unwrap();
        prop_assert_eq!(a, b);
    }

    #[test]
    fn an_asynchronous_cursor_is_a_cursor(
        ops in ops(),
        window in 1_usize..300,
        pending in 0_u32..3,
        abandon in any::<u32>(),
    ) {
        let blob = Slow(MemoryBlob::new(content(LEN)), pending);
        let mut model = Cursor::new(content(LEN));
        let mut cursor = AsyncReadSeek::with_window(blob, window);
        block_on(async {
            for (n, op) in ops.iter().enumerate() {
                if abandon >> (n % 32) & 1 == 1 {
                    // A read that is polled once and given up changes nothing if it was pending.
                    let before = cursor.seek(SeekFrom::Current(0)).await.unwrap();
                    let mut buf = [0; 7];
                    let mut read = cursor.read(&mut buf);
                    let polled = futures_util::poll!(&mut read);
                    drop(read);
                    if polled.is_ready() {
                        cursor.seek(SeekFrom::Start(before)).await.unwrap();
                    }
                }
                if let Some(to) = seek_of(op) {
                    assert_eq!(cursor.seek(to).await.ok(), model.seek(to).ok());
                } else if let Op::Read(len) = *op {
                    let mut a = vec![0; len];
                    let got = cursor.read(&mut a).await.unwrap();
                    let mut b = vec![0; got];
                    model.read_exact(&mut b).unwrap();
                    assert_eq!(a[..got], b);
                    let at_end = model.position() >= LEN as u64;
                    assert!(got > 0 || len == 0 || at_end, "0 is the end");
                }
            }
            let mut rest = Vec::new();
            cursor.read_to_end(&mut rest).await.unwrap();
            let mut expected = Vec::new();
            model.read_to_end(&mut expected).unwrap();
            assert_eq!(rest, expected);
        });
    }

    #[test]
    fn a_buffered_reader_reads_what_the_blob_holds(
        reads in prop::collection::vec((0_u64..600, 0_usize..200, any::<bool>()), 0..30),
        window in 1_usize..300,
        pending in 0_u32..2,
    ) {
        let bytes = content(LEN);
        let mut blocking = BufferedBlobReader::with_window(Minimal(bytes.clone()), window);
        let slow = Slow(MemoryBlob::new(bytes.clone()), pending);
        let mut pending = BufferedBlobReader::with_window(slow, window);
        for (pos, len, hint) in reads {
            if hint {
                blocking.hint_buffering(pos, len).unwrap();
                block_on(pending.hint_buffering_async(pos, len)).unwrap();
            }
            let start = LEN.min(index(pos));
            let expected = &bytes[start..LEN.min(start + len)];
            let mut buf = vec![0; len];
            prop_assert_eq!(blocking.read_at(pos, &mut buf).unwrap(), expected.len());
            prop_assert_eq!(&buf[..expected.len()], expected);
            let mut parts = [vec![0; len / 3], vec![0; len - len / 3]];
            let got = blocking.readv_at(pos, &mut slices(&mut parts)).unwrap();
            prop_assert_eq!(&parts.concat()[..got], expected);
            let mut buf = vec![0; len];
            let got = block_on(pending.read_at_async(pos, &mut buf)).unwrap();
            prop_assert_eq!(&buf[..got], expected);
            let mut parts = [vec![0; len / 3], vec![0; len - len / 3]];
            let got = block_on(pending.readv_at_async(pos, &mut slices(&mut parts))).unwrap();
            prop_assert_eq!(&parts.concat()[..got], expected);
        }
    }
}
