//! Twenty thousand loose blobs are read where a process may have 256 descriptors: alone in its
//! file, because the limit is the process's.
#![cfg(feature = "executor")]
#![allow(unsafe_code, reason = "sets the limit")]

use std::fs;
use std::path::Path;

use blobio::{LooseBlob, LooseFiles, LooseFilesConfig, RandomReadBlobAsync};
use corelane::{Config, JoinHandle, Worker};

const BLOBS: usize = 20_000;
const DESCRIPTORS: u64 = 256;
/// Reads that are begun before the first of them is awaited.
const AT_ONCE: usize = 1000;

fn limit_descriptors() {
    let limit = libc::rlimit {
        rlim_cur: DESCRIPTORS,
        rlim_max: DESCRIPTORS,
    };
    // SAFETY: the limit is a valid value for the duration of the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0);
}

fn make_files(folder: &Path) {
    for number in 0..BLOBS {
        let folder = folder.join((number / 1000).to_string());
        if number % 1000 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        fs::write(folder.join(number.to_string()), content(number)).unwrap();
    }
}

fn content(number: usize) -> String {
    format!("blob {number}").repeat(1 + number % 7)
}

fn begin(blob: &LooseBlob, number: usize) -> JoinHandle<()> {
    let blob = blob.clone();
    corelane::spawn_local(async move {
        let (got, bytes) = blob.read_owned_async(0, 200, Vec::new()).await;
        got.unwrap_or_else(|e| panic!("blob {number}: {e}"));
        assert!(bytes == content(number).as_bytes(), "blob {number}");
    })
}

/// Reads every blob in an order that is none, many at once.
async fn read_all(blobs: &[LooseBlob], round: usize) {
    // Coprime with the number of blobs, so that every number comes once.
    let step = [7_919, 12_347][round % 2];
    let mut reads = std::collections::VecDeque::new();
    for at in 0..BLOBS {
        let number = at * step % BLOBS;
        reads.push_back(begin(&blobs[number], number));
        if reads.len() == AT_ONCE {
            reads.pop_front().unwrap().await.unwrap();
        }
    }
    for read in reads {
        read.await.unwrap();
    }
}

#[test]
fn twenty_thousand_blobs_are_read_with_256_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    limit_descriptors();
    let worker = Worker::new(Config::default()).unwrap();
    // The default budget, and one that the system does not have.
    for (config, rounds) in [
        (LooseFilesConfig::new(), 2),
        (LooseFilesConfig::new().open_max(10_000), 1),
    ] {
        worker.block_on(async {
            let set = LooseFiles::new(config);
            let blobs: Vec<_> = (0..BLOBS)
                .map(|number| {
                    let path = folder.path().join((number / 1000).to_string());
                    set.blob(path.join(number.to_string()))
                })
                .collect();
            for round in 0..rounds {
                read_all(&blobs, round).await;
                let stats = set.stats();
                println!("{stats:?}");
                assert!(stats.open as u64 <= DESCRIPTORS, "{stats:?}");
                assert_eq!((stats.busy, stats.waiting), (0, 0), "{stats:?}");
            }
            let stats = set.stats();
            let beyond = stats.open_max as u64 > DESCRIPTORS;
            assert_eq!(stats.refused > 0, beyond, "{stats:?}");
            assert_eq!(stats.open_max == 64, !beyond, "{stats:?}");
        });
    }
}
