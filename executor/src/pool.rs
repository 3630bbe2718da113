//! The current worker's buffer pool.

use std::io;
use std::rc::Rc;

use crate::buf::PoolBuf;
use crate::buf::pool::PoolCore;
use crate::worker::context;

/// Returns the current worker's buffer pool, which is mapped, and registered with the ring, on
/// first use. Its size is [`Config::pool`](crate::Config::pool).
///
/// # Errors
///
/// Those of mmap(2). A pool that may not be locked in memory works unregistered: see
/// [`Pool::is_registered`].
///
/// # Panics
///
/// Panics outside of a worker.
///
/// # Examples
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// let file = corelane::fs::File::open("/proc/self/exe").await?;
/// let buf = corelane::pool()?.get().await;
/// let (count, buf) = file.read_at(buf, 0).await;
/// assert_eq!(&buf[..4], b"\x7fELF");
/// # assert_eq!(count?, buf.len());
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn pool() -> io::Result<Pool> {
    let core = context::current();
    core.pool().map(|pool| Pool {
        core: Rc::clone(pool),
    })
}

/// A worker's pool of page-aligned buffers of one size.
#[derive(Clone, Debug)]
pub struct Pool {
    core: Rc<PoolCore>,
}

impl Pool {
    /// Takes a buffer, or returns `None` when all are out.
    #[must_use]
    pub fn try_get(&self) -> Option<PoolBuf> {
        self.core.try_get()
    }

    /// Takes a buffer, waiting until one comes home when all are out.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn get(&self) -> PoolBuf {
        self.core.get().await
    }

    /// Returns how many bytes each buffer holds.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.core.buffer_len()
    }

    /// Says whether the buffers are registered with the ring. Where they are not, because too
    /// little memory may be locked (`RLIMIT_MEMLOCK`), reads work all the same, and the kernel
    /// looks the pages up each time.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.core.is_registered()
    }
}
