//! Entries of a pack, read through the queue and one by one, at equal depth.
//!
//! Scattered small entries past the page cache are what merging is for; everywhere else the queue
//! must cost next to nothing. Each entry lies behind the one before, as in a pack; what changes is
//! how long they are, in which order they are asked for, and how the file is read.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use blobio::queue::limits::{Bounds, Limits};
use blobio::queue::{BlobQueue, OnError, QueueConfig, Request};
use blobio::{
    Destination, DirectFileAsyncBlobRandomReader, NativeFileAsyncBlobRandomReader,
    RandomReadBlobAsync, ReadHow,
};
use corelane::{Config, Worker, spawn_local};

use crate::cold::evict;
use crate::content::{Content, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::measure::{By, Contender, Sample, interleave};
use crate::{Failure, Options, Outcome};

/// Reads in flight, on both sides.
const DEPTH: u32 = 32;
/// Bytes that are asked for of more than one kilobyte read, for a pack to be read this way.
const AMPLIFICATION_MAX: u64 = 1_200;

/// An entry: position and length.
type Entry = (u64, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    BufferedCold,
    BufferedCached,
}

/// What is read how, and how much faster the queue has to be.
struct Setting {
    name: &'static str,
    way: Way,
    /// Lengths of entries: from, to.
    lens: [usize; 2],
    entries: usize,
    scattered: bool,
    speedup_min: f64,
}

const SETTINGS: [Setting; 6] = [
    Setting {
        name: "direct, cold, entries to 4 KiB, scattered",
        way: Way::Direct,
        lens: [512, 4096],
        entries: 8_192,
        scattered: true,
        speedup_min: 2.0,
    },
    Setting {
        name: "direct, cold, entries to 4 KiB, in order",
        way: Way::Direct,
        lens: [512, 4096],
        entries: 8_192,
        scattered: false,
        speedup_min: 0.95,
    },
    Setting {
        name: "direct, cold, pk3 lengths, scattered",
        way: Way::Direct,
        lens: [512, 256 << 10],
        entries: 2_048,
        scattered: true,
        speedup_min: 0.95,
    },
    Setting {
        name: "buffered, cold, pk3 lengths, in order",
        way: Way::BufferedCold,
        lens: [512, 256 << 10],
        entries: 2_048,
        scattered: false,
        speedup_min: 0.95,
    },
    Setting {
        name: "buffered, cold, entries to 4 KiB, scattered",
        way: Way::BufferedCold,
        lens: [512, 4096],
        entries: 8_192,
        scattered: true,
        speedup_min: 0.95,
    },
    Setting {
        name: "buffered, cached, pk3 lengths, in order",
        way: Way::BufferedCached,
        lens: [512, 256 << 10],
        entries: 2_048,
        scattered: false,
        speedup_min: 0.95,
    },
];

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let worker = Worker::new(Config::default())?;
    for setting in &SETTINGS {
        compare(options, &worker, &content.path, setting)?;
    }
    // The next case wants it cached.
    content.warm()
}

fn compare(options: &Options, worker: &Worker, path: &Path, setting: &Setting) -> Outcome {
    let entries = entries(setting);
    let items = entries.len() as u64;
    let read_amplification = RefCell::new(0);
    let prepare = || match setting.way {
        Way::BufferedCached => Ok(()),
        Way::Direct | Way::BufferedCold => worker.block_on(evict(path)),
    };
    let contenders = vec![
        Contender::new("one read per entry", || {
            prepare()?;
            let (sample, done) = Sample::of(items, || {
                worker.block_on(one_by_one(path, setting.way, &entries))
            });
            done?;
            Ok(sample)
        }),
        Contender::new("through the queue", || {
            prepare()?;
            let (sample, done) = Sample::of(items, || {
                worker.block_on(queued(path, setting.way, &entries))
            });
            *read_amplification.borrow_mut() = done?;
            Ok(sample)
        }),
    ];
    let rounds = options.rounds;
    let figures = interleave(options, setting.name, "entry", rounds, contenders, &[])?;
    let ratio = figures.ratio(By::Wall, 1, &[0]);
    let speedup = 1.0 / ratio.ok_or("both sides ran")?;
    let amplification = *read_amplification.borrow();
    let within = speedup >= setting.speedup_min && amplification < AMPLIFICATION_MAX;
    println!(
        "  speed-up {speedup:.2} (at least {}), {amplification} bytes read per 1,000 asked: {}",
        setting.speedup_min,
        if within { "yes" } else { "no" }
    );
    Ok(())
}

