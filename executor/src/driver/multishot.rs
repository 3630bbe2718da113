//! An operation that completes many times, as a stream that arms itself.

use std::task::{Context, Poll};

use super::submit::Submitted;
use super::{DriverRef, Polled, WakerSet, ready_queue};
use crate::buf::Loose;
use crate::op::slab::{NewOp, OpKey};
use crate::op::{Kind, Outcome};

/// A multishot operation. It is armed by the first poll, and again when the kernel ends it: on
/// an overflow of the completion queue, when buffers ran out, or when its consumer fell behind.
pub(crate) struct Multishot<K: Kind> {
    driver: DriverRef,
    kind: K,
    /// Copied into the slot each time the operation is armed.
    memory: K::Memory,
    armed: Option<OpKey>,
    stopped: bool,
}

impl<K: Kind> Multishot<K>
where
    K::Memory: Clone,
{
    pub(crate) fn new(driver: DriverRef, kind: K, memory: K::Memory) -> Self {
        Self {
            driver,
            kind,
            memory,
            armed: None,
            stopped: false,
        }
    }

    /// Takes the next result. `None` once the stream was stopped and what had arrived is taken.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        loop {
            let Some(key) = self.armed else {
                if self.stopped {
                    return Poll::Ready(None);
                }
                return self.arm(cx);
            };
            let polled = self.driver.borrow_mut().poll(key, cx.waker());
            match polled {
                Polled::Ready {
                    outcome,
                    last,
                    paused,
                } => {
                    if last {
                        self.armed = None;
                        let memory = self.driver.borrow_mut().finish::<K::Memory>(key);
                        drop(memory);
                    }
                    let ours = paused || self.stopped;
                    if last && ours && outcome.result == -libc::ECANCELED {
                        continue;
                    }
                    return Poll::Ready(Some(outcome));
                }
                Polled::Pending => return Poll::Pending,
                Polled::NeedsWaker => {
                    let waker = cx.waker().clone();
                    let set = self.driver.borrow_mut().set_waker(key, waker);
                    match set {
                        WakerSet::Set { replaced } => {
                            drop(replaced);
                            return Poll::Pending;
                        }
                        WakerSet::Refused { waker } => drop(waker),
                    }
                }
                Polled::Gone => {
                    self.armed = None;
                    self.stopped = true;
                }
            }
        }
    }

    fn arm(&mut self, cx: &Context<'_>) -> Poll<Option<Outcome>> {
        let (owner, spare) = self.driver.borrow_mut().start(cx.waker());
        let waker = spare.unwrap_or_else(|| cx.waker().clone());
        let mut memory = Loose::new(self.memory.clone());
        let request = self.kind.request(memory.get_mut(), owner);
        let new = NewOp {
            dispose: K::DISPOSE,
            results: ready_queue(),
        };
        let submitted = self
            .driver
            .borrow_mut()
            .submit(&request, new, memory, waker);
        match submitted {
            Submitted::Open(key) => {
                self.armed = Some(key);
                Poll::Pending
            }
            Submitted::Closed(key) => {
                let left = self.driver.borrow_mut().give_back::<K::Memory>(key);
                drop(left);
                self.stopped = true;
                Poll::Ready(Some(Outcome::gone()))
            }
        }
    }

    /// Stops the operation for good; what has arrived can still be taken.
    pub(crate) fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true)
            && let Some(key) = self.armed
        {
            let waker = self.driver.borrow_mut().cancel(key);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    pub(crate) fn memory(&self) -> &K::Memory {
        &self.memory
    }
}

impl<K: Kind> Drop for Multishot<K> {
    fn drop(&mut self) {
        if let Some(key) = self.armed {
            let left = self.driver.borrow_mut().ignore(key);
            drop(left);
        }
    }
}

impl<K: Kind> std::fmt::Debug for Multishot<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multishot")
            .field("armed", &self.armed.is_some())
            .finish_non_exhaustive()
    }
}
