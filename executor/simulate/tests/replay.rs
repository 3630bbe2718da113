//! A seed replays: what it does is decided by nothing else. And what programs are there to meet,
//! they meet.

use simulate::{Failure, Options, Report, run};

fn run_all(seeds: std::ops::Range<u64>) -> Vec<Report> {
    let options = Options::default();
    let reports: Result<_, Failure> = seeds.map(|seed| run(seed, &options)).collect();
    reports.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_seed_gives_the_same_log_each_time_whatever_ran_before_it() {
    let digests = |seeds| -> Vec<(u64, u64)> {
        let reports = run_all(seeds);
        reports
            .iter()
            .map(|report| (report.digest, report.events))
            .collect()
    };
    let first = digests(1000..1030);
    assert_eq!(first, digests(1000..1030));
    // Alone, in another order, and on a thread that has run nothing yet.
    for (at, seed) in (1000..1030).rev().map(|seed: u64| (seed - 1000, seed)) {
        let alone = std::thread::spawn(move || run(seed, &Options::default()));
        let report = alone.join().unwrap().unwrap();
        assert_eq!(
            (report.digest, report.events),
            first[usize::try_from(at).unwrap()],
            "seed {seed}"
        );
    }
}

#[test]
fn other_seeds_give_other_logs() {
    let mut digests: Vec<u64> = run_all(0..30).iter().map(|report| report.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 30);
}

#[test]
fn every_fault_and_every_end_is_met() {
    let reports = run_all(2000..2200);
    macro_rules! assert_met {
        ($part:ident: $($name:ident),* $(,)?) => {$(
            let met: u64 = reports.iter().map(|report| report.$part.$name).sum();
            assert!(met > 0, "no {} in {} seeds", stringify!($name), reports.len());
        )*};
    }
    assert_met!(counters: submitted, completed, short, failed, cancelled, cancels_won,
        cancels_missed, cancels_late, enters_refused, queue_full, overflowed, kicks, held);
    assert_met!(tally: tasks, dropped, forgotten, handed_over, timed_out, aborted, panicked,
        remote, queued, shutdowns, deaths, cut_off, jumps);
}

#[test]
fn a_program_that_takes_too_many_turns_is_reported_with_who_is_left() {
    let options = Options {
        turns_max: 1,
        ..Options::default()
    };
    let mut failures = (0..20).filter_map(|seed| run(seed, &options).err());
    let failure = failures
        .next()
        .expect("some program takes more than a turn");
    assert!(failure.what.contains("no end after 1 turns"), "{failure}");
    assert!(failure.what.contains("of worker"), "{failure}");
}
