use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{collection, proptest};

use super::{NANOS_PER_TICK, TimerKey, Timers};

const ALL: usize = usize::MAX;

/// Wakers that write their number down.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u64>>>);

struct Numbered {
    log: Log,
    number: u64,
}

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.log.0.lock().unwrap().push(self.number);
    }
}

impl Log {
    fn waker(&self, number: u64) -> Waker {
        Waker::from(Arc::new(Numbered {
            log: self.clone(),
            number,
        }))
    }

    fn numbers_of(&self, wakers: impl IntoIterator<Item = Waker>) -> Vec<u64> {
        wakers.into_iter().for_each(Waker::wake);
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

const TICK: Duration = Duration::from_nanos(NANOS_PER_TICK);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn expire(timers: &mut Timers, log: &Log, now: Instant) -> Vec<u64> {
    let mut out = Vec::new();
    let fired = timers.expire(now, ALL, &mut out);
    assert_eq!(fired, out.len());
    log.numbers_of(out)
}

#[test]
fn a_timer_fires_at_its_tick_and_not_before() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    timers.insert(origin + Duration::from_nanos(1_000_001), log.waker(1));
    let tick = origin + ms(1) + TICK;
    assert_eq!(timers.next_deadline(), Some(tick));
    let before = tick - Duration::from_nanos(1);
    assert_eq!(expire(&mut timers, &log, before), []);
    assert_eq!(expire(&mut timers, &log, tick), [1]);
    assert_eq!((timers.len(), timers.next_deadline()), (0, None));
}

#[test]
fn a_past_deadline_fires_at_the_next_expire() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let now = origin + ms(5_000);
    assert_eq!(expire(&mut timers, &log, now), []);
    timers.insert(origin, log.waker(1));
    timers.insert(now, log.waker(2));
    assert!(timers.next_deadline().unwrap() <= now);
    assert_eq!(expire(&mut timers, &log, now), [1, 2]);
}

#[test]
fn one_far_timer_costs_one_wait() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let deadline = origin + ms(123_456_789);
    timers.insert(deadline, log.waker(1));
    assert_eq!(timers.next_deadline(), Some(deadline));
}

#[test]
fn a_deadline_beyond_the_wheel_is_kept_and_found() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let days = |count: u64| Duration::from_secs(count * 86_400);
    timers.insert(origin + days(4_000), log.waker(1));
    timers.insert(origin + days(2_000), log.waker(2));
    let mut fired = Vec::new();
    let mut waits = 0;
    while let Some(next) = timers.next_deadline() {
        fired.extend(
            expire(&mut timers, &log, next)
                .into_iter()
                .map(|number| (number, next)),
        );
        waits += 1;
        assert!(waits < 40, "too many waits for two timers");
    }
    assert_eq!(
        fired,
        [(2, origin + days(2_000)), (1, origin + days(4_000))]
    );
}

#[test]
fn an_unreachable_deadline_never_fires() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let century = Duration::from_secs(100 * 365 * 86_400);
    let far = (0..40).fold(century, |far, _| far.checked_mul(2).unwrap_or(far));
    let Some(deadline) = origin.checked_add(far) else {
        return;
    };
    let key = timers.insert(deadline, log.waker(1));
    assert_eq!(expire(&mut timers, &log, origin + century), []);
    assert!(timers.cancel(key).is_some());
}

#[test]
fn a_limit_leaves_the_rest_due_in_order() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    for number in 0..5 {
        timers.insert(origin + ms(70 + number / 2), log.waker(number));
    }
    let now = origin + ms(1_000);
    let mut out = Vec::new();
    assert_eq!(timers.expire(now, 3, &mut out), 3);
    assert_eq!(log.numbers_of(out), [0, 1, 2]);
    assert!(timers.next_deadline().unwrap() <= now);
    timers.insert(now, log.waker(9));
    assert_eq!(expire(&mut timers, &log, now), [3, 4, 9]);
}

#[test]
fn a_stale_key_finds_nothing() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let stale = timers.insert(origin + ms(1), log.waker(1));
    assert_eq!(expire(&mut timers, &log, origin + ms(1)), [1]);
    let fresh = timers.insert(origin + ms(2), log.waker(2));
    assert_eq!(stale.slot, fresh.slot);
    assert!(timers.cancel(stale).is_none());
    assert_eq!(timers.will_wake(stale, &log.waker(1)), None);
    let given_back = timers.replace_waker(stale, log.waker(3)).unwrap_err();
    assert_eq!(log.numbers_of([given_back]), [3]);
    assert_eq!(expire(&mut timers, &log, origin + ms(2)), [2]);
}

#[test]
fn a_replaced_waker_is_returned_and_the_new_one_fires() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let second = log.waker(2);
    let key = timers.insert(origin + ms(1), log.waker(1));
    assert_eq!(timers.will_wake(key, &second), Some(false));
    let former = timers.replace_waker(key, second.clone()).unwrap();
    assert_eq!(timers.will_wake(key, &second), Some(true));
    assert_eq!(log.numbers_of([former]), [1]);
    assert_eq!(expire(&mut timers, &log, origin + ms(1)), [2]);
}

