//! What the file system knows of its files, and the requests that it has not answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, FopenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen,
    ReplyPoll, ReplyWrite,
};

use crate::behaviour::Behaviour;

/// The kernel asks each time.
pub(crate) const TTL: Duration = Duration::ZERO;

/// What the threads of the file system share.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The file of inode `n + 2`.
    pub(crate) nodes: Vec<Node>,
    /// Requests that are not answered.
    pub(crate) held: Vec<Held>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) behaviour: Behaviour,
    /// Reads that have failed and were to be tried again.
    pub(crate) failed: u64,
    /// Reads that wait for the others.
    pub(crate) waiting: usize,
    /// Bytes that were written, if more than there were.
    pub(crate) written_len: u64,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) node: usize,
    pub(crate) answer: Answer,
}

/// A request and what it is to be answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Data(ReplyData, Vec<u8>),
    Attr(ReplyAttr, FileAttr),
    Open(ReplyOpen),
    Written(ReplyWrite, u32),
    Empty(ReplyEmpty),
    Cancelled(ReplyEmpty),
    Poll(ReplyPoll),
}

impl Answer {
    pub(crate) fn send(self) {
        match self {
            Self::Data(reply, data) => reply.data(&data),
            Self::Attr(reply, attr) => reply.attr(&TTL, &attr),
            Self::Open(reply) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Self::Written(reply, len) => reply.written(len),
            Self::Empty(reply) => reply.ok(),
            Self::Cancelled(reply) => reply.error(Errno::ECANCELED),
            Self::Poll(reply) => reply.error(Errno::ENOSYS),
        }
    }
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
