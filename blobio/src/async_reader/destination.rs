//! What a queued read fills: one type for all kinds of memory that the caller may hand over.
//!
//! # Safety
//!
//! A [`Destination`] is a buffer by being one of corelane's buffers or a region's slice, to which
//! every call is passed on. [`Destination::copy_at`] claims bytes to be initialised after it has
//! written them, in order, from the first byte that was not.
#![allow(unsafe_code, reason = "implements corelane's buffer traits")]

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::slice;

use corelane::buf::{AlignedBuf, IoBuf, IoBufMut, PoolBuf};

use super::window::Window;
use crate::region::RegionSlice;
use crate::traits::OwnedRead;
use crate::uninit;

/// Memory that a read fills, handed over with the request and given back with its result.
#[derive(Debug)]
#[non_exhaustive]
pub enum Destination {
    /// A vector, which is emptied and grown as needed.
    Vec(Vec<u8>),
    /// A buffer of a worker's pool.
    Pool(PoolBuf),
    /// A buffer with an alignment.
    Aligned(AlignedBuf),
    /// A part of memory that the caller owns; it is never read back.
    Region(RegionSlice),
    /// A part of one of these, made by the queue for one read of several.
    #[doc(hidden)]
    Window(Window),
}

macro_rules! each {
    ($self:expr, $buf:ident => $call:expr) => {
        match $self {
            Destination::Vec($buf) => $call,
            Destination::Pool($buf) => $call,
            Destination::Aligned($buf) => $call,
            Destination::Region($buf) => $call,
            Destination::Window($buf) => $call,
        }
    };
}

impl Destination {
    /// Gives the bytes that have been read, from the start; none for a region, which is never
    /// read back.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Vec(buf) => buf,
            Self::Pool(buf) => buf,
            Self::Aligned(buf) => buf,
            Self::Region(_) => &[],
            Self::Window(window) => window.bytes(),
        }
    }

    /// Gives the vector, or the destination itself if it is none.
    ///
    /// # Errors
    ///
    /// The destination, when it is no vector.
    #[allow(
        clippy::result_large_err,
        reason = "the value that was given comes back"
    )]
    pub fn into_vec(self) -> Result<Vec<u8>, Self> {
        match self {
            Self::Vec(buf) => Ok(buf),
            other => Err(other),
        }
    }

    /// Gives how many bytes fit: of a vector, without growing it.
    #[must_use]
    pub fn capacity(&self) -> usize {
        IoBufMut::capacity(self)
    }

    /// Gives how many bytes have been read into it; none of a region, which does not count them.
    pub(crate) fn filled_len(&self) -> usize {
        self.init_len()
    }

    /// Says whether `len` bytes have been read into it, as far as they are counted, and `room` fit.
    #[inline]
    pub(crate) fn holds(&self, len: usize, room: usize) -> bool {
        (self.init_len() >= len || matches!(self, Self::Region(_))) && self.capacity() >= room
    }

    /// Empties the destination and sees to it that `len` bytes fit.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, naming both lengths, when they do not fit; `OutOfMemory` when a vector
    /// cannot grow.
    pub fn reserve(&mut self, len: usize) -> io::Result<()> {
        match self {
            Self::Vec(buf) => return uninit::make_room(buf, len),
            Self::Pool(buf) => buf.truncate(0),
            Self::Aligned(buf) => buf.truncate(0),
            Self::Region(_) => {}
            Self::Window(window) => window.truncate(0),
        }
        let room = self.capacity();
        if len <= room {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a read of {len} bytes does not fit its destination of {room}"),
        ))
    }

    /// Copies `bytes` to `at`. What lies between the bytes written so far and `at` is zeroed,
    /// but for a region, whose bytes are written only by what is copied.
    ///
    /// # Panics
    ///
    /// When the bytes end behind the [capacity](Self::capacity).
    pub fn copy_at(&mut self, at: usize, bytes: &[u8]) {
        let (room, end) = (self.capacity(), at.saturating_add(bytes.len()));
        assert!(
            end <= room,
            "{} bytes at {at} of a destination of {room}",
            bytes.len()
        );
        if let Self::Window(window) = self {
            return window.copy_at(at, bytes);
        }
        if let Self::Region(slice) = self {
            uninit::copy_into(&mut slice.as_uninit_mut()[at..], bytes);
            return;
        }
        let filled = self.init_len();
        let ptr = self.stable_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: the buffer's bytes up to its capacity may be written, `self` is borrowed
        // exclusively, and `MaybeUninit` needs no initialised bytes; none is de-initialised below.
        let all = unsafe { slice::from_raw_parts_mut(ptr, room) };
        if filled < at {
            all[filled..at].fill(MaybeUninit::new(0));
        }
        uninit::copy_into(&mut all[at..end], bytes);
        if end > filled {
            // SAFETY: the first `filled` bytes were initialised; those up to `at` were zeroed
            // where they were not, and those up to `end` copied. `end` is at most the capacity.
            unsafe { self.set_init(end) };
        }
    }

    /// Forgets the bytes behind `len`; of a region, which counts none, nothing.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Self::Vec(buf) => buf.truncate(len),
            Self::Pool(buf) => buf.truncate(len),
            Self::Aligned(buf) => buf.truncate(len),
            Self::Region(_) => {}
            Self::Window(window) => window.truncate(len),
        }
    }
}

