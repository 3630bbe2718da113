//! The tasks that reads run in. A lane takes one read after the other, so that a read costs no
//! task of its own, and a completion polls nothing but its read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Inner;
use super::issue::{Read, Served};
use super::land::Brought;
use crate::async_reader::{Destination, ReadInto};
use crate::guard::guarded;
use crate::queue::error::ReadError;
use crate::queue::outbox::Outbox;
use crate::queue::submit;
use crate::traits::ReadHow;

/// The lanes, and the reads that wait for one. There are as many as reads were ever in flight.
#[derive(Default)]
pub(super) struct Lanes {
    ready: VecDeque<Read>,
    /// Lanes without a read: their numbers and whom to wake.
    idle: Vec<(usize, Waker)>,
    /// By number, whether the lane is in `idle`.
    is_idle: Vec<bool>,
    /// Lanes that are to be made.
    due: usize,
    /// Set when there will be no more reads.
    ended: bool,
}

impl Lanes {
    pub(super) fn launch(&mut self, read: Read, out: &mut Outbox) {
        self.ready.push_back(read);
        match self.idle.pop() {
            Some((lane, waker)) => {
                self.is_idle[lane] = false;
                out.wake_all(Some(waker));
            }
            None => self.due += 1,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.due > 0
    }

    pub(super) fn take_due(&mut self) -> usize {
        std::mem::take(&mut self.due)
    }

    pub(super) fn take_ready(&mut self) -> Option<Read> {
        self.ready.pop_front()
    }

    pub(super) fn end(&mut self, out: &mut Outbox) {
        self.ended = true;
        out.wake_all(self.idle.drain(..).map(|(_, waker)| waker));
        self.is_idle.fill(false);
    }

    fn add(&mut self) -> usize {
        self.is_idle.push(false);
        self.is_idle.len() - 1
    }

    /// Gives a lane its next read, or none when there will be no more.
    fn poll_next(&mut self, lane: usize, waker: Waker, out: &mut Outbox) -> Poll<Option<Read>> {
        if self.is_idle[lane] {
            // Woken by somebody else: its old waker may be another one.
            self.is_idle[lane] = false;
            let old = self.idle.iter().position(|(number, _)| *number == lane);
            let old = old.map(|index| self.idle.swap_remove(index).1);
            out.drop_waker(old);
        }
        if let Some(read) = self.ready.pop_front() {
            out.drop_waker(Some(waker));
            return Poll::Ready(Some(read));
        }
        if self.ended {
            out.drop_waker(Some(waker));
            return Poll::Ready(None);
        }
        self.idle.push((lane, waker));
        self.is_idle[lane] = true;
        Poll::Pending
    }
}

/// Runs reads until there will be no more.
pub(super) async fn lane(inner: Rc<Inner>) {
    let lane = inner.with(|state, _| state.lanes.add());
    let mut aloft = Aloft {
        inner: &inner,
        read: None,
    };
    loop {
        if aloft.read.is_none() {
            let next = poll_fn(|cx| {
                let waker = cx.waker().clone();
                inner.with(|state, out| state.lanes.poll_next(lane, waker, out))
            });
            let Some(read) = next.await else { return };
            aloft.read = Some(read);
        }
        let Some((future, mut how)) = aloft.begin() else {
            continue;
        };
        let mut future = Some(future);
        let mut has_waited = false;
        let brought = loop {
            let brought = poll_fn(|cx| {
                let polled = poll_guarded(&mut future, cx);
                has_waited |= polled.is_pending();
                polled
            });
            let brought = brought.await;
            if !aloft.is_refused(how, &brought) {
                break brought;
            }
            match aloft.again(brought) {
                Some((again, issued)) => {
                    future = Some(again);
                    how = issued;
                }
                None => break lost(),
            }
        };
        // A lane whose reads are done at once would never let others have their turn.
        if has_waited {
            aloft.land_for_next(brought);
        } else {
            aloft.land(brought);
        }
    }
}

/// The read in a lane, if there is one. Dropped before its end, with the task, it is lost.
struct Aloft<'a> {
    inner: &'a Inner,
    read: Option<Read>,
}

