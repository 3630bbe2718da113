//! How a read is best issued: cached and cold, short and long, beside a task that wants its timer
//! every millisecond.
//!
//! What is compared is blobio's [`ReadHow`] and its direct reader; there is no floor. The lateness
//! of the timer is the time that something else held the core, copies of cached pages most of all.
//! Cold means that the file was taken out of the page cache before each round, which is checked by
//! reads that must not wait: where they find something, nothing is measured.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blobio::{
    Destination, DirectFileAsyncBlobRandomReader, NativeFileAsyncBlobRandomReader,
    RandomReadBlobAsync, ReadHow,
};
use corelane::buf::AlignedBuf;
use corelane::fs::Advice;
use corelane::{Config, JoinHandle, Worker, spawn_local, yield_now};

use crate::cold::evict;
use crate::content::{Content, FILE_LEN, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::lateness::{Lateness, Watcher};
use crate::measure::quantile;
use crate::{Failure, Options, Outcome};

/// Tasks that read, each with one read in flight.
const READERS: u64 = 16;
/// Length of a read, and reads of a round, of all tasks together.
const LENS: [(usize, u64); 3] = [(4 << 10, 8_192), (64 << 10, 2_048), (1 << 20, 256)];

/// A way to issue reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    NoWaitThenInline,
    NoWaitThenAsync,
    Async,
    Direct,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::NoWaitThenInline,
        Self::NoWaitThenAsync,
        Self::Async,
        Self::Direct,
    ];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::NoWaitThenInline => "no wait, then inline",
            Self::NoWaitThenAsync => "no wait, then async",
            Self::Async => "async",
            Self::Direct => "direct",
        })
    }
}

/// What one round found.
#[derive(Clone, Copy, Debug)]
struct Round {
    elapsed: Duration,
    /// Time that the worker's thread ran.
    on_core: Duration,
    /// Reads that were refused at first.
    refused: u64,
    late: Lateness,
}

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let worker = Worker::new(Config::default())?;
    for cold in [false, true] {
        for (len, reads) in LENS {
            let mut rounds = Way::ALL.map(|way| (way, Vec::new()));
            for number in 0..=options.rounds {
                for (way, rounds) in &mut rounds {
                    let round = worker.block_on(round(&content.path, *way, cold, len, reads))?;
                    // The first one does not count.
                    if number > 0 {
                        rounds.push(round);
                    }
                }
            }
            print(cold, len, reads, &rounds);
            if cold {
                content.warm()?;
            }
        }
    }
    Ok(())
}

fn print(cold: bool, len: usize, reads: u64, rounds: &[(Way, Vec<Round>)]) {
    let state = if cold { "cold" } else { "cached" };
    println!(
        "\nadaptive: {state}, {} KiB, {READERS} in flight (medians)",
        len >> 10
    );
    println!(
        "  {:<21} {:>10} {:>10} {:>12} {:>9} {:>12} {:>12}",
        "", "reads/s", "MiB/s", "core us/read", "refused", "p99 late us", "max late us"
    );
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let (len, reads) = (len as f64, reads as f64);
    for (way, rounds) in rounds {
        let median = |value: &dyn Fn(&Round) -> f64| {
            let series: Vec<f64> = rounds.iter().map(value).collect();
            quantile(&series, 0.5)
        };
        let rate = median(&|round| reads / round.elapsed.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let refused = median(&|round| round.refused as f64 / reads * 100.0);
        println!(
            "  {way:<21} {rate:>10.0} {:>10.0} {:>12.2} {refused:>8.1}% {:>12.0} {:>12.0}",
            rate * len / f64::from(1 << 20),
            median(&|round| round.on_core.as_secs_f64() * 1e6 / reads),
            median(&|round| round.late.p99.as_secs_f64() * 1e6),
            median(&|round| round.late.max.as_secs_f64() * 1e6),
        );
    }
}

async fn round(
    path: &Path,
    way: Way,
    cold: bool,
    len: usize,
    reads: u64,
) -> Result<Round, Failure> {
    if cold {
        evict(path).await?;
    }
    let reader = Reader::open(path, way).await?;
    let timer = Watcher::start();
    yield_now().await;
    let (start, ran) = (Instant::now(), thread_time()?);
    let tasks: Vec<JoinHandle<_>> = (0..READERS)
        .map(|task| spawn_local(read_all(reader.clone(), task, len, reads / READERS)))
        .collect();
    let mut refused = 0;
    for task in tasks {
        refused += task.await??;
    }
    let (elapsed, on_core) = (start.elapsed(), thread_time()?.saturating_sub(ran));
    let late = timer.stop().await?;
    Ok(Round {
        elapsed,
        on_core,
        refused,
        late,
    })
}

/// Reads at positions that no other read of the round has, and counts those refused at first.
async fn read_all(reader: Reader, task: u64, len: usize, reads: u64) -> io::Result<u64> {
    let places = FILE_LEN / len as u64;
    let mut refused = 0;
    let mut dest: Destination = AlignedBuf::new(len, 4096).into();
    for number in 0..reads {
        // 7,919 is coprime to the number of places, so none is met twice.
        let place = (number * READERS + task) * 7_919 % places;
        let pos = place * len as u64;
        let (mut result, back) = reader.read(pos, len, dest, reader.first()).await;
        dest = back;
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            refused += 1;
            (result, dest) = reader.read(pos, len, dest, reader.second()).await;
        }
        let bytes = dest.bytes();
        let right = result? == len
            && is_content(&bytes[..8], pos)
            && is_content(&bytes[len - 8..], pos + len as u64 - 8);
        if !right {
            return Err(io::Error::other(format!("the read at {pos} is wrong")));
        }
    }
    Ok(refused)
}

/// A blob, and how it is read.
#[derive(Clone)]
struct Reader {
    blob: Rc<dyn Blob>,
    way: Way,
}

type Read = Pin<Box<dyn Future<Output = (io::Result<usize>, Destination)>>>;

trait Blob {
    fn read(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> Read;
}

impl<B: RandomReadBlobAsync> Blob for B {
    fn read(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> Read {
        self.read_into_async(pos, len, dest, how)
    }
}

impl Reader {
    async fn open(path: &Path, way: Way) -> Result<Self, Failure> {
        let blob: Rc<dyn Blob> = if way == Way::Direct {
            let blob = DirectFileAsyncBlobRandomReader::open(path).await?;
            if !blob.is_direct() {
                return Err(format!("no direct I/O at {}", path.display()).into());
            }
            Rc::new(blob)
        } else {
            let blob = NativeFileAsyncBlobRandomReader::open(path).await?;
            // The reads are scattered: what is read ahead is not read.
            blob.file().advise(0, 0, Advice::Random).await?;
            Rc::new(blob)
        };
        Ok(Self { blob, way })
    }

    fn first(&self) -> ReadHow {
        match self.way {
            Way::Plain | Way::Direct => ReadHow::Auto,
            Way::NoWaitThenInline | Way::NoWaitThenAsync => ReadHow::NoWait,
            Way::Async => ReadHow::Async,
        }
    }

    fn second(&self) -> ReadHow {
        match self.way {
            Way::NoWaitThenInline => ReadHow::Inline,
            _ => ReadHow::Async,
        }
    }

    fn read(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> Read {
        self.blob.read(pos, len, dest, how)
    }
}

/// Time that the calling thread has run on a core.
fn thread_time() -> Result<Duration, Failure> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let ran = stat.split(' ').next().unwrap_or_default();
    Ok(Duration::from_nanos(ran.parse()?))
}