impl From<Vec<u8>> for Destination {
    fn from(buf: Vec<u8>) -> Self {
        Self::Vec(buf)
    }
}

impl From<PoolBuf> for Destination {
    fn from(buf: PoolBuf) -> Self {
        Self::Pool(buf)
    }
}

impl From<AlignedBuf> for Destination {
    fn from(buf: AlignedBuf) -> Self {
        Self::Aligned(buf)
    }
}

impl From<RegionSlice> for Destination {
    fn from(slice: RegionSlice) -> Self {
        Self::Region(slice)
    }
}

impl From<Window> for Destination {
    fn from(window: Window) -> Self {
        Self::Window(window)
    }
}

// SAFETY: passed on to the buffer, which is one itself and is reached through this value alone.
unsafe impl IoBuf for Destination {
    fn stable_ptr(&self) -> *const u8 {
        each!(self, buf => buf.stable_ptr())
    }

    fn init_len(&self) -> usize {
        each!(self, buf => buf.init_len())
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        each!(self, buf => buf.fixed_index(owner))
    }
}

// SAFETY: as for IoBuf.
unsafe impl IoBufMut for Destination {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        each!(self, buf => buf.stable_mut_ptr())
    }

    fn capacity(&self) -> usize {
        each!(self, buf => IoBufMut::capacity(buf))
    }

    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller keeps to the buffer's own terms.
        each!(self, buf => unsafe { buf.set_init(len) });
    }
}

/// The future of a read into a [`Destination`]: the byte count or the error, and the destination.
pub type ReadInto = Pin<Box<dyn Future<Output = (io::Result<usize>, Destination)>>>;

/// Reads with `read`, which fills a vector, into a destination of any kind.
pub(crate) fn read_into_by_copy<F>(
    mut dest: Destination,
    len: usize,
    read: impl FnOnce(Vec<u8>) -> F,
) -> ReadInto
where
    F: Future<Output = OwnedRead> + 'static,
{
    if let Destination::Vec(vec) = dest {
        let read = read(vec);
        return Box::pin(async move {
            let (result, vec) = read.await;
            (result, Destination::Vec(vec))
        });
    }
    if let Err(error) = dest.reserve(len) {
        return Box::pin(std::future::ready((Err(error), dest)));
    }
    let read = read(Vec::new());
    Box::pin(async move {
        let (result, bytes) = read.await;
        // A foreign reader's count is not believed.
        let result = result.map(|_| {
            let got = bytes.len().min(len);
            dest.copy_at(0, &bytes[..got]);
            got
        });
        (result, dest)
    })
}
