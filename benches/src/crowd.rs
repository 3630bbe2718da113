//! Many readers on several cores: bare rings, pread threads, and blobio on an executor, all of them
//! at the same positions.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use blobio::{
    DirectFileAsyncBlobRandomReader, NativeFileAsyncBlobRandomReader, RandomReadBlobAsync,
};
use core_affinity::CoreId;
use corelane::buf::AlignedBuf;
use corelane::sync::oneshot;
use corelane::{Config, Executor, Placement, spawn_local};

use crate::content::{Corpus, Positions, Span, check, check_sum, is_content};
use crate::environment::pin;
use crate::floors::ring::{BareRing, Registered, Shape};
use crate::measure::{Sample, Timer};
use crate::{Failure, Outcome};

/// What is read, and by how many.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) paths: Arc<Vec<PathBuf>>,
    pub(crate) file_len: u64,
    pub(crate) direct: bool,
    pub(crate) span: Span,
    /// Readers on all cores together, each with one read in flight.
    pub(crate) readers: u64,
    /// Reads of each reader in a round.
    pub(crate) reads: u64,
}

impl Crowd {
    /// Reads of a round.
    pub(crate) fn items(&self) -> u64 {
        self.readers * self.reads
    }

    /// What the checks of a round sum up to.
    pub(crate) fn expected(&self) -> u64 {
        Positions::expected(self.readers, self.reads, self.span)
    }

    fn corpus(&self) -> Result<Corpus, Failure> {
        Corpus::open(&self.paths, self.file_len, self.direct)
    }

    /// Which readers are the `number`th of `count` groups: the first one, and how many.
    fn share(&self, number: usize, count: usize) -> (u64, u64) {
        let (number, count) = (number as u64, count as u64);
        let begin = self.readers * number / count;
        (begin, self.readers * (number + 1) / count - begin)
    }

    /// Checks every byte that a short round of one ring, or of one thread, reads.
    pub(crate) fn check_whole(&self) -> Outcome {
        let corpus = self.corpus()?;
        let mut buf = AlignedBuf::new(self.span.read_len, 4096);
        buf.fill_from(&vec![0; self.span.read_len]);
        for seed in 0..self.readers {
            let at = Positions::new(seed, self.span).next();
            corpus.read_exact_at(&mut buf, at)?;
            if !is_content(&buf, at) {
                return Err(format!("the read at {at} is wrong").into());
            }
        }
        Ok(())
    }

    /// A bare ring on each core.
    pub(crate) fn rings(&self, cores: &[CoreId], expected: u64) -> Result<Sample, Failure> {
        let set_up = |number: usize| {
            pin(cores[number])?;
            let (first, count) = self.share(number, cores.len());
            let shape = Shape {
                depth: u32::try_from(count)?,
                span: self.span,
                registered: Registered::Nothing,
            };
            Ok((BareRing::new(shape)?, self.corpus()?, first))
        };
        self.race(
            cores.len(),
            expected,
            set_up,
            |(mut ring, corpus, first)| ring.read(&corpus, first, self.reads, false),
        )
    }

    /// Threads that read one after the other, one pinned to each of the cores in turn. Readers
    /// are shared out among them.
    pub(crate) fn threads(
        &self,
        threads: usize,
        cores: &[CoreId],
        expected: u64,
    ) -> Result<Sample, Failure> {
        let set_up = |number: usize| {
            pin(cores[number % cores.len()])?;
            let mut buf = AlignedBuf::new(self.span.read_len, 4096);
            buf.fill_from(&vec![0; self.span.read_len]);
            Ok((buf, self.corpus()?, self.share(number, threads)))
        };
        self.race(threads, expected, set_up, |(mut buf, corpus, share)| {
            let mut sum = 0_u64;
            for seed in share.0..share.0 + share.1 {
                let mut positions = Positions::new(seed, self.span);
                for _ in 0..self.reads {
                    corpus.read_exact_at(&mut buf, positions.next())?;
                    sum = sum.wrapping_add(check_sum(&buf));
                }
            }
            Ok(sum)
        })
    }

