//! Short urgent reads beside a flood of long ones, all of a cold file: alone, with classes, and
//! with all in one class.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::queue::limits::{Bounds, Limits};
use blobio::queue::{BlobQueue, Class, QueueConfig, QueuedBlob, Request};
use corelane::fs::Advice;
use corelane::time::sleep;
use corelane::{Config, Worker, spawn_local};

use crate::cold::evict;
use crate::content::{Content, FILE_LEN, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::{Failure, Options, Outcome};

/// Length of an urgent read, and how many are measured in a round.
const URGENT_LEN: usize = 16 << 10;
const URGENT_READS: u64 = 300;
/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(2);
/// Length of a read of the flood, and how many are queued at any time.
const FLOOD_LEN: usize = 1 << 20;
const FLOOD_DEPTH: u64 = 64;
/// The flood reads this part of the file, the urgent reads the rest.
const FLOOD_END: u64 = FILE_LEN / 4 * 3;
/// How much longer the slowest hundredth of the urgent reads may take beside the flood.
const RATIO_MAX: f64 = 3.0;

#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    /// A flood of this class; the urgent reads are of the other.
    Flood {
        urgent: Class,
        flood: Class,
    },
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
    let ways = [
        ("alone", Beside::Nothing),
        (
            "High beside Low",
            Beside::Flood {
                urgent: Class::High,
                flood: Class::Low,
            },
        ),
        (
            "all Normal",
            Beside::Flood {
                urgent: Class::Normal,
                flood: Class::Normal,
            },
        ),
    ];
    let mut latencies = ways.map(|_| Vec::new());
    for _ in 0..options.rounds {
        for ((_, beside), latencies) in ways.iter().zip(&mut latencies) {
            worker.block_on(evict(&content.path))?;
            latencies.extend(worker.block_on(round(&content.path, *beside))?);
        }
    }
    println!(
        "\nqueue_classes: urgent reads of {} KiB, cold (us)",
        URGENT_LEN >> 10
    );
    println!(
        "  {:<18} {:>9} {:>9} {:>9} {:>7}",
        "", "p50", "p99", "max", "ratio"
    );
    let mut ratios = Vec::new();
    let mut alone = None;
    for ((name, _), latencies) in ways.iter().zip(&mut latencies) {
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        let p99 = at(99).as_secs_f64();
        let ratio = p99 / *alone.get_or_insert(p99);
        ratios.push(ratio);
        println!(
            "  {name:<18} {:>9.0} {:>9.0} {:>9.0} {ratio:>7.2}",
            at(50).as_secs_f64() * 1e6,
            p99 * 1e6,
            at(100).as_secs_f64() * 1e6,
        );
    }
    let within = if ratios[1] <= RATIO_MAX { "yes" } else { "no" };
    println!("  beside the flood at most {RATIO_MAX} of alone: {within}");
    content.warm()
}

/// Returns how long each urgent read took.
async fn round(path: &Path, beside: Beside) -> Result<Vec<Duration>, Failure> {
    let low = Bounds {
        ops: 2,
        bytes: 128 << 10,
    };
    let queue = BlobQueue::new(QueueConfig {
        // A read that is under way cannot be overtaken: short ones make room sooner.
        read_max: 64 << 10,
        in_flight: Limits::default().with_class(Class::Low, low),
        ..QueueConfig::default()
    })?;
    let file = NativeFileAsyncBlobRandomReader::open(path).await?;
    file.file().advise(0, 0, Advice::Random).await?;
    let blob = queue.register(file);
    let stop = Rc::<Cell<bool>>::default();
    let (urgent, flood) = match beside {
        Beside::Nothing => (Class::High, None),
        Beside::Flood { urgent, flood } => (urgent, Some(flood)),
    };
    let tasks: Vec<_> = (0..if flood.is_some() { FLOOD_DEPTH } else { 0 })
        .map(|task| {
            let (queue, blob, stop) = (queue.clone(), blob.clone(), Rc::clone(&stop));
            spawn_local(pour(queue, blob, flood.unwrap_or(Class::Low), task, stop))
        })
        .collect();
    let mut took = Vec::new();
    for number in 0..URGENT_READS {
        sleep(PAUSE).await;
        // 7,919 is coprime to the number of places, so none is met twice.
        let places = (FILE_LEN - FLOOD_END) / URGENT_LEN as u64;
        let pos = FLOOD_END + number * 7_919 % places * URGENT_LEN as u64;
        let start = Instant::now();
        let read = queue
            .read(Request::vec(&blob, pos, URGENT_LEN).class(urgent))
            .await;
        took.push(start.elapsed());
        if read.bytes().len() != URGENT_LEN || !is_content(read.bytes(), pos) {
            return Err(format!("the read at {pos} is wrong: {:?}", read.result).into());
        }
    }
    stop.set(true);
    for task in tasks {
        task.await??;
    }
    Ok(took)
}

/// Reads one stretch of the flood after another.
async fn pour(
    queue: BlobQueue,
    blob: QueuedBlob,
    class: Class,
    task: u64,
    stop: Rc<Cell<bool>>,
) -> Outcome {
    let places = FLOOD_END / FLOOD_LEN as u64;
    let mut number = task;
    while !stop.get() {
        let pos = number * 7_919 % places * FLOOD_LEN as u64;
        let read = queue
            .read(Request::vec(&blob, pos, FLOOD_LEN).class(class))
            .await;
        if read.bytes().len() != FLOOD_LEN {
            return Err(format!("the read at {pos} is wrong: {:?}", read.result).into());
        }
        number += FLOOD_DEPTH;
    }
    Ok(())
}
