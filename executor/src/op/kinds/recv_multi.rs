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

    /// Gives the buffer `id` back to the kernel.
    fn provide(&self, id: u16);
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
            memory.get_mut::<(Rc<G>, SharedFd)>().0.provide(id);
        }
    }
}

/// Returns which buffer a completion used, if any.
pub(crate) fn buffer_id(outcome: Outcome) -> Option<u16> {
    cqueue::buffer_select(outcome.flags)
}

// SAFETY: there is no pointer; the memory keeps the group's buffers mapped, and the socket open.
unsafe impl<G: BufGroup> Kind for RecvMulti<G> {
    type Memory = (Rc<G>, SharedFd);
    type Output = (Outcome, Rc<G>);

    const DISPOSE: Dispose = Self::give_back;

    fn request(&self, (group, fd): &mut Self::Memory, _owner: usize) -> Request {
        Request::RecvMulti {
            fd: fd.raw(),
            group: group.group(),
        }
    }

    fn complete(self, outcome: Outcome, (group, _): Self::Memory) -> Self::Output {
        (outcome, group)
    }
}
