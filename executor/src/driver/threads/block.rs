//! The calls that may block, in a thread of the pool; and reads of what the page cache has.
//!
//! # Safety
//!
//! Pointers and descriptors are those of a [`Work`], valid as long as there is one.
#![allow(
    unsafe_code,
    reason = "system calls on the memory of operations in flight"
)]

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::work::{
    Attempt, Stage, Work, count, poll, poll_bits, status, status_flags, transferred, would_block,
};
use crate::op::{ReadMode, Request};

/// What the page cache had of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// All of it, or all that is asked for: the result.
    All(i32),
    /// Not all: the rest may block.
    Blocks,
    /// The file has no positions: it is waited for.
    Stream,
}

impl Work {
    /// Does the operation, however long it takes.
    pub(super) fn block(&mut self) -> i32 {
        match self.request {
            Request::Read { .. }
            | Request::Readv { .. }
            | Request::Write { .. }
            | Request::Writev { .. } => self.block_transfer(),
            Request::Fsync { fd, data_only } => {
                let flushed = if data_only {
                    // SAFETY: no pointer; the descriptor is open (`Work::new`).
                    unsafe { libc::fdatasync(fd) }
                } else {
                    // SAFETY: as above.
                    unsafe { libc::fsync(fd) }
                };
                status(flushed)
            }
            Request::Fadvise {
                fd,
                offset,
                len,
                advice,
            } => {
                // SAFETY: no pointer; the descriptor is open (`Work::new`).
                let error =
                    unsafe { libc::posix_fadvise(fd, offset.cast_signed(), len.into(), advice) };
                -error
            }
            Request::Open { dir, path, how } => open(dir, path, how),
            Request::Statx {
                dir,
                path,
                flags,
                mask,
                out,
            } => {
                // SAFETY: path and result are valid while in flight (`Work::new`).
                status(unsafe { libc::statx(dir, path, flags, mask, out) })
            }
            Request::Close { fd } => {
                // SAFETY: the operation owns the descriptor and gives it up with its completion.
                status(unsafe { libc::close(fd) })
            }
            Request::Shutdown { fd, how } => {
                // SAFETY: no pointer; the descriptor is open (`Work::new`).
                status(unsafe { libc::shutdown(fd, how) })
            }
            Request::Accept { .. }
            | Request::Connect { .. }
            | Request::Recv { .. }
            | Request::RecvMulti { .. }
            | Request::Send { .. }
            | Request::SendMsg { .. }
            | Request::Poll { .. } => unreachable!("a socket is waited for, not blocked on"),
        }
    }

    /// Reads or writes at the request's offset, behind what the cache has given.
    fn block_transfer(&self) -> i32 {
        match (self.transfer(0), self.moved) {
            (result, 0) => result,
            // What was read before counts; the error comes back when the rest is asked for.
            (result, moved) => count(moved).saturating_add(result.max(0)),
        }
    }

    /// Reads what the page cache has.
    ///
    /// Direct reads are left to the pool: a call that may not wait for a page waits for the
    /// device all the same.
    pub(super) fn read_cached(&mut self) -> Cached {
        let (wanted, mode) = match self.request {
            Request::Read { len, mode, .. } => (u64::from(len), mode),
            Request::Readv { len, mode, .. } => (len, mode),
            _ => return Cached::Blocks,
        };
        if status_flags(self.fd()).is_none_or(|flags| flags & libc::O_DIRECT != 0) {
            return Cached::Blocks;
        }
        let result = self.transfer(libc::RWF_NOWAIT);
        let stream = self.becomes_stream(result);
        match (mode, stream) {
            // The end is not taken from this call: zero may be none (preadv2(2), BUGS).
            (ReadMode::NoWait, false) if result != 0 || wanted == 0 => Cached::All(result),
            (ReadMode::NoWait, true) => Cached::All(self.transfer(libc::RWF_NOWAIT)),
            (_, true) => Cached::Stream,
            (_, false) => match usize::try_from(result) {
                Ok(read) if read as u64 == wanted => Cached::All(result),
                // The end, or the end of what is cached: the blocking call knows.
                read => {
                    self.moved = read.unwrap_or(0);
                    Cached::Blocks
                }
            },
        }
    }

