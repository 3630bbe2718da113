//! The codecs, one block at a time. Pure.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::DParameter;

use crate::uninit;

/// The largest window that a zstd frame may ask for, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a block is compressed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Codec {
    /// As it is.
    None,
    /// A raw deflate stream.
    Deflate,
    /// An LZ4 block, without a frame or a length before it.
    Lz4,
    /// A zstd frame without dictionary.
    Zstd,
}

/// What is wrong with a compressed block.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// The compressed bytes are malformed, or give more than was declared; the text says more.
    Corrupt {
        /// The codec.
        codec: Codec,
        /// What the codec says.
        what: Box<str>,
    },
    /// The block gives another number of bytes than declared.
    Length {
        /// The declared length, in bytes.
        declared: usize,
        /// The length it gives.
        actual: usize,
    },
    /// There is no memory for the declared length.
    OutOfMemory(io::Error),
}

/// Decompresses a block that gives exactly `raw_len` bytes.
///
/// Memory is allocated for `raw_len` bytes, and what the codec needs besides: less than 200 KiB for
/// each thread.
///
/// # Errors
///
/// When the block is malformed or does not give exactly `raw_len` bytes, or there is no memory.
///
/// # Examples
///
/// ```
/// use blobio::decode::{Codec, decode_block};
///
/// assert_eq!(decode_block(Codec::Lz4, b"\x40blob", 4)?, b"blob");
/// assert!(decode_block(Codec::Lz4, b"\x40blob", 3).is_err());
/// # Ok::<(), blobio::decode::DecodeError>(())
/// ```
pub fn decode_block(codec: Codec, block: &[u8], raw_len: usize) -> Result<Vec<u8>, DecodeError> {
    let mut raw = uninit::vec_with_room(raw_len).map_err(DecodeError::OutOfMemory)?;
    raw.resize(raw_len, 0);
    decode_block_into(codec, block, &mut raw)?;
    Ok(raw)
}

/// Decompresses a block that gives exactly as many bytes as `raw` has.
///
/// # Errors
///
/// When the block is malformed or gives another number of bytes; `raw` then holds unspecified
/// bytes.
pub fn decode_block_into(codec: Codec, block: &[u8], raw: &mut [u8]) -> Result<(), DecodeError> {
    let declared = raw.len();
    let actual = match codec {
        Codec::None if block.len() == declared => {
            raw.copy_from_slice(block);
            declared
        }
        Codec::None => block.len(),
        Codec::Deflate => inflate(block, raw)?,
        Codec::Lz4 => lz4_flex::block::decompress_into(block, raw)
            .map_err(|e| DecodeError::corrupt(codec, &e))?,
        Codec::Zstd => unzstd(block, raw).map_err(|e| DecodeError::corrupt(codec, &e))?,
    };
    if actual != declared {
        return Err(DecodeError::Length { declared, actual });
    }
    Ok(())
}

fn inflate(block: &[u8], raw: &mut [u8]) -> Result<usize, DecodeError> {
    let mut stream = Decompress::new(false);
    let corrupt = |what: &dyn fmt::Display| DecodeError::corrupt(Codec::Deflate, what);
    let status = stream
        .decompress(block, raw, FlushDecompress::Finish)
        .map_err(|e| corrupt(&e))?;
    let given = usize::try_from(stream.total_out()).unwrap_or(usize::MAX);
    if status == Status::StreamEnd {
        return Ok(given);
    }
    if given < raw.len() {
        return Err(corrupt(&"the stream does not end"));
    }
    // As long as declared: the end of the stream may follow, but no byte more.
    let taken = usize::try_from(stream.total_in()).unwrap_or(block.len());
    let mut probe = [0];
    let status = stream
        .decompress(&block[taken..], &mut probe, FlushDecompress::Finish)
        .map_err(|e| corrupt(&e))?;
    let given = usize::try_from(stream.total_out()).unwrap_or(usize::MAX);
    if status == Status::StreamEnd || given > raw.len() {
        return Ok(given);
    }
    Err(corrupt(&"the stream does not end"))
}

fn unzstd(block: &[u8], raw: &mut [u8]) -> io::Result<usize> {
    thread_local! {
        static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => {
                let mut fresh = Decompressor::new()?;
                fresh.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                context.insert(fresh)
            }
        };
        // The destination is the window: no memory is taken by what the frame asks for.
        context.decompress_to_buffer(block, raw)
    })
}

impl DecodeError {
    fn corrupt(codec: Codec, what: &dyn fmt::Display) -> Self {
        Self::Corrupt {
            codec,
            what: what.to_string().into(),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Deflate => "deflate",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { codec, what } => write!(f, "corrupt {codec} block: {what}"),
            Self::Length { declared, actual } => {
                write!(f, "block gives {actual} bytes, not the declared {declared}")
            }
            Self::OutOfMemory(e) => write!(f, "{e}"),
        }
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::OutOfMemory(e) => Some(e),
            _ => None,
        }
    }
}

impl From<DecodeError> for io::Error {
    fn from(e: DecodeError) -> Self {
        match e {
            DecodeError::OutOfMemory(e) => e,
            e => Self::new(io::ErrorKind::InvalidData, e),
        }
    }
}
