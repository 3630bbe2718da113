//! A handle to a core-local blob that may go anywhere.

use std::fmt;
use std::future::Future;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use corelane::RemoteSpawner;
use corelane::sync::channel::{self, Receiver, Sender};
use corelane::sync::{Semaphore, oneshot};

use super::borrowed::BorrowedRead;
use super::native::NativeFileAsyncBlobRandomReader;
use crate::traits::{BlobHints, BlobMetadataAsync, OwnedRead, RandomReadBlobAsync};

/// The requests that may wait for the worker, per blob; more wait with their future.
const REQUESTS_MAX: usize = 256;
/// The requests that the worker serves at a time, per blob.
const IN_FLIGHT_MAX: usize = 128;

/// A handle to a blob on a worker: `Send`, `Sync`, cheap to clone, and usable under any executor.
///
/// The reads happen on the worker, by its ring; requests and results are messages. The worker
/// lets go of the blob when the last handle is dropped. When the worker shuts down, reads fail
/// with `BrokenPipe`. A read of the blob that panics fails, and the others go on.
#[derive(Clone)]
pub struct RemoteBlob {
    requests: Arc<Sender<Request>>,
    hints: BlobHints,
}

enum Request {
    Length(Reply<io::Result<u64>>),
    Read {
        pos: u64,
        len: usize,
        buf: Vec<u8>,
        reply: Reply<OwnedRead>,
    },
}

/// Where the result goes; a panic that drops it is told there.
struct Reply<T> {
    sender: Option<oneshot::Sender<T>>,
    failed: fn(io::Error) -> T,
}

impl<T> Reply<T> {
    fn channel(failed: fn(io::Error) -> T) -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        let sender = Some(sender);
        (Self { sender, failed }, receiver)
    }

    fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn send(mut self, value: T) {
        // Nobody is left to be told when this fails.
        drop(self.sender.take().map(|sender| sender.send(value)));
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take()
            && std::thread::panicking()
        {
            let error = io::Error::other("the read panicked on the worker that holds the blob");
            drop(sender.send((self.failed)(error)));
        }
    }
}

impl RemoteBlob {
    /// Opens the file at `path` on the worker that `spawner` belongs to.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for reading, or the worker takes no more tasks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the file.
    pub async fn open(spawner: RemoteSpawner, path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let (sender, receiver) = channel::bounded(REQUESTS_MAX);
        let (opened, result) = oneshot::channel();
        let serve = move || async move {
            match NativeFileAsyncBlobRandomReader::open(path).await {
                Ok(blob) => {
                    if opened.send(Ok(blob.hints())).is_ok() {
                        serve(blob, receiver).await;
                    }
                }
                // Nobody is left to be told when this fails.
                Err(e) => drop(opened.send(Err(e))),
            }
        };
        // The task ends with the last handle, so nobody has to wait for it.
        drop(
            spawner
                .spawn(serve)
                .map_err(|e| io::Error::other(e.to_string()))?,
        );
        let hints = result.await.map_err(|_| worker_gone())??;
        Ok(Self {
            requests: Arc::new(sender),
            hints,
        })
    }

    /// Makes a handle to a blob of the current worker.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[must_use]
    pub fn new<B>(blob: B) -> Self
    where
        B: RandomReadBlobAsync + 'static,
    {
        let (sender, receiver) = channel::bounded(REQUESTS_MAX);
        let hints = blob.hints();
        // The task ends with the last handle, so nobody has to wait for it.
        drop(corelane::spawn_local(serve(blob, receiver)));
        Self {
            requests: Arc::new(sender),
            hints,
        }
    }
}

/// Serves the requests for `blob` until all handles are gone.
async fn serve<B>(blob: B, mut requests: Receiver<Request>)
where
    B: RandomReadBlobAsync + 'static,
{
    let blob = Rc::new(blob);
    let in_flight = Semaphore::new(IN_FLIGHT_MAX);
    while let Some(request) = requests.recv().await {
        let permit = in_flight.acquire(1).await;
        let blob = Rc::clone(&blob);
        drop(corelane::spawn_local(async move {
            answer(&*blob, request).await;
            drop(permit);
        }));
    }
}

async fn answer<B: RandomReadBlobAsync>(blob: &B, request: Request) {
    // A reply that nobody waits for is dropped, and its read not begun.
    match request {
        Request::Length(reply) if !reply.is_closed() => {
            reply.send(blob.byte_length_async().await);
        }
        Request::Read {
            pos,
            len,
            buf,
            reply,
        } if !reply.is_closed() => {
            reply.send(blob.read_owned_async(pos, len, buf).await);
        }
        _ => {}
    }
}

fn worker_gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the worker that holds the blob has shut down",
    )
}

impl BlobMetadataAsync for RemoteBlob {
    type ByteLengthFuture = Pin<Box<dyn Future<Output = io::Result<u64>> + Send>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        let requests = Arc::clone(&self.requests);
        Box::pin(async move {
            let (reply, result) = Reply::channel(Err);
            requests
                .send(Request::Length(reply))
                .await
                .map_err(|_| worker_gone())?;
            result.await.map_err(|_| worker_gone())?
        })
    }
}

impl RandomReadBlobAsync for RemoteBlob {
    type ReadFuture<'a, 'b> = BorrowedRead<Self, &'b mut [MaybeUninit<u8>]>;
    type ReadVecFuture<'a, 'b, 'bb>
        = BorrowedRead<Self, &'b mut [IoSliceMut<'bb>]>
    where
        'bb: 'b;
    type ReadOwnedFuture = Pin<Box<dyn Future<Output = OwnedRead> + Send>>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        BorrowedRead::new(self.clone(), pos, buf)
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        BorrowedRead::new(self.clone(), pos, bufs)
    }

    fn read_owned_async(&self, pos: u64, len: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture {
        let requests = Arc::clone(&self.requests);
        Box::pin(async move {
            let (reply, result) = Reply::channel(|error| (Err(error), Vec::new()));
            let request = Request::Read {
                pos,
                len,
                buf,
                reply,
            };
            if requests.send(request).await.is_err() {
                return (Err(worker_gone()), Vec::new());
            }
            result
                .await
                .unwrap_or_else(|_| (Err(worker_gone()), Vec::new()))
        })
    }

    fn hints(&self) -> BlobHints {
        self.hints
    }
}

impl fmt::Debug for RemoteBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBlob").finish_non_exhaustive()
    }
}
