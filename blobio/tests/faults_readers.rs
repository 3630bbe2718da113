//! Readers, loose files, archives and packs on a file system that fails, lies or never answers.
#![cfg(all(feature = "executor", feature = "pack"))]

mod util;

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use blobio::decode::{DecodePool, PoolConfig};
use blobio::error::{ArchiveError, ArchiveErrorKind};
use blobio::pack::chunked::{Compression, Pack, PackError, PackErrorKind};
use blobio::pack::zip::Archive;
use blobio::queue::Class;
use blobio::{
    LooseFiles, LooseFilesConfig, NativeFileAsyncBlobRandomReader, NativeFileBlobRandomReader,
    RandomReadBlob, RandomReadBlobAsync, RemoteBlob,
};
use corelane::{BackendChoice, Config, Executor, Worker, time};
use faultfs::{Files, content};
use futures_executor::block_on;

use util::packs::{options, pack_of, text};
use util::zips::archive_of;

type Reader = NativeFileAsyncBlobRandomReader;

const SOON: Duration = Duration::from_millis(20);
/// How long anything may take before it counts as hung, on a busy machine.
const HUNG: Duration = Duration::from_secs(30);

/// Runs `body` on each backend there is here. The name tells files of one from those of another.
fn on_each(mut body: impl AsyncFnMut(&str)) {
    for (choice, id) in [
        (BackendChoice::Uring, "ring"),
        (BackendChoice::Threads, "threads"),
    ] {
        match Worker::new(Config::new().backend(choice)) {
            Ok(worker) => {
                let body = time::timeout(HUNG, body(id));
                worker.block_on(body).expect("the test hangs");
            }
            Err(error) => println!("SKIP: {choice:?}: {error}"),
        }
    }
}

fn sync_reader(files: &Files, name: &str) -> NativeFileBlobRandomReader {
    NativeFileBlobRandomReader::open(files.path(name)).unwrap()
}

