//! Lines, the table, and what was met.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::server::{End, IN_FLIGHT_MAX, Seen, Server, see_self};
use crate::tally::{Tally, quantile};

/// What the server may take beside the bytes of answers: rings, catalogues, buffers of connections
/// and of workers, and what is being unpacked.
const RESIDENT_BESIDE: u64 = 128 << 20;

/// How much more it may have at the end than in the middle, beside a tenth.
const GROWTH_MAX: u64 = 8 << 20;

/// How long a run has to be to tell growth from the first use of caches and of the allocator, which lasts
/// for some millions of requests.
const GROWTH_AFTER: Duration = Duration::from_secs(600);

/// How many times as long the slowest hundredth may take beside hostile clients.
const P99_TIMES_MAX: u32 = 3;

const MIB: u64 = 1 << 20;

/// What there was at one time.
#[derive(Clone)]
pub(crate) struct Sample {
    at: Duration,
    honest: u64,
    hostile: u64,
    received: u64,
    latency: Vec<u64>,
    server: Seen,
    clients: Seen,
}

impl Sample {
    pub(crate) fn take(server: &Server, tally: &Tally, at: Duration) -> io::Result<Self> {
        Ok(Self {
            at,
            honest: tally.honest.total(),
            hostile: tally.hostile.total(),
            received: tally.honest.received.load(Ordering::Relaxed),
            latency: tally.latency.counts(),
            server: server.see()?,
            clients: see_self()?,
        })
    }
}

/// A run that is over.
pub(crate) struct Run {
    honest: Vec<(usize, u64)>,
    hostile: Vec<(usize, u64)>,
    attacks: Vec<(&'static str, u64)>,
    messages: Vec<String>,
    wrong: u64,
    failed: u64,
    samples: Vec<Sample>,
    left: u64,
    end: End,
}

impl Run {
    pub(crate) fn new(tally: &Tally, samples: Vec<Sample>, left: u64, end: End) -> Self {
        Self {
            honest: tally.honest.statuses(),
            hostile: tally.hostile.statuses(),
            attacks: tally.attacks().into_iter().collect(),
            messages: tally.messages(),
            wrong: tally.wrong.load(Ordering::Relaxed),
            failed: tally.failed.load(Ordering::Relaxed),
            samples,
            left,
            end,
        }
    }

    fn quantile(&self, share: f64) -> Duration {
        let last = self.samples.last();
        last.map_or(Duration::ZERO, |last| quantile(&last.latency, share))
    }

    fn count_5xx_but_503(&self) -> u64 {
        let all = self.honest.iter().chain(&self.hostile);
        let bad = all.filter(|&&(status, _)| status >= 500 && status != 503);
        bad.map(|&(_, count)| count).sum()
    }

    fn resident_max(&self) -> u64 {
        let resident = self.samples.iter().map(|sample| sample.server.resident);
        resident.max().unwrap_or_default()
    }

    fn length(&self) -> Duration {
        self.samples.last().map_or(Duration::ZERO, |last| last.at)
    }

    /// The most in the second and in the last quarter.
    fn resident_by_quarter(&self) -> (u64, u64) {
        let quarter = self.samples.len() / 4;
        let max = |samples: &[Sample]| {
            let resident = samples.iter().map(|sample| sample.server.resident);
            resident.max().unwrap_or_default()
        };
        let from_last = self.samples.len() - quarter;
        (
            max(&self.samples[quarter..2 * quarter]),
            max(&self.samples[from_last..]),
        )
    }
}

pub(crate) fn heading() {
    println!(
        "{:>7} {:>10} {:>8} {:>9} {:>9} {:>9} {:>8} {:>6} {:>10} {:>11}",
        "time",
        "requests/s",
        "MiB/s",
        "p50",
        "p99",
        "hostile/s",
        "RSS MiB",
        "files",
        "server CPU",
        "clients CPU"
    );
}

/// Prints what happened between two samples.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn line(from: &Sample, to: &Sample) {
    let seconds = (to.at - from.at).as_secs_f64().max(0.001);
    let per_second = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
    let latency: Vec<_> = to
        .latency
        .iter()
        .zip(&from.latency)
        .map(|(to, from)| to - from)
        .collect();
    let percent = |from: Seen, to: Seen| per_second(from.cpu_ticks, to.cpu_ticks);
    println!(
        "{:>6.0}s {:>10.0} {:>8.0} {:>9.1?} {:>9.1?} {:>9.0} {:>8} {:>6} {:>9.0}% {:>10.0}%",
        to.at.as_secs_f64(),
        per_second(from.honest, to.honest),
        per_second(from.received, to.received) / MIB as f64,
        quantile(&latency, 0.5),
        quantile(&latency, 0.99),
        per_second(from.hostile, to.hostile),
        to.server.resident / MIB,
        to.server.descriptors,
        percent(from.server, to.server),
        percent(from.clients, to.clients),
    );
}

