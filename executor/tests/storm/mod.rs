//! The storm: workers full of operations, each of which ends in its own way at a random poll.
#![allow(unreachable_pub, reason = "a module of a test binary")]

mod kinds;
mod round;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::{BackendChoice, Config, JoinHandle, TurnBudget, Worker};

use crate::common::fds::{self, Fds};
use crate::common::{PatternFile, Rng, quarantine};
use kinds::{Check, Kind};
use round::{Ledger, Remote, Round};

/// How long operations that were cancelled have to end.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// How an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Drop,
    Forget,
    Abort,
    /// With its worker, or by itself before.
    Shutdown,
}

impl End {
    const ALL: [Self; 4] = [Self::Drop, Self::Forget, Self::Abort, Self::Shutdown];
}

/// What the storm's operations work on.
pub struct World {
    pub file: PatternFile,
    /// The file, opened for direct I/O where the file system has that.
    pub direct: Option<std::fs::File>,
    pub buffer_max: usize,
    pub real: bool,
}

impl World {
    /// Makes it for the real ring, or for the simulated one.
    pub fn new(name: &str, real: bool) -> Self {
        let file = PatternFile::new(name, 256 * 1024);
        let direct = file.open_direct().filter(|_| real);
        if direct.is_none() && real {
            println!("SKIP: no direct I/O on {}", file.path.display());
        }
        Self {
            file,
            direct,
            buffer_max: if real { 16 * 1024 } else { 300 },
            real,
        }
    }

    pub fn check(&self) -> Check {
        Check { errors: !self.real }
    }
}

/// What has happened so far.
pub struct Storm<'a> {
    world: &'a World,
    ledger: Rc<Ledger>,
    rounds: u64,
    workers: u64,
    /// Workers that ended while the device was still busy.
    stalls: u64,
    /// Whether operations are forgotten, which leaks what they own.
    forgets: bool,
}

/// One operation as the storm sees it.
struct Flying {
    remote: Rc<Remote>,
    handle: Option<JoinHandle<()>>,
    end: End,
}

impl<'a> Storm<'a> {
    pub fn new(world: &'a World) -> Self {
        Self {
            world,
            ledger: Rc::default(),
            rounds: 0,
            workers: 0,
            stalls: 0,
            forgets: true,
        }
    }

    /// Drops what would be forgotten, so that nothing is to be left.
    pub fn without_forgetting(mut self) -> Self {
        self.forgets = false;
        self
    }

    pub fn workers(&self) -> u64 {
        self.workers
    }

    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    pub fn ended_in_flight(&self) -> u64 {
        self.ledger.met.iter().flatten().map(Cell::get).sum()
    }

    /// Every kind of operation was in flight when it was dropped, forgotten and aborted, and
    /// many were when their worker ended.
    pub fn assert_every_case_was_met(&self) {
        let mut shut_down = 0;
        for (kind, ends) in Kind::ALL.iter().zip(&self.ledger.met) {
            let optional =
                *kind == Kind::ReadDirect && self.world.real && self.world.direct.is_none();
            for (end, met) in End::ALL.iter().zip(ends).take(3) {
                assert!(
                    optional || met.get() > 0,
                    "no {kind:?} was in flight at a {end:?}"
                );
            }
            shut_down += ends[End::Shutdown as usize].get();
        }
        assert!(shut_down >= 50, "{shut_down} in flight at a shutdown");
    }

    /// Runs one worker from its start to its end.
    pub fn worker(&mut self, seed: u64, backend: BackendChoice) {
        let mut rng = Rng::new(seed);
        let before = fds::open();
        self.ledger.begin_worker();
        let roomy = rng.percent(70);
        let (sq, cq) = if roomy {
            (32, 1024)
        } else {
            (rng.pick(&[1, 4]), rng.pick(&[4, 8]))
        };
        let config = Config::new().sq_entries(sq).cq_entries(cq).backend(backend);
        let worker = Worker::new(config).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut handles = Vec::new();
        let batches = 1 + rng.below(if !self.world.real { 2 } else { 5 });
        for _ in 0..batches {
            let mut flying = self.launch(&worker, &mut rng, roomy);
            fly(&worker, &mut flying, &mut rng, &self.ledger);
            handles.extend(flying);
        }
        if rng.percent(50) {
            self.settle(&worker, &mut handles, seed);
        }
        self.count_in_flight_at_the_end(&worker, &handles);
        let what = format!("seed {seed}, queues {sq} and {cq}, {:?}", worker.stats());
        self.end_worker(worker, &mut rng, &what);
        for flying in &mut handles {
            flying.remote.close();
            flying.check_task(seed);
        }
        drop(handles);
        self.check_fds(&before, seed);
        if self.workers.is_multiple_of(16) {
            quarantine::check();
        }
        self.workers += 1;
    }

    fn launch(&mut self, worker: &Worker, rng: &mut Rng, roomy: bool) -> Vec<Flying> {
        let count = 1 + rng.below(12);
        self.rounds += count as u64;
        let _entered = worker.enter();
        let sparingly = if self.workers < 256 { 50 } else { 1 };
        (0..count)
            .map(|_| {
                let kind = rng.pick(&Kind::ALL);
                let made = kinds::make(kind, rng, self.world);
                let end = match rng.below(100) {
                    0..45 => End::Drop,
                    // What keeps a worker's memory for ever is done sparingly.
                    45..60 if self.forgets && (!made.keeps_worker || rng.percent(sparingly)) => {
                        End::Forget
                    }
                    45..60 => End::Drop,
                    60..80 => End::Abort,
                    _ => End::Shutdown,
                };
                let (round, remote) =
                    Round::new(kind, end, made, rng.clone(), Rc::clone(&self.ledger), roomy);
                let handle = Some(worker.spawn_local(round));
                Flying {
                    remote,
                    handle,
                    end,
                }
            })
            .collect()
    }

