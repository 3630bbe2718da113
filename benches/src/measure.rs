//! Rounds, medians and the table.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::journal::Journal;
use crate::{Failure, Options};

type Round<'a> = Box<dyn FnMut() -> Result<Sample, Failure> + 'a>;

/// One way to do the work of a case.
pub(crate) struct Contender<'a> {
    name: String,
    /// What does a round, or why it cannot be done here.
    round: Result<Round<'a>, String>,
}

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Time that counts.
    pub(crate) elapsed: Duration,
    /// Time that the work took of all cores together.
    pub(crate) cpu: Duration,
    /// Items that were done in it.
    pub(crate) items: u64,
}

/// Wall time and processor time since a moment. The processor time is that of the whole process,
/// as helpers of either side are a part of what the work costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    wall: Instant,
    cpu: Duration,
}

/// Which of the two times a ratio is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Wall,
    Cpu,
}

/// A bound on a contender's ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Which contender.
    pub(crate) own: usize,
    /// The contenders of which the best is what it is compared with.
    pub(crate) against: &'static [usize],
    pub(crate) by: By,
    pub(crate) at_most: f64,
}

/// All rounds of one contender, in nanoseconds per item.
struct Series {
    name: String,
    absent: Option<String>,
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

/// What a table was printed of.
pub(crate) struct Figures {
    series: Vec<Series>,
}

impl Timer {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: process_time(),
        }
    }

    /// Ends, when `items` items are done.
    pub(crate) fn stop(self, items: u64) -> Sample {
        Sample {
            elapsed: self.wall.elapsed(),
            cpu: process_time().saturating_sub(self.cpu),
            items,
        }
    }
}

impl Sample {
    /// Times `work`, which does `items` items.
    pub(crate) fn of<R>(items: u64, work: impl FnOnce() -> R) -> (Self, R) {
        let timer = Timer::start();
        let result = work();
        (timer.stop(items), result)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn ns_per_item(self) -> (f64, f64) {
        let items = self.items as f64;
        let per_item = |time: Duration| time.as_nanos() as f64 / items;
        (per_item(self.elapsed), per_item(self.cpu))
    }
}

/// Time that this process has had of all cores together.
pub(crate) fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

/// Time that the calling thread has had of its core.
pub(crate) fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("a time that has passed is not negative")
}

impl<'a> Contender<'a> {
    /// Names a way; `round` does all of a round's work once and checks its result.
    pub(crate) fn new(
        name: impl Into<String>,
        round: impl FnMut() -> Result<Sample, Failure> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            round: Ok(Box::new(round)),
        }
    }

    /// Names a way that needs something which may be missing here; then its line says why.
    pub(crate) fn with<T: 'a>(
        name: impl Into<String>,
        needed: Result<T, String>,
        mut round: impl FnMut(&mut T) -> Result<Sample, Failure> + 'a,
    ) -> Self {
        match needed {
            Ok(mut needed) => Self::new(name, move || round(&mut needed)),
            Err(why) => Self {
                name: name.into(),
                round: Err(why),
            },
        }
    }
}

/// Runs the contenders in turn, `rounds` times after one round that does not count, prints them
/// against the first, which is the floor, and says whether the targets are met. Each round begins
/// with another one, so that none always runs in what the same other one leaves behind.
pub(crate) fn interleave(
    options: &Options,
    title: &str,
    item: &str,
    rounds: u32,
    mut contenders: Vec<Contender<'_>>,
    targets: &[Target],
) -> Result<Figures, Failure> {
    let mut series: Vec<Series> = contenders.iter().map(Series::new).collect();
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let index = (turn + round as usize) % contenders.len();
            let (contender, series) = (&mut contenders[index], &mut series[index]);
            let Ok(work) = &mut contender.round else {
                continue;
            };
            let sample = work().map_err(|error| format!("{title}, {}: {error}", contender.name))?;
            if round > 0 {
                let (wall, cpu) = sample.ns_per_item();
                series.wall.push(wall);
                series.cpu.push(cpu);
            }
        }
    }
    let figures = Figures { series };
    figures.print(title, item, rounds);
    figures.record(&options.journal, title, item, rounds, targets);
    Ok(figures)
}

impl Series {
    fn new(contender: &Contender<'_>) -> Self {
        Self {
            name: contender.name.clone(),
            absent: contender.round.as_ref().err().cloned(),
            wall: Vec::new(),
            cpu: Vec::new(),
        }
    }

    fn of(&self, by: By) -> &[f64] {
        match by {
            By::Wall => &self.wall,
            By::Cpu => &self.cpu,
        }
    }
}

impl Figures {
    /// The ratio of a contender's median to the best of others'; none where one side is absent.
    pub(crate) fn ratio(&self, by: By, own: usize, against: &[usize]) -> Option<f64> {
        let medians = against.iter().filter_map(|&other| self.median(by, other));
        let best = medians.min_by(f64::total_cmp)?;
        Some(self.median(by, own)? / best)
    }

    /// A contender's median in nanoseconds per item; none where it is absent.
    pub(crate) fn median(&self, by: By, own: usize) -> Option<f64> {
        let series = self.series[own].of(by);
        (!series.is_empty()).then(|| quantile(series, 0.5))
    }

