//! The engine: one state per queue, changed by whoever has something to say, and by one task that
//! chooses what to read next.
//!
//! - `ends.rs`: a request comes, is cancelled, ends. Never waits, calls nobody.
//! - `choose.rs`: which requests are next, and which of their neighbours go with them.
//! - `parked.rs`: who waits for memory, and whose turn it is.
//! - `issue.rs`: what was chosen becomes reads.
//! - `put_off.rs`: those for which there is no room, and when they go.
//! - `land.rs`: what a read brought goes to its requests.
//! - `merging.rs`: whether neighbours share reads of a blob that may be cached.
//! - `lanes.rs`: the tasks that reads run in. One whose read has ended takes what is next itself,
//!   where nothing is to be planned and nobody is to be told first.
//!
//! The state is borrowed for one change at a time. What a change sets off in code of others
//! (wakers, drops, replies) is in its [`Outbox`], and happens after the borrow has ended; blobs
//! and allocators are called outside of it as well.

mod choose;
mod ends;
mod issue;
mod land;
mod lanes;
mod merging;
mod parked;
mod put_off;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::batch::BatchState;
use super::config::{QueueConfig, QueueConfigError};
use super::limits::InFlight;
use super::line::Line;
use super::order::Order;
use super::outbox::Outbox;
use super::record::{Key, Record, Records};
use super::stats::{Census, Counters, Filter};
use super::waiters::{Waiter, Waiters};
use super::{Class, QueueStats};
use crate::async_reader::Destination;
use crate::async_reader::runtime::{now, recent, spawn_local};
use choose::Window;
use lanes::Lanes;
use parked::Parked;
use put_off::PutOff;

/// Windows that are planned before other tasks get their turn.
const WINDOWS_MAX: usize = 4;

/// A queue, as its handles and tasks share it.
pub(super) struct Inner {
    pub(super) id: u64,
    pub(super) config: QueueConfig,
    state: RefCell<State>,
    /// An empty outbox, kept for its memory.
    outbox: RefCell<Outbox>,
}

/// Whether requests are taken and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// None are taken, and none begun: set by `shut_down`.
    ShutDown,
    /// The worker is gone, or the tasks have ended: set by `die`.
    Dead,
}

/// What changes.
pub(super) struct State {
    records: Records,
    /// The records that are not done.
    held: usize,
    /// The `Queued` ones.
    order: Order<Key>,
    /// Those of them whose blobs merge reads of neighbours, by blob and position.
    near: BTreeSet<(u64, u64, Key)>,
    /// How many of those only the engine may choose.
    engine_only: usize,
    put_off: PutOff,
    /// Reads that have to have ended before all requests are looked at again to be merged.
    look_at: u64,
    /// Those that wait until less memory is in destinations that are half full.
    parked: Parked,
    line: Line,
    in_flight: InFlight,
    lanes: Lanes,
    /// Bytes of the queue's own memory that reads fill, and memory that is kept for them.
    shared_bytes: u64,
    spare: Vec<Destination>,
    /// Bytes of the destinations of requests that are `begun`.
    begun_bytes: u64,
    begun_max: u64,
    merge_max: u64,
    counters: Counters,
    /// Batches whose requests are to be cancelled, because one has failed.
    to_cancel: Vec<Rc<BatchState>>,
    phase: Phase,
    /// The queue's public handles.
    handles: usize,
    /// There is something to choose, or to end: the engine's task is to run.
    due: bool,
    engine: Option<Waker>,
    /// Wait until nothing is held any more.
    quiet: Waiters,
    epoch: Instant,
    /// The time of the change, in nanoseconds since `epoch`, and as it was given.
    now_ns: u64,
    now: Instant,
}

