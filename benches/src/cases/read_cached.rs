//! Random 4 KiB reads of a cached 1 GiB file, 32 at a time, on one core.
//!
//! The floor is a bare ring that keeps 32 reads in flight. Readers of the same number read at
//! the same positions everywhere.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use corelane::{Config, Worker};

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
const READS: u64 = 2_000;
/// Rounds of this case for one that was asked for: many short ones, as what disturbs a machine
/// lasts longer than they do.
const ROUNDS: u32 = 5;
/// What a read may cost, as a multiple of the floor's.
const TARGET: Target = Target {
    own: 1,
    against: &[0],
    by: By::Wall,
    at_most: 1.05,
};
/// Reads of each reader whose every byte is checked, before time is taken.
const READS_CHECKED: u64 = 100;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let file = File::open(&content.path)?;
    let worker = Worker::new(Config::default())?;
    let mut ring = or_refused(BareRing::new(Shape {
        depth: READERS,
        span: SPAN,
        registered: Registered::Nothing,
    }))?;
    let corpus = Corpus::open(std::slice::from_ref(&content.path), FILE_LEN, false)?;

    let checked = Positions::expected(READERS.into(), READS_CHECKED, SPAN);
    if let Ok(ring) = &mut ring {
        check(checked, ring.read(&corpus, 0, READS_CHECKED, true)?)?;
    }
    check(checked, read_by_tasks(&worker, &file, READS_CHECKED, true)?)?;

    let items = u64::from(READERS) * READS;
    let sum = Positions::expected(READERS.into(), READS, SPAN);
    let contenders = vec![
        Contender::with("floor: bare ring, 32 deep", ring, |ring| {
            let (sample, read) = Sample::of(items, || ring.read(&corpus, 0, READS, false));
            check(sum, read?)?;
            Ok(sample)
        }),
        Contender::new("corelane, 32 tasks", || {
            let (sample, read) = Sample::of(items, || read_by_tasks(&worker, &file, READS, false));
            check(sum, read?)?;
            Ok(sample)
        }),
        Contender::new("pread", || {
            let (sample, read) = Sample::of(items, || read_by_pread(&file, READS));
            check(sum, read?)?;
            Ok(sample)
        }),
    ];
    let rounds = options.rounds * ROUNDS;
    interleave(
        options,
        "read_cached",
        "read",
        rounds,
        contenders,
        &[TARGET],
    )?;
    let stats = worker.stats();
    println!(
        "  corelane submitted {} reads with {} enters",
        stats.submits, stats.enters
    );
    Ok(())
}

fn read_by_tasks(worker: &Worker, file: &File, reads: u64, whole: bool) -> Result<u64, Failure> {
    let file = {
        let _entered = worker.enter();
        Rc::new(corelane::fs::File::from_std(file.try_clone()?))
    };
    worker.block_on(async {
        let readers: Vec<_> = (0..u64::from(READERS))
            .map(|seed| {
                let file = Rc::clone(&file);
                corelane::spawn_local(async move { read_by_task(&file, seed, reads, whole).await })
            })
            .collect();
        let mut sum = 0_u64;
        for reader in readers {
            sum = sum.wrapping_add(reader.await??);
        }
        Ok(sum)
    })
}

async fn read_by_task(
    file: &corelane::fs::File,
    seed: u64,
    reads: u64,
    whole: bool,
) -> std::io::Result<u64> {
    let mut positions = Positions::new(seed, SPAN);
    let mut buf: Box<[u8]> = vec![0; SPAN.read_len].into();
    let mut sum = 0_u64;
    for _ in 0..reads {
        let at = positions.next();
        let (read, back) = file.read_at(buf, at).await;
        buf = back;
        if read? != SPAN.read_len || (whole && !is_content(&buf, at)) {
            return Err(std::io::Error::other(format!("the read at {at} is wrong")));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

/// One reader after another, a system call per read.
fn read_by_pread(file: &File, reads: u64) -> std::io::Result<u64> {
    let mut buf = vec![0; SPAN.read_len];
    let mut sum = 0_u64;
    for seed in 0..u64::from(READERS) {
        let mut positions = Positions::new(seed, SPAN);
        for _ in 0..reads {
            file.read_exact_at(&mut buf, positions.next())?;
            sum = sum.wrapping_add(check_sum(&buf));
        }
    }
    Ok(sum)
}
