//! What becomes of a request that is not read, and of one that is not taken.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a request of a queue has no bytes to show.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The request was cancelled: by its handle, its batch, a tag, or by dropping its handle.
    Cancelled,
    /// The queue was shut down before the request was read.
    ShutDown,
    /// The worker of the queue has ended. A destination that the kernel had at the time is dropped
    /// when the kernel is done with it.
    WorkerGone,
    /// The destination's allocator failed.
    Allocator(Arc<io::Error>),
    /// Code of the caller or of the blob panicked; the text says which.
    Panicked(&'static str),
    /// Reading failed. Requests that shared the read share the error.
    Io(Arc<io::Error>),
}

impl ReadError {
    pub(super) fn io(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }

    /// Says whether the request was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Gives the kind of the error, as `std::io` has them.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Cancelled => io::ErrorKind::Interrupted,
            Self::ShutDown | Self::WorkerGone => io::ErrorKind::BrokenPipe,
            Self::Panicked(_) => io::ErrorKind::Other,
            Self::Allocator(error) | Self::Io(error) => error.kind(),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the read was cancelled"),
            Self::ShutDown => f.write_str("the queue was shut down before the read"),
            Self::WorkerGone => f.write_str("the worker of the queue has ended"),
            Self::Allocator(error) => write!(f, "no destination for the read: {error}"),
            Self::Panicked(who) => write!(f, "{who} panicked"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Allocator(error) | Self::Io(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<ReadError> for io::Error {
    /// The error itself, errno included, where no other request shares it.
    fn from(error: ReadError) -> Self {
        let error = match error {
            ReadError::Io(inner) => match Arc::try_unwrap(inner) {
                Ok(inner) => return inner,
                Err(shared) => ReadError::Io(shared),
            },
            other => other,
        };
        // `Interrupted` would invite generic code to try again.
        let kind = match error.kind() {
            io::ErrorKind::Interrupted => io::ErrorKind::Other,
            kind => kind,
        };
        Self::new(kind, error)
    }
}

/// Why a queue did not take what was submitted; it comes back.
pub enum SubmitError<T> {
    /// No place is free, or others wait for theirs. Only the `try_` forms say so.
    Full(T),
    /// The queue was shut down, or its worker has ended.
    Closed(T),
    /// The blob is registered with another queue.
    ForeignBlob(T),
    /// There are more requests in the batch than a batch may have, 2^32 - 1.
    TooMany(T),
}

impl<T> SubmitError<T> {
    /// Gives back what was not taken.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value)
            | Self::Closed(value)
            | Self::ForeignBlob(value)
            | Self::TooMany(value) => value,
        }
    }

    /// Says whether waiting for a place would help.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> SubmitError<U> {
        match self {
            Self::Full(value) => SubmitError::Full(map(value)),
            Self::Closed(value) => SubmitError::Closed(map(value)),
            Self::ForeignBlob(value) => SubmitError::ForeignBlob(map(value)),
            Self::TooMany(value) => SubmitError::TooMany(map(value)),
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "the queue is shut down",
            Self::ForeignBlob(_) => "the blob is registered with another queue",
            Self::TooMany(_) => "a batch has more than 2^32 - 1 requests",
        }
    }
}

impl<T> fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
            Self::ForeignBlob(_) => "ForeignBlob(..)",
            Self::TooMany(_) => "TooMany(..)",
        })
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<T> Error for SubmitError<T> {}

impl<T> From<SubmitError<T>> for io::Error {
    fn from(error: SubmitError<T>) -> Self {
        let kind = match error {
            SubmitError::Full(_) => io::ErrorKind::WouldBlock,
            SubmitError::Closed(_) => io::ErrorKind::BrokenPipe,
            SubmitError::ForeignBlob(_) | SubmitError::TooMany(_) => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error.text())
    }
}
