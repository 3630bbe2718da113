//! Several workers against one, for cached reads of 4 KiB and 64 KiB.
//!
//! The floor is how plain pread scales, on as many threads; bare rings are beside it. `--workers`
//! says how many there are.

use std::sync::Arc;

use corelane::Executor;

use crate::content::{Content, FILE_LEN, Span};
use crate::crowd::{Crowd, executor_on};
use crate::environment::{Cores, scheduler_of};
use crate::floors::ring_or_refused;
use crate::measure::{By, Contender, Figures, interleave};
use crate::{Failure, Options, Outcome};

/// Reads in flight of each worker.
const READERS: u64 = 32;
/// Length of a read, and reads of each reader in a round.
const WORKLOADS: [(usize, u64); 2] = [(4 << 10, 4_000), (64 << 10, 500)];
/// Least part of the floor's scaling.
const SCALING_MIN: f64 = 0.95;
/// Ways to read; each has a contender for each number of workers.
const WAYS: [&str; 3] = ["pread", "bare rings", "blobio"];

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let counts = counts(options, cores);
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let executors: Vec<Executor> = counts
        .iter()
        .map(|&count| executor_on(cores.first(count)))
        .collect::<Result<_, _>>()?;
    for (read_len, reads) in WORKLOADS {
        let crowd = |count: usize| Crowd {
            paths: Arc::new(vec![content.path.clone()]),
            file_len: FILE_LEN,
            direct: false,
            span: Span {
                len: FILE_LEN,
                read_len,
            },
            readers: READERS * count as u64,
            reads,
        };
        crowd(1).check_whole()?;
        let mut contenders = Vec::new();
        for way in WAYS {
            for (&count, executor) in counts.iter().zip(&executors) {
                let crowd = crowd(count);
                contenders.push(contender(way, count, crowd, cores, executor)?);
            }
        }
        let title = format!("scaling: {} KiB, cached", read_len >> 10);
        let figures = interleave(options, &title, "read", options.rounds, contenders, &[])?;
        judge(options, &title, &counts, &figures);
    }
    Ok(())
}

/// How many workers are compared: as asked for, as far as there are cores.
fn counts(options: &Options, cores: &Cores) -> Vec<usize> {
    if options.workers.is_empty() {
        let mut counts = vec![1, cores.count()];
        counts.dedup();
        return counts;
    }
    let (fit, too_many): (Vec<usize>, Vec<usize>) = options
        .workers
        .iter()
        .map(|&count| usize::from(count))
        .partition(|&count| count <= cores.count());
    for count in too_many {
        println!(
            "scaling: {count} workers left out, as there are {} cores",
            cores.count()
        );
    }
    fit
}

fn contender<'a>(
    way: &'static str,
    count: usize,
    crowd: Crowd,
    cores: &'a Cores,
    executor: &'a Executor,
) -> Result<Contender<'a>, Failure> {
    let sum = crowd.expected();
    let name = format!("{way}, {count} cores");
    Ok(match way {
        "pread" => Contender::new(name, move || crowd.threads(count, cores.first(count), sum)),
        "bare rings" => Contender::with(name, ring_or_refused()?, move |()| {
            crowd.rings(cores.first(count), sum)
        }),
        _ => Contender::new(name, move || crowd.blobs(executor, sum)),
    })
}

/// Prints how much faster several are than the first number of them, and how that compares with
/// pread.
fn judge(options: &Options, title: &str, counts: &[usize], figures: &Figures) {
    let mut all = Vec::new();
    for (at, &count) in counts.iter().enumerate().skip(1) {
        let speedup = |way: usize| {
            let first = way * counts.len();
            let ratio = figures.ratio(By::Wall, first + at, &[first]);
            ratio.map(|ratio| 1.0 / ratio)
        };
        let said = |speedup: Option<f64>| {
            speedup.map_or_else(|| "-".to_owned(), |speedup| format!("{speedup:.2}x"))
        };
        println!(
            "  {count} against {}: pread {}, bare rings {}, blobio {}",
            counts[0],
            said(speedup(0)),
            said(speedup(1)),
            said(speedup(2))
        );
        for (way, name) in WAYS.into_iter().enumerate() {
            if let Some(speedup) = speedup(way) {
                all.push((format!("{name}, {count} cores"), speedup, "x"));
            }
        }
        if let (Some(floor), Some(own)) = (speedup(0), speedup(2)) {
            let part = own / floor;
            let met = if part >= SCALING_MIN { "met" } else { "missed" };
            println!("  target: at least {SCALING_MIN} of pread's scaling: {met} ({part:.3})");
            all.push((format!("blobio to pread, {count} cores"), part, "ratio"));
        }
    }
    options
        .journal
        .add_figures(&format!("{title}: speed-up"), &all);
}
