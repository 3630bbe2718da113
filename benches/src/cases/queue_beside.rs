//! A timer of a millisecond on a core that reads 64 KiB of a cached file without end, while reads
//! of 1 MiB of a cold one and inflating go on.

use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::decode::{Codec, DecodePool, PoolConfig, decode_block};
use blobio::queue::{BlobQueue, Class, QueueConfig, QueuedBlob, Request};
use corelane::{Config, Worker, spawn_local};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::cold::evict;
use crate::content::{Content, FILE_LEN};
use crate::environment::{Cores, scheduler_of};
use crate::lateness::{Lateness, Watcher};
use crate::{Failure, Options, Outcome};

/// Time of one round.
const ROUND: Duration = Duration::from_secs(2);
/// Tasks that read what is cached, and the length of a read.
const HOT_TASKS: u64 = 4;
const HOT_LEN: usize = 64 << 10;
/// Bytes that are cached.
const HOT_FILE_LEN: u64 = 64 << 20;
/// Tasks that read what is cold, and the length of a read.
const COLD_TASKS: u64 = 4;
const COLD_LEN: usize = 1 << 20;
/// Bytes of what is inflated over and over.
const INFLATED_LEN: usize = 256 << 10;
/// What the timer may be late, but for one time in a hundred.
const LATE_MAX: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
struct Load {
    cold: bool,
    inflate: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    late: Lateness,
    hot_bytes: u64,
    cold_bytes: u64,
    inflated_bytes: u64,
}

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let mut hot = tempfile::NamedTempFile::new()?;
    for _ in 0..HOT_FILE_LEN >> 20 {
        hot.write_all(&[7; 1 << 20])?;
    }
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
    let words = (0..INFLATED_LEN as u64 / 8).flat_map(|word| ((word * word) >> 7).to_le_bytes());
    deflated.write_all(&words.collect::<Vec<u8>>())?;
    let deflated: &'static [u8] = deflated.finish()?.leak();
    let worker = Worker::new(Config::default())?;
    let pool = DecodePool::new(&PoolConfig::new(1))?;
    println!(
        "\nqueue_beside: a timer of 1 ms beside reads of {} KiB (medians)",
        HOT_LEN >> 10
    );
    println!(
        "  {:<30} {:>12} {:>12} {:>11} {:>11} {:>14}",
        "", "p99 late us", "max late us", "hot MiB/s", "cold MiB/s", "inflated MiB/s"
    );
    for (name, load) in [
        (
            "hot reads alone",
            Load {
                cold: false,
                inflate: false,
            },
        ),
        (
            "and cold reads",
            Load {
                cold: true,
                inflate: false,
            },
        ),
        (
            "and inflating",
            Load {
                cold: false,
                inflate: true,
            },
        ),
        (
            "and both",
            Load {
                cold: true,
                inflate: true,
            },
        ),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            if load.cold {
                worker.block_on(evict(&content.path))?;
            }
            let round = round(&content.path, hot.path(), deflated, load, &pool);
            rounds.push(worker.block_on(round)?);
        }
        print(name, &mut rounds);
    }
    content.warm()
}

fn print(name: &str, rounds: &mut [Round]) {
    rounds.sort_unstable_by_key(|round| round.late.p99);
    let round = rounds[rounds.len() / 2];
    let rate = |bytes: u64| (bytes >> 20) / ROUND.as_secs();
    println!(
        "  {name:<30} {:>12.0} {:>12.0} {:>11} {:>11} {:>14}{}",
        round.late.p99.as_secs_f64() * 1e6,
        round.late.max.as_secs_f64() * 1e6,
        rate(round.hot_bytes),
        rate(round.cold_bytes),
        rate(round.inflated_bytes),
        if round.late.p99 < LATE_MAX {
            ""
        } else {
            "  too late"
        },
    );
}

async fn round(
    cold: &Path,
    hot: &Path,
    deflated: &'static [u8],
    load: Load,
    pool: &DecodePool,
) -> Result<Round, Failure> {
    let queue = BlobQueue::new(QueueConfig::default())?;
    let hot = queue.register(NativeFileAsyncBlobRandomReader::open(hot).await?);
    let cold = queue.register(NativeFileAsyncBlobRandomReader::open(cold).await?);
    let (end, bytes) = (Instant::now() + ROUND, Rc::new([const { Cell::new(0) }; 2]));
    let mut tasks = Vec::new();
    let watcher = Watcher::start();
    for task in 0..HOT_TASKS {
        let reads = Reads {
            blob: hot.clone(),
            len: HOT_LEN,
            file_len: HOT_FILE_LEN,
            class: Class::High,
        };
        tasks.push(spawn_local(read(
            queue.clone(),
            reads,
            task,
            end,
            Rc::clone(&bytes),
            0,
        )));
    }
    for task in 0..if load.cold { COLD_TASKS } else { 0 } {
        let reads = Reads {
            blob: cold.clone(),
            len: COLD_LEN,
            file_len: FILE_LEN,
            class: Class::Low,
        };
        tasks.push(spawn_local(read(
            queue.clone(),
            reads,
            task,
            end,
            Rc::clone(&bytes),
            1,
        )));
    }
    let mut inflated_bytes = 0;
    while load.inflate && Instant::now() < end {
        let decoded = pool.run(Class::Low, move || {
            decode_block(Codec::Deflate, deflated, INFLATED_LEN)
        });
        inflated_bytes += decoded.await??.len() as u64;
    }
    for task in tasks {
        task.await??;
    }
    Ok(Round {
        late: watcher.stop().await?,
        hot_bytes: bytes[0].get(),
        cold_bytes: bytes[1].get(),
        inflated_bytes,
    })
}

/// What a task reads.
struct Reads {
    blob: QueuedBlob,
    len: usize,
    file_len: u64,
    class: Class,
}

async fn read(
    queue: BlobQueue,
    reads: Reads,
    task: u64,
    end: Instant,
    bytes: Rc<[Cell<u64>; 2]>,
    counter: usize,
) -> Outcome {
    let places = reads.file_len / reads.len as u64;
    let mut number = task;
    let mut buf = Vec::with_capacity(reads.len);
    while Instant::now() < end {
        let pos = number * 7_919 % places * reads.len as u64;
        let request = Request::new(&reads.blob, pos, reads.len, buf).class(reads.class);
        buf = queue.read(request).await.into_vec()?;
        if buf.len() != reads.len {
            return Err(format!("the read at {pos} gave {} bytes", buf.len()).into());
        }
        bytes[counter].set(bytes[counter].get() + buf.len() as u64);
        number += HOT_TASKS;
    }
    Ok(())
}