/// Lays entries out one behind the other, their lengths spread evenly over the orders of magnitude.
fn entries(setting: &Setting) -> Vec<Entry> {
    let [from, to] = setting.lens;
    let octaves = u64::from((to / from).ilog2());
    let mut random = Random(7);
    let mut pos = 0;
    let mut entries: Vec<Entry> = (0..setting.entries)
        .map(|_| {
            let low = from << (random.next() % octaves);
            // Words of eight bytes are what can be checked.
            let len = low + random.below(low) / 8 * 8;
            let entry = (pos, len);
            pos += len as u64;
            entry
        })
        .collect();
    if setting.scattered {
        for index in (1..entries.len()).rev() {
            entries.swap(index, random.below(index + 1));
        }
    }
    entries
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

/// Tasks, one for each read in flight, that take the next entry and read it into memory of its
/// own, of one open file, as the queue does; all of it is kept and checked at the end.
async fn one_by_one(path: &Path, way: Way, entries: &[Entry]) -> Outcome {
    match way {
        Way::Direct => by_tasks(open_direct(path).await?, entries).await,
        Way::BufferedCold | Way::BufferedCached => {
            by_tasks(NativeFileAsyncBlobRandomReader::open(path).await?, entries).await
        }
    }
}

async fn by_tasks<B>(blob: B, entries: &[Entry]) -> Outcome
where
    B: RandomReadBlobAsync + Clone + 'static,
{
    let todo = Rc::new(RefCell::new(Vec::from(entries).into_iter()));
    let tasks: Vec<_> = (0..DEPTH)
        .map(|_| spawn_local(take(blob.clone(), Rc::clone(&todo))))
        .collect();
    let mut count = 0;
    for task in tasks {
        for (pos, dest) in task.await?? {
            check(dest.bytes(), pos)?;
            count += 1;
        }
    }
    if count == entries.len() {
        Ok(())
    } else {
        Err(format!("{count} entries of {} were read", entries.len()).into())
    }
}

async fn take<B: RandomReadBlobAsync>(
    blob: B,
    todo: Rc<RefCell<std::vec::IntoIter<Entry>>>,
) -> Result<Vec<(u64, Destination)>, Failure> {
    let mut read = Vec::new();
    loop {
        let Some((pos, len)) = todo.borrow_mut().next() else {
            return Ok(read);
        };
        let dest = Destination::from(Vec::with_capacity(len));
        let (result, dest) = blob.read_into_async(pos, len, dest, ReadHow::Auto).await;
        if result? != len {
            return Err(format!("the blob ends in {len} bytes at {pos}").into());
        }
        read.push((pos, dest));
    }
}

/// One batch of all entries; returns the bytes read per 1,000 asked.
async fn queued(path: &Path, way: Way, entries: &[Entry]) -> Result<u64, Failure> {
    let bounds = Bounds {
        ops: DEPTH,
        bytes: 64 << 20,
    };
    let queue = BlobQueue::new(QueueConfig {
        in_flight: Limits {
            classes: [bounds; 4],
            all: bounds,
        },
        ..QueueConfig::default()
    })?;
    let blob = match way {
        Way::Direct => queue.register(open_direct(path).await?),
        Way::BufferedCold | Way::BufferedCached => {
            queue.register(NativeFileAsyncBlobRandomReader::open(path).await?)
        }
    };
    let requests = entries
        .iter()
        .map(|&(pos, len)| Request::vec(&blob, pos, len));
    let batch = queue
        .submit_batch(requests.collect(), OnError::Cancel)
        .await
        .map_err(|refused| refused.to_string())?;
    let done = batch.await;
    for (finished, &(pos, len)) in done.results.iter().zip(entries) {
        if finished.bytes().len() != len {
            return Err(format!("{:?} of {len} bytes at {pos}", finished.result).into());
        }
        check(finished.bytes(), pos)?;
    }
    let stats = queue.stats();
    Ok(stats.bytes_read * 1_000 / stats.bytes_asked)
}

async fn open_direct(path: &Path) -> Result<DirectFileAsyncBlobRandomReader, Failure> {
    let blob = DirectFileAsyncBlobRandomReader::open(path).await?;
    if blob.is_direct() {
        Ok(blob)
    } else {
        Err(format!("no direct I/O at {}", path.display()).into())
    }
}

/// Checks the first and the last word: all of them would take longer than the read.
fn check(bytes: &[u8], pos: u64) -> Outcome {
    let last = bytes.len() - 8;
    if is_content(&bytes[..8], pos) && is_content(&bytes[last..], pos + last as u64) {
        return Ok(());
    }
    Err(format!("the read of {} bytes at {pos} is wrong", bytes.len()).into())
}