async fn reader(files: &Files, name: &str) -> Reader {
    let reader = Reader::open(files.path(name)).await;
    reader.unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_blocking_reader_gives_all_bytes_or_the_error() {
    faultfs::run("a_blocking_reader_gives_all_bytes_or_the_error", |files| {
        for name in ["direct,short=999", "direct,eintr=3,short=4000", "slow=3"] {
            let mut bytes = vec![MaybeUninit::uninit(); 20_000];
            let got = sync_reader(files, name).read(17, &mut bytes).unwrap();
            assert_eq!(got, 20_000, "{name}");
            let bytes = sync_reader(files, name).read_to_end(1_000_000).unwrap();
            assert!(bytes == content(1_000_000, 48_576), "{name}");
        }
        let error = sync_reader(files, "eio=8192").read_to_end(0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        let mut short = vec![MaybeUninit::uninit(); 100];
        let lying = sync_reader(files, "direct,size=50,stat=100");
        assert_eq!(lying.read(0, &mut short).unwrap(), 50);
        let error = lying.read_exact(0, &mut short).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let denied = NativeFileBlobRandomReader::open(files.path("open=eacces")).unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn a_reader_of_a_worker_gives_all_bytes_or_the_error() {
    faultfs::run(
        "a_reader_of_a_worker_gives_all_bytes_or_the_error",
        |files| {
            on_each(async |id| {
                let name = format!("direct,eintr=3,id={id}");
                let (got, bytes) = reader(files, &name)
                    .await
                    .read_at(Vec::with_capacity(5000), 9)
                    .await;
                assert_eq!(got.unwrap(), 5000);
                assert!(bytes == content(9, 5000));
                for (name, errno) in [("eio=4096", libc::EIO), ("eagain,direct", libc::EAGAIN)] {
                    let blob = reader(files, name).await;
                    let (got, _) = blob.read_at(Vec::with_capacity(9000), 0).await;
                    assert_eq!(got.unwrap_err().raw_os_error(), Some(errno), "{name}");
                    let mut buf = vec![MaybeUninit::uninit(); 9000];
                    let error = blob.read_async(0, &mut buf).await.unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(errno), "{name}");
                }
                let blob = reader(files, "stat=eio").await;
                let error = blobio::BlobMetadataAsync::byte_length_async(&blob).await;
                assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EIO));
            });
        },
    );
}

#[test]
fn a_dead_file_holds_up_no_other_read() {
    faultfs::run("a_dead_file_holds_up_no_other_read", |files| {
        on_each(async |id| {
            let dead = reader(files, &format!("never,direct,id={id}")).await;
            let mut buf = vec![MaybeUninit::uninit(); 64];
            assert!(
                time::timeout(SOON, dead.read_async(0, &mut buf))
                    .await
                    .is_err()
            );
            let owned = dead.read_at(Vec::with_capacity(64), 0);
            assert!(time::timeout(SOON, owned).await.is_err());
            let alive = reader(files, &format!("id={id}")).await;
            let (got, bytes) = alive.read_at(Vec::with_capacity(9000), 5).await;
            assert_eq!(got.unwrap(), 9000);
            assert!(bytes == content(5, 9000));
            // The dead one was only silent.
            answered(files).await;
            let late = reader(files, &format!("id={id}")).await;
            assert_eq!(
                late.read_at(Vec::with_capacity(8), 8).await.1,
                content(8, 8)
            );
        });
    });
}

/// Answers what waits until nothing is in flight.
async fn answered(files: &Files) {
    while corelane::stats().in_flight > 0 {
        files.release();
        corelane::yield_now().await;
    }
}

#[test]
fn a_remote_read_ends_with_its_worker() {
    faultfs::run("a_remote_read_ends_with_its_worker", |files| {
        for choice in [BackendChoice::Uring, BackendChoice::Threads] {
            let config = Config::new().backend(choice);
            let executor = match Executor::builder().workers(1).config(config).start() {
                Ok(executor) => executor,
                Err(error) => {
                    println!("SKIP: {choice:?}: {error}");
                    continue;
                }
            };
            let open = |name: String| {
                let blob = RemoteBlob::open(executor.spawner(0), files.path(&name));
                block_on(blob).unwrap()
            };
            let dead = open(format!("never,direct,id={choice:?}"));
            let alive = open(format!("id={choice:?}"));
            let stuck =
                std::thread::spawn(move || block_on(dead.read_owned_async(0, 64, vec![])).0);
            files.wait_held(1);
            let (got, bytes) = block_on(alive.read_owned_async(7, 3000, vec![]));
            assert_eq!(got.unwrap(), 3000);
            assert!(bytes == content(7, 3000));
            let report = executor.shutdown(Instant::now() + SOON);
            assert_eq!(report.ops_leaked, 1, "{choice:?}");
            let error = stuck.join().unwrap().unwrap_err();
            println!("{choice:?}: {error}");
            let (got, _) = block_on(alive.read_owned_async(0, 1, vec![]));
            assert!(got.is_err(), "the worker is gone");
            files.release();
        }
    });
}

#[test]
fn loose_files_go_on_beside_one_that_fails() {
    faultfs::run("loose_files_go_on_beside_one_that_fails", |files| {
        on_each(async |id| {
            let set = LooseFiles::new(LooseFilesConfig::new().open_max(1));
            let good = set.blob(files.path(&format!("id={id}-good")));
            let bad = set.blob(files.path("open=eio"));
            let dead = set.blob(files.path("open=never"));
            for _ in 0..3 {
                let (got, bytes) = good.read_owned_async(3, 100, Vec::new()).await;
                assert_eq!((got.unwrap(), bytes), (100, content(3, 100)));
                let (got, _) = bad.read_owned_async(3, 100, Vec::new()).await;
                let text = got.unwrap_err().to_string();
                assert!(
                    text.contains("open=eio") && text.contains("os error 5"),
                    "{text}"
                );
            }
            let opening = dead.read_owned_async(0, 8, Vec::new());
            assert!(time::timeout(SOON, opening).await.is_err());
            // The place of the file that does not open is free again when its open has ended.
            answered(files).await;
            let (got, bytes) = good.read_owned_async(3, 100, Vec::new()).await;
            assert_eq!((got.unwrap(), bytes), (100, content(3, 100)));
            let stats = set.stats();
            assert!(stats.open <= 1 && stats.busy == 0, "{stats:?}");
        });
    });
}

#[test]
fn a_loose_file_that_is_gone_when_it_is_opened_again_is_an_error_of_its_own() {
    let test = "a_loose_file_that_is_gone_when_it_is_opened_again_is_an_error_of_its_own";
    faultfs::run(test, |files| {
        on_each(async |id| {
            let backing = files.backing().join(id);
            std::fs::write(&backing, content(0, 5000)).unwrap();
            let set = LooseFiles::new(LooseFilesConfig::new().open_max(1));
            let going = set.blob(files.path(&format!("from={id}")));
            let other = set.blob(files.path(&format!("id={id}-other")));
            let read = async |blob: &blobio::LooseBlob| {
                let (got, bytes) = blob.read_owned_async(10, 90, Vec::new()).await;
                got.map(|_| bytes)
            };
            assert_eq!(read(&going).await.unwrap(), content(10, 90));
            assert_eq!(read(&other).await.unwrap(), content(10, 90));
            std::fs::remove_file(&backing).unwrap();
            assert_eq!(read(&going).await.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(read(&other).await.unwrap(), content(10, 90));
            std::fs::write(&backing, content(0, 6000)).unwrap();
            let error = read(&going).await.unwrap_err();
            assert!(
                error.get_ref().is_some_and(|e| e.is::<blobio::StaleBlob>()),
                "{error:?}"
            );
        });
    });
}

fn is_eio_zip(error: &ArchiveError) -> bool {
    matches!(error.kind(), ArchiveErrorKind::Io(error) if error.raw_os_error() == Some(libc::EIO))
}

#[test]
fn an_archive_on_a_failing_file_says_what_failed() {
    faultfs::run("an_archive_on_a_failing_file_says_what_failed", |files| {
        let (one, two) = (text(300_000), content(0, 200_000));
        let zip = archive_of(&[("one", &one, true), ("two", &two, false)]);
        std::fs::write(files.backing().join("zip"), &zip).unwrap();
        // The catalogue is at the end: every read of it reaches behind any byte.
        let open = |name: &str| Archive::open(sync_reader(files, name), name);
        assert!(is_eio_zip(&open("from=zip,eio").unwrap_err()));
        let archive = open("from=zip,direct,short=1000,eintr=3").unwrap();
        let read = |name| archive.read(archive.entry(name).unwrap()).unwrap();
        assert!(read("one") == one && read("two") == two);
        for cut in [0, 10, zip.len() - 1] {
            let name = format!("from=zip,stat={cut}");
            let error = open(&name).unwrap_err();
            assert!(
                !matches!(error.kind(), ArchiveErrorKind::Corrupt),
                "{name}: {error}"
            );
        }
        on_each(async |id| {
            let name = format!("from=zip,eio,id={id}");
            let failed = Archive::open_async(reader(files, &name).await, &name).await;
            assert!(is_eio_zip(&failed.unwrap_err()));
            let name = format!("from=zip,never,direct,id={id}");
            let opening = Archive::open_async(reader(files, &name).await, &name);
            assert!(time::timeout(SOON, opening).await.is_err());
            answered(files).await;
            // A catalogue that was read, of an archive whose entries are not to be.
            let good = Archive::open_async(reader(files, "from=zip").await, "zip")
                .await
                .unwrap();
            let bad = good.on(reader(files, &format!("from=zip,eio,direct,id={id}")).await);
            let entry = good.entry("one").unwrap();
            assert!(is_eio_zip(&bad.read_async(entry).await.unwrap_err()));
            assert!(good.read_async(entry).await.unwrap() == one);
        });
    });
}

fn is_eio_pack(error: &PackError) -> bool {
    matches!(error.kind(), PackErrorKind::Io(error) if error.raw_os_error() == Some(libc::EIO))
}

#[test]
fn a_pack_on_a_failing_file_says_what_failed() {
    faultfs::run("a_pack_on_a_failing_file_says_what_failed", |files| {
        let entries = [("blocks", text(900_000)), ("small", content(0, 100))];
        let pack = pack_of(&entries, options(Compression::Zstd(1))).0;
        std::fs::write(files.backing().join("pack"), &pack).unwrap();
        let open = |name: &str| Pack::open(sync_reader(files, name), name);
        assert!(is_eio_pack(&open("from=pack,eio").unwrap_err()));
        let good = open("from=pack,direct,short=5000,eintr=2").unwrap();
        let entry = good.entry("blocks").unwrap();
        assert!(good.data(&entry).read_to_end(0).unwrap() == entries[0].1);
        let cut = format!("from=pack,stat={}", pack.len() - 1);
        let error = open(&cut).unwrap_err();
        assert!(
            matches!(error.kind(), PackErrorKind::Truncated { .. }),
            "{error}"
        );

        let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
        on_each(async |id| {
            let name = format!("from=pack,eio,id={id}");
            let failed = Pack::open_async(reader(files, &name).await, &name).await;
            assert!(is_eio_pack(&failed.unwrap_err()));
            let pack = Pack::open_async(reader(files, "from=pack").await, "pack").await;
            let pack = pack.unwrap().decode_on(pool.clone(), Class::Normal);
            let entry = pack.entry_async("blocks").await.unwrap();
            let bad = pack.on(reader(files, &format!("from=pack,eio,direct,id={id}")).await);
            let error = bad
                .data_owned(&entry)
                .read_to_end_async(0)
                .await
                .unwrap_err();
            assert!(names(&error, "blocks"), "{error}");
            let dead = pack.on(reader(files, &format!("from=pack,never,direct,id={id}")).await);
            let data = dead.data_owned(&entry);
            assert!(
                time::timeout(SOON, data.read_to_end_async(0))
                    .await
                    .is_err()
            );
            answered(files).await;
            let data = pack.data_owned(&entry);
            assert!(data.read_to_end_async(0).await.unwrap() == entries[0].1);
        });
    });
}

/// Says whether an error of reading names the entry and was `EIO`.
fn names(error: &io::Error, entry: &str) -> bool {
    let pack = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<PackError>());
    pack.is_some_and(|error| is_eio_pack(error) && error.entry() == Some(entry))
}
