//! Blocks by every codec: right, broken, and lying about their length.
#![cfg(feature = "pack")]

use std::io::Write;

use blobio::decode::{Codec, DecodeError, decode_block, decode_block_into};
use proptest::prelude::*;

const CODECS: [Codec; 4] = [Codec::None, Codec::Deflate, Codec::Lz4, Codec::Zstd];

fn encode(codec: Codec, raw: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Deflate => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
            encoder.write_all(raw).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Lz4 => lz4_flex::block::compress(raw),
        Codec::Zstd => zstd::bulk::compress(raw, 3).unwrap(),
        _ => raw.to_vec(),
    }
}

fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|n| format!("line {n} of the text\n").into_bytes());
    lines.take(len).collect()
}

#[test]
fn every_codec_and_length() {
    for codec in CODECS {
        for len in [0, 1, 100, 65_536, 300_000] {
            let raw = text(len);
            let block = encode(codec, &raw);
            assert_eq!(
                decode_block(codec, &block, len).unwrap(),
                raw,
                "{codec} {len}"
            );
            let mut memory = vec![7; len];
            decode_block_into(codec, &block, &mut memory).unwrap();
            assert_eq!(memory, raw);
        }
    }
}

#[test]
fn another_length_than_declared() {
    let raw = text(10_000);
    for codec in CODECS {
        let block = encode(codec, &raw);
        for declared in [0, 1, 9999, 10_001, 20_000] {
            let error = decode_block(codec, &block, declared).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("block"), "{codec} {declared}: {text}");
        }
    }
}

#[test]
fn a_bomb_gives_no_more_than_was_declared() {
    let zeros = vec![0; 64 << 20];
    for codec in [Codec::Deflate, Codec::Lz4, Codec::Zstd] {
        let bomb = encode(codec, &zeros);
        assert!(bomb.len() < 1 << 19);
        let mut memory = vec![1; 4096];
        assert!(decode_block_into(codec, &bomb, &mut memory[..1024]).is_err());
        assert!(memory[1024..].iter().all(|byte| *byte == 1));
    }
    // 128 bytes that say they are 2 GiB long: refused for what they give, not allocated for.
    let mut frame = zstd::bulk::compress(&zeros[..1 << 20], 3).unwrap();
    frame.truncate(20);
    assert!(decode_block(Codec::Zstd, &frame, 1 << 20).is_err());
}

#[test]
fn a_stream_that_does_not_end() {
    let raw = text(5000);
    let block = encode(Codec::Deflate, &raw);
    for len in 0..block.len() {
        let error = decode_block(Codec::Deflate, &block[..len], raw.len()).unwrap_err();
        assert!(
            matches!(error, DecodeError::Corrupt { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn no_memory_is_an_error() {
    let error = decode_block(Codec::Zstd, &[], usize::MAX / 2).unwrap_err();
    assert!(matches!(error, DecodeError::OutOfMemory(_)), "{error}");
    assert_eq!(
        std::io::Error::from(error).kind(),
        std::io::ErrorKind::OutOfMemory
    );
}

proptest! {
    #[test]
    fn any_bytes(codec in 0..4_usize, bytes: Vec<u8>, len in 0..100_000_usize) {
        let _ = decode_block(CODECS[codec], &bytes, len);
    }

    #[test]
    fn any_change(codec in 0..4_usize, at: proptest::sample::Index, by in 1..=255_u8) {
        let raw = text(3000);
        let mut block = encode(CODECS[codec], &raw);
        let at = at.index(block.len());
        block[at] ^= by;
        if let Ok(got) = decode_block(CODECS[codec], &block, raw.len()) {
            prop_assert_eq!(got.len(), raw.len());
        }
    }
}
