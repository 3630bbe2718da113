//! A frame loop that owns the thread and streams a pack beside its frames.
//!
//! Sixty times a second the loop gives the worker a slice of its frame, two milliseconds at most,
//! and sleeps until the next one, as a game would render. Tasks on the worker stream every entry
//! of a zip archive, over and over, and check each. What the slices cost is printed beside what
//! the same loop costs with nothing to do: the difference is corelane's, the rest the system's.
//!
//! Costs are printed as the clock sees them and as processor time: on a busy machine the thread may
//! lose its core in the middle of a frame, as any thread may. A game gives its frame thread
//! priority; `chrt --reset-on-fork --fifo 10 main_loop` does that here.
//!
//! Run it with `cargo run --release -p examples --bin main_loop -- [PACK]`.
#![deny(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use blobio::async_reader::AsyncEntryData;
use blobio::pack::zip::{Archive, Entry};
use blobio::{NativeFileAsyncBlobRandomReader, NativeFileBlobRandomReader, RandomReadBlobAsync};
use clap::Parser;
use corelane::{Config, TurnBudget, Worker};
use rustix::time::{ClockId, clock_gettime};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// Streams a pack from a 60 Hz frame loop and prints what the frames cost.
#[derive(Debug, Parser)]
struct Options {
    /// The zip or pk3 archive to stream; without it, a small one is made.
    pack: Option<PathBuf>,
    /// How many seconds the loop runs, each with work and without.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Fails when a frame costs more than it may.
    #[arg(long)]
    strict: bool,
}

/// Time from one frame to the next.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);
/// What the worker may take of it.
const SLICE: Duration = Duration::from_millis(2);
/// What a turn may take beyond its budget: the poll that was running when the time was over, and
/// the enter that submits. Both are bounded below.
const OVERRUN: Duration = Duration::from_micros(900);
/// Entries that are streamed at the same time.
const STREAMS: usize = 4;
/// Bytes of an entry that a task handles in one poll.
const CHUNK_LEN: usize = 128 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    // Removed when it is dropped.
    let made_up = if options.pack.is_none() {
        Some(make_pack()?)
    } else {
        None
    };
    let path = match (&options.pack, &made_up) {
        (Some(path), _) => path.clone(),
        (None, Some(file)) => file.path().to_owned(),
        (None, None) => unreachable!("without a pack one was made"),
    };
    check_pack(&path)?;
    let worker = Worker::new(
        // Reads of cached pages are copied inside of the call that submits them.
        Config::new().submit_bytes_max(2 * CHUNK_LEN),
    )?;
    let run_time = Duration::from_secs(options.seconds.max(1));

    let idle = frames(&worker, run_time);
    let progress = Rc::<Progress>::default();
    let task = worker.spawn_local(stream_all(path, Rc::clone(&progress)));
    let busy = frames(&worker, run_time);
    progress.stop.set(true);
    worker.block_on(task)??;

    println!(
        "streamed {} entries of {} ({} MiB), the pack {} times",
        progress.entries.get(),
        progress.entries_of_pack.get(),
        progress.bytes.get() >> 20,
        progress.passes.get(),
    );
    let (_, idle_max) = print_costs("doing nothing, by the clock", idle.wall);
    print_costs("doing nothing, on the core", idle.cpu);
    let (p99, max) = print_costs("streaming, by the clock", busy.wall);
    print_costs("streaming, on the core", busy.cpu);
    let within = p99 <= SLICE && max <= SLICE + idle_max;
    println!(
        "p99 at most {SLICE:?} and max at most {:?}: {}",
        SLICE + idle_max,
        if within { "yes" } else { "no" }
    );
    if progress.passes.get() == 0 {
        return Err("there was not enough time to stream the whole pack".into());
    }
    if options.strict && !within {
        return Err("frames cost too much".into());
    }
    Ok(())
}

/// What each frame's slice cost.
#[derive(Default)]
struct Costs {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

/// Prints the distribution of the frames' costs; returns its p99 and its maximum.
fn print_costs(name: &str, mut costs: Vec<Duration>) -> (Duration, Duration) {
    costs.sort_unstable();
    let at = |percent: usize| costs[(costs.len() - 1) * percent / 100];
    let [p50, p99, max] = [50, 99, 100].map(at);
    println!("{name:<28}: frame cost p50 {p50:>10.2?}, p99 {p99:>10.2?}, max {max:>10.2?}");
    (p99, max)
}

/// The frame loop.
fn frames(worker: &Worker, run_time: Duration) -> Costs {
    let start = Instant::now();
    let mut costs = Costs::default();
    let mut next_frame = start;
    while next_frame - start < run_time {
        let (frame, cpu) = (Instant::now(), cpu_time());
        give_slice(worker, frame);
        costs.wall.push(frame.elapsed());
        costs.cpu.push(cpu_time().saturating_sub(cpu));

        // Here a game would simulate and render.
        next_frame += FRAME;
        thread::sleep(next_frame.saturating_duration_since(Instant::now()));
    }
    costs
}

/// Returns the processor time that this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}

/// Turns the worker until it has nothing to do or its slice is over. A turn takes completions
/// once; more of them may be there by the time it ends.
fn give_slice(worker: &Worker, frame: Instant) {
    let end = frame + (SLICE - OVERRUN);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let report = worker.turn(TurnBudget::default().time(left));
        if !report.more_work || Instant::now() >= end {
            return;
        }
    }
}