/// Prints the table of a run, and what was met of what is asked for, in comparison with a run
/// without hostile clients; returns whether all was. Times are `judged` or only told.
pub(crate) fn verdict(run: &Run, alone: Option<&Run>, judged: bool) -> bool {
    table(run);
    let mut is_all_met = true;
    let mut judge = |is_met: bool, what: &str, found: String| {
        is_all_met &= is_met;
        println!(
            "{:<7} {what}: {found}",
            if is_met { "met" } else { "MISSED" }
        );
    };
    let all = || alone.into_iter().chain([run]);
    let wrong = all().map(|run| run.wrong).sum::<u64>();
    judge(
        wrong == 0,
        "no wrong byte",
        format!("{wrong} wrong answers"),
    );
    let bad = all().map(Run::count_5xx_but_503).sum::<u64>();
    judge(bad == 0, "no 5xx but 503", format!("{bad} others"));
    let failed = all().map(|run| run.failed).sum::<u64>();
    judge(
        failed == 0,
        "no honest request fails",
        format!("{failed} failed"),
    );
    let most = IN_FLIGHT_MAX + RESIDENT_BESIDE;
    let (resident, (middle, last)) = (run.resident_max(), run.resident_by_quarter());
    judge(
        resident <= most,
        "RSS bounded",
        format!("{} of {} MiB at most", resident / MIB, most / MIB),
    );
    let found = format!(
        "{} MiB in the second quarter, {} in the last",
        middle / MIB,
        last / MIB
    );
    if run.length() >= GROWTH_AFTER {
        let is_met = last <= middle + middle / 10 + GROWTH_MAX;
        judge(is_met, "RSS does not grow", found);
    } else {
        println!("        RSS: {found}");
    }
    match alone.map(|alone| p99(run, alone)) {
        Some((is_met, found)) if judged => judge(is_met, "p99 within three times", found),
        Some((_, found)) => println!("        p99: {found}"),
        None => println!(
            "        p50 {:.1?}, p99 {:.1?}",
            run.quantile(0.5),
            run.quantile(0.99)
        ),
    }
    judge(
        run.left == 0,
        "no connection stays",
        format!("{} left", run.left),
    );
    let end = &run.end;
    let found = format!("{} panics, ended in {:.1?}", end.panics, end.took);
    judge(
        end.is_success && end.panics == 0,
        "the server ends well",
        found,
    );
    is_all_met
}

/// Says whether hostile clients leave the honest ones as much time as they may, and how much.
fn p99(run: &Run, alone: &Run) -> (bool, String) {
    let (p99, before) = (run.quantile(0.99), alone.quantile(0.99));
    let found = format!("{p99:.1?} beside hostile clients, {before:.1?} without");
    (p99 <= before * P99_TIMES_MAX, found)
}

fn table(run: &Run) {
    println!("\nstatus      honest     hostile");
    let mut statuses: Vec<_> = run
        .honest
        .iter()
        .chain(&run.hostile)
        .map(|&(status, _)| status)
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    let count = |of: &[(usize, u64)], status| {
        let found = of.iter().find(|&&(found, _)| found == status);
        found.map_or(0, |&(_, count)| count)
    };
    for status in statuses {
        println!(
            "{status:>6} {:>11} {:>11}",
            count(&run.honest, status),
            count(&run.hostile, status)
        );
    }
    if !run.attacks.is_empty() {
        println!("\nattacks, and how often");
        for (name, count) in &run.attacks {
            println!("{count:>8} {name}");
        }
    }
    for message in &run.messages {
        println!("! {message}");
    }
    for line in &run.end.complaints {
        println!("server: {line}");
    }
    println!();
}
