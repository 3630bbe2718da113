//! The queue's side of its remote handles: two tasks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::orders::{Handle, Known, Order, Orders, Wishes};
use super::{BlobTicket, Message, RemoteBatchRequest, RemoteQueuedBlob};
use crate::async_reader::runtime::{channel, oneshot, spawn_local};
use crate::guard::guarded;
use crate::queue::batch::{BatchDone, BatchState};
use crate::queue::blob::{Entry, QueuedBlob};
use crate::queue::error::ReadError;
use crate::queue::front::{BlobQueue, next_id};
use crate::queue::handle::Finished;
use crate::queue::record::Target;
use crate::queue::request::{RemoteRequest, Request};

/// What the tasks on the queue's worker have.
#[derive(Clone)]
pub(super) struct Home {
    queue: BlobQueue,
    orders: Arc<Orders>,
    blobs: Rc<RefCell<HashMap<u64, Adopted>>>,
    batches: Rc<RefCell<HashMap<u64, Weak<BatchState>>>>,
}

/// A blob, for as long as other threads have its ticket.
struct Adopted {
    entry: Rc<Entry>,
    ticket: std::sync::Weak<BlobTicket>,
}

/// Closes the orders when the task that carries them out is gone, however that comes.
struct Closing(Home);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.orders.close();
    }
}

impl Home {
    /// Starts both tasks. They end with the last remote handle, or with the worker.
    pub(super) fn start(
        queue: &BlobQueue,
        orders: &Arc<Orders>,
        messages: channel::Receiver<Message>,
    ) {
        let home = Self {
            queue: queue.clone(),
            orders: Arc::clone(orders),
            blobs: Rc::default(),
            batches: Rc::default(),
        };
        drop(spawn_local(home.clone().submit_all(messages)));
        drop(spawn_local(Closing(home).carry_out_all()));
    }

    /// Gives other threads a ticket for a blob.
    pub(super) fn adopt(&self, blob: &QueuedBlob) -> RemoteQueuedBlob {
        let id = next_id();
        let ticket = Arc::new(BlobTicket {
            id,
            orders: Arc::clone(&self.orders),
        });
        let adopted = Adopted {
            entry: Rc::clone(&blob.entry),
            ticket: Arc::downgrade(&ticket),
        };
        self.blobs.borrow_mut().insert(id, adopted);
        RemoteQueuedBlob { ticket }
    }

    pub(super) fn queue(&self) -> &BlobQueue {
        &self.queue
    }