impl Inner {
    /// Makes a queue and starts its task on the current worker.
    pub(super) fn start(config: QueueConfig, id: u64) -> Result<Rc<Self>, QueueConfigError> {
        config.check()?;
        let mut policy = config.policy;
        policy.len_max = config.queued_max;
        let epoch = now();
        let state = State {
            records: Records::new(usize::try_from(config.queued_max).unwrap_or(usize::MAX)),
            held: 0,
            order: Order::new(policy)?,
            near: BTreeSet::new(),
            engine_only: 0,
            put_off: PutOff::default(),
            look_at: 0,
            parked: Parked::new(config.policy.age_after_ns),
            line: Line::new(usize::try_from(config.queued_max).unwrap_or(usize::MAX)),
            in_flight: InFlight::new(config.in_flight)?,
            lanes: Lanes::default(),
            shared_bytes: 0,
            spare: Vec::new(),
            begun_bytes: 0,
            begun_max: config.begun_max,
            merge_max: config.merge_max,
            counters: Counters::default(),
            to_cancel: Vec::new(),
            phase: Phase::Open,
            handles: 0,
            due: false,
            engine: None,
            quiet: Waiters::default(),
            epoch,
            now_ns: 0,
            now: epoch,
        };
        let inner = Rc::new(Self {
            id,
            config,
            state: RefCell::new(state),
            outbox: RefCell::default(),
        });
        // The task ends with the queue; nobody waits for it.
        drop(spawn_local(Engine::new(Rc::clone(&inner)).run()));
        Ok(inner)
    }

    /// Makes a change at the time it is, and does what it sets off.
    pub(super) fn with_time<R>(&self, change: impl FnOnce(&mut State, &mut Outbox) -> R) -> R {
        self.change(Some(now()), change)
    }

    /// Makes a change that is one of many: its time is that of the worker's turn.
    pub(super) fn with_recent<R>(&self, change: impl FnOnce(&mut State, &mut Outbox) -> R) -> R {
        self.change(Some(recent()), change)
    }

    /// Makes a change, and does what it sets off. Its time is that of the last one that asked.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut State, &mut Outbox) -> R) -> R {
        self.change(None, change)
    }

    #[inline]
    fn change<R>(
        &self,
        now: Option<Instant>,
        change: impl FnOnce(&mut State, &mut Outbox) -> R,
    ) -> R {
        let mut out = self.outbox.borrow_mut();
        let result = {
            let state = &mut *self.state.borrow_mut();
            if let Some(now) = now
                && now != state.now
            {
                state.now = now;
                // A turn's time may be behind one that was asked for in it.
                state.now_ns = state.now_ns.max(state.ns_at(now));
            }
            let result = change(state, &mut out);
            state.settle(&mut out);
            result
        };
        if !out.is_empty() {
            // What it runs may make changes of its own, which find another one.
            let mut due = std::mem::take(&mut *out);
            drop(out);
            due.run();
            *self.outbox.borrow_mut() = due;
        }
        result
    }

    /// Looks without a change.
    pub(super) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.borrow())
    }

    pub(super) fn set_class(&self, key: Key, class: Class) -> bool {
        self.with_time(|state, _| state.set_class(key, class))
    }

    pub(super) fn set_deadline(&self, key: Key, deadline: Option<Instant>) -> bool {
        self.with(|state, _| {
            let deadline_ns = deadline.map(|deadline| state.ns_at(deadline));
            state.set_deadline(key, deadline_ns)
        })
    }

    /// Waits until the queue holds nothing.
    pub(super) fn quiet(&self) -> Quiet<'_> {
        Quiet {
            inner: self,
            waiter: self.with(|state, _| state.quiet.add()),
        }
    }
}

impl State {
    /// Does what follows from a change.
    #[inline(always)]
    fn settle(&mut self, out: &mut Outbox) {
        self.follow_up(out);
        if self.is_quiet() {
            out.wake_all(self.quiet.drain());
            self.due |= self.is_over();
        }
        if self.due {
            out.wake_all(self.engine.take());
        }
    }

    /// Cancels what one that failed has taken along, and gives free places to those who wait.
    #[inline(always)]
    fn follow_up(&mut self, out: &mut Outbox) {
        if !self.to_cancel.is_empty() || !self.line.is_empty() {
            self.cancel_and_admit(out);
        }
    }

    #[inline(never)]
    fn cancel_and_admit(&mut self, out: &mut Outbox) {
        while let Some(batch) = self.to_cancel.pop() {
            self.cancel_batch(&batch, out);
            out.drop_batch(batch);
        }
        self.admit(out);
    }