    /// One preadv2(2) or pwritev2(2) behind what was moved.
    fn transfer(&self, flags: i32) -> i32 {
        let (fd, iovecs, offset, writes) = match self.request {
            Request::Read {
                fd,
                ptr,
                len,
                offset,
                ..
            } => (fd, vec_of(one(ptr, len), self.moved), offset, false),
            Request::Write {
                fd,
                ptr,
                len,
                offset,
                ..
            } => (
                fd,
                vec_of(one(ptr.cast_mut(), len), self.moved),
                offset,
                true,
            ),
            Request::Readv {
                fd,
                iovecs,
                count,
                offset,
                ..
            } => (fd, self.segments(iovecs, count as usize), offset, false),
            Request::Writev {
                fd,
                iovecs,
                count,
                offset,
                ..
            } => (fd, self.segments(iovecs, count as usize), offset, true),
            _ => unreachable!("no transfer: {self:?}"),
        };
        let iovecs = iovecs.cut(self.move_max);
        let (ptr, len) = iovecs.parts();
        let offset = match self.stage {
            Stage::Stream => -1,
            // -1 would name the descriptor's own position; the number below is refused, as all
            // offsets are that no file has.
            _ => offset
                .saturating_add(self.moved as u64)
                .min(u64::MAX - 1)
                .cast_signed(),
        };
        transferred(if writes {
            // SAFETY: the segments lie in the operation's memory, which is valid while in flight
            // (`Work::new`); their table is there as well, or in `iovecs`, which outlives the
            // call.
            unsafe { libc::pwritev2(fd, ptr, len, offset, flags) }
        } else {
            // SAFETY: as above; what is written is the operation's alone.
            unsafe { libc::preadv2(fd, ptr, len, offset, flags) }
        })
    }

    /// Reads or writes a file without positions.
    pub(super) fn stream_transfer(&mut self) -> Attempt {
        let result = self.transfer(libc::RWF_NOWAIT);
        if would_block(result) {
            return Attempt::Wait;
        }
        if result != -libc::EOPNOTSUPP {
            return Attempt::Done(result);
        }
        // A terminal, for one, cannot be asked not to wait, nor can a pipe before Linux 6.5: once
        // ready, it should not. A pipe has room then for this much (poll(2), pipe(7)), and would
        // wait for the rest, which the caller writes in its turn.
        let events = if self.interest().write {
            if is_pipe(self.fd()) {
                self.move_max = libc::PIPE_BUF;
            }
            libc::POLLOUT
        } else {
            libc::POLLIN
        };
        match poll(self.fd(), poll_bits(events)) {
            0 => Attempt::Wait,
            _ => Attempt::Pool,
        }
    }

    /// Returns the segments behind what was moved.
    pub(super) fn segments(&self, table: *const libc::iovec, count: usize) -> Segments {
        if self.moved == 0 {
            return Segments::Table(table, count);
        }
        let mut skip = self.moved;
        let mut rest = Vec::with_capacity(count);
        for at in 0..count {
            // SAFETY: the table of `count` segments is valid while in flight (`Work::new`).
            let mut segment = unsafe { table.wrapping_add(at).read() };
            let skipped = skip.min(segment.iov_len);
            skip -= skipped;
            if skipped < segment.iov_len {
                segment.iov_base = segment.iov_base.wrapping_byte_add(skipped);
                segment.iov_len -= skipped;
                rest.push(segment);
            }
        }
        Segments::Rest(rest)
    }
}

/// What a vectored call is given.
pub(super) enum Segments {
    /// The one segment of a plain transfer.
    One(libc::iovec),
    /// The operation's own table.
    Table(*const libc::iovec, usize),
    /// What is left of it.
    Rest(Vec<libc::iovec>),
}

