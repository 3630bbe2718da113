//! Readiness of foreign descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use crate::op::kinds::poll::Poll;
use crate::worker::{Core, context};

/// A descriptor of somebody else's (a library's socket, a pipe, a timerfd) whose readiness can
/// be awaited on the worker's ring (poll(2)).
///
/// # Examples
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// use std::io::{Read, Write};
/// let (mut one, two) = std::os::unix::net::UnixStream::pair()?;
/// let two = corelane::AsyncFd::new(two);
/// one.write_all(b"!")?;
/// two.readable().await?;
/// let mut byte = [0];
/// assert_eq!(two.get_ref().read(&mut byte)?, 1);
/// # Ok(())
/// # }
/// ```
pub struct AsyncFd<T> {
    core: Rc<Core>,
    inner: Rc<T>,
}

impl<T: AsFd + 'static> AsyncFd<T> {
    /// Wraps `inner`, on the current worker.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[must_use]
    #[track_caller]
    pub fn new(inner: T) -> Self {
        Self {
            core: context::current(),
            inner: Rc::new(inner),
        }
    }

    /// Waits until a read would not block, because there is something to read, the other side
    /// has closed, or there is an error to fetch.
    ///
    /// # Errors
    ///
    /// Those of poll(2); `EPERM` for what cannot be polled, such as a regular file.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(libc::POLLIN).await
    }

    /// Waits until a write would not block.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(libc::POLLOUT).await
    }

    async fn ready(&self, events: i16) -> io::Result<()> {
        let events = u32::from(events.unsigned_abs());
        self.core
            .op(Poll::new(events), Rc::clone(&self.inner))
            .await
            .map(drop)
    }

    /// Borrows what was wrapped.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.inner
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncFd")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
