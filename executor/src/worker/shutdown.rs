//! The end of a worker: tasks first, then operations, then the ring.

use std::rc::Rc;
use std::time::Instant;

use super::Core;
use super::context::Entered;
use super::policy::TurnBudget;
use super::turn::Turning;
use crate::clock;
use crate::trace;

/// What the end of a worker, or of an executor's workers together, left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that had not finished by the deadline and were aborted.
    pub tasks_aborted: usize,
    /// Operations that the kernel had not let go of by the deadline. Their memory is leaked,
    /// because the kernel may still write to it. Only of workers that have reported: see
    /// [`is_drained`](Self::is_drained).
    pub ops_leaked: usize,
    /// Workers that ended by a panic, and told nothing of their operations.
    pub workers_panicked: usize,
    /// Workers that were not waited for, because a task of one of them ended the executor.
    pub workers_running: usize,
}

impl ShutdownReport {
    /// Says whether it is known that the kernel has let go of all memory: every worker has reported,
    /// and leaked nothing.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.ops_leaked == 0 && self.workers_panicked == 0 && self.workers_running == 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.tasks_aborted += other.tasks_aborted;
        self.ops_leaked += other.ops_leaked;
        self.workers_panicked += other.workers_panicked;
        self.workers_running += other.workers_running;
    }
}

/// How often a worker that ends is idle before it waits for something to happen all the same: for a
/// task that asks again and again, the time of a simulation would stand still.
const IDLED_MAX: u32 = 1 << 16;

impl Core {
    /// Refuses new tasks from other threads, lets the tasks finish until `deadline`, aborts the
    /// rest, cancels all operations, reaps until the kernel has let go of all memory or until
    /// `drain_deadline`, and closes the ring.
    #[track_caller]
    pub(crate) fn shutdown(
        self: &Rc<Self>,
        deadline: Instant,
        drain_deadline: Instant,
    ) -> ShutdownReport {
        let _turning = Turning::begin(self);
        if self.closed.replace(true) {
            return ShutdownReport::default();
        }
        let _entered = Entered::new(self);
        self.local.close_spawns();
        self.finish_tasks(deadline);
        // From now on there is nothing to do.
        self.idlers.wake();
        let tasks_aborted = self.local.shutdown();
        let ops_leaked = self.close_driver(drain_deadline);
        trace::leaked(ops_leaked);
        self.publish_stats();
        ShutdownReport {
            tasks_aborted,
            ops_leaked,
            ..ShutdownReport::default()
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Says whether a turn, a park or a root poll is under way.
    pub(crate) fn is_turning(&self) -> bool {
        self.turning.get()
    }

    fn finish_tasks(&self, deadline: Instant) {
        let mut idled = 0;
        while self.local.task_count() > 0 {
            let now = clock::now();
            if now >= deadline {
                return;
            }
            let budget = TurnBudget::default().time(deadline - now);
            if self.turn_entered(budget).more_work {
                continue;
            }
            if idled < IDLED_MAX && self.idlers.wake() {
                idled += 1;
            } else if self.local.task_count() > 0 {
                idled = 0;
                self.park_entered(Some(deadline), || false);
            }
        }
    }

    fn close_driver(&self, deadline: Instant) -> usize {
        let mut delivery = self.delivery.take();
        let leaked = self.driver.borrow_mut().close(deadline, &mut delivery);
        delivery.run();
        leaked
    }
}
