//! One operation's task: polls it, and at some poll ends it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corelane::Stats;

use super::End;
use super::kinds::{Kind, Made};
use crate::common::Rng;

/// What the rounds report.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Operations that were in flight when they ended, by kind and way to end.
    pub met: [[Cell<u64>; 4]; Kind::ALL.len()],
    /// Slots of the current worker that forgotten operations hold.
    pub forgotten_slots: Cell<u64>,
    /// How many descriptors the current worker's forgotten operations hold, at least and at most.
    pub keeps: Cell<(usize, usize)>,
    kept_workers: Cell<u64>,
    keeps_worker: Cell<bool>,
}

impl Ledger {
    pub fn begin_worker(&self) {
        self.forgotten_slots.set(0);
        self.keeps.set((0, 0));
        self.keeps_worker.set(false);
    }

    pub fn meet(&self, kind: Kind, end: End) {
        let met = &self.met[kind as usize][end as usize];
        met.set(met.get() + 1);
    }

    pub fn kept_workers(&self) -> u64 {
        self.kept_workers.get()
    }

    /// Operations that would not end keep a descriptor each, and the result's.
    pub fn leak(&self, operations: usize) {
        let (least, most) = self.keeps.get();
        self.keeps.set((least, most + 2 * operations));
    }

    fn forget(&self, round: &Round) {
        let slots = u64::from(round.remote.kind != Kind::Sleep);
        self.forgotten_slots.set(self.forgotten_slots.get() + slots);
        let (least, most) = self.keeps.get();
        self.keeps
            .set((least + round.keeps.0, most + round.keeps.1));
        if round.keeps_worker && !self.keeps_worker.replace(true) {
            self.kept_workers.set(self.kept_workers.get() + 1);
        }
    }
}

/// The storm's side of a round.
pub struct Remote {
    pub kind: Kind,
    waker: RefCell<Option<Waker>>,
    feed: RefCell<Option<Box<dyn FnOnce()>>>,
    peer: RefCell<Option<UnixStream>>,
    /// The last poll found the operation in flight.
    pending: Cell<bool>,
}

impl Remote {
    pub fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn feed(&self) {
        let feed = self.feed.take();
        if let Some(feed) = feed {
            feed();
        }
    }

    pub fn is_pending(&self) -> bool {
        self.pending.get()
    }

    /// Closes the peer's side.
    pub fn close(&self) {
        self.feed.take();
        self.peer.take();
    }
}

pub struct Round {
    inner: Option<Pin<Box<dyn Future<Output = ()>>>>,
    remote: Rc<Remote>,
    ledger: Rc<Ledger>,
    rng: Rng,
    end: End,
    polls_left: usize,
    keeps: (usize, usize),
    keeps_worker: bool,
    /// There is room for every operation in the queues: none waits outside.
    roomy: bool,
}

impl Round {
    pub fn new(
        kind: Kind,
        end: End,
        made: Made,
        mut rng: Rng,
        ledger: Rc<Ledger>,
        roomy: bool,
    ) -> (Self, Rc<Remote>) {
        let remote = Rc::new(Remote {
            kind,
            waker: RefCell::default(),
            feed: RefCell::new(made.feed),
            peer: RefCell::new(made.peer),
            pending: Cell::new(false),
        });
        if rng.percent(20) {
            remote.feed();
        }
        let round = Self {
            inner: Some(made.future),
            remote: Rc::clone(&remote),
            ledger,
            polls_left: if rng.percent(50) { 0 } else { rng.below(4) },
            rng,
            end,
            keeps: (*made.keeps.start(), *made.keeps.end()),
            keeps_worker: made.keeps_worker,
            roomy,
        };
        (round, remote)
    }

    /// Ends the operation, which the poll before found pending.
    fn end(&mut self) {
        if self.rng.percent(30) {
            self.remote.feed();
        }
        let inner = self.inner.take();
        let kind = self.remote.kind;
        let before = corelane::stats();
        if self.end == End::Forget {
            std::mem::forget(inner);
            self.ledger.forget(self);
        } else {
            drop(inner);
        }
        let after = corelane::stats();
        let in_flight = match kind {
            Kind::Sleep => self.end == End::Forget || after.timers + 1 == before.timers,
            _ => after.slots == before.slots && before.in_flight > 0,
        };
        // It never reached the backend, and is gone at once, or for ever.
        let was_queued = after.slots + 1 == before.slots || before.in_flight == 0;
        assert!(in_flight || was_queued, "{kind:?}: {before:?}, {after:?}");
        assert!(
            in_flight || !self.roomy,
            "{kind:?} was not in flight: {before:?}"
        );
        assert_eq!(before.in_flight, after.in_flight, "{kind:?}");
        if in_flight {
            self.ledger.meet(kind, self.end);
        }
    }

    fn assert_submitted(&self, before: &Stats) {
        let (kind, after) = (self.remote.kind, corelane::stats());
        let slots = u64::from(kind != Kind::Sleep);
        let timers = u64::from(matches!(kind, Kind::Sleep | Kind::RecvTimeout));
        assert_eq!(after.slots, before.slots + slots, "{kind:?} has no slot");
        assert_eq!(
            after.timers,
            before.timers + timers,
            "{kind:?} has no timer"
        );
    }
}

impl Future for Round {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(());
        };
        let first = !this.remote.pending.get();
        let before = corelane::stats();
        this.remote.pending.set(false);
        if inner.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        this.remote.pending.set(true);
        if first {
            this.assert_submitted(&before);
        }
        let ends_here = matches!(this.end, End::Drop | End::Forget) && this.polls_left == 0;
        if ends_here {
            this.end();
            this.remote.pending.set(false);
            return Poll::Ready(());
        }
        this.polls_left = this.polls_left.saturating_sub(1);
        if this.rng.percent(30) {
            cx.waker().wake_by_ref();
        } else {
            let replaced = this.remote.waker.replace(Some(cx.waker().clone()));
            drop(replaced);
        }
        Poll::Pending
    }
}
