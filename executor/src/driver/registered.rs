//! What is registered with the ring: the pool's memory, buffer groups, the eventfd.
//!
//! # Safety
//!
//! Registered memory is kept mapped by the driver until after the ring is closed; a buffer group
//! is kept by its owner, who unregisters it before unmapping it.
#![allow(unsafe_code, reason = "registers memory with the ring")]

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::Driver;
use crate::ring::buf_ring::BufRingMemory;

impl Driver {
    /// Makes the pool's buffers known to the ring and returns under which identity; `None` where
    /// there is no ring, another pool is registered already, or too little memory may be locked.
    pub(crate) fn register_pool(
        &mut self,
        memory: Arc<dyn Any + Send + Sync>,
        ranges: &[libc::iovec],
    ) -> Option<usize> {
        let ring = self.backend.as_ref()?.ring()?;
        // SAFETY: the driver keeps the memory below, and drops it after the ring.
        unsafe { ring.register_buffers(ranges) }.ok()?;
        self.registered.push(memory);
        Some(self.identity())
    }

    /// Registers the memory of a buffer group and returns the group's identity.
    ///
    /// # Safety
    ///
    /// - `memory` stays mapped until `unregister_group` has been called for it, or the driver is
    ///   closed.
    ///
    /// # Errors
    ///
    /// The kernel's answer (`EINVAL` before Linux 5.19); `Unsupported` where there is no ring.
    pub(crate) unsafe fn register_group(&mut self, memory: &BufRingMemory) -> io::Result<u16> {
        let group = match self.groups_free.last() {
            Some(&group) => group,
            None if self.groups_next < u16::MAX => self.groups_next,
            None => return Err(io::Error::other("a worker has at most 65535 buffer rings")),
        };
        let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
        let backend = self.backend.as_mut().ok_or_else(unsupported)?;
        if let Some(threads) = backend.threads() {
            // SAFETY: the caller promises to keep the memory mapped; no ring knows it, and it is
            // registered once.
            threads.add_group(group, unsafe { memory.consumer() });
        } else {
            let ring = backend.ring().ok_or_else(unsupported)?;
            // SAFETY: the caller promises to keep the memory mapped.
            unsafe { ring.register_buf_ring(memory, group) }?;
        }
        if self.groups_free.pop().is_none() {
            self.groups_next += 1;
        }
        Ok(group)
    }

    /// Takes a buffer group back from the kernel.
    pub(crate) fn unregister_group(&mut self, group: u16) {
        let Some(backend) = &mut self.backend else {
            return;
        };
        if let Some(threads) = backend.threads() {
            threads.remove_group(group);
        } else if let Some(ring) = backend.ring() {
            // It fails only for a group that is not registered.
            let _ = ring.unregister_buf_ring(group);
        }
        self.groups_free.push(group);
    }

    /// Lets the kernel's helper threads, or the backend's own, run on `cores`. Refused (before Linux 5.14), they share
    /// the worker's own core, which costs speed but nothing else.
    pub(crate) fn place_helpers(&mut self, cores: &[usize]) {
        if let Some(threads) = self.backend.as_mut().and_then(super::Backend::threads) {
            threads.place_helpers(cores);
        }
        let ring = self.backend.as_ref().and_then(super::Backend::ring);
        if let (Some(ring), Some(set)) = (ring, crate::sys::affinity::cpu_set(cores)) {
            let _ = ring.place_helpers(&set);
        }
    }

    /// Asks for `eventfd` to be signalled whenever a completion is due.
    ///
    /// # Errors
    ///
    /// The kernel's answer; `Unsupported` where there is no ring.
    pub(crate) fn register_eventfd(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let ring = self
            .backend
            .as_ref()
            .and_then(super::Backend::ring)
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        ring.register_eventfd(eventfd.as_raw_fd())
    }

    /// Registers `eventfd` anew, which makes every kind of completion signal it again.
    ///
    /// # Errors
    ///
    /// The kernel's answer.
    pub(crate) fn renew_eventfd(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        match self.backend.as_ref().and_then(super::Backend::ring) {
            Some(ring) => ring.renew_eventfd(eventfd.as_raw_fd()),
            None => Ok(()),
        }
    }
}