type Begun = (ReadInto, ReadHow);

impl Aloft<'_> {
    /// Calls the blob; none when nobody wants the read any more, or the blob panicked.
    #[inline(always)]
    fn begin(&mut self) -> Option<Begun> {
        let inner = self.inner;
        let read = self.read.as_mut()?;
        let Some(to) = read.to.take() else {
            self.land(lost());
            return None;
        };
        if let Served::One(key) = read.served
            && inner.look(|state| state.is_unwanted(key))
        {
            self.land(Brought {
                result: Ok(0),
                to: Some(to),
            });
            return None;
        }
        let blob = &read.blob;
        let in_order = !blob.arrivals.get().are_scattered();
        let how = submit::first(blob.cached.get(), in_order, read.len);
        let begun = self.issue(to, how);
        if begun.is_none() {
            self.land(lost());
        }
        begun
    }

    #[inline(always)]
    fn issue(&self, to: Destination, how: ReadHow) -> Option<Begun> {
        let read = self.read.as_ref()?;
        let future = guarded(|| read.blob.read(read.pos, read.len, to, how))?;
        Some((future, how))
    }

    /// Learns from what a read brought, and says whether it was refused and is to be issued again.
    #[inline]
    fn is_refused(&self, how: ReadHow, brought: &Brought) -> bool {
        let Some(read) = &self.read else {
            return false;
        };
        let refused = how == ReadHow::NoWait
            && matches!(&brought.result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let cached = read.blob.cached.get();
        let learnt = submit::learn(cached, how, refused);
        if learnt != cached {
            read.blob.cached.set(learnt);
            if learnt.is_cold() || read.blob.is_cold.get() {
                self.inner.with(|state, _| state.learnt(&read.blob));
            }
        }
        refused && brought.to.is_some()
    }

    /// Issues a read again that was refused.
    #[cold]
    fn again(&self, refused: Brought) -> Option<Begun> {
        let read = self.read.as_ref()?;
        let Brought { result, to } = refused;
        guarded(|| drop(result));
        self.inner
            .with(|state, _| state.counters.totals.refused += 1);
        let how = submit::after_refusal(read.blob.cached.get(), read.len);
        self.issue(to?, how)
    }

    fn land(&mut self, brought: Brought) {
        if let Some(mut read) = self.read.take() {
            let landed = &mut read;
            self.inner
                .with_recent(|state, out| state.land(landed, brought, out));
            guarded(|| drop(read));
        }
    }

    /// Lands the read, and goes on with the next one if the lane is given one.
    #[inline(always)]
    fn land_for_next(&mut self, brought: Brought) {
        let Some(read) = &mut self.read else { return };
        let goes_on = self
            .inner
            .with_recent(|state, out| state.land_for_next(read, brought, out));
        if !goes_on {
            let read = self.read.take();
            guarded(|| drop(read));
        }
    }
}

impl Drop for Aloft<'_> {
    fn drop(&mut self) {
        if let Some(read) = self.read.take() {
            self.inner.with_time(|state, out| state.lose(read, out));
        }
    }
}

fn lost() -> Brought {
    Brought {
        result: Err(ReadError::Panicked("a blob")),
        to: None,
    }
}

/// Polls a read. Its future is code of others, and goes before its result is told.
#[inline]
fn poll_guarded(future: &mut Option<ReadInto>, cx: &mut Context<'_>) -> Poll<Brought> {
    let mut polled = Poll::Ready(lost());
    let returned = guarded(|| {
        let Some(read) = future else { return };
        polled = read.as_mut().poll(cx).map(|(result, to)| Brought {
            result: result.map_err(ReadError::io),
            to: Some(to),
        });
        if polled.is_ready() {
            *future = None;
        }
    });
    if returned.is_none() {
        guarded(|| drop(future.take()));
    }
    polled
}
