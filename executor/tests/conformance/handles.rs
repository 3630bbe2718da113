//! Many handles, few places; and executors that are not this one.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::net::UnixStream;
use corelane::sync::{channel, oneshot};
use corelane::{spawn_local, time};
use futures_util::future::{join_all, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::files::read;
use crate::harness::Backend;
use crate::support::{HUNG, content, file_of};

pub(crate) fn many_clones_of_one_file(backend: &Backend) {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let tasks: Vec<_> = (0..300)
            .map(|at| {
                let (file, expected) = (file.clone(), bytes[at * 300..][..500].to_vec());
                spawn_local(async move {
                    let got = read(&file, 500, at as u64 * 300).await.unwrap();
                    assert_eq!(got, expected);
                    // Closes one of many.
                    file.close().await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // The operation keeps the descriptor of a file that is gone.
        let last = file.read_at(Vec::with_capacity(10), 5);
        file.close().await.unwrap();
        let (result, buf) = last.await;
        assert_eq!((result.unwrap(), &buf[..]), (10, &bytes[5..15]));
    });
}

pub(crate) fn more_operations_than_the_queues_hold(backend: &Backend) {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    let config = backend.config().sq_entries(4).cq_entries(8).peer_ops_max(6);
    backend.run_with(config, async {
        let file = File::open(on_disk.path()).await.unwrap();
        let done = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for at in 0..200 {
            let (file, expected) = (file.clone(), bytes[at * 400..][..400].to_vec());
            let done = done.clone();
            tasks.push(spawn_local(async move {
                assert_eq!(read(&file, 400, at as u64 * 400).await.unwrap(), expected);
                done.set(done.get() + 1);
            }));
            if at < 40 {
                tasks.push(spawn_local(async move {
                    let (one, two) = UnixStream::pair().unwrap();
                    let recv = spawn_local(async move { one.recv(Vec::with_capacity(10)).await.1 });
                    corelane::yield_now().await;
                    two.send_all(b"hello".to_vec()).await.0.unwrap();
                    assert_eq!(recv.await.unwrap(), b"hello");
                }));
            }
        }
        // Receives may hold all the places that their sends wait for; never those of reads.
        let deadline = Instant::now() + HUNG;
        while done.get() < 200 {
            assert!(Instant::now() < deadline, "{} have ended", done.get());
            time::sleep(Duration::from_millis(1)).await;
        }
        for task in tasks {
            task.abort();
            let ended = task.await;
            assert!(!ended.is_err_and(|error| error.is_panic()));
        }
    });
}

pub(crate) fn wakers_of_other_executors(backend: &Backend) {
    let bytes = content(50_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        // These poll with wakers of their own, each operation's another.
        let reads = (0..50).map(|at| read(&file, 100, at * 1000));
        for (at, got) in join_all(reads).await.into_iter().enumerate() {
            assert_eq!(got.unwrap(), bytes[at * 1000..][..100]);
        }
        let mut unordered: FuturesUnordered<_> = (0..50usize)
            .map(|at| {
                let (file, bytes) = (&file, &bytes);
                async move {
                    let got = read(file, 100, at as u64 * 900).await.unwrap();
                    assert_eq!(got, bytes[at * 900..][..100]);
                    at
                }
            })
            .collect();
        let mut seen = Vec::new();
        while let Some(at) = unordered.next().await {
            seen.push(at);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
        // One of several that wait is woken; the others are dropped.
        let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
        let recvs = pairs
            .iter()
            .map(|(one, _)| one.recv(Vec::with_capacity(10)));
        let waiting = spawn_local({
            let two = pairs[3].1.clone();
            async move {
                time::sleep(Duration::from_millis(3)).await;
                two.send_all(b"third".to_vec()).await.0.unwrap();
            }
        });
        let ((result, buf), at, rest) = select_all(recvs).await;
        assert_eq!((result.unwrap(), at, &buf[..]), (5, 3, &b"third"[..]));
        drop(rest);
        waiting.await.unwrap();
    });
}

pub(crate) fn handles_awaited_on_other_threads(backend: &Backend) {
    let bytes = content(10_000);
    let on_disk = file_of(&bytes);
    let path = on_disk.path().to_owned();
    let worker = backend.worker();
    let spawner = worker.spawner();
    let (stop, stopped) = oneshot::channel();
    let (requests, mut served) = channel::bounded::<(u64, oneshot::Sender<Vec<u8>>)>(2);
    let server = worker.spawn_local(async move {
        let file = File::open(path).await.unwrap();
        while let Some((offset, answer)) = served.recv().await {
            answer
                .send(read(&file, 100, offset).await.unwrap())
                .unwrap();
        }
    });
    let clients: Vec<_> = (0..3u64)
        .map(|client| {
            let (requests, spawner) = (requests.clone(), spawner.clone());
            let path = on_disk.path().to_owned();
            std::thread::spawn(move || {
                futures_executor::block_on(async {
                    let mut answers = Vec::new();
                    for at in 0..20 {
                        let (answer, answered) = oneshot::channel();
                        let offset = client * 2000 + at * 50;
                        requests.send((offset, answer)).await.unwrap();
                        answers.push((offset, answered.await.unwrap()));
                    }
                    // A task of its own, whose handle is awaited here.
                    let task = spawner.spawn(move || async move {
                        let file = File::open(path).await.unwrap();
                        read(&file, 100, 9000).await.unwrap()
                    });
                    answers.push((9000, task.unwrap().await.unwrap()));
                    answers
                })
            })
        })
        .collect();
    drop(requests);
    let watcher = std::thread::spawn(move || {
        // The server's own handle, as all its requests come to an end.
        futures_executor::block_on(server).unwrap();
        let answers: Vec<_> = clients.into_iter().map(|it| it.join().unwrap()).collect();
        stop.send(answers).unwrap();
    });
    let answers = crate::support::run_on(&worker, stopped).unwrap();
    watcher.join().unwrap();
    for (offset, got) in answers.into_iter().flatten() {
        let at = usize::try_from(offset).unwrap();
        assert_eq!(got, bytes[at..at + 100]);
    }
    let report = worker.shutdown(Instant::now() + HUNG);
    assert_eq!(report.ops_leaked, 0);
}
