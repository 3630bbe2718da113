//! Packs read without blocking: on any executor, on a worker, from afar, in packs.
#![cfg(feature = "pack")]

mod util;

use std::future::Future;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use blobio::decode::{DecodePool, PoolConfig};
use blobio::pack::chunked::{
    Compression, ContentHash, Pack, PackError, PackErrorKind as Kind, PackOptions,
};
use blobio::queue::Class;
use blobio::traits::OwnedRead;
use blobio::{BlobMetadataAsync, MemoryBlob, RandomReadBlob, RandomReadBlobAsync};
use futures_executor::block_on;

use util::packs::{Memory, index, open, options, pack_of, text};
use util::{content, take_init};

fn sample() -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let entries = vec![
        ("blocks", text(1_500_000)),
        ("empty", Vec::new()),
        ("plain", content(1_200_000)),
        ("single", text(9000)),
        ("small", content(100)),
    ];
    (pack_of(&entries, options(Compression::Zstd(1))).0, entries)
}

fn memory(bytes: &[u8]) -> Memory {
    MemoryBlob::new(Arc::from(bytes))
}

async fn read_all<B: RandomReadBlobAsync + Clone + 'static>(
    pack: &Pack<B>,
    entries: &[(&'static str, Vec<u8>)],
) {
    for (path, content) in entries {
        let entry = pack.entry_async(path).await.unwrap();
        let data = pack.data_owned(&entry);
        assert_eq!(
            data.byte_length_async().await.unwrap(),
            content.len() as u64
        );
        assert_eq!(data.read_to_end_async(0).await.unwrap(), *content, "{path}");
        for (pos, len) in [
            (0, 10),
            (65_530, 20),
            (5, 200_000),
            (1_000_000, 900_000),
            (7_000_000, 4),
        ] {
            let begin = content.len().min(pos);
            let end = content.len().min(pos + len);
            let (got, bytes) = data.read_owned_async(pos as u64, len, vec![1; 7]).await;
            assert_eq!(
                (got.unwrap(), &bytes[..]),
                (end - begin, &content[begin..end])
            );
            let mut buf = vec![MaybeUninit::new(9); len];
            let got = data.read_async(pos as u64, &mut buf).await.unwrap();
            assert_eq!(take_init(buf)[..got], content[begin..end]);
            let mut parts = [vec![0; len / 3], vec![0; len - len / 3]];
            let mut slices = parts.each_mut().map(|part| IoSliceMut::new(part));
            let got = data.readv_async(pos as u64, &mut slices).await.unwrap();
            assert_eq!(parts.concat()[..got], content[begin..end]);
        }
    }
}

#[test]
fn with_and_without_a_pool() {
    let (bytes, entries) = sample();
    let pool = DecodePool::new(&PoolConfig::new(2)).unwrap();
    let straight = PackOptions {
        check_plain: false,
        ..PackOptions::default()
    };
    block_on(async {
        let pack = Pack::open_async(memory(&bytes), "test").await.unwrap();
        read_all(&pack, &entries).await;
        let blocks = pack.stats().blocks_decoded;
        let pack = pack.decode_on(pool.clone(), Class::High);
        read_all(&pack, &entries).await;
        assert_eq!(pack.stats().blocks_decoded, 2 * blocks);
        let pack = Pack::open_with_async(memory(&bytes), "test", straight)
            .await
            .unwrap();
        let pack = pack.decode_on(pool.clone(), Class::Low);
        read_all(&pack, &entries).await;
        let listed = pack.list_async(Bound::Excluded("empty"), 2).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|entry| entry.path().to_owned()).collect();
        assert_eq!(listed, ["plain", "single"]);
        let hash = ContentHash::of(&entries[3].1);
        let found = pack.content_async(&hash).await.unwrap().unwrap();
        assert_eq!(found.len(), 9000);
        let none = pack.content_async(&ContentHash::of(b"no")).await.unwrap();
        assert!(none.is_none());
        let error = pack.entry_async("none").await.unwrap_err();
        assert!(matches!(error.kind(), Kind::NotFound));
    });
}

#[test]
fn futures_are_send_where_the_blob_is() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (bytes, entries) = sample();
    let pack = open(&bytes).unwrap();
    let pack = pack.decode_on(DecodePool::new(&PoolConfig::new(1)).unwrap(), Class::Normal);
    let data = pack.data_owned(&pack.entry("blocks").unwrap());
    let read = is_send(data.read_owned_async(100, 500_000, Vec::new()));
    let read: (_, Vec<u8>) = std::thread::spawn(move || block_on(read)).join().unwrap();
    assert_eq!(read.1, entries[0].1[100..500_100]);
    drop(is_send(pack.entry_async("blocks")));
    drop(is_send(pack.list_async(Bound::Unbounded, 9)));
}

/// A blob whose reads are pending once before they are done.
#[derive(Clone)]
struct Slow(Memory);

struct SlowRead {
    blob: Memory,
    pos: u64,
    len: usize,
    polled: bool,
}

impl Future for SlowRead {
    type Output = OwnedRead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OwnedRead> {
        if !std::mem::replace(&mut self.polled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = self.blob.read_vec(self.pos, self.len).unwrap();
        Poll::Ready((Ok(bytes.len()), bytes))
    }
}

impl BlobMetadataAsync for Slow {
    type ByteLengthFuture = <Memory as BlobMetadataAsync>::ByteLengthFuture;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        self.0.byte_length_async()
    }
}

