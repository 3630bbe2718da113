//! The blocking traits.

use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use super::{GROWTH_PROBE_LEN, GROWTH_READ_MAX, advance, unexpected_eof};
use crate::mmap::Mapping;
use crate::uninit;

/// The length of the stack buffer behind the provided [`RandomReadBlob::read`].
const BOUNCE_LEN: usize = 8 << 10;

/// A blob whose length can be asked.
pub trait BlobMetadata {
    /// Gives the length of the blob in bytes, as it is now.
    ///
    /// # Errors
    ///
    /// When the length cannot be found out.
    fn byte_length(&self) -> io::Result<u64>;
}

/// A blob that is read by position; [the module](crate::traits) states the contract of reads.
///
/// Only [`read_slice`](Self::read_slice) must be written. A reader that can write memory without
/// an intermediate copy should write [`read`](Self::read), [`readv`](Self::readv) and
/// [`read_vec`](Self::read_vec) as well.
pub trait RandomReadBlob: BlobMetadata {
    /// Reads at `pos` into initialised memory and gives the number of bytes read.
    ///
    /// # Errors
    ///
    /// When reading fails; `buf` then holds unspecified bytes.
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Reads at `pos` into memory that may be uninitialised, and gives the number of bytes read.
    ///
    /// What the returned count covers has been written; the rest is as it was. The destination
    /// is never read and never zeroed, so it may be write-combined memory.
    ///
    /// # Errors
    ///
    /// When reading fails; any part of `buf` may then have been written.
    fn read(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let mut bounce = [0_u8; BOUNCE_LEN];
        let mut done = 0;
        while done < buf.len() {
            let Some(at) = advance(pos, done) else { break };
            let want = BOUNCE_LEN.min(buf.len() - done);
            let got = self.read_slice(at, &mut bounce[..want])?;
            uninit::copy_into(&mut buf[done..], &bounce[..got]);
            done += got;
            if got < want {
                break;
            }
        }
        Ok(done)
    }

    /// Reads at `pos` into every slice of `bufs` in order, and gives the number of bytes read.
    ///
    /// # Errors
    ///
    /// When reading fails; the slices then hold unspecified bytes.
    fn readv(&self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            let Some(at) = advance(pos, done) else { break };
            let got = self.read_slice(at, buf)?;
            done += got;
            if got < buf.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Reads up to `len` bytes at `pos` into a new vector, shorter only at the end of the blob.
    ///
    /// The vector is allocated for `len` bytes at once.
    ///
    /// # Errors
    ///
    /// When reading fails or there is no memory for `len` bytes.
    fn read_vec(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut vec = uninit::vec_with_room(len)?;
        vec.resize(len, 0);
        let got = self.read_slice(pos, &mut vec)?;
        vec.truncate(got);
        Ok(vec)
    }

    /// Reads exactly `buf.len()` bytes at `pos`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, naming position and length, when the blob ends before; otherwise when
    /// reading fails.
    fn read_exact(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let got = match advance(pos, done) {
                Some(at) => self.read(at, &mut buf[done..])?,
                None => 0,
            };
            if got == 0 {
                return Err(unexpected_eof(pos, buf.len() as u64, done as u64));
            }
            done += got;
        }
        Ok(())
    }

    /// Fills every slice of `bufs`, in order, from `pos`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, naming position and length, when the blob ends before; otherwise when
    /// reading fails.
    fn readv_all(&self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let total = total_len(bufs);
        let mut done = self.readv(pos, bufs)? as u64;
        // By the contract a short read means the end, and the next read says so: the rest is
        // only for a blob that grew in between.
        let mut skip = done;
        for buf in bufs.iter_mut() {
            let skipped = uninit::clamp(buf.len(), skip);
            skip -= skipped as u64;
            let mut rest = &mut buf[skipped..];
            while !rest.is_empty() {
                let got = match pos.checked_add(done) {
                    Some(at) => self.read_slice(at, rest)?,
                    None => 0,
                };
                if got == 0 {
                    return Err(unexpected_eof(pos, total, done));
                }
                done += got as u64;
                rest = &mut rest[got..];
            }
        }
        Ok(())
    }

    /// Reads from `pos` to the end of the blob.
    ///
    /// The vector is allocated once, for the length that the blob has now; should the blob have
    /// grown by the time it is read, reading goes on until its end.
    ///
    /// # Errors
    ///
    /// When reading fails or there is no memory for the bytes.
    fn read_to_end(&self, pos: u64) -> io::Result<Vec<u8>> {
        let left = self.byte_length()?.saturating_sub(pos);
        let len = usize::try_from(left).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut vec = self.read_vec(pos, len)?;
        if vec.len() < len {
            return Ok(vec);
        }
        let mut probe = [0_u8; GROWTH_PROBE_LEN];
        let Some(at) = advance(pos, vec.len()) else {
            return Ok(vec);
        };
        let got = self.read_slice(at, &mut probe)?;
        vec.extend_from_slice(&probe[..got]);
        let mut grown = got;
        while grown > 0 {
            let Some(at) = advance(pos, vec.len()) else {
                break;
            };
            let more = self.read_vec(at, vec.len().clamp(GROWTH_PROBE_LEN, GROWTH_READ_MAX))?;
            grown = more.len();
            vec.extend_from_slice(&more);
        }
        Ok(vec)
    }
}

/// A blob that can be mapped into memory.
pub trait MemoryMapBlob {
    /// Maps `len` bytes from `offset`, which need not be aligned to a page.
    ///
    /// The mapping is unmapped when dropped. Nobody may change or truncate the blob while it is
    /// mapped, which nothing checks: see [`Mapping`] for what happens otherwise.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, naming position and length, when the range is not inside of the blob;
    /// otherwise when the system refuses the mapping.
    fn mmap(&self, offset: u64, len: usize) -> io::Result<Mapping>;
}

/// Sums the lengths of the slices.
pub(crate) fn total_len(bufs: &[IoSliceMut<'_>]) -> u64 {
    bufs.iter().map(|buf| buf.len() as u64).sum()
}
