//! Positional reads into uninitialised and scattered memory, which std has no call for.
//!
//! # Safety
//!
//! The kernel is given pointers and lengths taken, in the same function, from exclusive borrows
//! that outlive the call, and writes to no other memory; it writes bytes, so uninitialised memory
//! becomes initialised and initialised memory stays so. A length is claimed for a vector only
//! after the kernel reported that many bytes written from its start.
#![allow(
    unsafe_code,
    reason = "std reads only into initialised memory, and one slice at a time"
)]

use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::uninit;

/// The most bytes the kernel transfers in one call, whatever it is asked (`MAX_RW_COUNT`).
pub(super) const RW_COUNT_MAX: usize = 0x7fff_f000;
/// The slices handed to the kernel in one call.
const IOV_BATCH: usize = 64;
/// The most slices the kernel takes in one call (`UIO_MAXIOV`).
const IOV_MAX: usize = 1024;

const _: () = assert!(IOV_BATCH <= IOV_MAX);
const _: () = assert!(size_of::<libc::off_t>() == size_of::<i64>());

/// Reads at `pos` until `buf` is full or the file ends.
pub(super) fn read_uninit(
    fd: BorrowedFd<'_>,
    pos: u64,
    buf: &mut [MaybeUninit<u8>],
) -> io::Result<usize> {
    fill(pos, buf.len(), RW_COUNT_MAX, |at, done, len| {
        pread(fd, at, &mut buf[done..done + len])
    })
}

/// Reads up to `len` bytes at `pos` into a new vector.
pub(super) fn read_vec(fd: BorrowedFd<'_>, pos: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut vec = uninit::vec_with_room(len)?;
    let got = read_uninit(fd, pos, &mut vec.spare_capacity_mut()[..len])?;
    // SAFETY: the vector is empty and has room for `len >= got` bytes, the first `got` of which
    // the kernel has just written.
    unsafe { vec.set_len(got) };
    Ok(vec)
}

/// Reads at `pos` until every slice is full or the file ends.
pub(super) fn read_vectored(
    fd: BorrowedFd<'_>,
    pos: u64,
    bufs: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let total = bufs.iter().map(|buf| buf.len()).sum();
    let mut window = Window::default();
    fill(pos, total, RW_COUNT_MAX, |at, _, len_max| {
        let got = preadv(fd, at, window.bytes(bufs, len_max))?;
        window.advance(bufs, got);
        Ok(got)
    })
}

/// Calls `once(position, done, len)` until `total` bytes are read, the file ends or an error
/// comes up; an interrupted call is repeated, and none is asked for more than `call_max` bytes.
///
/// Positions that the kernel has no number for are past the end of any file.
pub(super) fn fill(
    pos: u64,
    total: usize,
    call_max: usize,
    mut once: impl FnMut(u64, usize, usize) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < total {
        let at = pos.saturating_add(done as u64);
        let addressable = i64::MAX.cast_unsigned().saturating_sub(at);
        let want = uninit::clamp(call_max.min(total - done), addressable);
        if want == 0 {
            break;
        }
        match once(at, done, want) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Where a vectored read stands: the slice it is in, and how far.
#[derive(Default)]
struct Window {
    index: usize,
    skip: usize,
}

impl Window {
    /// Gives the next pieces to read into, together at most `len_max` bytes.
    fn bytes<'a>(
        &self,
        bufs: &'a mut [IoSliceMut<'_>],
        len_max: usize,
    ) -> impl Iterator<Item = &'a mut [u8]> {
        let mut left = len_max;
        let mut skip = self.skip;
        bufs[self.index..].iter_mut().map_while(move |buf| {
            let piece = &mut buf[std::mem::take(&mut skip)..];
            let len = piece.len().min(left);
            left -= len;
            (len > 0 || left > 0).then(|| &mut piece[..len])
        })
    }

    /// Moves on by `got` bytes.
    fn advance(&mut self, bufs: &[IoSliceMut<'_>], mut got: usize) {
        while self.index < bufs.len() && got >= bufs[self.index].len() - self.skip {
            got -= bufs[self.index].len() - self.skip;
            self.index += 1;
            self.skip = 0;
        }
        self.skip += got;
    }
}

