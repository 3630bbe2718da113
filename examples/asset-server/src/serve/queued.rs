//! A file read through the worker's queue.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;

use blobio::NativeFileAsyncBlobRandomReader as Reader;
use blobio::queue::{BlobQueue, Class, QueuedBlob, Request};
use blobio::traits::{BlobMetadataAsync, OwnedRead, RandomReadBlobAsync};

type Boxed<'b, T> = Pin<Box<dyn Future<Output = T> + 'b>>;

/// A file whose reads wait their turn in a queue, in a class that each user chooses.
#[derive(Clone)]
pub(super) struct QueuedFile {
    shared: Rc<Shared>,
    class: Class,
}

struct Shared {
    file: Reader,
    queue: BlobQueue,
    blob: QueuedBlob,
}

impl QueuedFile {
    pub(super) fn new(file: Reader, queue: &BlobQueue) -> Self {
        let shared = Shared {
            blob: queue.register(file.clone()),
            queue: queue.clone(),
            file,
        };
        Self {
            shared: Rc::new(shared),
            class: Class::Normal,
        }
    }

    /// Gives the file with reads of another class.
    pub(super) fn of_class(&self, class: Class) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            class,
        }
    }

    /// Gives the file itself, for what does not go through the queue.
    pub(super) fn reader(&self) -> &Reader {
        &self.shared.file
    }

    async fn read_part(self, pos: u64, len: usize, buf: Vec<u8>) -> OwnedRead {
        let request = Request::new(&self.shared.blob, pos, len, buf).class(self.class);
        let finished = self.shared.queue.read(request).await;
        match finished.into_vec() {
            Ok(bytes) => (Ok(bytes.len()), bytes),
            Err(error) => (Err(error), Vec::new()),
        }
    }
}

impl BlobMetadataAsync for QueuedFile {
    type ByteLengthFuture = <Reader as BlobMetadataAsync>::ByteLengthFuture;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        self.shared.file.byte_length_async()
    }
}

/// Archives and packs read by [`read_owned_async`](RandomReadBlobAsync::read_owned_async), which
/// copies nothing; the other forms copy.
impl RandomReadBlobAsync for QueuedFile {
    type ReadFuture<'a, 'b> = Boxed<'b, io::Result<usize>>;
    type ReadVecFuture<'a, 'b, 'bb>
        = Boxed<'b, io::Result<usize>>
    where
        'bb: 'b;
    type ReadOwnedFuture = Boxed<'static, OwnedRead>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        let read = self.clone().read_part(pos, buf.len(), Vec::new());
        Box::pin(async move {
            let (result, bytes) = read.await;
            for (to, byte) in buf.iter_mut().zip(bytes) {
                to.write(byte);
            }
            result
        })
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let read = self.clone().read_part(pos, len, Vec::new());
        Box::pin(async move {
            let (result, bytes) = read.await;
            let mut rest = bytes.as_slice();
            for buf in bufs {
                let (now, later) = rest.split_at(rest.len().min(buf.len()));
                buf[..now.len()].copy_from_slice(now);
                rest = later;
            }
            result
        })
    }

    fn read_owned_async(&self, pos: u64, len: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture {
        Box::pin(self.clone().read_part(pos, len, buf))
    }
}