    /// Turns a time into one of the queue's clock.
    fn ns_at(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        let seconds_ns = since.as_secs().saturating_mul(1_000_000_000);
        seconds_ns.saturating_add(u64::from(since.subsec_nanos()))
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Says whether no request is held and no read in flight: one may be that nobody wants any
    /// more.
    fn is_quiet(&self) -> bool {
        let in_flight = self.in_flight.of_all().ops;
        self.held == 0 && in_flight == 0 && self.put_off.is_empty()
    }

    /// Says whether nothing is left to do, for ever.
    fn is_over(&self) -> bool {
        let unused = self.handles == 0 && self.line.is_empty();
        self.is_quiet() && (unused || !self.is_open())
    }

    pub(super) fn add_handle(&mut self) {
        self.handles += 1;
    }

    pub(super) fn remove_handle(&mut self) {
        self.handles -= 1;
        self.due |= self.is_over();
    }

    pub(super) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub(super) fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    pub(super) fn census(&self, filter: &Filter) -> Census {
        let mut census = Census::default();
        let mut count = |key, record: &Record| {
            if filter.matches(self.records.tag(key), record.name.as_deref()) {
                census.add(record, self.now_ns);
            }
        };
        match filter {
            Filter::Tag { mask, value } => {
                let tagged = self.records.tagged(*mask, *value);
                tagged.for_each(|(key, record)| count(key, record));
            }
            Filter::Name(_) => self
                .records
                .iter()
                .for_each(|(key, record)| count(key, record)),
        }
        census
    }

    pub(super) fn stats(&self) -> QueueStats {
        let mut stats = self.counters.totals.clone();
        stats.held = self.held;
        stats.queued = self.order.len() + self.parked.len();
        stats.waiting = self.line.len();
        stats.in_flight = self.in_flight.of_all();
        stats.in_flight_max = self.in_flight.of_all_max();
        for class in Class::ALL {
            let counters = &mut stats.classes[class.index()];
            counters.in_flight = self.in_flight.of_class(class);
            counters.in_flight_max = self.in_flight.of_class_max(class);
        }
        stats
    }
}

/// Waits until the queue holds nothing: a future.
pub(super) struct Quiet<'a> {
    inner: &'a Inner,
    waiter: Waiter,
}

impl Future for Quiet<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        self.inner.with(|state, out| {
            if state.is_quiet() {
                out.drop_waker(Some(waker));
                return Poll::Ready(());
            }
            out.drop_waker(state.quiet.put(self.waiter, waker));
            Poll::Pending
        })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.inner
            .with(|state, out| out.drop_waker(state.quiet.remove(self.waiter)));
    }
}

/// The task that chooses. Dropped before its end, it takes its queue with it.
struct Engine {
    inner: Rc<Inner>,
    window: Window,
}

impl Engine {
    fn new(inner: Rc<Inner>) -> Self {
        let window = Window::default();
        Self { inner, window }
    }

    fn run(mut self) -> impl Future<Output = ()> {
        poll_fn(move |cx| self.poll(cx))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..WINDOWS_MAX {
            if !self.inner.turn(&mut self.window) {
                let waker = cx.waker().clone();
                return self.inner.with(|state, out| {
                    if state.is_over() {
                        debug_assert!(state.near.is_empty() && state.engine_only == 0);
                        debug_assert!(state.parked.is_empty() && state.begun_bytes == 0);
                        out.drop_waker(Some(waker));
                        return Poll::Ready(());
                    }
                    if state.due {
                        // Set by what the last change has set off.
                        out.wake_all(Some(waker));
                        return Poll::Pending;
                    }
                    out.drop_waker(state.engine.replace(waker));
                    Poll::Pending
                });
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Self { inner, window } = self;
        inner.with_time(|state, out| state.die(window, out));
    }
}

impl Inner {
    /// Chooses and issues one window; says whether there may be another.
    fn turn(self: &Rc<Self>, window: &mut Window) -> bool {
        let window_max = usize::try_from(self.config.window_max).unwrap_or(usize::MAX);
        let chosen = self.with_time(|state, out| {
            state.due = false;
            state.choose(window, window_max, out)
        });
        if !chosen {
            return false;
        }
        window.make_destinations();
        let lanes_due = self.with(|state, out| {
            state.issue(window, out);
            state.lanes.take_due()
        });
        for _ in 0..lanes_due {
            drop(spawn_local(lanes::lane(Rc::clone(self))));
        }
        true
    }
}