    fn print(&self, title: &str, item: &str, rounds: u32) {
        println!("\n{title} (ns per {item}, {rounds} rounds)");
        println!(
            "  {:<34} {:>11} {:>7} {:>7} {:>13} {:>11} {:>7} {:>7} {:>13}",
            "", "wall", "spread", "ratio", "by round", "cpu", "spread", "ratio", "by round"
        );
        for series in &self.series {
            match &series.absent {
                Some(why) => println!("  {:<34} {why}", series.name),
                None => println!(
                    "  {:<34} {} {}",
                    series.name,
                    line(&series.wall, &self.series[0].wall),
                    line(&series.cpu, &self.series[0].cpu)
                ),
            }
        }
    }

    fn record(&self, journal: &Journal, title: &str, item: &str, rounds: u32, targets: &[Target]) {
        let floor = &self.series[0];
        let contenders: Vec<Value> = self
            .series
            .iter()
            .map(|own| {
                json!({
                    "name": own.name,
                    "absent": own.absent,
                    "wall": summary(&own.wall, &floor.wall),
                    "cpu": summary(&own.cpu, &floor.cpu),
                })
            })
            .collect();
        let targets: Vec<Value> = targets.iter().map(|target| self.judge(*target)).collect();
        journal.add(json!({
            "title": title,
            "item": item,
            "unit": "ns",
            "rounds": rounds,
            "contenders": contenders,
            "targets": targets,
        }));
    }

    fn judge(&self, target: Target) -> Value {
        let name = |index: usize| self.series[index].name.as_str();
        let against: Vec<&str> = target.against.iter().map(|&other| name(other)).collect();
        let by = match target.by {
            By::Wall => "wall",
            By::Cpu => "cpu",
        };
        let ratio = self.ratio(target.by, target.own, target.against);
        let met = ratio.map(|ratio| ratio <= target.at_most);
        let said = match (ratio, met) {
            (Some(ratio), Some(true)) => format!("met ({ratio:.3})"),
            (Some(ratio), _) => format!("missed ({ratio:.3})"),
            (None, _) => "cannot be said here".to_owned(),
        };
        println!(
            "  target: {by} of \"{}\" at most {:.3} of \"{}\": {said}",
            name(target.own),
            target.at_most,
            against.join("\" and \"")
        );
        json!({
            "own": name(target.own),
            "against": against,
            "by": by,
            "at_most": target.at_most,
            "ratio": ratio,
            "met": met,
        })
    }
}

/// Median, spread (middle half over median), ratio of medians, range of the ratios of each round.
fn line(own: &[f64], floor: &[f64]) -> String {
    let (median, spread) = (quantile(own, 0.5), spread(own));
    let against = match ratios(own, floor) {
        None => format!("{:>7} {:>13}", "-", "-"),
        Some([ratio, low, high]) => {
            format!("{ratio:>7.3} {:>13}", format!("{low:.3}-{high:.3}"))
        }
    };
    format!("{median:>11.1} {:>6.1}% {against}", spread * 100.0)
}

fn summary(own: &[f64], floor: &[f64]) -> Value {
    if own.is_empty() {
        return Value::Null;
    }
    let against = ratios(own, floor);
    json!({
        "median": quantile(own, 0.5),
        "min": quantile(own, 0.0),
        "max": quantile(own, 1.0),
        "spread": spread(own),
        "ratio": against.map(|[ratio, ..]| ratio),
        "ratio_min": against.map(|[_, low, _]| low),
        "ratio_max": against.map(|[.., high]| high),
    })
}

fn spread(series: &[f64]) -> f64 {
    (quantile(series, 0.75) - quantile(series, 0.25)) / quantile(series, 0.5)
}

/// The ratio of the medians, and the lowest and the highest of the rounds'.
fn ratios(own: &[f64], floor: &[f64]) -> Option<[f64; 3]> {
    if own.is_empty() || floor.is_empty() {
        return None;
    }
    let paired: Vec<f64> = own
        .iter()
        .zip(floor)
        .map(|(own, floor)| own / floor)
        .collect();
    Some([
        quantile(own, 0.5) / quantile(floor, 0.5),
        quantile(&paired, 0.0),
        quantile(&paired, 1.0),
    ])
}

/// The value at a fraction of the sorted series, between two values by proportion.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "positions in a short series"
)]
pub(crate) fn quantile(series: &[f64], fraction: f64) -> f64 {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = fraction * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::{By, Figures, Series, quantile, ratios};

    fn series(wall: &[f64]) -> Series {
        Series {
            name: String::new(),
            absent: None,
            wall: wall.to_vec(),
            cpu: Vec::new(),
        }
    }

    #[test]
    fn quantiles_of_unsorted_series() {
        let series = [5.0, 1.0, 3.0, 2.0];
        assert_eq!(
            [0.0, 0.5, 1.0].map(|at| quantile(&series, at)),
            [1.0, 2.5, 5.0]
        );
        assert_eq!(quantile(&[7.0], 0.25), 7.0);
    }

    #[test]
    fn the_best_of_others_is_what_counts_and_an_absent_one_does_not() {
        let figures = Figures {
            series: vec![series(&[]), series(&[4.0]), series(&[2.0]), series(&[3.0])],
        };
        assert_eq!(figures.ratio(By::Wall, 3, &[0, 1, 2]), Some(1.5));
        assert_eq!(figures.ratio(By::Wall, 3, &[0]), None);
        assert_eq!(figures.ratio(By::Cpu, 3, &[1]), None);
    }

    #[test]
    fn ratios_are_of_medians_and_of_each_round() {
        let both = ratios(&[2.0, 3.0, 8.0], &[1.0, 2.0, 2.0]);
        assert_eq!(both, Some([1.5, 1.5, 4.0]));
        assert_eq!(ratios(&[1.0], &[]), None);
    }
}
