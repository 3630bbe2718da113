//! Provided buffers: memory from which the kernel picks when data arrives, so that an idle
//! connection holds no buffer.
//!
//! # Safety
//!
//! A buffer is touched by the kernel from when it is provided until a completion names it, and
//! by its [`RingBuf`] from then until it is provided again. The memory is unregistered before it
//! is unmapped, and every operation in flight on the group holds the group.
#![allow(
    unsafe_code,
    reason = "reads what the kernel wrote into the ring's buffers"
)]

use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::stream::Stream;
use crate::buf::waiting::{Place, Waiting};
use crate::driver::Multishot;
use crate::op::kinds::recv_multi::{BufGroup, GroupUse, RecvMulti, buffer_id};
use crate::ring::buf_ring::BufRingMemory;
use crate::worker::{Core, context};

/// A ring of equal buffers that the kernel receives into, for any number of streams of one
/// worker.
///
/// When every buffer is taken, receiving waits until one is dropped.
#[derive(Clone, Debug)]
pub struct BufRing {
    group: Rc<Group>,
}

#[derive(Debug)]
pub(super) struct Group {
    memory: BufRingMemory,
    id: u16,
    core: Rc<Core>,
    /// How many buffers came back, ever: tells a stream that found none whether to try again.
    provided: Cell<u64>,
    /// Some came back that the starved have not been told of.
    unannounced: Cell<bool>,
    /// Streams that found no buffer.
    starved: Waiting,
}

impl BufGroup for Group {
    fn group(&self) -> u16 {
        self.id
    }

    fn provide(&self, id: u16) {
        self.memory.provide(id);
        self.provided.set(self.provided.get() + 1);
        self.unannounced.set(true);
    }

    fn announce(&self) {
        if self.unannounced.replace(false) {
            self.starved.wake_all();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // No operation is in flight on the group, as each would hold it.
        self.core.driver.borrow_mut().unregister_group(self.id);
    }
}

impl BufRing {
    /// Makes `entries` buffers of `buffer_len` bytes, registered with the current worker's ring.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `entries` is a power of two of at most 32,768 and `buffer_len` is
    /// not zero; otherwise those of mmap(2) and of the registration (Linux 5.19).
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[track_caller]
    pub fn new(entries: u16, buffer_len: u32) -> io::Result<Self> {
        let core = context::current();
        let memory = BufRingMemory::new(entries, buffer_len)?;
        // SAFETY: the group unregisters the memory before it drops it.
        let id = unsafe { core.driver.borrow_mut().register_group(&memory) }?;
        let group = Group {
            memory,
            id,
            core,
            provided: Cell::new(0),
            unannounced: Cell::new(false),
            starved: Waiting::default(),
        };
        Ok(Self {
            group: Rc::new(group),
        })
    }

    /// Returns how many bytes a buffer holds.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.group.memory.buffer_len()
    }
}

/// Bytes that were received into a buffer of a [`BufRing`], which gets it back on drop.
pub struct RingBuf {
    group: Rc<Group>,
    id: u16,
    len: usize,
}

impl Deref for RingBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let ptr = self.group.memory.buffer(self.id);
        // SAFETY: the kernel has written `len` bytes of this buffer, and does not touch it again
        // before it is provided, in drop.
        unsafe { std::slice::from_raw_parts(ptr, self.len) }
    }
}

impl Drop for RingBuf {
    fn drop(&mut self) {
        self.group.provide(self.id);
        self.group.announce();
    }
}

impl std::fmt::Debug for RingBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingBuf")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A stream's data as it arrives; made by a stream's `recv_stream`.
pub struct RecvStream {
    recv: Multishot<RecvMulti<Group>>,
    /// How many buffers had come back when the operation was armed.
    armed_at: u64,
    /// Among the starved.
    place: Place,
    ended: bool,
}

impl RecvStream {
    #[track_caller]
    pub(super) fn new(stream: &Stream, ring: &BufRing) -> Self {
        // Another worker's ring has another group under the same number.
        assert!(
            Rc::ptr_eq(&stream.core, &ring.group.core),
            "a stream receives into a buffer ring of its own worker only"
        );
        let memory = GroupUse::new(Rc::clone(&ring.group), stream.fd.clone());
        Self {
            recv: stream.core.multishot(RecvMulti::new(), memory),
            armed_at: 0,
            place: Place::default(),
            ended: false,
        }
    }

    /// Waits for the next bytes. `None` is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of recv(2), once: the stream has ended then.
    ///
    /// # Cancel safety
    ///
    /// No bytes are lost.
    pub async fn next(&mut self) -> Option<io::Result<RingBuf>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The poll form of [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<RingBuf>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let outcome = loop {
            if !self.recv.is_armed() {
                self.armed_at = self.recv.memory().group.provided.get();
            }
            let Poll::Ready(outcome) = self.recv.poll_next(cx) else {
                return Poll::Pending;
            };
            let Some(outcome) = outcome else {
                self.ended = true;
                return Poll::Ready(None);
            };
            if outcome.result != -libc::ENOBUFS {
                break outcome;
            }
            let group = &self.recv.memory().group;
            if group.provided.get() == self.armed_at {
                // All are out, as buffers or in the queues of streams: armed again when one
                // comes back.
                group.starved.wait(&mut self.place, cx.waker());
                // One may have come while the waker was cloned.
                if group.provided.get() == self.armed_at {
                    return Poll::Pending;
                }
            }
        };
        match (outcome.into_result(), buffer_id(outcome)) {
            (Ok(len), Some(id)) if len > 0 => {
                let group = Rc::clone(&self.recv.memory().group);
                Poll::Ready(Some(Ok(RingBuf {
                    group,
                    id,
                    len: len as usize,
                })))
            }
            (Ok(_), id) => {
                if let Some(id) = id {
                    self.recv.memory().group.provide(id);
                    self.recv.memory().group.announce();
                }
                self.ended = true;
                Poll::Ready(None)
            }
            (Err(error), _) => {
                self.ended = true;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let group = &self.recv.memory().group;
        group.starved.leave(&mut self.place);
    }
}

impl std::fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvStream")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
