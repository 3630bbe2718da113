//! The worker's buffer pool: one mapping cut into buffers, registered with the ring where the
//! system allows.
//!
//! A buffer taken from the pool may go to another thread. When it is dropped there it is put on
//! the pool's return list, from which its own worker takes it back: a push by one compare and
//! swap, taken as a whole, so that no entry can be reused under a push in progress.
//!
//! # Safety
//!
//! Each index is held by exactly one owner: the free list, the return list, or one [`PoolBuf`].
//! The holder alone touches the bytes of that buffer. The mapping lives as long as any holder,
//! through an `Arc`.
#![allow(unsafe_code, reason = "hands out parts of one mapping")]

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
#[cfg(not(corelane_loom))]
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::task::{Context, Poll, Waker};

#[cfg(corelane_loom)]
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};

use super::waiting::{Place, Waiting};
use super::{IoBuf, IoBufMut};
use crate::config::PoolConfig;
use crate::sys::mmap::Mapping;

const NONE: u32 = u32::MAX;

/// What the pool's worker and its buffers share.
struct Shared {
    memory: Mapping,
    buffer_len: usize,
    /// Head of the list of buffers dropped on other threads; links are in `next`.
    returned: AtomicU32,
    next: Box<[AtomicU32]>,
    /// Where the ring knows the mapping as fixed buffers: the identity of the driver, or zero.
    registered_with: AtomicUsize,
    /// Somebody waits for a buffer: set by the home thread, read when a buffer returns.
    waited_for: AtomicBool,
    /// Woken when a buffer returns from another thread.
    kick: Waker,
}

/// The home side of a pool: not `Send`.
pub(crate) struct PoolCore {
    shared: Arc<Shared>,
    free: RefCell<Vec<u32>>,
    waiting: Waiting,
}

/// Waits for a buffer: the future of [`PoolCore::get`].
pub(crate) struct Get<'a> {
    pool: &'a Rc<PoolCore>,
    place: Place,
}

impl PoolCore {
    /// Maps the pool. `register` is asked to make the buffers known to the ring for as long as it
    /// keeps what it is given, and answers the identity of the driver that did.
    pub(crate) fn new(
        config: PoolConfig,
        kick: Waker,
        register: impl FnOnce(Arc<dyn Any + Send + Sync>, &[libc::iovec]) -> Option<usize>,
    ) -> io::Result<Self> {
        let len = config.buffer_count.checked_mul(config.buffer_len);
        let memory = Mapping::new(len.ok_or(io::ErrorKind::OutOfMemory)?)?;
        let ranges: Vec<libc::iovec> = (0..config.buffer_count)
            .map(|index| libc::iovec {
                iov_base: memory
                    .as_ptr()
                    .wrapping_add(index * config.buffer_len)
                    .cast(),
                iov_len: config.buffer_len,
            })
            .collect();
        let count = u32::try_from(config.buffer_count)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let shared = Shared {
            memory,
            buffer_len: config.buffer_len,
            returned: AtomicU32::new(NONE),
            next: (0..count).map(|_| AtomicU32::new(NONE)).collect(),
            registered_with: AtomicUsize::new(0),
            waited_for: AtomicBool::new(false),
            kick,
        };
        let shared = Arc::new(shared);
        let keep_alive: Arc<dyn Any + Send + Sync> = shared.clone();
        if let Some(owner) = register(keep_alive, &ranges) {
            shared.registered_with.store(owner, Ordering::Relaxed);
        }
        Ok(Self {
            shared,
            free: RefCell::new((0..count).rev().collect()),
            waiting: Waiting::default(),
        })
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.shared.registered_with.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn buffer_len(&self) -> usize {
        self.shared.buffer_len
    }

    pub(crate) fn try_get(self: &Rc<Self>) -> Option<PoolBuf> {
        let mut free = self.free.borrow_mut();
        if free.is_empty() {
            self.shared.take_returned(&mut free);
        }
        let index = free.pop()?;
        drop(free);
        Some(PoolBuf {
            shared: Arc::clone(&self.shared),
            index,
            len: 0,
        })
    }

    /// Takes a buffer, and waits until one comes home.
    pub(crate) fn get(self: &Rc<Self>) -> Get<'_> {
        Get {
            pool: self,
            place: Place::default(),
        }
    }

    /// Takes a buffer or remembers whom to wake when one comes home.
    fn poll_get(self: &Rc<Self>, place: &mut Place, waker: &Waker) -> Poll<PoolBuf> {
        if let Some(buf) = self.try_get() {
            return Poll::Ready(buf);
        }
        self.waiting.wait(place, waker);
        self.shared.waited_for.store(true, Ordering::SeqCst);
        // A buffer may have come home between the first look and the flag.
        match self.try_get() {
            Some(buf) => Poll::Ready(buf),
            None => Poll::Pending,
        }
    }

    /// Says whether somebody waits for a buffer that has come home, be it that another's look for one
    /// has taken it in: asked after the worker's park is announced, so that a buffer that comes later
    /// kicks.
    pub(crate) fn has_news(&self) -> bool {
        self.shared.waited_for.load(Ordering::SeqCst)
            && (self.shared.returned.load(Ordering::SeqCst) != NONE
                || !self.free.borrow().is_empty())
    }

