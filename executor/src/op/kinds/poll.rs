//! Waiting for the readiness of a descriptor.
//!
//! # Safety
//!
//! The request has no pointer; the memory keeps the descriptor open.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use crate::op::{Kind, Outcome, Request};

/// Waits until one of the poll(2) `events` is there.
#[derive(Debug)]
pub(crate) struct Poll<T> {
    events: u32,
    source: std::marker::PhantomData<fn() -> T>,
}

impl<T> Poll<T> {
    pub(crate) fn new(events: u32) -> Self {
        Self {
            events,
            source: std::marker::PhantomData,
        }
    }
}

// SAFETY: there is no pointer; the memory keeps the descriptor's owner alive.
unsafe impl<T: AsFd + 'static> Kind for Poll<T> {
    type Memory = Rc<T>;
    type Output = io::Result<u32>;

    fn request(&self, source: &mut Rc<T>, _owner: usize) -> Request {
        Request::Poll {
            fd: source.as_fd().as_raw_fd(),
            events: self.events,
        }
    }

    fn complete(&self, outcome: Outcome, _: Rc<T>) -> Self::Output {
        outcome.into_result()
    }
}
