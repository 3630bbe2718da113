//! A read that goes on until its buffer is full or the file ends.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use corelane::buf::{BufResult, IoBufMut};
use corelane::fs::{File, ReadFull, ReadMode};

use super::part::Part;
use crate::traits::ReadHow;
use crate::uninit;

/// The future of a read into an owned buffer: the byte count or the error, and the buffer.
#[must_use = "a read does nothing unless it is awaited"]
pub struct FullRead<B: IoBufMut> {
    state: State<B>,
}

enum State<B: IoBufMut> {
    Reading(ReadFull<B>),
    Ready(io::Result<usize>, B),
    Taken,
}

impl<B: IoBufMut> FullRead<B> {
    /// Reads up to `len` bytes at `pos` of `file` into `buf`.
    #[inline]
    pub(super) fn new(file: &File, pos: u64, len: usize, buf: B) -> Self {
        Self::issued(file, pos, len, buf, ReadHow::Auto)
    }

    /// Reads as [`new`](Self::new) does, issued as told. A file that cannot tell what is cached
    /// is read as any.
    #[inline]
    pub(super) fn issued(file: &File, pos: u64, len: usize, buf: B, how: ReadHow) -> Self {
        let mode = match how {
            ReadHow::Auto | ReadHow::Inline => ReadMode::Inline,
            ReadHow::NoWait => ReadMode::NoWait,
            ReadHow::Async => ReadMode::Async,
        };
        // The kernel has no number for positions beyond, so nothing is there; the largest of them
        // would mean the file's own cursor.
        let addressable = i64::MAX.cast_unsigned().saturating_sub(pos);
        let len = uninit::clamp(len.min(buf.capacity()), addressable);
        if len == 0 {
            return Self::nothing(buf);
        }
        Self {
            state: State::Reading(file.read_full_at(buf, len, pos, mode)),
        }
    }

    /// Gives `buf` back, emptied.
    #[cold]
    fn nothing(buf: B) -> Self {
        Self {
            state: State::Ready(Ok(0), Part::new(buf, 0).into_emptied()),
        }
    }

    /// Gives `buf` back with an error.
    pub(super) fn failed(error: io::Error, buf: B) -> Self {
        Self {
            state: State::Ready(Err(error), buf),
        }
    }
}

impl<B: IoBufMut> Future for FullRead<B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Reading(read) = &mut self.state {
            return Pin::new(read).poll(cx);
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(result, buf) => Poll::Ready((result, buf)),
            _ => panic!("a read was polled after it was done"),
        }
    }
}

// The buffer is not pinned by the future: it is at a stable address of its own.
impl<B: IoBufMut> Unpin for FullRead<B> {}

impl<B: IoBufMut> fmt::Debug for FullRead<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Reading(_) => "reading",
            State::Ready(..) => "ready",
            State::Taken => "taken",
        };
        f.debug_struct("FullRead")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