    /// Takes back the buffers that were dropped elsewhere and wakes who waits for one. Called
    /// by the worker once a turn.
    pub(crate) fn take_home(&self) {
        if !self.shared.waited_for.load(Ordering::Relaxed) {
            return;
        }
        let mut free = self.free.borrow_mut();
        self.shared.take_returned(&mut free);
        if free.is_empty() {
            return;
        }
        drop(free);
        self.shared.waited_for.store(false, Ordering::SeqCst);
        self.waiting.wake_all();
    }
}

impl Future for Get<'_> {
    type Output = PoolBuf;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<PoolBuf> {
        let this = self.get_mut();
        this.pool.poll_get(&mut this.place, context.waker())
    }
}

impl Drop for Get<'_> {
    fn drop(&mut self) {
        self.pool.waiting.leave(&mut self.place);
    }
}

impl fmt::Debug for PoolCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("buffer_len", &self.shared.buffer_len)
            .field("buffer_count", &self.shared.next.len())
            .field("registered", &self.is_registered())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn give_back(&self, index: u32) {
        let mut head = self.returned.load(Ordering::Relaxed);
        loop {
            self.next[index as usize].store(head, Ordering::Relaxed);
            match self.returned.compare_exchange_weak(
                head,
                index,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(seen) => head = seen,
            }
        }
        if self.waited_for.load(Ordering::SeqCst) {
            self.kick.wake_by_ref();
        }
    }

    fn take_returned(&self, free: &mut Vec<u32>) {
        let mut index = self.returned.swap(NONE, Ordering::SeqCst);
        while index != NONE {
            free.push(index);
            index = self.next[index as usize].load(Ordering::Relaxed);
        }
    }

    fn buffer(&self, index: u32) -> NonNull<u8> {
        let at = index as usize * self.buffer_len;
        debug_assert!(at + self.buffer_len <= self.memory.len());
        // SAFETY: every index that is handed out lies inside of the mapping.
        let ptr = unsafe { self.memory.as_ptr().add(at) };
        // SAFETY: a pointer into a mapping is not null.
        unsafe { NonNull::new_unchecked(ptr) }
    }
}

/// A buffer of a worker's pool: page-aligned, of a fixed capacity, registered with the worker's
/// ring where the system allows.
///
/// It may be sent to another thread, and goes home when it is dropped. It derefs to the bytes
/// that were read into it.
pub struct PoolBuf {
    shared: Arc<Shared>,
    index: u32,
    len: u32,
}

impl PoolBuf {
    /// Returns how many bytes fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.buffer_len
    }

    /// Forgets the bytes behind `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        self.shared.give_back(self.index);
    }
}

impl Deref for PoolBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let ptr = self.shared.buffer(self.index);
        // SAFETY: this value alone holds the buffer, of which `len` bytes are initialised.
        unsafe { std::slice::from_raw_parts(ptr.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let ptr = self.shared.buffer(self.index);
        // SAFETY: as for deref, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(ptr.as_ptr(), self.len as usize) }
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuf")
            .field("capacity", &self.capacity())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

// SAFETY: the bytes are in the pool's mapping, which the value keeps alive; `len` of them are
// initialised.
unsafe impl IoBuf for PoolBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.shared.buffer(self.index).as_ptr()
    }

    fn init_len(&self) -> usize {
        self.len as usize
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        let registered = self.shared.registered_with.load(Ordering::Relaxed) == owner;
        registered.then(|| u16::try_from(self.index).ok()).flatten()
    }
}

// SAFETY: as for IoBuf, for the whole buffer; no other value holds the same index.
unsafe impl IoBufMut for PoolBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.shared.buffer(self.index).as_ptr()
    }

    fn capacity(&self) -> usize {
        self.shared.buffer_len
    }

    unsafe fn set_init(&mut self, len: usize) {
        self.len = u32::try_from(len).expect("a pool buffer is shorter than 4 GiB");
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    fn pool(count: usize) -> Rc<PoolCore> {
        let config = PoolConfig::new(count, 4096);
        Rc::new(PoolCore::new(config, Waker::noop().clone(), |_, _| None).unwrap())
    }

    #[test]
    fn buffers_are_distinct_and_come_home_from_another_thread() {
        let pool = pool(4);
        let bufs: Vec<_> = (0..4).map(|_| pool.try_get().unwrap()).collect();
        assert!(pool.try_get().is_none());
        let mut addresses: Vec<_> = bufs.iter().map(|buf| buf.stable_ptr().addr()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 4);
        assert!(addresses.iter().all(|address| address % 4096 == 0));
        std::thread::spawn(move || drop(bufs)).join().unwrap();
        let home: Vec<_> = (0..5).filter_map(|_| pool.try_get()).collect();
        assert_eq!(home.len(), 4);
    }

    #[test]
    fn a_pool_longer_than_the_address_space_is_refused() {
        let config = PoolConfig::new(usize::MAX / 4096 + 1, 4096);
        let made = PoolCore::new(config, Waker::noop().clone(), |_, _| None);
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = pool(1);
        let mut buf = pool.try_get().unwrap();
        drop(pool);
        // SAFETY: one byte within the capacity.
        unsafe { buf.stable_mut_ptr().write(5) };
        // SAFETY: that byte has just been written.
        unsafe { buf.set_init(1) };
        assert_eq!(*buf, [5]);
    }
}