    /// Waits until everything but what was forgotten has ended, and finds no slot left.
    fn settle(&self, worker: &Worker, flying: &mut [Flying], seed: u64) {
        for one in flying.iter() {
            one.abort();
        }
        let start = Instant::now();
        loop {
            worker.turn(TurnBudget::default());
            let stats = worker.stats();
            let forgotten = self.ledger.forgotten_slots.get();
            if stats.slots == forgotten && stats.tasks == 0 {
                return;
            }
            assert!(
                stats.slots >= forgotten && start.elapsed() < SETTLE_MAX,
                "seed {seed}: {forgotten} slots were forgotten, and what is left is {stats:?}"
            );
            worker.park(Some(Instant::now() + Duration::from_millis(1)));
        }
    }

    fn count_in_flight_at_the_end(&self, worker: &Worker, flying: &[Flying]) {
        let stats = worker.stats();
        for one in flying
            .iter()
            .filter(|one| one.remote.is_pending() && !one.is_finished())
        {
            // Not aborted, not ended: its slot or its timer is there.
            assert!(
                stats.slots + stats.timers > 0,
                "{:?} is not in flight",
                one.remote.kind
            );
            if one.end == End::Shutdown && (stats.in_flight > 0 || one.remote.kind == Kind::Sleep) {
                self.ledger.meet(one.remote.kind, End::Shutdown);
            }
        }
    }

    fn end_worker(&mut self, worker: Worker, rng: &mut Rng, what: &str) {
        let start = Instant::now();
        let leaked = match rng.below(3) {
            0 => worker.shutdown(start).ops_leaked,
            1 => {
                let deadline = start + Duration::from_micros(500);
                worker.shutdown(deadline).ops_leaked
            }
            _ => {
                drop(worker);
                0
            }
        };
        let elapsed = start.elapsed();
        assert!(elapsed < SETTLE_MAX, "{what}: {elapsed:?}");
        if leaked == 0 {
            return;
        }
        // A shutdown gives operations two seconds. A device that takes longer for a direct
        // read, which no cancel can stop, is rare; then the report says so, and what the read
        // holds stays.
        println!("{what}: {leaked} operations took longer than {elapsed:?}");
        self.stalls += 1;
        let rare = self.stalls <= 1 + self.workers / 500;
        assert!(
            self.world.real && elapsed >= Duration::from_secs(2) && rare,
            "{what}: {leaked} operations would not end in {elapsed:?}"
        );
        self.ledger.leak(leaked);
    }

    fn check_fds(&self, before: &BTreeSet<RawFd>, seed: u64) {
        let (eventfds, left): (Fds, Fds) = fds::since(before)
            .into_iter()
            .partition(|(_, target)| target.contains("[eventfd]"));
        let keeps = self.ledger.keeps.get();
        assert!(
            (keeps.0..=keeps.1).contains(&left.len()),
            "seed {seed}: forgotten operations keep {keeps:?} descriptors, open are {left:?}"
        );
        // A worker's eventfd is used again by a later one, unless the worker is kept.
        assert!(eventfds.len() <= 1, "seed {seed}: {eventfds:?}");
        assert!(
            self.workers == 0 || eventfds.is_empty() || self.ledger.kept_workers() > 0,
            "seed {seed}: a worker left its eventfd open: {eventfds:?}"
        );
        fds::close_forgotten(left);
    }
}

impl Flying {
    fn abort(&self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }

    fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The task came to its end, and without a panic.
    fn check_task(&mut self, seed: u64) {
        let Some(handle) = self.handle.take() else {
            return;
        };
        assert!(
            handle.is_finished(),
            "seed {seed}: a task outlived its worker"
        );
        if let Err(error) = futures_executor::block_on(handle) {
            assert!(
                !error.is_panic(),
                "seed {seed}: {:?} panicked: {error}",
                self.remote.kind
            );
        }
    }
}

/// Turns a few times; wakes, feeds and aborts at random in between.
fn fly(worker: &Worker, flying: &mut [Flying], rng: &mut Rng, ledger: &Ledger) {
    for _ in 0..rng.below(8) {
        let report = worker.turn(TurnBudget::default());
        if !report.more_work && rng.percent(30) {
            worker.park(Some(Instant::now() + Duration::from_micros(200)));
        }
        for one in flying.iter_mut() {
            if rng.percent(10) {
                one.remote.feed();
            }
            if rng.percent(60) {
                one.remote.wake();
            }
            if one.end == End::Abort && rng.percent(30) && !one.is_finished() {
                let stats = worker.stats();
                let sleeps = one.remote.kind == Kind::Sleep && stats.timers > 0;
                if one.remote.is_pending() && (stats.in_flight > 0 || sleeps) {
                    ledger.meet(one.remote.kind, End::Abort);
                }
                one.abort();
            }
        }
    }
}

impl fmt::Display for Storm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = self.ended_in_flight();
        writeln!(
            f,
            "{} rounds on {} workers, {in_flight} ended in flight, {} buffers dropped, \
             {} stalls",
            self.rounds,
            self.workers,
            quarantine::dropped(),
            self.stalls
        )?;
        for (kind, ends) in Kind::ALL.iter().zip(&self.ledger.met) {
            let [dropped, forgotten, aborted, shut_down] = ends.each_ref().map(Cell::get);
            let kind = format!("{kind:?}");
            writeln!(
                f,
                "  {kind:<13} dropped {dropped:>6}  forgotten {forgotten:>5}  \
                 aborted {aborted:>6}  shut down {shut_down:>6}"
            )?;
        }
        Ok(())
    }
}
