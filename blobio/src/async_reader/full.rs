//! A read that goes on until its buffer is full or the file ends.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corelane::buf::{BufResult, IoBufMut};
use corelane::fs::{File, ReadAt, ReadMode};

use super::part::Part;
use crate::traits::ReadHow;
use crate::uninit;

/// The future of a read into an owned buffer: the byte count or the error, and the buffer.
#[must_use = "a read does nothing unless it is awaited"]
pub struct FullRead<B: IoBufMut> {
    state: State<B>,
}

enum State<B: IoBufMut> {
    Reading {
        file: File,
        pos: u64,
        mode: ReadMode,
        read: ReadAt<Part<B>>,
    },
    Ready(io::Result<usize>, B),
    Taken,
}

impl<B: IoBufMut> FullRead<B> {
    /// Reads up to `len` bytes at `pos` of `file` into `buf`.
    pub(super) fn new(file: &File, pos: u64, len: usize, buf: B) -> Self {
        Self::issued(file, pos, len, buf, ReadHow::Auto)
    }

    /// Reads as [`new`](Self::new) does, issued as told. A file that cannot tell what is cached
    /// is read as any.
    pub(super) fn issued(file: &File, pos: u64, len: usize, buf: B, how: ReadHow) -> Self {
        let mode = match how {
            ReadHow::Auto | ReadHow::Inline => ReadMode::Inline,
            ReadHow::NoWait => ReadMode::NoWait,
            ReadHow::Async => ReadMode::Async,
        };
        // The kernel has no number for positions beyond, so nothing is there; the largest of them
        // would mean the file's own cursor.
        let addressable = i64::MAX.cast_unsigned().saturating_sub(pos);
        let part = Part::new(buf, uninit::clamp(len, addressable));
        let state = if part.is_full() {
            State::Ready(Ok(0), part.into_emptied())
        } else {
            State::Reading {
                file: file.clone(),
                pos,
                mode,
                read: file.read_at_with(part, pos, mode),
            }
        };
        Self { state }
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let State::Reading {
            file,
            pos,
            mode,
            read,
        } = &mut self.state
        {
            let (result, part) = ready!(Pin::new(&mut *read).poll(cx));
            let ended = match result {
                Ok(got) => got == 0 || part.is_full(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => false,
                Err(e) if *mode == ReadMode::NoWait && cannot_tell(&e) => {
                    *mode = ReadMode::Inline;
                    false
                }
                Err(e) => {
                    self.state = State::Taken;
                    return Poll::Ready((Err(e), part.into_inner()));
                }
            };
            if ended {
                let filled = part.filled();
                self.state = State::Taken;
                return Poll::Ready((Ok(filled), part.into_inner()));
            }
            let at = *pos + part.filled() as u64;
            *read = file.read_at_with(part, at, *mode);
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(result, buf) => Poll::Ready((result, buf)),
            _ => panic!("a read was polled after it was done"),
        }
    }
}

/// Says whether the file refuses to be asked for what is cached (`EOPNOTSUPP`).
fn cannot_tell(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

// The buffer is not pinned by the future: it is at a stable address of its own.
impl<B: IoBufMut> Unpin for FullRead<B> {}

impl<B: IoBufMut> fmt::Debug for FullRead<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Reading { .. } => "reading",
            State::Ready(..) => "ready",
            State::Taken => "taken",
        };
        f.debug_struct("FullRead")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
