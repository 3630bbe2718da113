//! A read that goes on until it has all that it was asked for, or the file ends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::File;
use crate::buf::{BufResult, IoBufMut};
use crate::driver::Op;
use crate::op::kinds::read::ReadRest;
use crate::op::{ReadMode, SharedFd};

impl File {
    /// Reads at `offset` into `buf`, from its start and up to `len` bytes or its capacity, issued as
    /// told, and gives it back with the count: fewer bytes only at the end of the file.
    ///
    /// As a loop over [`read_at_with`](Self::read_at_with), but that a read which is answered in one
    /// piece, as most are, costs no more than one. A read that a signal ended is issued again, and
    /// one with [`ReadMode::NoWait`] of a file that cannot tell what is cached as with
    /// [`ReadMode::Inline`].
    ///
    /// # Errors
    ///
    /// Those of read(2); with [`ReadMode::NoWait`] also `WouldBlock`, where nothing is cached at
    /// the offset that the read has come to. What was read before is in the buffer then.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at`](Self::read_at).
    ///
    /// # Examples
    ///
    /// ```
    /// use corelane::fs::{File, ReadMode};
    ///
    /// # #[corelane::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let file = File::open("/proc/self/exe").await?;
    /// let buf = Vec::with_capacity(64);
    /// let (count, magic) = file.read_full_at(buf, 4, 0, ReadMode::Inline).await;
    /// assert_eq!((count?, magic.as_slice()), (4, &b"\x7fELF"[..]));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn read_full_at<B: IoBufMut>(
        &self,
        buf: B,
        len: usize,
        offset: u64,
        mode: ReadMode,
    ) -> ReadFull<B> {
        let end = len.min(buf.capacity());
        let kind = ReadRest::new(
            offset,
            end,
            self.mode_of(mode),
            self.mode_of(ReadMode::Inline),
            self.direct,
        );
        ReadFull {
            op: self.op(kind, (buf, self.shared_fd())),
        }
    }
}

/// The future of [`File::read_full_at`].
#[derive(Debug)]
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadFull<B: IoBufMut> {
    op: Op<ReadRest<B>>,
}

impl<B: IoBufMut> ReadFull<B> {
    /// Asks for what is left; true when the read is to be polled again.
    #[cold]
    #[inline(never)]
    fn goes_on(&mut self, result: &io::Result<usize>) -> bool {
        match result {
            Ok(_) => true,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => true,
                io::ErrorKind::Unsupported => self.op.kind_mut().wait(),
                _ => false,
            },
        }
    }
}

impl<B: IoBufMut> Future for ReadFull<B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let (result, memory): (_, (B, SharedFd)) = ready!(Pin::new(&mut this.op).poll(cx));
            if let Ok(count) = result
                && (!this.op.kind_mut().advance(count) || count == 0)
            {
                return Poll::Ready((Ok(this.op.kind_mut().done()), memory.0));
            }
            if !this.goes_on(&result) {
                return Poll::Ready((result, memory.0));
            }
            this.op.again(memory);
        }
    }
}
