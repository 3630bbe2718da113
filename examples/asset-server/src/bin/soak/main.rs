//! Asks everything of a server at once, for as long as is wanted: honest clients that check every
//! byte, and beside them clients that do what nobody should.
//!
//! `soak --minutes 30` starts the `asset-server` that lies beside it twice: for honest clients
//! alone, to compare with, and then with a tenth of the connections hostile. It prints a line
//! every so often, a table, and what was met and what was missed; it exits with 1 when anything
//! was. Of two cores the server has one and the clients have the other.
#![forbid(unsafe_code)]

mod assets;
mod honest;
mod hostile;
mod message;
mod report;
mod rng;
mod server;
mod tally;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use assets::Assets;
use report::{Run, Sample};
use server::Server;
use tally::Tally;

/// How long a run goes on before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// Clients' threads hold a few buffers on the heap and little on the stack.
const STACK_LEN: usize = 128 << 10;

/// Soaks asset-server.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Args {
    /// Minutes that the run with hostile clients takes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,

    /// Minutes that the run without them takes [default: a sixth as long]
    #[arg(long)]
    baseline_minutes: Option<f64>,

    /// Connections in all
    #[arg(long, default_value_t = 1000)]
    connections: usize,

    /// Hostile ones among them; with 0 there is only the run to compare with [default: a tenth]
    #[arg(long)]
    hostile: Option<usize>,

    /// What the clients' choices come from
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Tell times, but do not judge them: for a machine that does other work as well
    #[arg(long)]
    busy: bool,

    /// The server [default: `asset-server` beside this program]
    #[arg(long)]
    server: Option<PathBuf>,

    /// More options for the server, as `--server-options="--backend threads"`
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    server_options: String,
}

fn main() -> ExitCode {
    match soak(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all was met.
fn soak(args: &Args) -> io::Result<bool> {
    let folder = server::Folder::make()?;
    let assets = Assets::make(&folder.path)?;
    let cores = Cores::split()?;
    let hostile = args.hostile.unwrap_or(args.connections / 10);
    let hostile = hostile.min(args.connections);
    // As many honest ones in both runs, or they would wait for each other differently.
    let honest = args.connections - hostile;
    let minutes = |minutes: f64| Duration::try_from_secs_f64(minutes * 60.0);
    let long = minutes(args.minutes).map_err(io::Error::other)?;
    let short = minutes(args.baseline_minutes.unwrap_or(args.minutes / 6.0));
    let short = short.map_err(io::Error::other)?;
    println!(
        "seed {}, {} assets, server on cores {:?}, clients on cores {:?}",
        args.seed,
        assets.all.len(),
        cores.server,
        cores.clients
    );
    let is_comparison_alone = hostile == 0;
    let time = if is_comparison_alone { long } else { short };
    let alone = run(args, &assets, &cores, (honest, 0), time)?;
    if is_comparison_alone {
        return Ok(report::verdict(&alone, None, !args.busy));
    }
    let beset = run(args, &assets, &cores, (honest, hostile), long)?;
    Ok(report::verdict(&beset, Some(&alone), !args.busy))
}

fn run(
    args: &Args,
    assets: &Assets,
    cores: &Cores,
    (honest, hostile): (usize, usize),
    time: Duration,
) -> io::Result<Run> {
    println!("\n{honest} honest and {hostile} hostile connections, {time:?}");
    let path = match &args.server {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("asset-server"),
    };
    cores.take(&cores.server)?;
    let started = Server::start(&path, assets, &args.server_options);
    cores.take(&cores.clients)?;
    let server = started?;
    let tally = Tally::default();
    let is_over = AtomicBool::new(false);
    let mut samples = Vec::new();
    thread::scope(|scope| -> io::Result<()> {
        let addr = server.addr;
        let (assets, tally, is_over) = (assets, &tally, &is_over);
        let spawned = || -> io::Result<()> {
            let first = args.seed.wrapping_mul(1_000_003);
            for from in (0..honest).step_by(honest::CONNECTIONS_PER_THREAD) {
                let to = honest.min(from + honest::CONNECTIONS_PER_THREAD);
                let seeds = first + from as u64..first + to as u64;
                let clients = move || honest::run(addr, assets, tally, is_over, seeds);
                builder("honest").spawn_scoped(scope, clients)?;
            }
            for index in 0..hostile {
                let seed = args.seed.wrapping_mul(1_000_033) + index as u64;
                let client = move || hostile::run(addr, assets, tally, is_over, index, seed);
                builder("hostile").spawn_scoped(scope, client)?;
            }
            if hostile > 0 {
                let replacer = move || assets.replace_again_and_again(is_over);
                builder("replacer").spawn_scoped(scope, replacer)?;
            }
            Ok(())
        };
        let watched = spawned().and_then(|()| watch(&server, tally, time, &mut samples));
        // Whatever became of it: or the scope would wait for ever.
        is_over.store(true, Ordering::Relaxed);
        watched
    })?;
    let left = server.connections_left(Duration::from_secs(20))?;
    let end = server.stop()?;
    Ok(Run::new(&tally, samples, left, end))
}

fn builder(name: &str) -> thread::Builder {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_LEN)
}

/// Looks at the server and the tally every second until the time is over.
fn watch(
    server: &Server,
    tally: &Tally,
    time: Duration,
    samples: &mut Vec<Sample>,
) -> io::Result<()> {
    thread::sleep(WARM_UP);
    tally.latency.clear();
    let began = Instant::now();
    let lines = 30.min((time.as_secs() / 5).max(1));
    let mut printed = 0;
    let mut last = Sample::take(server, tally, Duration::ZERO)?;
    report::heading();
    while began.elapsed() < time {
        thread::sleep(Duration::from_secs(1).min(time));
        let sample = Sample::take(server, tally, began.elapsed())?;
        let due = began.elapsed().as_secs_f64() * lines as f64 / time.as_secs_f64();
        if due >= f64::from(printed + 1) {
            printed += 1;
            report::line(&last, &sample);
            last = sample.clone();
        }
        samples.push(sample);
    }
    Ok(())
}

/// Which cores are whose.
struct Cores {
    server: Vec<usize>,
    clients: Vec<usize>,
}

impl Cores {
    /// Halves those that there are; one alone is for both.
    fn split() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        let all: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect();
        let half = NonZeroUsize::new(all.len() / 2);
        let (server, clients) = match half {
            Some(half) => all.split_at(half.get()),
            None => (&all[..], &all[..]),
        };
        Ok(Self {
            server: server.to_vec(),
            clients: clients.to_vec(),
        })
    }

    /// Puts this thread, and what it starts, on some cores.
    fn take(&self, cores: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        Ok(sched_setaffinity(None, &set)?)
    }
}
