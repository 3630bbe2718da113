//! Random reads of 4 KiB past the page cache, 32 at a time, on one core: what a read costs the
//! processor, as the device decides how long it takes.
//!
//! The floor is a bare ring into plain memory. Ours reads into plain memory and into the worker's
//! registered pool; the bare ring does that as well, for comparison.

use std::io;
use std::path::Path;
use std::rc::Rc;

use corelane::buf::{AlignedBuf, IoBufMut, PoolBuf};
use corelane::fs::{File, OpenOptions};
use corelane::{Config, PoolConfig, Worker, pool, spawn_local};

use crate::content::{Content, Corpus, FILE_LEN, Positions, Span, check, check_sum, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::floors::or_refused;
use crate::floors::ring::{BareRing, Registered, Shape};
use crate::measure::{By, Contender, Sample, Target, interleave};
use crate::{Failure, Options, Outcome};

const SPAN: Span = Span {
    len: FILE_LEN,
    read_len: 4096,
};
/// Readers, each with one read in flight.
const READERS: u32 = 32;
/// Reads of each reader in a round.
const READS: u64 = 500;
/// Reads of each reader whose every byte is checked, before time is taken.
const READS_CHECKED: u64 = 20;
/// What a read may cost the processor, as a multiple of the floor's.
const TARGETS: [Target; 2] = [
    Target {
        own: 1,
        against: &[0],
        by: By::Cpu,
        at_most: 1.08,
    },
    Target {
        own: 2,
        against: &[0],
        by: By::Cpu,
        at_most: 1.0,
    },
];

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    let path = content.path.as_path();
    println!(
        "file:      {}, scheduler {}",
        path.display(),
        scheduler_of(path)?
    );
    let corpus = match Corpus::open(std::slice::from_ref(&content.path), FILE_LEN, true) {
        Ok(corpus) => corpus,
        Err(error) => {
            println!("\nread_direct: skipped, as there is no direct I/O here: {error}");
            return Ok(());
        }
    };
    let mut plain_ring = bare_ring(Registered::Nothing)?;
    let mut buffers_ring = bare_ring(Registered::Buffers)?;
    let mut files_ring = bare_ring(Registered::BuffersAndFiles)?;
    let worker = Worker::new(Config::new().pool(PoolConfig::new(READERS as usize, SPAN.read_len)))?;
    let registered = {
        let _entered = worker.enter();
        pool()?.is_registered()
    };

    let checked = Positions::expected(READERS.into(), READS_CHECKED, SPAN);
    let rings = [&mut plain_ring, &mut buffers_ring, &mut files_ring];
    for ring in rings.into_iter().flatten() {
        check(checked, ring.read(&corpus, 0, READS_CHECKED, true)?)?;
    }
    check(checked, read_plain(&worker, path, READS_CHECKED, true)?)?;
    check(checked, read_pool(&worker, path, READS_CHECKED, true)?)?;

    let contenders = vec![
        ring_contender("floor: bare ring, 32 deep", &mut plain_ring, &corpus),
        worker_contender("corelane, plain buffers", || {
            read_plain(&worker, path, READS, false)
        }),
        worker_contender(
            if registered {
                "corelane, registered pool"
            } else {
                "corelane, pool (not registered)"
            },
            || read_pool(&worker, path, READS, false),
        ),
        ring_contender("bare ring, registered buffers", &mut buffers_ring, &corpus),
        ring_contender("bare ring, and a registered file", &mut files_ring, &corpus),
    ];
    let rounds = options.rounds;
    interleave(options, "read_direct", "read", rounds, contenders, &TARGETS)?;
    let stats = worker.stats();
    println!(
        "  enters: {} of corelane for {} reads, with {} waits",
        stats.enters, stats.submits, stats.parks
    );
    if let Ok(ring) = &plain_ring {
        let reads = (u64::from(rounds) + 1) * READS + READS_CHECKED;
        println!(
            "  enters: {} of the floor for {} reads",
            ring.enters,
            reads * u64::from(READERS)
        );
    }
    Ok(())
}

fn bare_ring(registered: Registered) -> Result<Result<BareRing, String>, Failure> {
    let shape = Shape {
        depth: READERS,
        span: SPAN,
        registered,
    };
    match BareRing::new(shape) {
        // No more memory may be locked (RLIMIT_MEMLOCK).
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            Ok(Err(format!("buffers cannot be registered: {error}")))
        }
        built => or_refused(built),
    }
}

fn ring_contender<'a>(
    name: &str,
    ring: &'a mut Result<BareRing, String>,
    corpus: &'a Corpus,
) -> Contender<'a> {
    let sum = Positions::expected(READERS.into(), READS, SPAN);
    let ring = ring.as_mut().map_err(|why| why.clone());
    Contender::with(name, ring, move |ring| {
        let items = u64::from(READERS) * READS;
        let (sample, read) = Sample::of(items, || ring.read(corpus, 0, READS, false));
        check(sum, read?)?;
        Ok(sample)
    })
}

fn worker_contender<'a>(name: &str, read: impl Fn() -> Result<u64, Failure> + 'a) -> Contender<'a> {
    let sum = Positions::expected(READERS.into(), READS, SPAN);
    Contender::new(name, move || {
        let (sample, read) = Sample::of(u64::from(READERS) * READS, &read);
        check(sum, read?)?;
        Ok(sample)
    })
}

fn read_plain(worker: &Worker, path: &Path, reads: u64, whole: bool) -> Result<u64, Failure> {
    let buffer = async || Ok(AlignedBuf::new(SPAN.read_len, 4096));
    worker.block_on(read_by_tasks(path, reads, whole, buffer))
}

fn read_pool(worker: &Worker, path: &Path, reads: u64, whole: bool) -> Result<u64, Failure> {
    let buffer = async || Ok::<PoolBuf, io::Error>(pool()?.get().await);
    worker.block_on(read_by_tasks(path, reads, whole, buffer))
}

async fn read_by_tasks<B>(
    path: &Path,
    reads: u64,
    whole: bool,
    buffer: impl AsyncFn() -> io::Result<B>,
) -> Result<u64, Failure>
where
    B: IoBufMut + std::ops::Deref<Target = [u8]> + 'static,
{
    let file = OpenOptions::new().read(true).direct(true).open(path).await;
    let file = Rc::new(file?);
    let mut readers = Vec::new();
    for seed in 0..u64::from(READERS) {
        let (file, buf) = (Rc::clone(&file), buffer().await?);
        readers.push(spawn_local(async move {
            read_by_task(&file, buf, seed, reads, whole).await
        }));
    }
    let mut sum = 0_u64;
    for reader in readers {
        sum = sum.wrapping_add(reader.await??);
    }
    Ok(sum)
}

async fn read_by_task<B>(
    file: &File,
    mut buf: B,
    seed: u64,
    reads: u64,
    whole: bool,
) -> io::Result<u64>
where
    B: IoBufMut + std::ops::Deref<Target = [u8]>,
{
    let mut positions = Positions::new(seed, SPAN);
    let mut sum = 0_u64;
    for _ in 0..reads {
        let at = positions.next();
        let (read, back) = file.read_at(buf, at).await;
        buf = back;
        if read? != SPAN.read_len || (whole && !is_content(&buf, at)) {
            return Err(io::Error::other(format!("the read at {at} is wrong")));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}