    /// Lets threads set up, and times what they do from when all have until the last is done.
    fn race<T>(
        &self,
        threads: usize,
        expected: u64,
        set_up: impl Fn(usize) -> Result<T, Failure> + Sync,
        work: impl Fn(T) -> Result<u64, Failure> + Sync,
    ) -> Result<Sample, Failure> {
        let gate = Barrier::new(threads);
        let left = AtomicUsize::new(threads);
        let (begun, ended) = (OnceLock::new(), OnceLock::new());
        let sum = thread::scope(|scope| {
            let (gate, left, begun, ended) = (&gate, &left, &begun, &ended);
            let (set_up, work) = (&set_up, &work);
            let threads: Vec<_> = (0..threads)
                .map(|number| {
                    scope.spawn(move || {
                        let ready = set_up(number);
                        // Reached in any case, as the others wait here.
                        gate.wait();
                        let timer = begun.get_or_init(Timer::start);
                        let sum = work(ready?);
                        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                            ended.get_or_init(|| timer.stop(self.items()));
                        }
                        sum
                    })
                })
                .collect();
            let mut sum = 0_u64;
            for thread in threads {
                let own = thread.join().map_err(|_| "a thread panicked")??;
                sum = sum.wrapping_add(own);
            }
            Ok::<_, Failure>(sum)
        })?;
        check(expected, sum)?;
        Ok(ended.into_inner().ok_or("no thread was the last")?)
    }

    /// blobio's readers, opened by each worker of the executor, and a task for each reader.
    pub(crate) fn blobs(&self, executor: &Executor, expected: u64) -> Result<Sample, Failure> {
        let (ready, all_ready) = mpsc::channel();
        let workers = executor.workers();
        let mut gates = Vec::new();
        let mut tasks = Vec::new();
        for worker in 0..workers {
            let (gate, go) = oneshot::channel();
            let (crowd, ready) = (self.clone(), ready.clone());
            let share = self.share(worker, workers);
            tasks.push(executor.spawn_on(worker, move || async move {
                let done = if crowd.direct {
                    crowd.read_share::<Direct>(share, ready, go).await
                } else {
                    crowd.read_share::<Cached>(share, ready, go).await
                };
                done.map_err(|error| error.to_string())
            })?);
            gates.push(gate);
        }
        drop(ready);
        // One that failed does not report; its task's result says why.
        let ready = all_ready.iter().take(workers).count();
        let timer = Timer::start();
        if ready == workers {
            for gate in gates {
                gate.send(()).map_err(|()| "a worker ended early")?;
            }
        } else {
            drop(gates);
        }
        let mut sum = 0_u64;
        for task in tasks {
            sum = sum.wrapping_add(executor.block_on(task)??);
        }
        let sample = timer.stop(self.items());
        check(expected, sum)?;
        Ok(sample)
    }

    async fn read_share<R: Reader>(
        self,
        (first, count): (u64, u64),
        ready: mpsc::Sender<()>,
        go: oneshot::Receiver<()>,
    ) -> Result<u64, Failure> {
        let mut readers = Vec::new();
        for path in self.paths.iter() {
            let reader = R::open(path.clone()).await;
            readers.push(reader.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        let readers = Rc::new(readers);
        ready.send(()).map_err(|_| "nobody waits")?;
        drop(ready);
        go.await.map_err(|_| "another worker failed")?;
        let tasks: Vec<_> = (first..first + count)
            .map(|seed| {
                let readers = Rc::clone(&readers);
                let (span, file_len, reads) = (self.span, self.file_len, self.reads);
                spawn_local(async move { read_by(&readers, file_len, span, seed, reads).await })
            })
            .collect();
        let mut sum = 0_u64;
        for task in tasks {
            sum = sum.wrapping_add(task.await??);
        }
        Ok(sum)
    }
}

/// An executor with a worker on each of these cores.
pub(crate) fn executor_on(cores: &[CoreId]) -> Result<Executor, Failure> {
    executor_with(cores, Config::new())
}

/// The same with workers that park at once when they have nothing to do.
pub(crate) fn parking_on(cores: &[CoreId]) -> Result<Executor, Failure> {
    executor_with(cores, Config::new().spin_before_park(Duration::ZERO))
}

fn executor_with(cores: &[CoreId], config: Config) -> Result<Executor, Failure> {
    let placement = Placement::Cores(cores.iter().map(|core| core.id).collect());
    Ok(Executor::builder()
        .placement(placement)
        .config(config)
        .start()?)
}

/// The reads of one task.
async fn read_by<R: Reader>(
    readers: &[R],
    file_len: u64,
    span: Span,
    seed: u64,
    reads: u64,
) -> io::Result<u64> {
    let mut positions = Positions::new(seed, span);
    let mut buf = R::buffer(span.read_len);
    let mut sum = 0_u64;
    for _ in 0..reads {
        let at = positions.next();
        let reader = &readers[usize::try_from(at / file_len).expect("the number of a file")];
        let (got, back) = reader.read(at % file_len, span.read_len, buf).await;
        buf = back;
        if got? != span.read_len {
            return Err(io::Error::other(format!("the read at {at} is short")));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

/// One of blobio's readers, with memory of the kind that it likes best.
trait Reader: Sized + 'static {
    type Buffer: std::ops::Deref<Target = [u8]>;

    fn open(path: PathBuf) -> impl Future<Output = io::Result<Self>>;

    fn buffer(len: usize) -> Self::Buffer;

    fn read(
        &self,
        pos: u64,
        len: usize,
        buf: Self::Buffer,
    ) -> impl Future<Output = (io::Result<usize>, Self::Buffer)>;
}

type Cached = NativeFileAsyncBlobRandomReader;
type Direct = DirectFileAsyncBlobRandomReader;

impl Reader for Cached {
    type Buffer = Vec<u8>;

    async fn open(path: PathBuf) -> io::Result<Self> {
        Self::open(path).await
    }

    fn buffer(len: usize) -> Vec<u8> {
        Vec::with_capacity(len)
    }

    fn read(
        &self,
        pos: u64,
        len: usize,
        buf: Vec<u8>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> {
        self.read_owned_async(pos, len, buf)
    }
}

impl Reader for Direct {
    type Buffer = AlignedBuf;

    async fn open(path: PathBuf) -> io::Result<Self> {
        let reader = Self::open(path).await?;
        if reader.is_direct() {
            return Ok(reader);
        }
        Err(io::Error::other("no direct I/O here"))
    }

    fn buffer(len: usize) -> AlignedBuf {
        AlignedBuf::new(len, 4096)
    }

    async fn read(
        &self,
        pos: u64,
        _len: usize,
        mut buf: AlignedBuf,
    ) -> (io::Result<usize>, AlignedBuf) {
        buf.truncate(0);
        self.read_at(buf, pos).await
    }
}
