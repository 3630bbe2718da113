//! The future of one operation: a key, and a reference to the driver.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{DriverRef, Polled, WakerSet, prepare};
use crate::op::slab::{OpKey, Results};
use crate::op::{Kind, Outcome};

/// An operation. It is submitted by its first poll.
///
/// Dropping it while the kernel works on it leaves the memory in the driver's slab until the
/// kernel is done, and asks the kernel to stop.
#[must_use = "an operation does nothing unless it is awaited"]
pub(crate) struct Op<K: Kind> {
    driver: DriverRef,
    state: State<K>,
    retries: u8,
}

/// How often an operation is submitted again that the kernel gave up: it answers `ECANCELED`
/// when signals keep it from making a helper thread, although nobody cancelled.
const RETRIES_MAX: u8 = 8;

enum State<K: Kind> {
    NotStarted(K, K::Memory),
    Submitted(K, OpKey),
    Done,
}

/// Nothing is ever pinned: the kernel's memory is in the slab.
impl<K: Kind> Unpin for Op<K> {}

impl<K: Kind> Op<K> {
    pub(crate) fn new(driver: DriverRef, kind: K, memory: K::Memory) -> Self {
        Self {
            driver,
            state: State::NotStarted(kind, memory),
            retries: 0,
        }
    }

    /// Submits the operation. The waker and the kind's memory are user code in part (`Clone`,
    /// [`IoBuf`](crate::buf::IoBuf), `AsFd`): they are asked before the driver is borrowed.
    fn start(&mut self, cx: &Context<'_>) -> Poll<K::Output> {
        let waker = cx.waker().clone();
        let State::NotStarted(kind, memory) = std::mem::replace(&mut self.state, State::Done)
        else {
            unreachable!("an operation is started once");
        };
        let owner = self.driver.borrow().identity();
        let (new, request) = prepare(&kind, memory, Results::One(None), owner);
        let submitted = self.driver.borrow_mut().submit(request, new, waker);
        match submitted {
            Ok(key) => {
                self.state = State::Submitted(kind, key);
                Poll::Pending
            }
            Err((new, _waker)) => {
                let memory = new.memory.take::<K::Memory>();
                Poll::Ready(kind.complete(Outcome::gone(), memory))
            }
        }
    }

    fn finish(
        &mut self,
        outcome: Outcome,
        memory: Option<K::Memory>,
        cx: &Context<'_>,
    ) -> Poll<K::Output> {
        let State::Submitted(kind, _) = std::mem::replace(&mut self.state, State::Done) else {
            unreachable!("only a submitted operation has a result");
        };
        let memory = memory.expect("an operation's one result is its last");
        if outcome.result == -libc::ECANCELED && self.retries < RETRIES_MAX {
            // Only dropping the future cancels, and it is here.
            self.retries += 1;
            self.state = State::NotStarted(kind, memory);
            return self.start(cx);
        }
        Poll::Ready(kind.complete(outcome, memory))
    }
}

impl<K: Kind> Future for Op<K> {
    type Output = K::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<K::Output> {
        let this = self.get_mut();
        let key = match this.state {
            State::NotStarted(..) => return this.start(cx),
            State::Submitted(_, key) => key,
            State::Done => panic!("an operation was polled after it had completed"),
        };
        loop {
            let polled = this.driver.borrow_mut().poll(key, cx.waker());
            match polled {
                Polled::Ready {
                    outcome, memory, ..
                } => return this.finish(outcome, memory, cx),
                // The memory of one that is gone was leaked with the driver: there is no output
                // to make. The worker that owned the task is gone as well.
                Polled::Pending | Polled::Gone => return Poll::Pending,
                Polled::NeedsWaker => {
                    let waker = cx.waker().clone();
                    let set = this.driver.borrow_mut().set_waker(key, waker);
                    match set {
                        WakerSet::Set { replaced } => {
                            drop(replaced);
                            return Poll::Pending;
                        }
                        WakerSet::Refused { waker } => drop(waker),
                    }
                }
            }
        }
    }
}

impl<K: Kind> Drop for Op<K> {
    fn drop(&mut self) {
        if let State::Submitted(_, key) = self.state {
            let left = self.driver.borrow_mut().ignore(key);
            // Buffers and wakers are user code: dropped after the borrow has ended.
            drop(left);
        }
    }
}

impl<K: Kind> std::fmt::Debug for Op<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::NotStarted(..) => "Op(not started)",
            State::Submitted(..) => "Op(submitted)",
            State::Done => "Op(done)",
        })
    }
}
