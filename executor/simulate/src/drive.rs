//! Drives the workers of a program in turns on one thread, ends them, and looks at every step
//! whether anything is wrong.

use std::rc::Rc;
use std::time::Duration;

use corelane::sync::channel;
use corelane::{JoinHandle, TurnBudget, Worker, time};

use crate::ops;
use crate::ops::tasks::generator;
use crate::plan::{End, Plan, WorkerPlan};
use crate::quarantine;
use crate::rng::Rng;
use crate::world::{Shared, Task, World};

/// How many turns lie between two looks at the memory in quarantine.
const LOOK_EVERY: usize = 64;
/// How often, for each worker, nothing may happen before the program is taken to be at rest: the
/// first waits are short, so that workers keep step, the last ones take an hour.
const IDLE_SHORT: usize = 6;
const IDLE_MAX: usize = 40;
/// The same where a timer is set, which must fire at last.
const IDLE_WITH_TIMER_MAX: usize = 10_000;
/// How long the program of a worker that owns its thread may take.
const OWNED_LIMIT: Duration = Duration::from_secs(3600);

pub(crate) struct Drive {
    world: Rc<World>,
    rng: Rng,
    plan: Plan,
    /// `None`: it has ended.
    workers: Vec<Option<Worker>>,
    handles: Vec<JoinHandle<()>>,
    /// Turns in a row in which nothing happened.
    idle: usize,
}

impl Drive {
    pub(crate) fn new(world: Rc<World>, seed: u64, plan: Plan) -> Result<Self, String> {
        let mut drive = Self {
            world,
            rng: Rng::new(!seed),
            workers: Vec::new(),
            handles: Vec::new(),
            idle: 0,
            plan,
        };
        for (index, plan) in drive.plan.workers.clone().into_iter().enumerate() {
            let worker = Worker::new(plan.config.clone()).map_err(|error| error.to_string())?;
            drive.begin(seed, index, &plan, &worker);
            drive.workers.push(Some(worker));
        }
        Ok(drive)
    }

    fn begin(&mut self, seed: u64, index: usize, plan: &WorkerPlan, worker: &Worker) {
        let shared = Shared::new();
        let (sender, mail) = channel::bounded(2);
        {
            let office = &mut self.world.offices.borrow_mut()[index];
            office.spawner = Some(worker.spawner());
            office.mail = Some(sender);
        }
        let server = Task::server(generator(seed, index, 0), index, Rc::clone(&shared));
        drop(worker.spawn_local(ops::tasks::serve(server, mail)));
        for (number, steps) in (1..).zip(&plan.tasks) {
            let rng = generator(seed, index, number);
            let task = Task::new(rng, index, 0, Rc::clone(&shared));
            self.handles
                .push(worker.spawn_local(ops::run(task, *steps)));
        }
    }

    /// Runs the program to its end, in at most so many turns.
    pub(crate) fn run(&mut self, turns_max: usize) -> Result<(), String> {
        if self.plan.owns_thread {
            self.run_owned()?;
        } else {
            self.run_turns(turns_max)?;
        }
        self.look()?;
        for index in 0..self.workers.len() {
            self.end(index)?;
        }
        self.check_end()
    }

    fn run_turns(&mut self, turns_max: usize) -> Result<(), String> {
        let mut asking = true;
        for turn in 0..turns_max {
            if turn % LOOK_EVERY == 0 {
                self.look()?;
            }
            self.disturb(turn)?;
            let alive: Vec<usize> = (0..self.workers.len())
                .filter(|index| self.workers[*index].is_some())
                .collect();
            if alive.is_empty() {
                return Ok(());
            }
            let index = alive[self.rng.below(alive.len())];
            if self.turn(index) {
                self.idle = 0;
                continue;
            }
            self.idle += 1;
            if asking && self.world.is_over(false) {
                // Servers end when nobody can ask.
                asking = false;
                self.idle = 0;
                for office in &mut *self.world.offices.borrow_mut() {
                    office.mail = None;
                }
            }
            if self.is_at_rest(alive.len())? {
                return self.check_rest();
            }
        }
        let waiting = self.world.waiting(true);
        Err(format!(
            "no end after {turns_max} turns: {}",
            waiting.join(", ")
        ))
    }

    /// Says whether nothing can happen any more.
    fn is_at_rest(&self, alive: usize) -> Result<bool, String> {
        let timers = self.next_deadline().is_some();
        if timers && self.idle > IDLE_WITH_TIMER_MAX {
            return Err("a timer that is set does not fire".into());
        }
        Ok(!timers && self.idle > IDLE_MAX * alive)
    }

    fn next_deadline(&self) -> Option<std::time::Instant> {
        let workers = self.workers.iter().flatten();
        workers.filter_map(Worker::next_deadline).min()
    }

    /// One turn of a worker, and a wait when it has nothing to do; says whether anything happened.
    fn turn(&mut self, index: usize) -> bool {
        let deadline = self.next_deadline();
        let Some(worker) = &self.workers[index] else {
            return false;
        };
        let before = worker.stats();
        let budget = match self.rng.below(4) {
            0 => TurnBudget::polls(1 + self.rng.below(3)),
            1 => TurnBudget::default().time(self.rng.micros(50)),
            _ => TurnBudget::default(),
        };
        let report = worker.turn(budget);
        if report.polls == 0 && !report.more_work {
            let alive = self.workers.iter().flatten().count();
            let wait = match self.idle / alive {
                ..IDLE_SHORT => self.rng.micros(300),
                longer => Duration::from_micros(100 << (longer - IDLE_SHORT).min(25)),
            };
            let until = time::now() + wait;
            worker.park(Some(deadline.map_or(until, |deadline| until.min(deadline))));
        }
        let after = worker.stats();
        (before.polls, before.completions, before.submits)
            != (after.polls, after.completions, after.submits)
    }

