//! Reads past the page cache give what pread gives, wherever they begin and end, and into whatever
//! memory; without direct I/O the file is read as any, and says so.
#![cfg(feature = "executor")]

mod util;

use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use blobio::{
    BlobSlice, DeviceId, DirectFileAsyncBlobRandomReader, RandomReadBlobAsync, ReadHow,
    device_stats,
};
use corelane::buf::{AlignedBuf, IoBuf};
use corelane::{Config, PoolConfig, Worker};

use util::{async_suite, content, into_suite};

fn file_in(folder: &Path, bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
    file.write_all(bytes).unwrap();
    file.as_file().sync_all().unwrap();
    file
}

/// Next to the build: `/tmp` may be memory.
fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn memory() -> &'static Path {
    Path::new("/dev/shm")
}

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

async fn open(file: &tempfile::NamedTempFile) -> DirectFileAsyncBlobRandomReader {
    let path = file.path();
    let reader = DirectFileAsyncBlobRandomReader::open(path).await.unwrap();
    if !reader.is_direct() {
        eprintln!("NOTE: no direct I/O at {}", path.display());
    }
    reader
}

/// Positions and lengths around every multiple of the alignment, and around the file's end.
fn edges(len: u64, unit: u64) -> Vec<u64> {
    let mut edges: Vec<u64> = [0, unit, 2 * unit, len / unit * unit, len]
        .iter()
        .flat_map(|&edge| [edge.saturating_sub(1), edge, edge + 1])
        .collect();
    edges.push(len + 3 * unit);
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[test]
fn every_edge_is_read_as_pread_reads_it() {
    for folder in [disk(), memory()] {
        on_worker(async {
            for len in [0, 1, 4095, 4096, 4097, 12_788] {
                let bytes = content(len);
                let file = file_in(folder, &bytes);
                let reader = open(&file).await;
                let (_, unit) = reader.alignment().unwrap_or((1, 4096));
                let edges = edges(len as u64, unit as u64);
                for &pos in &edges {
                    for &want in &edges {
                        compare(&file, &reader, pos, usize::try_from(want).unwrap()).await;
                    }
                }
            }
        });
    }
}

async fn compare(
    file: &tempfile::NamedTempFile,
    reader: &DirectFileAsyncBlobRandomReader,
    pos: u64,
    want: usize,
) {
    let mut expected = vec![0; want];
    let count = file.as_file().read_at(&mut expected, pos).unwrap();
    expected.truncate(count);
    let (got, bytes) = reader.read_owned_async(pos, want, Vec::new()).await;
    assert_eq!(got.unwrap(), count, "{want} at {pos}");
    assert!(bytes == expected, "{want} at {pos}");
    // Memory that is one byte off.
    let buf = AlignedBuf::new(want + 4097, 4096);
    let mut buf = buf;
    buf.fill_from(&[7]);
    let (got, slice) = reader.read_at(buf.slice(1..=want), pos).await;
    assert_eq!(got.unwrap(), count, "{want} at {pos}, one off");
    let buf = slice.into_inner();
    assert_eq!(buf[0], 7, "{want} at {pos}, one off");
    assert!(buf[1..] == expected[..], "{want} at {pos}, one off");
}

#[test]
fn the_reader_keeps_to_the_contract_of_readers() {
    let bytes = content(20_000);
    for folder in [disk(), memory()] {
        let file = file_in(folder, &bytes);
        on_worker(async {
            let reader = open(&file).await;
            async_suite::check("direct", &reader, &bytes).await;
            into_suite::check("direct, into", &reader, &bytes).await;
            let slice = BlobSlice::new(&reader, 777, 5000).unwrap();
            async_suite::check("slice of it", &slice, &bytes[777..5777]).await;
            into_suite::check("slice of it, into", &slice, &bytes[777..5777]).await;
        });
    }
}

#[test]
fn long_reads_are_pieced_together_with_and_without_a_pool() {
    let bytes = content((3 << 20) + 1234);
    let file = file_in(disk(), &bytes);
    for pool in [PoolConfig::new(1, 4096), PoolConfig::new(16, 1 << 20)] {
        let config = Config::new().pool(pool);
        Worker::new(config).unwrap().block_on(async {
            let reader = open(&file).await;
            for (pos, len) in [
                (0, 3 << 20),
                (0, 4 << 20),
                (1, 2 << 20),
                (4096, 1 << 20),
                (4095, (1 << 20) + 2),
                (123_456, 200_000),
                (123_456, 100_000),
                ((2 << 20) + 5, 4 << 20),
            ] {
                into_suite::check_at(&reader, &bytes, pos, len, ReadHow::Auto).await;
            }
        });
    }
}

#[test]
fn a_file_in_memory_has_no_direct_reads_and_says_so() {
    let file = file_in(memory(), b"content");
    on_worker(async {
        let reader = open(&file).await;
        assert!(!reader.is_direct());
        assert_eq!(reader.alignment(), None);
        let hints = reader.hints();
        assert_eq!((hints.device, hints.align), (None, 1));
        assert!(!hints.merge_pays);
    });
}

#[test]
fn what_is_aligned_takes_one_read_and_reads_in_flight_keep_to_the_cap() {
    let bytes = content(1 << 20);
    let file = file_in(disk(), &bytes);
    let dev = file.as_file().metadata().unwrap().dev();
    let device = DeviceId {
        major: libc::major(dev),
        minor: libc::minor(dev),
    };
    on_worker(async {
        let reader = open(&file).await;
        if !reader.is_direct() {
            return;
        }
        let hints = reader.hints();
        assert_eq!(hints.device, Some(device));
        assert!(hints.merge_pays && hints.align >= 512);
        let ops = corelane::stats().submits;
        let pooled = corelane::pool().unwrap().get().await;
        let read = reader.read_into_async(65_536, 5000, pooled.into(), ReadHow::Auto);
        let (got, dest) = read.await;
        assert_eq!(got.unwrap(), 5000);
        assert!(dest.bytes() == &bytes[65_536..70_536]);
        assert_eq!(
            corelane::stats().submits - ops,
            1,
            "the end is read with the rest"
        );

        let stats = device_stats(device).unwrap();
        let reads = usize::try_from(stats.requests_max).unwrap() * 3;
        let reads: Vec<_> = (0..reads)
            .map(|at| {
                let reader = reader.clone();
                corelane::spawn_local(async move {
                    let pos = at as u64 * 4096 % (1 << 20);
                    let buf = AlignedBuf::new(4096, 4096);
                    let read = reader.read_into_async(pos, 4096, buf.into(), ReadHow::Async);
                    let (got, dest) = read.await;
                    (pos, got.map(|_| dest))
                })
            })
            .collect();
        for (at, read) in reads.into_iter().enumerate() {
            if at % 7 == 3 {
                // The permit stays with the read that the kernel goes on with.
                read.abort();
                continue;
            }
            let (pos, dest) = read.await.unwrap();
            let pos = usize::try_from(pos).unwrap();
            assert!(dest.unwrap().bytes() == &bytes[pos..pos + 4096]);
        }
        let stats = device_stats(device).unwrap();
        assert!(stats.waits > 0, "{stats:?}");
        assert!(stats.requests_high_water <= stats.requests_max, "{stats:?}");
    });
}
