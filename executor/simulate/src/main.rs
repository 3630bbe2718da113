//! Runs seeds of simulated programs, and says which of them has broken what.
#![deny(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use corelane::sim::SimCounters;
use simulate::{Options, Report, Tally, run};

/// Runs programs on a simulated ring, each of them, and all that happens to it, decided by a seed.
///
/// Ends at the first seed that breaks something, with exit code 1, the seed, and what was broken.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed alone, and print its digest: the same each time.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print the log of what happens.
    #[arg(long)]
    trace: bool,
    /// Most turns of one program; one that takes more has failed.
    #[arg(long, default_value_t = Options::default().turns_max)]
    steps: usize,
}

/// Names the file in which the process that runs the seeds leaves the one it is at.
const PROGRESS: &str = "SIMULATE_PROGRESS";

/// Runs the seeds in a process of their own: broken memory may end it without a word.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match std::env::var_os(PROGRESS) {
        Some(path) => run_seeds(&arguments, File::create(path).ok().as_ref()),
        None => supervise().unwrap_or_else(|error| {
            eprintln!("FAIL: no process for the seeds: {error}");
            ExitCode::FAILURE
        }),
    }
}

fn supervise() -> std::io::Result<ExitCode> {
    let name = format!("simulate-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(std::env::args_os().skip(1))
        .env(PROGRESS, &path);
    let status = command.status()?;
    if let Some(signal) = status.signal() {
        let seed = last_seed(&path).map_or("a seed".into(), |seed| format!("seed {seed}"));
        eprintln!("FAIL: {seed}: killed by signal {signal}");
    }
    // Where that fails, a file of eight bytes is left in a temporary folder.
    let _ = std::fs::remove_file(&path);
    Ok(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn last_seed(path: &Path) -> Option<u64> {
    let bytes = std::fs::read(path).ok()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn run_seeds(arguments: &Arguments, progress: Option<&File>) -> ExitCode {
    let options = Options {
        turns_max: arguments.steps,
        trace: arguments.trace,
    };
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from.saturating_add(arguments.seeds),
    };
    let start = Instant::now();
    let mut total = Total::default();
    for seed in seeds {
        // Without it, the supervisor cannot tell a seed that was killed.
        let _ = progress.map(|file| file.write_all_at(&seed.to_le_bytes(), 0));
        match run(seed, &options) {
            Ok(report) => {
                if arguments.seed.is_some() {
                    println!(
                        "seed {seed}: {} events, digest {:016x}",
                        report.events, report.digest
                    );
                }
                total.add(&report);
            }
            Err(failure) => {
                eprintln!("FAIL: {failure}");
                eprintln!("again: simulate --seed {seed} --trace");
                return ExitCode::FAILURE;
            }
        }
    }
    total.print(start.elapsed());
    ExitCode::SUCCESS
}

/// What all seeds have met together.
#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    events: u64,
    rings: SimCounters,
    programs: Tally,
}

macro_rules! add {
    ($to:expr, $from:expr; $($field:ident),* $(,)?) => {
        $($to.$field += $from.$field;)*
    };
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        add!(self.rings, report.counters; submitted, completed, short, failed, cancelled,
            cancels_won, cancels_missed, cancels_late, enters_refused, queue_full, overflowed,
            kicks, held);
        add!(self.programs, report.tally; tasks, dropped, forgotten, handed_over, timed_out,
            aborted, panicked, remote, queued, shutdowns, deaths, cut_off, jumps);
    }

    fn print(&self, took: Duration) {
        let (rings, programs) = (&self.rings, &self.programs);
        println!(
            "{} seeds, {} events: {} operations; {} whole, {} short, {} failed, {} cancelled, \
             {} held",
            self.seeds,
            self.events,
            rings.submitted,
            rings.completed,
            rings.short,
            rings.failed,
            rings.cancelled,
            rings.held,
        );
        println!(
            "cancels: {} won, {} too late, {} missed; {} enters refused, {} pushes found no room, \
             {} completions overflowed, {} kicks",
            rings.cancels_won,
            rings.cancels_late,
            rings.cancels_missed,
            rings.enters_refused,
            rings.queue_full,
            rings.overflowed,
            rings.kicks,
        );
        println!(
            "{} tasks ({} remote, {} panicked, {} aborted, {} cut off); futures: {} dropped, \
             {} forgotten, {} handed over, {} timed out; {} queued reads; {} jumps of the clock; \
             {} shutdowns, {} workers dropped",
            programs.tasks,
            programs.remote,
            programs.panicked,
            programs.aborted,
            programs.cut_off,
            programs.dropped,
            programs.forgotten,
            programs.handed_over,
            programs.timed_out,
            programs.queued,
            programs.jumps,
            programs.shutdowns,
            programs.deaths,
        );
        println!("{:.1} s", took.as_secs_f64());
    }
}
