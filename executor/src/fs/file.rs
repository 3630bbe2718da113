//! A file, read and written by position.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::OpenOptions;
use super::metadata::{Metadata, stat};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::Op;
use crate::op::kinds::close::{Close, Closing};
use crate::op::kinds::fadvise::Fadvise;
use crate::op::kinds::fsync::Fsync;
use crate::op::kinds::read::Read;
use crate::op::kinds::vectored::{Readv, Segments, Writev};
use crate::op::kinds::write::Write;
use crate::op::{Kind, ReadMode, SharedFd};
use crate::worker::{Core, context};

/// An open file, bound to the worker that opened it.
///
/// Clones share the descriptor, which is closed when the last of them, and the last operation on
/// it, is gone: there and then, or, where the file system asks somebody else (NFS, FUSE), by a helper
/// of the worker that is current then, after its next turn. [`close`](Self::close) says when.
#[derive(Clone)]
pub struct File {
    core: Rc<Core>,
    fd: SharedFd,
    /// How a read is issued of which nothing else is said, and whether writes are handed off:
    /// decided when the file is opened.
    mode: ReadMode,
    /// Read past the page cache.
    pub(super) direct: bool,
}

/// How a range of a file will be read: posix_fadvise(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// No special treatment.
    Normal,
    /// In order: more is read ahead.
    Sequential,
    /// In no order: nothing is read ahead.
    Random,
    /// Soon: reading begins.
    WillNeed,
    /// Not again: cached pages may go.
    DontNeed,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    ///
    /// # Panics
    ///
    /// The future panics when it is first polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the operation; a file that was opened all the same is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for writing, made or cut to nothing.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    ///
    /// # Panics
    ///
    /// The future panics when it is first polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .await
    }

    /// Takes over a file of the standard library, on the current worker.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[must_use]
    #[track_caller]
    pub fn from_std(file: std::fs::File) -> Self {
        Self::from_fd(&context::current(), file.into())
    }

    /// Makes an operation on the file's worker.
    #[inline]
    pub(super) fn op<K: Kind>(&self, kind: K, memory: K::Memory) -> Op<K> {
        self.core.op(kind, memory)
    }

    #[inline]
    pub(super) fn shared_fd(&self) -> SharedFd {
        self.fd.clone()
    }

    /// Returns how a read is issued that is to be issued as told.
    #[inline]
    pub(super) fn mode_of(&self, told: ReadMode) -> ReadMode {
        match told {
            ReadMode::Inline => self.mode,
            ReadMode::NoWait | ReadMode::Async => told,
        }
    }

    /// Says whether its reads and writes are handed off, as they cannot be tried without waiting.
    pub(crate) fn is_handed_off(&self) -> bool {
        self.mode == ReadMode::Async
    }

    pub(super) fn from_fd(core: &Rc<Core>, fd: OwnedFd) -> Self {
        // A file of FUSE claims to be ready at any time, or has its server asked whether it is, and
        // then keeps an inline read or write, and with it the worker, for as long as its server
        // likes.
        let waits = crate::sys::waits(fd.as_fd());
        let mode = if waits.transfers {
            ReadMode::Async
        } else {
            ReadMode::Inline
        };
        let direct = crate::sys::is_direct(fd.as_fd());
        let fd = SharedFd::closed_by(fd, waits.close.then_some(context::close_behind as _));
        Self {
            core: Rc::clone(core),
            direct,
            fd,
            mode,
        }
    }

    /// Reads at `offset` into `buf`, up to its capacity, and gives it back with the count.
    ///
    /// Fewer bytes than fit come at the end of the file, and may come before it (a signal, a
    /// pipe); zero is the end, or a buffer without capacity. A buffer of the worker's own pool is
    /// read into by its registration.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the buffer, which is freed when the kernel is done with it.
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> ReadAt<B> {
        self.read_at_with(buf, offset, ReadMode::Inline)
    }

    /// Reads as [`read_at`](Self::read_at) does, issued as told.
    ///
    /// # Errors
    ///
    /// Those of read(2); with [`ReadMode::NoWait`] also `WouldBlock`, where nothing at `offset` is
    /// cached, and `EOPNOTSUPP`, where the file cannot tell.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at`](Self::read_at).
    pub fn read_at_with<B: IoBufMut>(&self, buf: B, offset: u64, mode: ReadMode) -> ReadAt<B> {
        let kind = Read::new(offset, self.mode_of(mode), self.direct);
        ReadAt {
            op: self.core.op(kind, (buf, self.fd.clone())),
        }
    }

    /// Reads at `offset` until `buf` is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` naming offset and length when the file ends before; otherwise those of
    /// read(2). The buffer then holds what was read last, if anything.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at`](Self::read_at).
    pub async fn read_exact_at<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<(), B> {
        let len = buf.capacity();
        let (result, bufs) = self.readv_exact(vec![buf], offset, len).await;
        (result, only(bufs))
    }

    /// Reads at `offset` into `bufs` in turn, each up to its capacity.
    ///
    /// # Errors
    ///
    /// Those of preadv(2). No more than 1,024 segments and 2 GiB are read at once.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at`](Self::read_at).
    pub async fn readv_at<B: IoBufMut>(
        &self,
        bufs: Vec<B>,
        offset: u64,
    ) -> BufResult<usize, Vec<B>> {
        self.core
            .op(
                Readv::new(offset, 0, self.mode, self.direct),
                Segments::new(bufs, self.fd.clone()),
            )
            .await
    }

    async fn readv_exact<B: IoBufMut>(
        &self,
        mut bufs: Vec<B>,
        offset: u64,
        len: usize,
    ) -> BufResult<(), Vec<B>> {
        let mut done = 0;
        while done < len {
            let kind = Readv::new(offset + done as u64, done, self.mode, self.direct);
            let (result, back) = self
                .core
                .op(kind, Segments::new(bufs, self.fd.clone()))
                .await;
            bufs = back;
            match result {
                Ok(0) => return (Err(unexpected_eof(offset, len, done)), bufs),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), bufs),
            }
        }
        (Ok(()), bufs)
    }

    /// Writes `buf` at `offset` and gives it back with the count.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the buffer; the write may happen all the same.
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> WriteAt<B> {
        WriteAt {
            op: self.core.op(
                Write::new(offset, self.is_handed_off()),
                (buf, self.fd.clone()),
            ),
        }
    }

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    ///
    /// Those of write(2); `WriteZero` when the file takes no more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a part written.
    pub async fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<(), B> {
        let len = buf.init_len();
        let mut bufs = vec![buf];
        let mut done = 0;
        let mut result = Ok(());
        while done < len {
            let kind = Writev::new(offset + done as u64, done, self.is_handed_off());
            let (written, back) = self
                .core
                .op(kind, Segments::new(bufs, self.fd.clone()))
                .await;
            bufs = back;
            match written {
                Ok(0) => result = Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
            if result.is_err() {
                break;
            }
        }
        (result, only(bufs))
    }

    /// Writes `bufs` in turn at `offset`.
    ///
    /// # Errors
    ///
    /// Those of pwritev(2). No more than 1,024 segments and 2 GiB are written at once.
    ///
    /// # Cancel safety
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn writev_at<B: IoBuf>(&self, bufs: Vec<B>, offset: u64) -> BufResult<usize, Vec<B>> {
        self.core
            .op(
                Writev::new(offset, 0, self.is_handed_off()),
                Segments::new(bufs, self.fd.clone()),
            )
            .await
    }

    /// Asks for the file's metadata (statx(2)).
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn statx(&self) -> io::Result<Metadata> {
        stat(&self.core, Some(self.fd.clone()), c"".into()).await
    }

    /// Flushes content and metadata to the device (fsync(2)).
    ///
    /// # Errors
    ///
    /// Those of fsync(2).
    ///
    /// # Cancel safety
    ///
    /// The flush may happen all the same.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.core
            .op(Fsync { data_only: false }, self.fd.clone())
            .await
    }

    /// Flushes content, and the metadata that reading it needs, to the device (fdatasync(2)).
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2).
    ///
    /// # Cancel safety
    ///
    /// The flush may happen all the same.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.core
            .op(Fsync { data_only: true }, self.fd.clone())
            .await
    }

    /// Says how `len` bytes at `offset` will be read; zero means up to the end
    /// (posix_fadvise(2)).
    ///
    /// # Errors
    ///
    /// Those of posix_fadvise(2).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn advise(&self, offset: u64, len: u32, advice: Advice) -> io::Result<()> {
        let advice = match advice {
            Advice::Normal => libc::POSIX_FADV_NORMAL,
            Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
            Advice::Random => libc::POSIX_FADV_RANDOM,
            Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
            Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
        };
        self.core
            .op(
                Fadvise {
                    offset,
                    len,
                    advice,
                },
                self.fd.clone(),
            )
            .await
    }

    /// Closes the descriptor and says how that went.
    ///
    /// While clones or operations share the descriptor, it stays open, and the answer is `Ok`.
    ///
    /// # Errors
    ///
    /// Those of close(2), for the last owner.
    ///
    /// # Cancel safety
    ///
    /// The descriptor is closed all the same.
    pub async fn close(self) -> io::Result<()> {
        let waits = self.fd.closes_elsewhere();
        match self.fd.try_unwrap() {
            Ok(fd) => self.core.op(Close, Closing::of_file(fd, waits)).await,
            Err(_shared) => Ok(()),
        }
    }
}

/// Takes the buffer out of the list of one that an operation gave back.
fn only<B>(mut bufs: Vec<B>) -> B {
    bufs.pop()
        .expect("a vectored operation gives its buffers back")
}

fn unexpected_eof(offset: u64, len: usize, done: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{len} bytes were asked for at offset {offset}, but the file ends after {done}"),
    )
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("fd", &self.fd.raw())
            .finish_non_exhaustive()
    }
}

/// The future of [`File::read_at`].
#[derive(Debug)]
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadAt<B: IoBufMut> {
    op: Op<Read<B>>,
}

impl<B: IoBufMut> Future for ReadAt<B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.op).poll(cx)
    }
}

/// The future of [`File::write_at`].
#[derive(Debug)]
#[must_use = "a write does nothing unless it is awaited"]
pub struct WriteAt<B: IoBuf> {
    op: Op<Write<B>>,
}

impl<B: IoBuf> Future for WriteAt<B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.op).poll(cx)
    }
}