    async fn submit_all(self, mut messages: channel::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::One(request, reply, handle) => {
                    self.submit(request, reply, &handle).await;
                }
                Message::Batch(batch) => self.submit_batch(*batch).await,
                // It may take its time, and others need not wait.
                Message::Register(register) => drop(spawn_local(register(self.clone()))),
            }
        }
    }

    async fn submit(
        &self,
        request: RemoteRequest,
        reply: oneshot::Sender<Finished>,
        handle: &Handle,
    ) {
        let Some(request) = self.localise(request) else {
            return tell(reply, Finished::failed(ReadError::WorkerGone, None));
        };
        if handle.is_cancelled() {
            return tell(reply, refuse(request, ReadError::Cancelled));
        }
        let submitted = self.queue.submit_to(request, Target::Remote(reply)).await;
        match submitted {
            Ok(key) => {
                handle.set_known(Known::One(key));
                self.attend(handle);
            }
            Err(error) => {
                let (request, target) = error.into_inner();
                if let Target::Remote(reply) = target {
                    tell(reply, refuse(request, ReadError::ShutDown));
                }
            }
        }
    }

    async fn submit_batch(&self, batch: RemoteBatchRequest) {
        let RemoteBatchRequest {
            requests,
            on_error,
            mirror,
            reply,
            handle,
        } = batch;
        let requests = requests.into_iter();
        let requests = requests.filter_map(|request| self.localise(request));
        let requests: Vec<Request> = requests.collect();
        if handle.is_cancelled() {
            return tell(reply, refuse_all(requests, &ReadError::Cancelled));
        }
        let submitted = self
            .queue
            .submit_batch_to(requests, on_error, Some(mirror))
            .await;
        let batch = match submitted {
            Ok(batch) => batch,
            Err(error) => {
                let refused = refuse_all(error.into_inner(), &ReadError::ShutDown);
                return tell(reply, refused);
            }
        };
        let id = next_id();
        let state = batch.state().map(Rc::downgrade);
        self.batches
            .borrow_mut()
            .extend(state.map(|state| (id, state)));
        handle.set_known(Known::Batch(id));
        self.attend(&handle);
        let batches = Rc::clone(&self.batches);
        // It ends with the batch, which ends with the queue at the latest.
        drop(spawn_local(async move {
            let done = batch.await;
            batches.borrow_mut().remove(&id);
            tell(reply, done);
        }));
    }

    /// Finds the blob of a request. It is there: the request has its ticket.
    fn localise(&self, request: RemoteRequest) -> Option<Request> {
        let blobs = self.blobs.borrow();
        let adopted = blobs.get(&request.blob.ticket.id)?;
        let entry = Rc::clone(&adopted.entry);
        drop(blobs);
        Some(request.into_local(QueuedBlob { entry }))
    }

    fn carry_out(&self, order: Order) {
        match order {
            Order::Attend(handle) => self.attend(&handle),
            Order::Sweep => self.sweep(),
            Order::Cancel(mask, value, reply) => {
                tell(reply, self.queue.cancel_tagged(mask, value));
            }
            Order::Count(reply) => tell(reply, Box::new(self.queue.stats())),
        }
    }

    /// Does what the wishes for a request are; later, if the queue does not know it yet.
    fn attend(&self, handle: &Handle) {
        let Some((known, wishes)) = handle.attend() else {
            return;
        };
        match known {
            Known::NotYet => {}
            Known::One(key) => self.attend_one(key, &wishes),
            Known::Batch(id) => {
                let state = self.batches.borrow().get(&id).and_then(Weak::upgrade);
                if let Some(state) = state.filter(|_| wishes.cancel) {
                    let inner = self.queue.inner();
                    inner.with_time(|queue, out| queue.cancel_batch(&state, out));
                }
            }
        }
    }

    fn attend_one(&self, key: crate::queue::record::Key, wishes: &Wishes) {
        let inner = self.queue.inner();
        if let Some(class) = wishes.class {
            inner.set_class(key, class);
        }
        if let Some(deadline) = wishes.deadline {
            inner.set_deadline(key, deadline);
        }
        if wishes.cancel {
            inner.with_time(|queue, out| queue.cancel(key, out));
        }
    }

    /// Lets go of the blobs that have no ticket any more.
    fn sweep(&self) {
        let mut blobs = self.blobs.borrow_mut();
        let gone = |adopted: &Adopted| adopted.ticket.strong_count() == 0;
        let ids = blobs.iter().filter(|(_, adopted)| gone(adopted));
        let ids: Vec<u64> = ids.map(|(id, _)| *id).collect();
        let dropped: Vec<_> = ids.iter().map(|id| blobs.remove(id)).collect();
        // Blobs are code of others.
        drop(blobs);
        for blob in dropped {
            guarded(|| drop(blob));
        }
    }
}

impl Closing {
    async fn carry_out_all(self) {
        let home = &self.0;
        while let Some(orders) = poll_fn(|cx| home.orders.poll_take(cx)).await {
            for order in orders {
                home.carry_out(order);
            }
        }
    }
}

/// Replies, unless who asked is gone. What the reply wakes or drops is code of others.
fn tell<T>(reply: oneshot::Sender<T>, with: T) {
    guarded(|| drop(reply.send(with)));
}

/// Ends a request that the queue does not take: its allocator is code of others.
fn refuse(mut request: Request, error: ReadError) -> Finished {
    let destination = request.take_destination();
    guarded(|| drop(request));
    Finished::failed(error, destination)
}

/// Ends those of a batch.
fn refuse_all(requests: Vec<Request>, error: &ReadError) -> BatchDone {
    let requests = requests.into_iter();
    let results = requests
        .map(|request| refuse(request, error.clone()))
        .collect::<Vec<_>>();
    let first_error = (!results.is_empty()).then_some(0);
    BatchDone {
        results,
        first_error,
    }
}
