//! What is asked of a queue: a range of a blob, where to, and how urgent.

use std::fmt;
use std::io;
use std::time::Instant;

use super::Class;
use super::blob::QueuedBlob;
use super::remote::RemoteQueuedBlob;
use crate::async_reader::Destination;

/// Makes the destination of a read just before it is issued.
pub(super) type Allocator = Box<dyn FnOnce(usize) -> io::Result<Destination>>;
type RemoteAllocator = Box<dyn FnOnce(usize) -> io::Result<Destination> + Send>;

/// A request for a range of a blob.
///
/// What is not said costs nothing: a request of class [`Normal`](Class::Normal), without deadline,
/// with tag 0 and no name, that ends early only at the end of the blob.
pub struct Request {
    pub(super) blob: QueuedBlob,
    pub(super) options: Options,
    pub(super) to: To,
}

/// A request that another thread makes of a queue; as [`Request`], and `Send`.
pub struct RemoteRequest {
    pub(super) blob: RemoteQueuedBlob,
    pub(super) options: Options,
    to: RemoteTo,
}

/// Where the bytes go.
pub(super) enum To {
    Ready(Destination),
    Allocate(Allocator),
}

enum RemoteTo {
    Ready(Destination),
    Allocate(RemoteAllocator),
}

/// What is the same for both kinds of requests.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) pos: u64,
    pub(super) len: usize,
    pub(super) class: Class,
    pub(super) exact: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) tag: u64,
    pub(super) name: Option<Box<str>>,
}

impl Options {
    fn new(pos: u64, len: usize) -> Self {
        Self {
            pos,
            len,
            class: Class::Normal,
            exact: false,
            deadline: None,
            tag: 0,
            name: None,
        }
    }
}

macro_rules! builders {
    () => {
        /// Puts the request into a class; [`Class::Normal`] otherwise.
        #[must_use]
        pub fn class(mut self, class: Class) -> Self {
            self.options.class = class;
            self
        }

        /// Says when the bytes are needed. As the deadline comes near the request goes before
        /// others; one that is missed is counted, and the request is read all the same.
        #[must_use]
        pub fn deadline(mut self, deadline: Instant) -> Self {
            self.options.deadline = Some(deadline);
            self
        }

        /// Marks the request, to be cancelled or counted with others that have the same bits.
        #[must_use]
        pub fn tag(mut self, tag: u64) -> Self {
            self.options.tag = tag;
            self
        }

        /// Names the request, to be told apart in statistics.
        #[must_use]
        pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
            self.options.name = Some(name.into());
            self
        }

        /// Makes the end of the blob before the last byte an error, `UnexpectedEof`, instead of a
        /// smaller count.
        #[must_use]
        pub fn exact(mut self) -> Self {
            self.options.exact = true;
            self
        }

        /// Gives the destination back, if there is one already.
        #[must_use]
        pub fn into_destination(self) -> Option<Destination> {
            self.to.into_destination()
        }
    };
}

impl Request {
    /// Asks for `len` bytes at `pos` of `blob`, in `to`.
    ///
    /// A vector is emptied and grown when the read is issued; any other destination has to have
    /// room for `len` bytes, or the request fails with `InvalidInput`.
    #[must_use]
    pub fn new(blob: &QueuedBlob, pos: u64, len: usize, to: impl Into<Destination>) -> Self {
        Self {
            blob: blob.clone(),
            options: Options::new(pos, len),
            to: To::Ready(to.into()),
        }
    }

    /// Asks for `len` bytes at `pos` of `blob`, in what `allocate` makes.
    ///
    /// `allocate` is called with `len` on the queue's worker just before the read is issued, so
    /// that memory is taken for what is under way and not for what waits. A panic or an error of
    /// it fails this request and no other. It must not block.
    #[must_use]
    pub fn allocated(
        blob: &QueuedBlob,
        pos: u64,
        len: usize,
        allocate: impl FnOnce(usize) -> io::Result<Destination> + 'static,
    ) -> Self {
        Self {
            blob: blob.clone(),
            options: Options::new(pos, len),
            to: To::Allocate(Box::new(allocate)),
        }
    }

    /// Asks for `len` bytes at `pos` of `blob`, in a vector that is made when the read is issued.
    #[must_use]
    pub fn vec(blob: &QueuedBlob, pos: u64, len: usize) -> Self {
        Self::new(blob, pos, len, Vec::new())
    }

    builders!();

    /// Takes the destination out, if there is one already.
    pub(super) fn take_destination(&mut self) -> Option<Destination> {
        let nothing = To::Ready(Destination::Vec(Vec::new()));
        match std::mem::replace(&mut self.to, nothing) {
            To::Ready(destination) => Some(destination),
            allocate @ To::Allocate(_) => {
                self.to = allocate;
                None
            }
        }
    }
}

impl RemoteRequest {
    /// As [`Request::new`].
    #[must_use]
    pub fn new(blob: &RemoteQueuedBlob, pos: u64, len: usize, to: impl Into<Destination>) -> Self {
        Self {
            blob: blob.clone(),
            options: Options::new(pos, len),
            to: RemoteTo::Ready(to.into()),
        }
    }

    /// As [`Request::allocated`]; `allocate` is called on the queue's worker.
    #[must_use]
    pub fn allocated(
        blob: &RemoteQueuedBlob,
        pos: u64,
        len: usize,
        allocate: impl FnOnce(usize) -> io::Result<Destination> + Send + 'static,
    ) -> Self {
        Self {
            blob: blob.clone(),
            options: Options::new(pos, len),
            to: RemoteTo::Allocate(Box::new(allocate)),
        }
    }

    /// As [`Request::vec`].
    #[must_use]
    pub fn vec(blob: &RemoteQueuedBlob, pos: u64, len: usize) -> Self {
        Self::new(blob, pos, len, Vec::new())
    }

    builders!();

    /// Turns the request into one of the blob's own worker.
    pub(super) fn into_local(self, blob: QueuedBlob) -> Request {
        let to = match self.to {
            RemoteTo::Ready(dest) => To::Ready(dest),
            RemoteTo::Allocate(allocate) => To::Allocate(allocate),
        };
        Request {
            blob,
            options: self.options,
            to,
        }
    }
}

impl To {
    pub(super) fn into_destination(self) -> Option<Destination> {
        match self {
            Self::Ready(dest) => Some(dest),
            Self::Allocate(_) => None,
        }
    }
}

impl RemoteTo {
    fn into_destination(self) -> Option<Destination> {
        match self {
            Self::Ready(dest) => Some(dest),
            Self::Allocate(_) => None,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRequest")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
