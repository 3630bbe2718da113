//! A request done at once by the calling thread, for a simulated ring whose operations are real.
//!
//! # Safety
//!
//! A [`Direct`] is a [`Work`], and is used as one: on the memory and the descriptors of an
//! operation in flight, until its last completion is posted.
#![allow(unsafe_code, reason = "takes requests as work in flight")]

use super::block::Cached;
use super::work::{Attempt, Place, Work};
use crate::op::Request;

/// A request in flight that is tried until it has a result.
#[derive(Debug)]
pub(in crate::driver) struct Direct(Work);

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum Tried {
    /// The last result.
    Done(i32),
    /// A result of an operation that goes on.
    More(i32),
    /// It would wait: to be tried again.
    Waits,
}

impl Direct {
    /// Takes a request in flight.
    ///
    /// # Safety
    ///
    /// - Until the last completion of the operation is posted, every pointer in the request is
    ///   valid and what it points to is neither moved, freed nor used by anyone else, and every
    ///   descriptor in it stays open.
    pub(in crate::driver) unsafe fn new(request: Request) -> Self {
        // SAFETY: the caller's promise is the one that is asked for.
        Self(unsafe { Work::new(request) })
    }

    /// Does the operation unless it would wait for a peer. Calls on files take as long as they
    /// take.
    pub(in crate::driver) fn attempt(&mut self) -> Tried {
        let work = &mut self.0;
        if !work.is_stream() {
            let result = match work.place() {
                Place::Ready => None,
                Place::Here | Place::Pool => Some(work.block()),
                Place::Cache => match work.read_cached() {
                    Cached::All(result) => return Tried::Done(result),
                    Cached::Blocks => Some(work.block()),
                    Cached::Stream => None,
                },
            };
            if let Some(result) = result.filter(|result| !work.becomes_stream(*result)) {
                return Tried::Done(result);
            }
        }
        match work.attempt(None) {
            Attempt::Done(result) => Tried::Done(result),
            Attempt::More(result, _) => Tried::More(result),
            Attempt::Wait | Attempt::Pause(_) => Tried::Waits,
            Attempt::Pool => Tried::Done(work.block()),
        }
    }

    /// Returns the result of an operation that is cancelled while it waits.
    pub(in crate::driver) fn cancelled(&self) -> i32 {
        self.0.cancelled()
    }
}
