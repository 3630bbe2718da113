//! `pack bench`

use std::io::{self, Write as _};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blobio::RandomReadBlob as _;
use blobio::pack::chunked::{Content, PackStats};
use blobio::queue::histogram::{Histogram, P50, P99, P999};

use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::open::{FilePack, open};
use crate::units::{Len, Time, per_second};

/// How many contents are looked at together.
const BATCH_COUNT: usize = 1024;

/// What one thread, or all of them, did.
#[derive(Default)]
struct Done {
    bytes: u64,
    latency_ns: Histogram,
}

/// The contents to read, each with the number of bytes in those up to its end.
struct Field {
    contents: Vec<(u64, Content)>,
    len: u64,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let pack = open(&args.file)?;
    let field = Field::of(&pack)?;
    if field.len == 0 {
        let name = pack.name();
        return Err(Failure::Failed(format!(
            "{name}: there is nothing to read in it"
        )));
    }
    let before = pack.stats();
    let is_over = AtomicBool::new(false);
    let begun = Instant::now();
    let results = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads.get())
            .map(|index| {
                let random = Random(args.seed.wrapping_add(index as u64));
                let (pack, field, is_over) = (&pack, &field, &is_over);
                scope.spawn(move || read(pack, field, args.len, random, is_over))
            })
            .collect();
        let until = begun + Duration::from_secs(args.seconds.into());
        while Instant::now() < until && !threads.iter().any(thread::ScopedJoinHandle::is_finished) {
            let left = until.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        is_over.store(true, Ordering::Relaxed);
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("it does not panic"));
        ended.collect::<Vec<_>>()
    });
    let took = begun.elapsed();
    let mut done = Done::default();
    for result in results {
        let result = result?;
        done.bytes += result.bytes;
        done.latency_ns.merge(&result.latency_ns);
    }
    let text = report(args, &done, took, before, pack.stats());
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::of_output(&error))
}

/// Reads until it is over; at least once.
fn read(
    pack: &FilePack,
    field: &Field,
    len: usize,
    mut random: Random,
    is_over: &AtomicBool,
) -> Result<Done, Failure> {
    let mut done = Done::default();
    let mut buf = vec![0; len];
    loop {
        let (content, pos, len) = field.pick(len, &mut random);
        let begun = Instant::now();
        let data = pack.content_data(content);
        let got = data.read_slice(pos, &mut buf[..len])?;
        let ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if got < len {
            let (name, hash) = (pack.name(), content.hash());
            return Err(Failure::Failed(format!(
                "{name}: {got} of {len} bytes at {pos} of {hash}"
            )));
        }
        done.latency_ns.record(ns);
        done.bytes += got as u64;
        if is_over.load(Ordering::Relaxed) {
            return Ok(done);
        }
    }
}

impl Field {
    fn of(pack: &FilePack) -> Result<Self, Failure> {
        let mut contents = Vec::new();
        let mut len: u64 = 0;
        let mut last = None;
        loop {
            let start = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let batch = pack.list_contents(start, BATCH_COUNT)?;
            let Some(content) = batch.last() else {
                return Ok(Self { contents, len });
            };
            last = Some(content.hash());
            for content in batch.into_iter().filter(|content| content.len() > 0) {
                // A hostile pack may claim more than there is.
                len = len.saturating_add(content.len());
                contents.push((len, content));
            }
        }
    }

    /// Returns a content and a range of it.
    fn pick(&self, len: usize, random: &mut Random) -> (&Content, u64, usize) {
        let at = random.below(self.len);
        let index = self.contents.partition_point(|(end, _)| *end <= at);
        let (_, content) = &self.contents[index];
        let len = usize::try_from(content.len()).map_or(len, |content_len| content_len.min(len));
        let pos = random.below(content.len() - len as u64 + 1);
        (content, pos, len)
    }
}

fn report(
    args: &BenchArgs,
    done: &Done,
    took: Duration,
    before: PackStats,
    after: PackStats,
) -> String {
    let latency = &done.latency_ns;
    let at = |quantile| Time(latency.quantile(quantile).unwrap_or_default());
    let reads = latency.count();
    let stored = after.stored_len - before.stored_len;
    let blocks = after.blocks_decoded - before.blocks_decoded;
    let hundredths = stored.saturating_mul(100) / done.bytes.max(1);
    format!(
        "{reads} reads of up to {} by {} threads in {}.{:03} s\n\
         throughput  {}/s, {} reads/s\n\
         latency     p50 {}, p99 {}, p99.9 {}, longest {}\n\
         blocks      {blocks} read and checked, {}.{:02} stored bytes for each byte asked\n",
        Len(args.len as u64),
        args.threads,
        took.as_secs(),
        took.subsec_millis(),
        Len(per_second(done.bytes, took)),
        per_second(reads, took),
        at(P50),
        at(P99),
        at(P999),
        Time(latency.max().unwrap_or_default()),
        hundredths / 100,
        hundredths % 100,
    )
}

/// SplitMix64: enough to spread positions.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        let scaled = u128::from(self.next()) * u128::from(end);
        u64::try_from(scaled >> 64).expect("below a u64")
    }
}
