//! Counts the instructions that one spawn, wake, yield, sleep, read and message take in this program's
//! own code, and compares them with the counts of record.
//!
//! Time on a busy machine says little; the number of instructions hardly moves. Each case runs
//! under `valgrind --tool=callgrind` at two lengths, and the difference is what the operations
//! took. A count that is more than [`TOLERANCE`] percent above the record is an error, one below
//! it a hint to record anew. Compilers differ: the record names the one it was made with, and
//! says nothing about others.
//!
//! ```sh
//! cargo run --release -p benches --bin instructions              # compare
//! cargo run --release -p benches --bin instructions -- --record  # write benches/instructions.txt
//! ```
#![deny(unsafe_code)]

mod record;
mod work;

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};

use record::Record;
use work::Case;

type Failure = Box<dyn Error + Send + Sync>;

/// By how many percent a count may be above the record.
const TOLERANCE: u64 = 5;
/// Operations of the shorter run, and of the longer.
const LENGTHS: [u64; 2] = [20_000, 60_000];
/// The exit status where nothing can be said: no valgrind, or another compiler.
const SKIPPED: u8 = 77;

/// Compares the instructions of each operation with the counts of record.
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Options {
    /// Writes the counts of record instead.
    #[arg(long)]
    record: bool,
    /// Does this many percent more work than is accounted for: shows that the comparison fails.
    #[arg(long, default_value_t = 0)]
    planted: u64,
    /// Only runs a case this many times; this is what is measured.
    #[arg(long, num_args = 2, value_names = ["CASE", "TIMES"], hide = true)]
    work: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.work {
        Some(work) => run_work(work),
        None => compare(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_work(work: &[String]) -> Result<ExitCode, Failure> {
    let case = Case::from_str(&work[0], false)?;
    work::run(case, work[1].parse()?)?;
    Ok(ExitCode::SUCCESS)
}

fn compare(options: &Options) -> Result<ExitCode, Failure> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIP: there is no valgrind");
        return Ok(ExitCode::from(SKIPPED));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    let compiler = record::compiler()?;
    let recorded = if options.record {
        Record::new(&compiler)
    } else {
        Record::read(&path)?
    };
    if recorded.compiler != compiler {
        let other = recorded.compiler;
        println!("SKIP: the counts are of {other}, this is {compiler}; --record makes new ones");
        return Ok(ExitCode::from(SKIPPED));
    }
    let mut counted = Record::new(&compiler);
    let mut worse = false;
    println!(
        "{:<8} {:>12} {:>12} {:>8}",
        "case", "instructions", "of record", "ratio"
    );
    for &case in Case::value_variants() {
        let name = case.name();
        let count = count(case, options.planted)?;
        counted.set(&name, count);
        let Some(before) = recorded.get(&name) else {
            println!("{name:<8} {count:>12} {:>12}", "-");
            worse |= !options.record;
            continue;
        };
        let over = count * 100 > before * (100 + TOLERANCE);
        worse |= over;
        #[expect(
            clippy::cast_precision_loss,
            reason = "small counts, shown with two places"
        )]
        let ratio = count as f64 / before as f64;
        let verdict = if over { "  too many" } else { "" };
        println!("{name:<8} {count:>12} {before:>12} {ratio:>8.2}{verdict}");
    }
    if options.record {
        counted.write(&path)?;
    }
    if worse {
        let file = path.display();
        return Err(format!("more than {TOLERANCE} % above {file}, or not in it").into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the instructions that one operation takes.
fn count(case: Case, planted: u64) -> Result<u64, Failure> {
    let mut totals = [0; 2];
    for (total, length) in totals.iter_mut().zip(LENGTHS) {
        *total = callgrind(case, length + length * planted / 100)?;
    }
    Ok((totals[1] - totals[0]) / (LENGTHS[1] - LENGTHS[0]))
}

/// Returns the instructions of a whole run.
fn callgrind(case: Case, times: u64) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--work", &case.name(), &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .filter_map(|line| line.split("Collected :").nth(1))
        .find_map(|count| count.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("callgrind of {} failed:\n{said}", case.name()).into()),
    }
}