impl Segments {
    pub(super) fn parts(&self) -> (*const libc::iovec, i32) {
        let (ptr, count) = match self {
            Self::One(segment) => (std::ptr::from_ref(segment), 1),
            Self::Table(table, count) => (*table, *count),
            Self::Rest(rest) => (rest.as_ptr(), rest.len()),
        };
        (ptr, i32::try_from(count).expect("at most SEGMENTS_MAX"))
    }

    /// Leaves the first `max` bytes.
    fn cut(self, max: usize) -> Self {
        if max == usize::MAX || self.len() <= max {
            return self;
        }
        let (ptr, count) = self.parts();
        let mut left = max;
        let mut first = Vec::new();
        for at in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: the table of `count` segments is valid: a live vector's, or in flight.
            let mut segment = unsafe { ptr.wrapping_add(at).read() };
            segment.iov_len = segment.iov_len.min(left);
            left -= segment.iov_len;
            first.push(segment);
            if left == 0 {
                break;
            }
        }
        Self::Rest(first)
    }

    pub(super) fn len(&self) -> usize {
        let (ptr, count) = self.parts();
        (0..usize::try_from(count).unwrap_or(0))
            // SAFETY: the table of `count` segments is valid: a live vector's, or in flight.
            .map(|at| unsafe { ptr.wrapping_add(at).read() }.iov_len)
            .sum()
    }
}

fn is_pipe(fd: RawFd) -> bool {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the descriptor is open (`Work::new`); the result is a local that outlives the call.
    let answer = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    // SAFETY: zeros are a value of it, as is what the call writes.
    let stat = unsafe { stat.assume_init() };
    answer == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
}

fn one(ptr: *mut u8, len: u32) -> libc::iovec {
    libc::iovec {
        iov_base: ptr.cast(),
        iov_len: len as usize,
    }
}

fn vec_of(mut segment: libc::iovec, moved: usize) -> Segments {
    segment.iov_base = segment.iov_base.wrapping_byte_add(moved);
    segment.iov_len -= moved;
    Segments::One(segment)
}

fn open(dir: RawFd, path: *const libc::c_char, how: *const libc::open_how) -> i32 {
    // SAFETY: path and `how` are valid while in flight (`Work::new`).
    let result = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir,
            path,
            how,
            size_of::<libc::open_how>(),
        )
    };
    let result = i32::try_from(result).map_or(-libc::EBADF, status);
    // SAFETY: as above.
    let how = unsafe { how.read() };
    // A filter that does not know openat2(2) either: the older call does the same where nothing
    // is asked of the resolution of the path.
    if ![-libc::ENOSYS, -libc::EPERM].contains(&result) || how.resolve != 0 {
        return result;
    }
    let flags = i32::try_from(how.flags).unwrap_or(-1);
    let mode = libc::mode_t::try_from(how.mode).unwrap_or(0);
    // SAFETY: as above.
    status(unsafe { libc::openat(dir, path, flags, mode) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(segments: &Segments) -> Vec<usize> {
        let (ptr, count) = segments.parts();
        let count = usize::try_from(count).unwrap();
        // SAFETY: the table is a live vector's, or the caller's.
        unsafe { std::slice::from_raw_parts(ptr, count) }
            .iter()
            .map(|segment| segment.iov_len)
            .collect()
    }

    #[test]
    fn segments_are_cut_to_what_there_is_room_for() {
        let table = [3, 0, 5, 7].map(|len| one(std::ptr::null_mut(), len));
        let cut = |max| lens(&Segments::Table(table.as_ptr(), table.len()).cut(max));
        assert_eq!(cut(usize::MAX), [3, 0, 5, 7]);
        assert_eq!(cut(15), [3, 0, 5, 7]);
        assert_eq!(cut(14), [3, 0, 5, 6]);
        assert_eq!(cut(8), [3, 0, 5]);
        assert_eq!(cut(2), [2]);
        let single = vec_of(one(std::ptr::null_mut(), 9), 0);
        assert_eq!(lens(&single.cut(4)), [4]);
    }
}