/// Reads once at `pos` into `buf`; see `pread(2)`.
fn pread(fd: BorrowedFd<'_>, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let offset = libc::off_t::try_from(pos).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `fd` is open for as long as it is borrowed; pointer and length are those of `buf`,
    // which is borrowed exclusively until the call returns, and of which the kernel writes at
    // most that length.
    let got = unsafe { libc::pread(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), offset) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Reads once at `pos` into the first [`IOV_BATCH`] of `pieces`; see `preadv(2)`.
fn preadv<'a>(
    fd: BorrowedFd<'_>,
    pos: u64,
    pieces: impl Iterator<Item = &'a mut [u8]>,
) -> io::Result<usize> {
    let offset = libc::off_t::try_from(pos).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut iovs = [const {
        libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }
    }; IOV_BATCH];
    let mut count = 0;
    for (iov, piece) in iovs
        .iter_mut()
        .zip(pieces.filter(|piece| !piece.is_empty()))
    {
        *iov = libc::iovec {
            iov_base: piece.as_mut_ptr().cast(),
            iov_len: piece.len(),
        };
        count += 1;
    }
    // SAFETY: `fd` is open for as long as it is borrowed; the first `count` of `iovs` are pointer
    // and length of disjoint slices that are borrowed exclusively for 'a, which outlives the call,
    // and the kernel writes to no more than that.
    let got = unsafe { libc::preadv(fd.as_raw_fd(), iovs.as_ptr(), count, offset) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn calls_are_capped_and_interruptions_repeated() {
        let mut calls = Vec::new();
        let mut interrupt = true;
        let got = fill(
            u64::from(u32::MAX),
            0x1_8000_0000,
            RW_COUNT_MAX,
            |at, done, len| {
                interrupt = !interrupt;
                if !interrupt {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                calls.push((at, done, len));
                Ok(len)
            },
        );
        assert_eq!(got.unwrap(), 0x1_8000_0000);
        let base = u64::from(u32::MAX);
        assert_eq!(
            calls,
            [
                (base, 0, RW_COUNT_MAX),
                (base + 0x7fff_f000, 0x7fff_f000, RW_COUNT_MAX),
                (base + 0xffff_e000, 0xffff_e000, RW_COUNT_MAX),
                (base + 0x1_7fff_d000, 0x1_7fff_d000, 0x3000),
            ]
        );
    }

    #[test]
    fn an_error_after_progress_is_an_error() {
        let mut first = true;
        let got = fill(0, 10, 5, |_, _, len| {
            if std::mem::take(&mut first) {
                Ok(len)
            } else {
                Err(io::Error::other("bad sector"))
            }
        });
        assert_eq!(got.unwrap_err().to_string(), "bad sector");
    }

    #[test]
    fn positions_past_the_kernels_range_are_the_end() {
        let never = |_, _, _| -> io::Result<usize> { panic!("no call may be made") };
        assert_eq!(fill(u64::MAX, 1, 1, never).unwrap(), 0);
        assert_eq!(fill(1 << 63, 1, 1, never).unwrap(), 0);
        let near = fill((1 << 63) - 3, 10, 10, |_, _, len| Ok(len));
        assert_eq!(near.unwrap(), 2);
    }

    #[test]
    fn a_vectored_read_that_stops_anywhere_goes_on_there() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..=255).collect();
        file.write_all(&content).unwrap();
        for call_max in 1..40 {
            let mut parts = [
                vec![0_u8; 3],
                vec![],
                vec![0; 17],
                vec![0; 1],
                vec![0; 9],
                vec![],
            ];
            let mut bufs: Vec<_> = parts.iter_mut().map(|p| IoSliceMut::new(p)).collect();
            let mut window = Window::default();
            let got = fill(5, 30, call_max, |at, _, len_max| {
                let got = preadv(file.as_fd(), at, window.bytes(&mut bufs, len_max))?;
                assert!(got <= call_max);
                window.advance(&bufs, got);
                Ok(got)
            });
            assert_eq!(got.unwrap(), 30);
            assert_eq!(parts.concat(), content[5..35]);
        }
    }
}
