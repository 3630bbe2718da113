//! The future of one operation: a key, and a reference to the driver.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::submit::Submitted;
use super::{DriverRef, Polled, WakerSet};
use crate::buf::Loose;
use crate::guard::guarded;
use crate::op::slab::{NewOp, OpKey, Results};
use crate::op::{Kind, Outcome};

/// An operation. It is submitted by its first poll.
///
/// Dropping it while the kernel works on it leaves the memory in the driver's slab until the
/// kernel is done, and asks the kernel to stop.
#[must_use = "an operation does nothing unless it is awaited"]
pub(crate) struct Op<K: Kind> {
    driver: DriverRef,
    kind: K,
    state: State<K::Memory>,
    retries: u8,
}

/// How often an operation is submitted again that the kernel gave up: it answers `ECANCELED`
/// when signals keep it from making a helper thread, although nobody cancelled.
const RETRIES_MAX: u8 = 8;

enum State<M> {
    NotStarted(Loose<M>),
    Submitted(OpKey),
    Done,
}

/// Nothing is ever pinned: the kernel's memory is in the slab.
impl<K: Kind> Unpin for Op<K> {}

impl<K: Kind> Op<K> {
    #[inline]
    pub(crate) fn new(driver: DriverRef, kind: K, memory: K::Memory) -> Self {
        Self {
            driver,
            kind,
            state: State::NotStarted(Loose::new(memory)),
            retries: 0,
        }
    }

    /// Submits the operation. The waker and the kind's memory are user code in part (`Clone`,
    /// [`IoBuf`](crate::buf::IoBuf), `AsFd`): they are asked before the driver is borrowed. Where the
    /// clone panics the operation is still to be started.
    #[inline]
    fn start(&mut self, cx: &Context<'_>) -> Poll<K::Output> {
        let (owner, spare) = self.driver.borrow_mut().start(cx.waker());
        let waker = spare.unwrap_or_else(|| cx.waker().clone());
        let State::NotStarted(mut memory) = std::mem::replace(&mut self.state, State::Done) else {
            unreachable!("looked at just before");
        };
        let request = self.kind.request(memory.get_mut(), owner);
        let new = NewOp {
            dispose: K::DISPOSE,
            results: Results::One(None),
        };
        let submitted = self
            .driver
            .borrow_mut()
            .submit(&request, new, memory, waker);
        match submitted {
            Submitted::Open(key) => {
                self.state = State::Submitted(key);
                Poll::Pending
            }
            Submitted::Closed(key) => self.refused(key),
        }
    }

    /// Makes an operation that has completed one that is to be submitted again, for what is left to
    /// do: of the memory that came back, and of what `kind` is told of the rest.
    #[inline]
    pub(crate) fn again(&mut self, memory: K::Memory) {
        self.state = State::NotStarted(Loose::new(memory));
    }

    /// Returns what an operation that is not submitted will be asked to do.
    #[inline]
    pub(crate) fn kind_mut(&mut self) -> &mut K {
        &mut self.kind
    }

    #[cold]
    #[inline(never)]
    fn refused(&mut self, key: OpKey) -> Poll<K::Output> {
        let (memory, waker) = self.driver.borrow_mut().give_back::<K::Memory>(key);
        guarded(|| drop(waker));
        Poll::Ready(self.kind.complete(Outcome::gone(), memory))
    }

    /// Submits the operation again. Only dropping the future cancels, and it is here.
    #[cold]
    #[inline(never)]
    fn retry(&mut self, memory: K::Memory, cx: &Context<'_>) -> Poll<K::Output> {
        self.retries += 1;
        self.again(memory);
        self.start(cx)
    }

    /// Leaves a waker for an operation that has none, or another's. True: it is in place.
    #[cold]
    #[inline(never)]
    fn leave_waker(&self, key: OpKey, waker: &Waker) -> bool {
        let waker = waker.clone();
        let set = self.driver.borrow_mut().set_waker(key, waker);
        // Whichever is left over is dropped here, after the borrow.
        matches!(set, WakerSet::Set { .. })
    }
}

impl<K: Kind> Future for Op<K> {
    type Output = K::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<K::Output> {
        let this = self.get_mut();
        let key = match this.state {
            State::Submitted(key) => key,
            State::NotStarted(_) => return this.start(cx),
            State::Done => panic!("an operation was polled after it had completed"),
        };
        loop {
            let mut driver = this.driver.borrow_mut();
            match driver.poll(key, cx.waker()) {
                Polled::Ready { outcome, last, .. } => {
                    assert!(last, "an operation's one result is its last");
                    let mut memory = driver.finish::<K::Memory>(key);
                    drop(driver);
                    this.state = State::Done;
                    if outcome.result == -libc::ECANCELED
                        && this.retries < RETRIES_MAX
                        && this.kind.is_undone(&mut memory)
                    {
                        return this.retry(memory, cx);
                    }
                    return Poll::Ready(this.kind.complete(outcome, memory));
                }
                // The memory of one that is gone was leaked with the driver: there is no output
                // to make. The worker that owned the task is gone as well.
                Polled::Pending | Polled::Gone => return Poll::Pending,
                Polled::NeedsWaker => {
                    drop(driver);
                    if this.leave_waker(key, cx.waker()) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<K: Kind> Drop for Op<K> {
    fn drop(&mut self) {
        if let State::Submitted(key) = self.state {
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
