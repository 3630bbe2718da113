//! Positional reads and writes, and sends, of several buffers at once.
//!
//! # Safety
//!
//! The vectors and headers are boxed, so they do not move with the memory; they point to the
//! buffers, whose bytes do not move (`IoBuf`, `IoBufMut`).
#![allow(unsafe_code, reason = "implements Kind")]

use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::op::request::RW_LEN_MAX;
use crate::op::{Kind, Outcome, ReadMode, Request, SharedFd};

/// Most segments that one call takes (`UIO_MAXIOV`).
pub(crate) const SEGMENTS_MAX: usize = 1024;

/// The buffers of a vectored operation and the vector that points to them.
#[derive(Debug)]
pub(crate) struct Segments<B> {
    bufs: Vec<B>,
    iovecs: Vec<libc::iovec>,
    header: Option<Box<libc::msghdr>>,
    fd: SharedFd,
}

impl<B> Segments<B> {
    pub(crate) fn new(bufs: Vec<B>, fd: SharedFd) -> Self {
        Self {
            bufs,
            iovecs: Vec::new(),
            header: None,
            fd,
        }
    }

    /// Points the vector at the ranges, skipping `skip` bytes; returns the sum of the lengths.
    /// No more than one call can move, in segments and in bytes, is described.
    fn point(&mut self, mut skip: usize, mut range: impl FnMut(&mut B) -> (*mut u8, usize)) -> u64 {
        let mut total = 0;
        self.iovecs.clear();
        for buf in &mut self.bufs {
            let (ptr, len) = range(buf);
            let skipped = skip.min(len);
            skip -= skipped;
            let len = (len - skipped).min(RW_LEN_MAX - total);
            if len == 0 {
                continue;
            }
            if self.iovecs.len() == SEGMENTS_MAX {
                break;
            }
            self.iovecs.push(libc::iovec {
                // SAFETY: `skipped` is at most the length of the range.
                iov_base: unsafe { ptr.add(skipped) }.cast(),
                iov_len: len,
            });
            total += len;
        }
        total as u64
    }

    fn count(&self) -> u32 {
        u32::try_from(self.iovecs.len()).expect("at most SEGMENTS_MAX")
    }
}

/// Reads into buffers in turn, from `offset` on, each up to its capacity.
#[derive(Debug)]
pub(crate) struct Readv<B> {
    offset: u64,
    /// Bytes at the front of the buffers that are filled already.
    skip: usize,
    mode: ReadMode,
    direct: bool,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Readv<B> {
    pub(crate) fn new(offset: u64, skip: usize, mode: ReadMode, direct: bool) -> Self {
        Self {
            offset,
            skip,
            mode,
            direct,
            buffer: std::marker::PhantomData,
        }
    }
}

// SAFETY: the request points to the heap allocation of `iovecs`, which is not touched again
// until completion; its entries are buffers' ranges, stable by the contract of IoBufMut.
unsafe impl<B: IoBufMut> Kind for Readv<B> {
    type Memory = Segments<B>;
    type Output = BufResult<usize, Vec<B>>;

    fn request(&self, memory: &mut Segments<B>, _owner: usize) -> Request {
        let len = memory.point(self.skip, |buf| {
            let capacity = buf.capacity();
            (buf.stable_mut_ptr(), capacity)
        });
        Request::Readv {
            fd: memory.fd.raw(),
            iovecs: memory.iovecs.as_ptr(),
            count: memory.count(),
            offset: self.offset,
            len,
            mode: self.mode,
            direct: self.direct,
        }
    }

    fn complete(&self, outcome: Outcome, mut memory: Segments<B>) -> Self::Output {
        let result = outcome.into_result().map(|count| {
            let mut left = self.skip + count as usize;
            for buf in &mut memory.bufs {
                let filled = left.min(buf.capacity());
                // SAFETY: `skip` bytes were filled before, and the kernel has written `count`
                // behind them, filling the buffers in turn.
                unsafe { buf.set_init(filled) };
                left -= filled;
            }
            count as usize
        });
        (result, memory.bufs)
    }
}

/// Writes buffers in turn, from `offset` on.
#[derive(Debug)]
pub(crate) struct Writev<B> {
    offset: u64,
    skip: usize,
    handed_off: bool,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Writev<B> {
    pub(crate) fn new(offset: u64, skip: usize, handed_off: bool) -> Self {
        Self {
            offset,
            skip,
            handed_off,
            buffer: std::marker::PhantomData,
        }
    }
}

// SAFETY: as for Readv, with ranges of initialised bytes, stable by the contract of IoBuf.
unsafe impl<B: IoBuf> Kind for Writev<B> {
    type Memory = Segments<B>;
    type Output = BufResult<usize, Vec<B>>;

    fn request(&self, memory: &mut Segments<B>, _owner: usize) -> Request {
        memory.point(self.skip, |buf| {
            (buf.stable_ptr().cast_mut(), buf.init_len())
        });
        Request::Writev {
            fd: memory.fd.raw(),
            iovecs: memory.iovecs.as_ptr(),
            count: memory.count(),
            offset: self.offset,
            handed_off: self.handed_off,
        }
    }

    fn complete(&self, outcome: Outcome, memory: Segments<B>) -> Self::Output {
        (
            outcome.into_result().map(|count| count as usize),
            memory.bufs,
        )
    }
}

/// Sends buffers in turn over a socket.
#[derive(Debug)]
pub(crate) struct SendVectored<B> {
    all: bool,
    skip: usize,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> SendVectored<B> {
    pub(crate) fn new(all: bool, skip: usize) -> Self {
        Self {
            all,
            skip,
            buffer: std::marker::PhantomData,
        }
    }
}

// SAFETY: as for Writev; the message header is boxed and points to the vector alone.
unsafe impl<B: IoBuf> Kind for SendVectored<B> {
    type Memory = Segments<B>;
    type Output = BufResult<usize, Vec<B>>;

    fn request(&self, memory: &mut Segments<B>, _owner: usize) -> Request {
        memory.point(self.skip, |buf| {
            (buf.stable_ptr().cast_mut(), buf.init_len())
        });
        let wait_all = if self.all { libc::MSG_WAITALL } else { 0 };
        let header = memory.header.insert(Box::new(libc::msghdr {
            msg_name: std::ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: memory.iovecs.as_mut_ptr(),
            msg_iovlen: memory.iovecs.len(),
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        }));
        Request::SendMsg {
            fd: memory.fd.raw(),
            msg: std::ptr::from_ref::<libc::msghdr>(header),
            flags: (libc::MSG_NOSIGNAL | wait_all).unsigned_abs(),
        }
    }

    fn complete(&self, outcome: Outcome, memory: Segments<B>) -> Self::Output {
        (
            outcome.into_result().map(|count| count as usize),
            memory.bufs,
        )
    }
}
