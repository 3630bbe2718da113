//! Rounds, medians and the table.

use std::time::{Duration, Instant};

use crate::Failure;

/// One way to do the work of a case.
pub(crate) struct Contender<'a> {
    name: String,
    round: Box<dyn FnMut() -> Result<Sample, Failure> + 'a>,
}

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Time that counts.
    pub(crate) elapsed: Duration,
    /// Items that were done in it.
    pub(crate) items: u64,
}

impl Sample {
    /// Times `work`, which does `items` items.
    pub(crate) fn of<R>(items: u64, work: impl FnOnce() -> R) -> (Self, R) {
        let start = Instant::now();
        let result = work();
        (
            Self {
                elapsed: start.elapsed(),
                items,
            },
            result,
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn ns_per_item(self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.items as f64
    }
}

impl<'a> Contender<'a> {
    /// Names a way; `round` does all of a round's work once and checks its result.
    pub(crate) fn new(
        name: impl Into<String>,
        round: impl FnMut() -> Result<Sample, Failure> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            round: Box::new(round),
        }
    }
}

/// Runs the contenders in turn, `rounds` times after one round that does not count, and prints
/// them against the first, which is the floor. Each round begins with another one, so that none
/// always runs in what the same other one leaves behind. Returns each one's ratio to it.
pub(crate) fn interleave(
    title: &str,
    item: &str,
    rounds: u32,
    mut contenders: Vec<Contender<'_>>,
) -> Result<Vec<f64>, Failure> {
    let mut series = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let index = (turn + round as usize) % contenders.len();
            let (contender, series) = (&mut contenders[index], &mut series[index]);
            let sample = (contender.round)()
                .map_err(|error| format!("{title}, {}: {error}", contender.name))?;
            if round > 0 {
                series.push(sample.ns_per_item());
            }
        }
    }
    println!("\n{title} (ns per {item}, {rounds} rounds)");
    println!(
        "  {:<34} {:>10} {:>10} {:>10} {:>8} {:>7} {:>15}",
        "", "median", "min", "max", "spread", "ratio", "ratio by round"
    );
    for (contender, own) in contenders.iter().zip(&series) {
        println!("  {:<34} {}", contender.name, line(own, &series[0]));
    }
    Ok(series
        .iter()
        .map(|own| quantile(own, 0.5) / quantile(&series[0], 0.5))
        .collect())
}

/// Median, range, spread (middle half over median), ratio of medians, range of the ratios of
/// each round.
fn line(own: &[f64], floor: &[f64]) -> String {
    let [min, quarter, median, three_quarters, max] =
        [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| quantile(own, at));
    let spread = (three_quarters - quarter) / median * 100.0;
    let ratio = median / quantile(floor, 0.5);
    let paired: Vec<f64> = own
        .iter()
        .zip(floor)
        .map(|(own, floor)| own / floor)
        .collect();
    let (low, high) = (quantile(&paired, 0.0), quantile(&paired, 1.0));
    format!(
        "{median:>10.1} {min:>10.1} {max:>10.1} {spread:>7.1}% {ratio:>7.3} {:>15}",
        format!("{low:.3}-{high:.3}")
    )
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
    use super::quantile;

    #[test]
    fn quantiles_of_unsorted_series() {
        let series = [5.0, 1.0, 3.0, 2.0];
        assert_eq!(
            [0.0, 0.5, 1.0].map(|at| quantile(&series, at)),
            [1.0, 2.5, 5.0]
        );
        assert_eq!(quantile(&[7.0], 0.25), 7.0);
    }
}