    /// What happens to a program from outside: workers end, tasks are aborted, the clock jumps.
    fn disturb(&mut self, turn: usize) -> Result<(), String> {
        for index in 0..self.workers.len() {
            if self.plan.workers[index]
                .dies_at
                .is_some_and(|at| at <= turn)
            {
                self.end(index)?;
            }
        }
        if self.rng.percent(self.plan.jump_percent) {
            let jump = self.rng.micros(20_000);
            self.world.sim.advance(jump);
            self.world.count(|tally| tally.jumps += 1);
        }
        if self.rng.percent(self.plan.abort_percent) {
            self.abort();
        }
        Ok(())
    }

    fn abort(&mut self) {
        let at = self.rng.below(self.handles.len());
        if !self.handles[at].is_finished() {
            self.handles[at].abort();
            self.world.count(|tally| tally.aborted += 1);
        }
    }

    /// The one worker owns its thread, until its tasks have ended or it is given up.
    fn run_owned(&mut self) -> Result<(), String> {
        let handles = std::mem::take(&mut self.handles);
        let limit = match self.plan.workers[0].dies_at {
            Some(at) => Duration::from_micros(at as u64 * 30),
            None => OWNED_LIMIT,
        };
        let dies = self.plan.workers[0].dies_at.is_some();
        let Some(worker) = &self.workers[0] else {
            return Ok(());
        };
        let ended = worker.block_on(time::timeout(limit, async {
            for handle in handles {
                let ended = handle.await;
                if let Err(error) = ended {
                    return Err(format!("a task ended by {error:?}"));
                }
            }
            Ok(())
        }));
        match ended {
            Ok(ended) => ended,
            Err(_) if dies => Ok(()),
            Err(_) => {
                let waiting = self.world.waiting(false);
                Err(format!("a lost wake: {}", waiting.join(", ")))
            }
        }
    }

    /// Nothing is runnable, nothing in flight can complete and no timer is set: every task has
    /// ended, and every slot is free.
    fn check_rest(&self) -> Result<(), String> {
        let waiting = self.world.waiting(true);
        if !waiting.is_empty() {
            return Err(format!("a lost wake: {}", waiting.join(", ")));
        }
        let held = usize::try_from(self.world.sim.counters().held).unwrap_or(usize::MAX);
        let (mut slots, mut in_flight, mut forgotten) = (0, 0, 0);
        for (index, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let stats = worker.stats();
            slots += stats.slots;
            in_flight += stats.in_flight;
            forgotten += self.world.offices.borrow()[index].forgotten as u64;
        }
        if in_flight > held as u64 {
            return Err(format!(
                "{in_flight} operations in flight at rest; the kernel holds {held}"
            ));
        }
        if slots < forgotten || slots > forgotten + held as u64 {
            return Err(format!(
                "{slots} slots in use at rest; {forgotten} forgotten, {held} held"
            ));
        }
        Ok(())
    }

    /// What is looked at all the time.
    fn look(&self) -> Result<(), String> {
        if let Some(finding) = self.world.finding() {
            return Err(finding);
        }
        match quarantine::find_late_write() {
            Some(len) => Err(format!(
                "LATE WRITE: {len} bytes were written after they were freed"
            )),
            None => Ok(()),
        }
    }

    /// Ends a worker, whatever it is at.
    fn end(&mut self, index: usize) -> Result<(), String> {
        let Some(worker) = self.workers[index].take() else {
            return Ok(());
        };
        let live = self.world.live(index) as u64;
        let held = self.world.sim.counters().held;
        self.world.sim.note("a worker ends", index as u64, live);
        self.world.count(|tally| {
            tally.cut_off += live;
            match self.plan.workers[index].end {
                End::Drop => tally.deaths += 1,
                End::Shutdown(_) => tally.shutdowns += 1,
            }
        });
        let leaked = match self.plan.workers[index].end {
            End::Drop => {
                drop(worker);
                0
            }
            End::Shutdown(limit) => worker.shutdown(time::now() + limit).ops_leaked,
        };
        // A cancel that comes with the end may be the one after which the kernel holds on.
        let held_now = self.world.sim.counters().held - held;
        if leaked as u64 > held + held_now {
            return Err(format!(
                "{leaked} operations leaked; the kernel holds {}",
                held + held_now
            ));
        }
        let left = self.world.live(index);
        if left > 0 {
            return Err(format!("{left} tasks outlive worker {index}"));
        }
        self.look()
    }

    /// All workers have ended: what is left is what was forgotten, and what the kernel holds.
    fn check_end(&mut self) -> Result<(), String> {
        self.world.sim.use_held_memory();
        if !self.handles.iter().all(JoinHandle::is_finished) {
            return Err("the handle of a task of no worker hangs".into());
        }
        for handle in self.handles.drain(..) {
            let ended = futures_executor::block_on(handle);
            if ended.is_err_and(|error| error.is_panic()) {
                return Err("a task panicked".into());
            }
        }
        self.look()
    }
}
