//! What a change of the queue's state sets off: done after the state's borrow has ended, because
//! it is code of others that may call the queue again.

use std::rc::Rc;
use std::task::Waker;

use super::batch::BatchState;
use super::blob::Entry;
use super::error::ReadError;
use super::handle::Finished;
use super::record::Record;
use super::request::Request;
use crate::async_reader::Destination;
use crate::async_reader::runtime::oneshot;
use crate::guard::guarded;

/// Wakes, replies and drops that are due.
#[derive(Default)]
pub(super) struct Outbox {
    wakes: Vec<Waker>,
    replies: Vec<(oneshot::Sender<Finished>, Finished)>,
    dropped: Vec<Dropped>,
}

/// What has drop code of others in it.
enum Dropped {
    Record(Record),
    Blob(Rc<Entry>),
    Request(Request),
    Finished(Finished),
    Destination(Destination),
    Waker(Waker),
    Error(ReadError),
    Batch(Rc<BatchState>),
}

impl Outbox {
    pub(super) fn wake_all(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.wakes.extend(wakers);
    }

    pub(super) fn reply(&mut self, to: oneshot::Sender<Finished>, finished: Finished) {
        self.replies.push((to, finished));
    }

    pub(super) fn drop_record(&mut self, record: Record) {
        self.dropped.push(Dropped::Record(record));
    }

    pub(super) fn drop_blob(&mut self, blob: Rc<Entry>) {
        self.dropped.push(Dropped::Blob(blob));
    }

    pub(super) fn drop_request(&mut self, request: Request) {
        self.dropped.push(Dropped::Request(request));
    }

    pub(super) fn drop_finished(&mut self, finished: Finished) {
        self.dropped.push(Dropped::Finished(finished));
    }

    pub(super) fn drop_destination(&mut self, destination: Option<Destination>) {
        self.dropped.extend(destination.map(Dropped::Destination));
    }

    pub(super) fn drop_waker(&mut self, waker: Option<Waker>) {
        self.dropped.extend(waker.map(Dropped::Waker));
    }

    pub(super) fn drop_error(&mut self, error: Option<ReadError>) {
        self.dropped.extend(error.map(Dropped::Error));
    }

    /// Lets go of a batch. With the last of its owners go its results.
    #[inline]
    pub(super) fn drop_batch(&mut self, batch: Rc<BatchState>) {
        if Rc::strong_count(&batch) == 1 {
            self.dropped.push(Dropped::Batch(batch));
        }
    }

    /// Does what is due. A panic of any of it has been reported by the panic hook; it ends that
    /// piece of code only, because the others belong to others.
    pub(super) fn run(&mut self) {
        for waker in self.wakes.drain(..) {
            guarded(|| waker.wake());
        }
        for (to, finished) in self.replies.drain(..) {
            // Who is gone gets no reply.
            guarded(|| drop(to.send(finished)));
        }
        for dropped in self.dropped.drain(..) {
            guarded(|| match dropped {
                Dropped::Record(record) => drop(record),
                Dropped::Blob(blob) => drop(blob),
                Dropped::Request(request) => drop(request),
                Dropped::Finished(finished) => drop(finished),
                Dropped::Destination(destination) => drop(destination),
                Dropped::Waker(waker) => drop(waker),
                Dropped::Error(error) => drop(error),
                Dropped::Batch(batch) => drop(batch),
            });
        }
    }

    /// Says whether anybody is to be told of the change.
    pub(super) fn tells_anybody(&self) -> bool {
        !self.wakes.is_empty() || !self.replies.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wakes.is_empty() && self.replies.is_empty() && self.dropped.is_empty()
    }
}