#[test]
fn memory_stops_growing_at_the_high_water_mark() {
    let (origin, log) = (Instant::now(), Log::default());
    let mut timers = Timers::new(origin);
    let waker = log.waker(0);
    for round in 0..64_u64 {
        let now = origin + ms(round * 1_000);
        for timer in 0..100 {
            timers.insert(now + ms(timer * 7), waker.clone());
        }
        let kept = timers.insert(now + ms(90_000), waker.clone());
        expire(&mut timers, &log, now + ms(900));
        assert!(timers.cancel(kept).is_some());
        assert_eq!(timers.len(), 0);
    }
    assert!(
        timers.entries.capacity() <= 256,
        "{}",
        timers.entries.capacity()
    );
}

#[derive(Debug, Clone)]
enum Step {
    /// Insert at this many nanoseconds from now.
    Insert(u64),
    /// Cancel the pending timer of this rank, counted around.
    Cancel(usize),
    /// Move time on by this many nanoseconds and expire up to a limit.
    Advance(u64, usize),
    /// Move time to `next_deadline`.
    AdvanceToNext,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // One digit of the wheel after the other, so that every level and the far end are used.
    let nanos = || (0..42_u32).prop_flat_map(|bits| 0..(1_000_000_u64 << bits));
    let step = prop_oneof![
        6 => nanos().prop_map(Step::Insert),
        2 => (0..64_usize).prop_map(Step::Cancel),
        2 => (nanos(), prop_oneof![1..4_usize, Just(ALL)])
            .prop_map(|(nanos, limit)| Step::Advance(nanos, limit)),
        4 => Just(Step::AdvanceToNext),
    ];
    collection::vec(step, 1..200)
}

/// What the wheel must agree with: pending timers ordered by tick.
struct Oracle {
    origin: Instant,
    now: Instant,
    pending: BTreeMap<(u64, u64), (Instant, TimerKey)>,
}

impl Oracle {
    fn tick_ceil(&self, at: Instant) -> u64 {
        u64::try_from((at - self.origin).as_nanos().div_ceil(TICK.as_nanos())).unwrap()
    }

    fn tick_now(&self) -> u64 {
        u64::try_from((self.now - self.origin).as_nanos() / TICK.as_nanos()).unwrap()
    }

    fn due_count(&self) -> usize {
        let now = self.tick_now();
        self.pending
            .keys()
            .take_while(|(tick, _)| *tick <= now)
            .count()
    }

    fn check_expire(&mut self, timers: &mut Timers, log: &Log, limit: usize) {
        let due = self.due_count();
        let mut out = Vec::new();
        let fired = timers.expire(self.now, limit, &mut out);
        assert_eq!(fired, due.min(limit));
        for number in log.numbers_of(out) {
            let key = *self
                .pending
                .keys()
                .find(|key| key.1 == number)
                .expect("fired once");
            let (deadline, timer) = self.pending.remove(&key).unwrap();
            assert!(deadline <= self.now, "fired early");
            assert!(timers.cancel(timer).is_none());
        }
        // What was left behind by the limit is still due: nothing due was overtaken for good.
        assert_eq!(self.due_count(), due - fired);
    }

    fn check_next(&self, timers: &Timers) {
        assert_eq!(timers.len(), self.pending.len());
        let next = timers.next_deadline();
        let Some(((tick, _), _)) = self.pending.first_key_value() else {
            assert_eq!(next, None);
            return;
        };
        let first = (*tick).max(self.tick_now()) * u64::try_from(TICK.as_nanos()).unwrap();
        let first = self.origin + Duration::from_nanos(first);
        assert!(next.unwrap() <= first, "{next:?} is after {first:?}");
    }

    fn step(&mut self, timers: &mut Timers, log: &Log, number: u64, step: &Step) {
        match *step {
            Step::Insert(nanos) => {
                let deadline = self.now + Duration::from_nanos(nanos);
                let key = timers.insert(deadline, log.waker(number));
                self.pending
                    .insert((self.tick_ceil(deadline), number), (deadline, key));
            }
            Step::Cancel(rank) if !self.pending.is_empty() => {
                let rank = rank % self.pending.len();
                let key = *self.pending.keys().nth(rank).unwrap();
                let (_, timer) = self.pending.remove(&key).unwrap();
                assert_eq!(log.numbers_of(timers.cancel(timer)), [key.1]);
                assert!(timers.cancel(timer).is_none());
            }
            Step::Cancel(_) => {}
            Step::Advance(nanos, limit) => {
                self.now += Duration::from_nanos(nanos);
                self.check_expire(timers, log, limit);
            }
            Step::AdvanceToNext => {
                let Some(next) = timers.next_deadline() else {
                    return;
                };
                self.now = self.now.max(next);
                let due = self.due_count();
                self.check_expire(timers, log, ALL);
                let later = timers.next_deadline().is_none_or(|after| after > next);
                assert!(due > 0 || later, "a wait that neither fires nor moves on");
            }
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_an_ordered_map(steps in steps()) {
        let origin = Instant::now();
        let log = Log::default();
        let mut timers = Timers::new(origin);
        let mut oracle = Oracle { origin, now: origin, pending: BTreeMap::new() };
        for (number, step) in (0..).zip(&steps) {
            oracle.step(&mut timers, &log, number, step);
            oracle.check_next(&timers);
        }
    }
}
