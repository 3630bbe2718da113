//! Loose files are opened late, once, and few at a time; reads keep their file open and wait in
//! order; a file that was replaced is told.
#![cfg(feature = "executor")]

mod util;

use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use blobio::{LooseBlob, LooseFiles, LooseFilesConfig, RandomReadBlobAsync, StaleBlob};
use corelane::{BackendChoice, Config, SimConfig, Worker};

use util::{async_suite, content, into_suite};

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

/// Files named by their number, which they hold as well.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Self { folder };
        for number in 0..count {
            fs::write(files.path(number), number.to_string()).unwrap();
        }
        files
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    fn blobs(&self, set: &LooseFiles, count: usize) -> Vec<LooseBlob> {
        (0..count)
            .map(|number| set.blob(self.path(number)))
            .collect()
    }
}

fn set(open_max: usize) -> LooseFiles {
    LooseFiles::new(LooseFilesConfig::new().open_max(open_max))
}

async fn read(blob: &LooseBlob) -> String {
    let (got, bytes) = blob.read_owned_async(0, 100, Vec::new()).await;
    assert_eq!(got.unwrap(), bytes.len());
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_loose_blob_keeps_to_the_contract_of_readers() {
    let bytes = content(20_000);
    let file = util::file_of(&bytes);
    on_worker(async {
        let blob = set(1).blob(file.path());
        async_suite::check("loose", &blob, &bytes).await;
        into_suite::check("loose, into", &blob, &bytes).await;
    });
}

#[test]
fn the_least_recently_read_file_is_closed() {
    let files = Files::new(4);
    on_worker(async {
        let set = set(2);
        let blobs = files.blobs(&set, 4);
        assert_eq!(
            (set.stats().open, set.stats().opened),
            (0, 0),
            "opened late"
        );
        for (number, opened) in [
            (0, 1),
            (1, 2),
            (0, 2),
            (2, 3),
            (0, 3),
            (1, 4),
            (0, 4),
            (2, 5),
        ] {
            assert_eq!(read(&blobs[number]).await, number.to_string());
            let stats = set.stats();
            assert_eq!(stats.opened, opened, "{number}: {stats:?}");
            assert!(stats.open <= 2 && stats.busy == 0, "{stats:?}");
        }
        assert_eq!(set.stats().evicted, 3);
        let same = set.blob(files.path(2));
        read(&same).await;
        assert_eq!(set.stats().opened, 5, "one path, one descriptor");
        drop((same, blobs));
        assert_eq!(set.stats().open, 0, "closed with its last blob");
    });
}

#[test]
fn first_reads_at_once_share_one_open_and_the_first_to_be_dropped_spoils_none() {
    let files = Files::new(1);
    on_worker(async {
        let set = set(8);
        let blob = set.blob(files.path(0));
        let reads: Vec<_> = (0..50)
            .map(|_| {
                let blob = blob.clone();
                corelane::spawn_local(async move { read(&blob).await })
            })
            .collect();
        corelane::yield_now().await;
        for (at, read) in reads.into_iter().enumerate() {
            if at % 10 == 0 {
                read.abort();
            } else {
                assert_eq!(read.await.unwrap(), "0");
            }
        }
        // The first one, and the one after it when that was aborted in the middle of opening.
        let opened = set.stats().opened;
        assert!((1..=2).contains(&opened), "{opened} opens");
    });
}

#[test]
fn reads_without_a_descriptor_wait_in_order_and_may_give_up() {
    let files = Files::new(20);
    on_worker(async {
        let set = set(1);
        let order = Rc::new(RefCell::new(Vec::new()));
        let reads: Vec<_> = files
            .blobs(&set, 20)
            .into_iter()
            .enumerate()
            .map(|(number, blob)| {
                let order = Rc::clone(&order);
                corelane::spawn_local(async move {
                    assert_eq!(read(&blob).await, number.to_string());
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        corelane::yield_now().await;
        for (number, read) in reads.iter().enumerate() {
            if number % 4 == 1 {
                read.abort();
            }
        }
        for (number, read) in reads.into_iter().enumerate() {
            assert_eq!(read.await.is_err(), number % 4 == 1);
        }
        let expected: Vec<_> = (0..20).filter(|number| number % 4 != 1).collect();
        assert_eq!(*order.borrow(), expected);
        let stats = set.stats();
        assert_eq!((stats.busy, stats.waiting), (0, 0), "{stats:?}");
        assert!(stats.waits >= 14, "{stats:?}");
    });
}

#[test]
fn a_read_that_nobody_polls_holds_no_descriptor_back() {
    let files = Files::new(2);
    on_worker(async {
        let set = set(1);
        let blobs = files.blobs(&set, 2);
        let mut forgotten = pin!(read(&blobs[0]));
        let first = forgotten
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(first.is_pending());
        assert_eq!(read(&blobs[1]).await, "1");
        assert_eq!(forgotten.await, "0");
    });
}

#[test]
fn a_replaced_file_is_told_by_its_path_unless_it_is_to_be_followed() {
    for follow in [false, true] {
        let files = Files::new(3);
        on_worker(async {
            let config = LooseFilesConfig::new().open_max(1);
            let set = LooseFiles::new(config.follow_replaced(follow));
            let blobs = files.blobs(&set, 2);
            assert_eq!(read(&blobs[0]).await, "0");
            fs::rename(files.path(2), files.path(0)).unwrap();
            assert_eq!(read(&blobs[0]).await, "0", "still the open one");
            assert_eq!(read(&blobs[1]).await, "1");
            if follow {
                assert_eq!(read(&blobs[0]).await, "2");
                return;
            }
            let (got, _) = blobs[0].read_owned_async(0, 9, Vec::new()).await;
            let error = got.unwrap_err().downcast::<StaleBlob>().unwrap();
            assert_eq!(error.path(), files.path(0));
            assert!(error.to_string().contains(files.path(0).to_str().unwrap()));
            assert_eq!(read(&blobs[1]).await, "1", "the others go on");
            let stats = set.stats();
            assert_eq!((stats.open, stats.busy), (1, 0), "{stats:?}");
        });
    }
}

#[test]
fn an_open_that_fails_names_the_path_and_is_tried_again() {
    let files = Files::new(0);
    on_worker(async {
        let set = set(1);
        let blob = set.blob(files.path(7));
        let (got, _) = blob.read_owned_async(0, 9, Vec::new()).await;
        let error = got.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(files.path(7).to_str().unwrap()));
        fs::write(files.path(7), "there").unwrap();
        assert_eq!(read(&blob).await, "there");
    });
}

#[test]
fn random_reads_on_the_simulated_ring_stay_in_the_budget_and_end() {
    for seed in 0..200 {
        let mut sim = SimConfig::new(seed);
        sim.short_percent = 20;
        let config = Config::new().backend(BackendChoice::Sim(sim));
        let worker = Worker::new(config).unwrap();
        worker.block_on(async {
            let set = set(1 + usize::try_from(seed % 5).unwrap());
            let mut number = seed;
            let mut next = move |bound: u64| {
                number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (number >> 33) % bound
            };
            let reads: Vec<_> = (0..60)
                .map(|_| {
                    let (set, blob) = (set.clone(), set.blob(next(12).to_string()));
                    let (pos, given_up) = (next(1 << 20), next(4) == 0);
                    let read = corelane::spawn_local(async move {
                        let (got, bytes) = blob.read_owned_async(pos, 64, Vec::new()).await;
                        assert_eq!(got.unwrap(), 64, "seed {seed}");
                        for (at, byte) in bytes.iter().enumerate() {
                            assert_eq!(*byte, SimConfig::byte_at(pos + at as u64));
                        }
                        let stats = set.stats();
                        assert!(stats.open <= stats.open_max, "seed {seed}: {stats:?}");
                    });
                    (read, given_up)
                })
                .collect();
            for (at, (read, given_up)) in reads.into_iter().enumerate() {
                if given_up {
                    for _ in 0..at {
                        corelane::yield_now().await;
                    }
                    read.abort();
                }
                let ended = read.await;
                assert!(!ended.is_err_and(|e| e.is_panic()), "seed {seed}");
            }
            // Reads that were given up end when their last completion has come; simulated time
            // passes when the worker parks.
            while set.stats().busy > 0 || set.stats().open > 0 {
                corelane::time::sleep(Duration::from_micros(50)).await;
            }
            assert_eq!(set.stats().waiting, 0, "seed {seed}");
        });
    }
}
