//! Receiving continuously into provided buffers.
//!
//! # Safety
//!
//! The kernel writes the buffers of a group that the memory keeps mapped.
#![allow(unsafe_code, reason = "implements Kind")]

use std::rc::Rc;

use io_uring::cqueue;

use crate::buf::Erased;
use crate::op::{Dispose, Kind, Outcome, Request, SharedFd};

/// A registered group of provided buffers.
pub(crate) trait BufGroup: 'static {
    /// Returns the group's identity at the ring.
    fn group(&self) -> u16;

    /// Gives the buffer `id` back to the kernel. Wakes nobody: the driver may be borrowed.
    fn provide(&self, id: u16);

    /// Wakes who waits for a buffer, when some were provided since the last call.
    fn announce(&self);
}

/// A group in use by an operation. Buffers that the driver gives back for the operation are
/// announced when this is dropped, which is after the borrow of the driver has ended.
#[derive(Debug)]
pub(crate) struct GroupUse<G: BufGroup> {
    pub(crate) group: Rc<G>,
    fd: SharedFd,
}

impl<G: BufGroup> GroupUse<G> {
    pub(crate) fn new(group: Rc<G>, fd: SharedFd) -> Self {
        Self { group, fd }
    }
}

impl<G: BufGroup> Clone for GroupUse<G> {
    fn clone(&self) -> Self {
        Self {
            group: Rc::clone(&self.group),
            fd: self.fd.clone(),
        }
    }
}

impl<G: BufGroup> Drop for GroupUse<G> {
    fn drop(&mut self) {
        self.group.announce();
    }
}

/// Receives into the buffers of a group, one per completion.
#[derive(Debug)]
pub(crate) struct RecvMulti<G> {
    group: std::marker::PhantomData<fn() -> G>,
}

impl<G: BufGroup> RecvMulti<G> {
    pub(crate) fn new() -> Self {
        Self {
            group: std::marker::PhantomData,
        }
    }

    fn give_back(memory: &mut Erased, outcome: Outcome) {
        if let Some(id) = buffer_id(outcome) {
            memory.get_mut::<GroupUse<G>>().group.provide(id);
        }
    }
}

/// Returns which buffer a completion used, if any.
pub(crate) fn buffer_id(outcome: Outcome) -> Option<u16> {
    cqueue::buffer_select(outcome.flags)
}

// SAFETY: there is no pointer; the memory keeps the group's buffers mapped, and the socket open.
unsafe impl<G: BufGroup> Kind for RecvMulti<G> {
    type Memory = GroupUse<G>;
    type Output = (Outcome, Rc<G>);

    const DISPOSE: Dispose = Self::give_back;

    fn request(&self, memory: &mut Self::Memory, _owner: usize) -> Request {
        Request::RecvMulti {
            fd: memory.fd.raw(),
            group: memory.group.group(),
        }
    }

    fn complete(&self, outcome: Outcome, memory: Self::Memory) -> Self::Output {
        (outcome, Rc::clone(&memory.group))
    }
}
