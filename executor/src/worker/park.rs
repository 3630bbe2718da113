//! Waiting in the ring, and the loops that turn and park by themselves.

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::context::Entered;
use super::policy::{TurnBudget, wait};
use super::root::RootWaker;
use super::turn::Turning;
use super::{Core, stats};
use crate::clock;
use crate::ring::Wait;
use crate::stall::ROOT;

impl Core {
    /// Waits until there is something to do, or `until`.
    #[track_caller]
    pub(crate) fn park(self: &Rc<Self>, until: Option<Instant>) {
        let _turning = Turning::begin(self);
        let _entered = Entered::new(self);
        // Some may have asked after the last turn.
        if self.idlers.wake() {
            self.submit_and_reap();
        } else {
            self.park_entered(until, || false);
        }
    }

    /// Waits, unless `interrupted` says, after the announcement of the park, that there is
    /// something to do.
    pub(super) fn park_entered(&self, until: Option<Instant>, interrupted: impl Fn() -> bool) {
        if self.spin(until, &interrupted) {
            return;
        }
        let wait_fetches = self.driver.borrow().wait_fetches_deferred();
        let work = !self.prepare_park() || interrupted() || self.left_to_do(wait_fetches);
        let next_timer = self.next_deadline();
        let wait = if work {
            Wait::No
        } else {
            let now = clock::now();
            self.spinning.park(now);
            wait(now, until, next_timer)
        };
        stats::add(&self.meter.parks, usize::from(wait != Wait::No));
        self.enter(wait);
        self.reap_all();
    }

    /// Drives the worker until `future` is ready.
    #[track_caller]
    pub(crate) fn block_on<F: Future>(self: &Rc<Self>, future: F) -> F::Output {
        let _turning = Turning::begin(self);
        let _entered = Entered::new(self);
        if let Some(watch) = self.local.watch() {
            watch.place(ROOT, Location::caller());
        }
        let root = Arc::new(RootWaker::new(self.local.block()));
        let waker = Waker::from(Arc::clone(&root));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if root.take() {
                // Not parked while the root runs: what it wakes needs no kick.
                self.unpark();
                self.slice_start.set(clock::now());
                let watch = self.local.watch();
                let _polling = watch.map(|watch| watch.poll(ROOT));
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            let report = self.turn_entered(TurnBudget::default());
            if !report.more_work && !root.is_woken() && !self.idlers.wake() {
                self.park_entered(None, || root.is_woken());
            }
        }
    }

    /// Drives the worker until no task is left.
    #[track_caller]
    pub(crate) fn run(self: &Rc<Self>) {
        let _turning = Turning::begin(self);
        let _entered = Entered::new(self);
        loop {
            let report = self.turn_entered(TurnBudget::default());
            if report.more_work || self.idlers.wake() {
                continue;
            }
            if self.local.task_count() == 0 {
                return;
            }
            self.park_entered(None, || false);
        }
    }
}
