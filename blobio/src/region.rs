//! Destination memory that the caller owns: a mapped upload buffer, a shared mapping.
//!
//! # Safety
//!
//! [`Region::new`] is the one door: its caller vouches for pointer, length and owner. Inside, a
//! region is split into [`RegionSlice`]s that never overlap, because splitting consumes the slice;
//! each keeps the owner alive, is not `Clone`, and hands out only exclusive borrows of
//! `MaybeUninit<u8>`. So memory is written through one borrow at a time, never read back, never
//! zeroed, and never touched after the last slice is gone.
#![allow(
    unsafe_code,
    reason = "memory that Rust did not allocate has to be vouched for once"
)]

use std::any::Any;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use crate::traits::{RandomReadBlob, unexpected_eof};

/// Destination memory that the caller owns, such as a mapped GPU upload buffer.
///
/// Reads write into it directly. It is never read back and never zeroed, so write-combined
/// memory is as good as any.
///
/// ```
/// use std::ptr::NonNull;
/// use blobio::{MemoryBlob, Region, read_exact_into_region};
///
/// // An allocation stands in for a mapped buffer; whoever owns the memory is handed over.
/// let memory: &'static mut [u8] = Box::leak(vec![0; 8].into_boxed_slice());
/// let pointer = NonNull::from(&mut *memory).cast::<u8>();
/// // SAFETY: the memory is leaked, 8 bytes long, and nothing else refers to it.
/// let region = unsafe { Region::new(pointer, 8, ()) };
///
/// let (mut indices, mut vertices) = region.into_slice().split_at(2);
/// let mesh = MemoryBlob::new(&b"iivvvvvv"[..]);
/// read_exact_into_region(&mesh, 0, &mut indices)?;
/// read_exact_into_region(&mesh, 2, &mut vertices)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Region {
    whole: RegionSlice,
}

/// A part of a [`Region`] that nothing else can write to: a destination of reads.
///
/// Dropping the last slice of a region drops the region's owner.
pub struct RegionSlice {
    start: NonNull<MaybeUninit<u8>>,
    len: usize,
    owner: Arc<Owner>,
}

/// Who keeps the memory alive; behind a thin pointer, so that a slice is three words.
struct Owner {
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the memory is reachable through this slice alone, and `Region::new` asks that it may
// be written from any thread; the owner is `Send + Sync`.
unsafe impl Send for RegionSlice {}
// SAFETY: a shared slice gives no access to the memory, only its address and length.
unsafe impl Sync for RegionSlice {}

impl Region {
    /// Takes over `len` bytes at `start` as a destination of reads, for as long as any part of
    /// the region lives; `owner` is dropped after that.
    ///
    /// # Safety
    ///
    /// From now until `owner` is dropped:
    ///
    /// 1. `start` is valid for writes of `len` bytes, from any thread, within one allocation or
    ///    mapping, and `len` is at most `isize::MAX`;
    /// 2. no other Rust reference or pointer reads or writes those bytes, unless every slice of
    ///    the region that covers them has been dropped (dropping the future of a read that owns
    ///    a slice is not dropping the slice: it is dropped once the kernel is done with it, and
    ///    never if the worker leaked the operation when it shut down); what a device or another process does
    ///    with the memory must not be a data race with the writes of this process;
    /// 3. the kernel may write to the memory (it is ordinary or mapped memory that `read(2)`
    ///    accepts).
    pub unsafe fn new<O: Send + Sync + 'static>(start: NonNull<u8>, len: usize, owner: O) -> Self {
        Self {
            whole: RegionSlice {
                start: start.cast(),
                len,
                owner: Arc::new(Owner {
                    _owner: Box::new(owner),
                }),
            },
        }
    }

    /// Gives the whole region as one slice, to be split.
    #[must_use]
    pub fn into_slice(self) -> RegionSlice {
        self.whole
    }
}

impl RegionSlice {
    /// Gives the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives the address of the first byte; it is not to be read through.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr().cast_const().cast()
    }

    /// Splits the slice into the first `mid` bytes and the rest.
    ///
    /// # Panics
    ///
    /// When `mid` is past the end.
    #[must_use]
    pub fn split_at(self, mid: usize) -> (Self, Self) {
        assert!(
            mid <= self.len,
            "split at {mid} of a region slice of {} bytes",
            self.len
        );
        // SAFETY: `mid <= len`, so the result is inside of the allocation or one past it.
        let rest = unsafe { self.start.add(mid) };
        let tail = Self {
            start: rest,
            len: self.len - mid,
            owner: Arc::clone(&self.owner),
        };
        let head = Self { len: mid, ..self };
        (head, tail)
    }

    /// Lends the memory for writing.
    ///
    /// Write it in order and do not read it: it may be write-combined. What was lent so counts as
    /// uninitialised, whatever it held before, until it is written again.
    pub fn as_uninit_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: `Region::new` vouches that the bytes may be written while the owner lives, which
        // this slice sees to, and that no other Rust reference reaches them; the borrow is
        // exclusive and slices never overlap. `MaybeUninit` needs no initialised bytes.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for RegionSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionSlice")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Reads at `pos` of `blob` into `slice` until it is full or the blob ends, and gives the number
/// of bytes read.
///
/// # Errors
///
/// When reading fails; any part of the slice may then have been written.
pub fn read_into_region<B: RandomReadBlob + ?Sized>(
    blob: &B,
    pos: u64,
    slice: &mut RegionSlice,
) -> io::Result<usize> {
    blob.read(pos, slice.as_uninit_mut())
}

/// Fills `slice` from `pos` of `blob`.
///
/// # Errors
///
/// `UnexpectedEof`, naming position and length, when the blob ends before the slice is full;
/// otherwise when reading fails. That a blob of somebody else's says that it has filled the slice is no
/// proof that it has.
pub fn read_exact_into_region<B: RandomReadBlob + ?Sized>(
    blob: &B,
    pos: u64,
    slice: &mut RegionSlice,
) -> io::Result<()> {
    let got = read_into_region(blob, pos, slice)?;
    if got < slice.len() {
        return Err(unexpected_eof(pos, slice.len() as u64, got as u64));
    }
    Ok(())
}