impl RandomReadBlobAsync for Slow {
    type ReadFuture<'a, 'b> = <Memory as RandomReadBlobAsync>::ReadFuture<'a, 'b>;
    type ReadVecFuture<'a, 'b, 'bb>
        = <Memory as RandomReadBlobAsync>::ReadVecFuture<'a, 'b, 'bb>
    where
        'bb: 'b;
    type ReadOwnedFuture = SlowRead;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        self.0.read_async(pos, buf)
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        self.0.readv_async(pos, bufs)
    }

    fn read_owned_async(&self, pos: u64, len: usize, _buf: Vec<u8>) -> SlowRead {
        SlowRead {
            blob: self.0.clone(),
            pos,
            len,
            polled: false,
        }
    }
}

#[test]
fn a_read_dropped_at_any_poll_leaves_nothing_behind() {
    let (bytes, entries) = sample();
    let pool = DecodePool::new(&PoolConfig::new(0)).unwrap();
    let cold = PackOptions {
        pages_max: 0,
        ..PackOptions::default()
    };
    let pack = block_on(Pack::open_with_async(Slow(memory(&bytes)), "test", cold)).unwrap();
    let pack = pack.decode_on(pool.clone(), Class::Normal);
    let data = pack.data_owned(&block_on(pack.entry_async("blocks")).unwrap());
    let mut cx = Context::from_waker(Waker::noop());
    for polls_max in 0.. {
        let mut read = data.read_owned_async(3, 800_000, Vec::new());
        let mut read_pin = Pin::new(&mut read);
        let mut polls = 0;
        let done = loop {
            if polls == polls_max {
                break None;
            }
            polls += 1;
            match read_pin.as_mut().poll(&mut cx) {
                Poll::Ready(done) => break Some(done),
                Poll::Pending => drop(pool.help()),
            }
        };
        drop(read);
        let load = pool.load();
        assert_eq!((load.queued, load.waiting), (0, 0), "after {polls} polls");
        if let Some((got, bytes)) = done {
            assert_eq!(
                (got.unwrap(), &bytes[..]),
                (800_000, &entries[0].1[3..800_003])
            );
            assert!(polls > 10);
            break;
        }
    }
}

#[test]
fn a_corrupt_block_names_pack_entry_and_position() {
    let (mut bytes, _) = sample();
    let pack = open(&bytes).unwrap();
    let plain = pack.entry("plain").unwrap();
    let plain = index(plain.content().plain_position().unwrap());
    bytes[plain + 400_000] ^= 1;
    // In the middle of the compressed blocks, which come first.
    bytes[16_384 + 30_000] ^= 1;
    for pool in [None, Some(DecodePool::new(&PoolConfig::new(1)).unwrap())] {
        let mut pack = open(&bytes).unwrap();
        if let Some(pool) = pool {
            pack = pack.decode_on(pool, Class::Normal);
        }
        for (path, range) in [
            ("plain", plain..plain + 1_200_000),
            ("blocks", 16_384..plain),
        ] {
            let data = pack.data_owned(&pack.entry(path).unwrap());
            let error = block_on(data.read_to_end_async(0)).unwrap_err();
            let blocking = data.read_to_end(0).unwrap_err();
            assert_eq!(error.to_string(), blocking.to_string());
            let error = error.downcast::<PackError>().unwrap();
            assert_eq!((error.pack(), error.entry()), ("test.clpk", Some(path)));
            assert!(range.contains(&index(error.position().unwrap())));
            assert!(matches!(error.kind(), Kind::Checksum { .. }), "{error}");
        }
    }
}

#[test]
fn a_pool_that_was_shut_down_is_an_error() {
    let (bytes, _) = sample();
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let pack = open(&bytes).unwrap().decode_on(pool.clone(), Class::Normal);
    pool.shutdown();
    let data = pack.data_owned(&pack.entry("blocks").unwrap());
    let error = block_on(data.read_to_end_async(0)).unwrap_err();
    assert!(error.to_string().contains("entry \"blocks\""), "{error}");
    assert!(error.to_string().contains("shut down"), "{error}");
}

#[test]
fn a_pack_in_a_pack() {
    let (inner, entries) = sample();
    for compression in [Compression::None, Compression::Lz4] {
        let (outer, _) = pack_of(&[("inner.clpk", &inner)], options(compression));
        let outer = open(&outer).unwrap();
        let entry = outer.entry("inner.clpk").unwrap();
        let pack = Pack::open(outer.data(&entry), "inner.clpk").unwrap();
        for (path, content) in &entries {
            assert_eq!(util::packs::read(&pack, path).unwrap(), *content);
        }
        block_on(async {
            let blob = outer.data_owned(&entry);
            let pack = Pack::open_async(blob, "inner.clpk").await.unwrap();
            read_all(&pack, &entries).await;
        });
    }
}

#[cfg(feature = "executor")]
#[test]
fn on_a_worker_and_from_afar() {
    use blobio::{NativeFileAsyncBlobRandomReader, RemoteBlob};
    use corelane::{Config, Worker};

    let (bytes, entries) = sample();
    let file = util::file_of(&bytes);
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let reader = NativeFileAsyncBlobRandomReader::open(file.path())
            .await
            .unwrap();
        let pack = Pack::open_async(reader.clone(), "test").await.unwrap();
        let pack = pack.decode_on(pool.clone(), Class::Realtime);
        read_all(&pack, &entries).await;
        let remote = pack.on(RemoteBlob::new(reader));
        let (sender, receiver) = corelane::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            block_on(read_all(&remote, &entries));
            sender.send(()).unwrap();
        });
        receiver.await.unwrap();
        thread.join().unwrap();
    });
}