/// What the tasks have done so far. They are on the same thread as the loop, so cells will do.
#[derive(Default)]
struct Progress {
    stop: Cell<bool>,
    entries_of_pack: Cell<usize>,
    entries: Cell<u64>,
    bytes: Cell<u64>,
    passes: Cell<u64>,
}

type Pack = Archive<NativeFileAsyncBlobRandomReader>;

/// Streams the pack again and again until it is told to stop.
async fn stream_all(path: PathBuf, progress: Rc<Progress>) -> io::Result<()> {
    let name = path.display().to_string();
    let reader = NativeFileAsyncBlobRandomReader::open(&path).await?;
    let pack = Rc::new(Archive::open_async(reader, &name).await?);
    progress.entries_of_pack.set(pack.len());
    while !progress.stop.get() {
        let queue = Rc::new(RefCell::new(0..pack.len()));
        let streams: Vec<_> = (0..STREAMS)
            .map(|_| {
                let (pack, queue) = (Rc::clone(&pack), Rc::clone(&queue));
                corelane::spawn_local(stream_some(pack, queue, Rc::clone(&progress)))
            })
            .collect();
        for stream in streams {
            stream.await.map_err(io::Error::other)??;
        }
        if queue.borrow().is_empty() {
            progress.passes.set(progress.passes.get() + 1);
        }
    }
    Ok(())
}

/// Streams entries from the queue until it is empty.
async fn stream_some(
    pack: Rc<Pack>,
    queue: Rc<RefCell<std::ops::Range<usize>>>,
    progress: Rc<Progress>,
) -> io::Result<()> {
    while !progress.stop.get() {
        let Some(index) = queue.borrow_mut().next() else {
            break;
        };
        let entry = pack
            .entries()
            .nth(index)
            .expect("the queue counts the entries");
        let len = stream_entry(&pack, entry).await?;
        progress.entries.set(progress.entries.get() + 1);
        progress.bytes.set(progress.bytes.get() + len);
    }
    Ok(())
}

/// Reads an entry by chunks, and compares its length and checksum with the catalogue.
async fn stream_entry(pack: &Pack, entry: &Entry) -> io::Result<u64> {
    let mut crc = crc32fast::Hasher::new();
    let mut len = 0;
    let mut buf = Vec::new();
    match pack.data_async(entry).await? {
        // Stored: the entry is a range of the pack, read as it is.
        AsyncEntryData::Stored(data) => loop {
            let (got, back) = data.read_owned_async(len, CHUNK_LEN, buf).await;
            if got? == 0 {
                break;
            }
            crc.update(&back);
            len += back.len() as u64;
            buf = back;
        },
        // Deflated: read here, inflated on a thread that may take its time.
        AsyncEntryData::Deflated(mut data) => loop {
            buf = data.next_chunk(buf, CHUNK_LEN).await?;
            if buf.is_empty() {
                break;
            }
            crc.update(&buf);
            len += buf.len() as u64;
        },
    }
    if (len, crc.finalize()) != (entry.len(), entry.crc32()) {
        return Err(io::Error::other(format!(
            "{} is not as declared",
            entry.name()
        )));
    }
    Ok(len)
}

/// Says what is wrong with a pack now, rather than after the first measurement.
fn check_pack(path: &Path) -> Result<(), String> {
    let name = path.display().to_string();
    let file = NativeFileBlobRandomReader::open(path);
    let file = file.map_err(|error| format!("{name}: {error}"))?;
    Archive::open(file, &name).map_err(|error| error.to_string())?;
    Ok(())
}

/// Makes a pack of 240 entries, some deflated, some stored, up to 400 kB each.
fn make_pack() -> Result<tempfile::NamedTempFile, Box<dyn Error>> {
    let file = tempfile::Builder::new().suffix(".zip").tempfile()?;
    write_pack(file.path())?;
    Ok(file)
}

fn write_pack(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut pack = zip::ZipWriter::new(std::fs::File::create(path)?);
    let mut random = 1_u64;
    for number in 0..240_usize {
        let method = if number % 3 == 0 {
            CompressionMethod::Stored
        } else {
            CompressionMethod::Deflated
        };
        let options = SimpleFileOptions::default().compression_method(method);
        pack.start_file(format!("textures/{number:03}.raw"), options)?;
        let words = (number * 200 + 1..)
            .take(number * 200 + 50)
            .flat_map(|word| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Half noise, half pattern: it can be compressed, but not to nothing.
                (random & 0xffff_ffff | (word as u64) << 32).to_le_bytes()
            });
        pack.write_all(&words.collect::<Vec<_>>())?;
    }
    pack.finish()?;
    Ok(())
}
