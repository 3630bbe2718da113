//! Inflates the data of one entry and holds it to its declared size and checksum. Pure.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::Entry;
use crate::error::ArchiveErrorKind;

/// What one step of inflating did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Progress {
    /// The bytes of input taken.
    pub(crate) consumed: usize,
    /// The bytes of output given.
    pub(crate) produced: usize,
}

/// A deflate stream as far as it has been inflated.
///
/// Its content is complete, and has been checked, once [`is_done`](Self::is_done) says so. The step
/// that gives the last bytes says so if its input holds the end of the stream; if not, more input
/// has to be stepped over, for which no output is needed, before the last bytes may be trusted.
pub(crate) struct Inflater {
    stream: Decompress,
    crc: crc32fast::Hasher,
    declared_crc: u32,
    declared: u64,
    produced: u64,
    done: bool,
}

impl Inflater {
    /// Begins with the content that `entry` declares.
    pub(crate) fn new(entry: &Entry) -> Self {
        Self {
            stream: Decompress::new(false),
            crc: crc32fast::Hasher::new(),
            declared_crc: entry.crc32(),
            declared: entry.len(),
            produced: 0,
            done: false,
        }
    }

    /// Says whether the whole content has been given, and was as declared.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Says whether as much content has been given as was declared; it may not be checked yet.
    #[cfg(feature = "executor")]
    pub(crate) fn is_at_declared_end(&self) -> bool {
        self.produced == self.declared
    }

    /// Inflates from `input` to `output`; `input_ends` says that no more input follows this.
    ///
    /// No progress means that more input is needed. Where `output` ends at the declared size,
    /// input is taken until the stream ends, so that the content is checked with its last byte.
    ///
    /// # Errors
    ///
    /// When the stream is corrupt, is not as long as declared, or fails the checksum.
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        input_ends: bool,
        output: &mut [u8],
    ) -> Result<Progress, ArchiveErrorKind> {
        let mut progress = Progress {
            consumed: 0,
            produced: 0,
        };
        while !self.done {
            let left = usize::try_from(self.declared - self.produced).unwrap_or(usize::MAX);
            let room = &mut output[progress.produced..];
            let room_len = room.len().min(left);
            if left > 0 && room_len == 0 {
                break;
            }
            // With the declared size reached, one byte of room shows whether there is more.
            let mut probe = [0];
            let target = if left > 0 {
                &mut room[..room_len]
            } else {
                &mut probe
            };
            let (status, consumed, produced) =
                self.decompress(&input[progress.consumed..], target)?;
            if left == 0 && produced > 0 {
                return Err(ArchiveErrorKind::TooLong {
                    declared: self.declared,
                });
            }
            self.crc.update(&target[..produced]);
            self.produced += produced as u64;
            progress.consumed += consumed;
            progress.produced += produced;
            if status == Status::StreamEnd {
                self.finish()?;
            } else if consumed == 0 && produced == 0 {
                if input_ends {
                    return Err(self.too_short());
                }
                break;
            }
        }
        Ok(progress)
    }

    fn decompress(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(Status, usize, usize), ArchiveErrorKind> {
        let (total_in, total_out) = (self.stream.total_in(), self.stream.total_out());
        let status = self
            .stream
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| ArchiveErrorKind::Corrupt)?;
        let delta = |now: u64, before: u64| {
            usize::try_from(now - before).map_err(|_| ArchiveErrorKind::Corrupt)
        };
        Ok((
            status,
            delta(self.stream.total_in(), total_in)?,
            delta(self.stream.total_out(), total_out)?,
        ))
    }

    fn finish(&mut self) -> Result<(), ArchiveErrorKind> {
        if self.produced < self.declared {
            return Err(self.too_short());
        }
        check_crc(self.declared_crc, &self.crc)?;
        self.done = true;
        Ok(())
    }

    fn too_short(&self) -> ArchiveErrorKind {
        ArchiveErrorKind::TooShort {
            declared: self.declared,
            actual: self.produced,
        }
    }
}

/// Holds the checksum of a content against the declared one.
pub(crate) fn check_crc(declared: u32, crc: &crc32fast::Hasher) -> Result<(), ArchiveErrorKind> {
    let actual = crc.clone().finalize();
    if actual != declared {
        return Err(ArchiveErrorKind::Crc { declared, actual });
    }
    Ok(())
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("declared", &self.declared)
            .field("produced", &self.produced)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
