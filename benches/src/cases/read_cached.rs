//! Random 4 KiB reads of a cached 1 GiB file, 32 at a time, on one core.
//!
//! The floor is a bare ring that keeps 32 reads in flight. Readers of the same number read at
//! the same positions everywhere.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use corelane::{Config, Worker};

use crate::content::{Content, Positions, READ_LEN, check_sum, expected_sum, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::floors::ring::BareRing;
use crate::measure::{Contender, Sample, interleave};
use crate::{Failure, Options, Outcome};

/// Readers, each with one read in flight.
const READERS: u32 = 32;
/// Reads of each reader in a round.
const READS: u64 = 2_000;
/// Rounds of this case for one that was asked for: many short ones, as what disturbs a machine
/// lasts longer than they do.
const ROUNDS: u32 = 5;
/// What a read may cost, as a multiple of the floor's.
const RATIO_MAX: f64 = 1.15;
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
    let mut ring = BareRing::new(READERS)?;

    let checked = expected(READS_CHECKED);
    check(checked, ring.read(&file, READS_CHECKED, true)?)?;
    check(checked, read_by_tasks(&worker, &file, READS_CHECKED, true)?)?;

    let items = u64::from(READERS) * READS;
    let sum = expected(READS);
    let contenders = vec![
        Contender::new("floor: bare ring, 32 deep", || {
            let (sample, read) = Sample::of(items, || ring.read(&file, READS, false));
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
    let ratios = interleave("read_cached", "read", options.rounds * ROUNDS, contenders)?;
    let within = if ratios[1] <= RATIO_MAX { "yes" } else { "no" };
    let stats = worker.stats();
    println!(
        "  corelane submitted {} reads with {} enters",
        stats.submits, stats.enters
    );
    println!("  corelane at most {RATIO_MAX} of the floor: {within}");
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
    let mut positions = Positions::new(seed);
    let mut buf: Box<[u8]> = vec![0; READ_LEN].into();
    let mut sum = 0_u64;
    for _ in 0..reads {
        let at = positions.next();
        let (read, back) = file.read_at(buf, at).await;
        buf = back;
        if read? != READ_LEN || (whole && !is_content(&buf, at)) {
            return Err(std::io::Error::other(format!("the read at {at} is wrong")));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

/// One reader after another, a system call per read.
fn read_by_pread(file: &File, reads: u64) -> std::io::Result<u64> {
    let mut buf = vec![0; READ_LEN];
    let mut sum = 0_u64;
    for seed in 0..u64::from(READERS) {
        let mut positions = Positions::new(seed);
        for _ in 0..reads {
            file.read_exact_at(&mut buf, positions.next())?;
            sum = sum.wrapping_add(check_sum(&buf));
        }
    }
    Ok(sum)
}

/// The sum of the checks of `reads` reads of each reader.
fn expected(reads: u64) -> u64 {
    let mut sum = 0_u64;
    for seed in 0..u64::from(READERS) {
        let mut positions = Positions::new(seed);
        for _ in 0..reads {
            sum = sum.wrapping_add(expected_sum(positions.next()));
        }
    }
    sum
}

fn check(expected: u64, got: u64) -> Outcome {
    if expected == got {
        return Ok(());
    }
    Err(format!("the reads sum up to {got:#x} instead of {expected:#x}").into())
}
