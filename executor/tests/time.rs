//! Timers are never early, can be moved and taken out, and cost no operation.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::time::{Elapsed, interval, sleep, sleep_until, timeout};
use corelane::{TurnBudget, spawn_local, stats, yield_now};

use support::{run, worker};

const MS: Duration = Duration::from_millis(1);

#[test]
fn no_sleep_ends_early() {
    run(async {
        let sleeps: Vec<_> = (0..300u32)
            .map(|index| {
                let duration = Duration::from_micros(u64::from(index) * 337);
                spawn_local(async move {
                    let start = Instant::now();
                    sleep(duration).await;
                    (duration, start.elapsed())
                })
            })
            .collect();
        for sleep in sleeps {
            let (asked, slept) = sleep.await.unwrap();
            assert!(slept >= asked, "asked for {asked:?}, slept {slept:?}");
        }
        let deadline = Instant::now() + 7 * MS;
        sleep_until(deadline).await;
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let sleeps: Vec<_> = [90, 10, 60, 30, 0]
            .into_iter()
            .map(|ms| {
                let order = Rc::clone(&order);
                spawn_local(async move {
                    sleep_until(start + ms * MS).await;
                    order.borrow_mut().push(ms);
                })
            })
            .collect();
        for sleep in sleeps {
            sleep.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 10, 30, 60, 90]);
    });
}

#[test]
fn a_sleep_of_nothing_is_ready_and_one_without_end_is_not() {
    run(async {
        let before = stats().timers;
        sleep(Duration::ZERO).await;
        sleep_until(Instant::now() - Duration::from_secs(1)).await;
        assert_eq!(stats().timers, before);
        let mut never = std::pin::pin!(sleep(Duration::MAX));
        assert!(timeout(5 * MS, never.as_mut()).await.is_err());
    });
}

#[test]
fn a_dropped_sleep_takes_its_timer_out() {
    run(async {
        let before = stats();
        for _ in 0..1_000 {
            let mut far = Box::pin(sleep(Duration::from_secs(3_600)));
            assert!(futures_util::poll!(far.as_mut()).is_pending());
            assert_eq!(stats().timers, before.timers + 1);
        }
        assert_eq!(stats().timers, before.timers);
        assert_eq!(stats().submits, before.submits, "a timer is no operation");
    });
}

#[test]
fn a_reset_moves_the_end_either_way() {
    run(async {
        let mut sooner = Box::pin(sleep(Duration::from_secs(3_600)));
        assert!(futures_util::poll!(sooner.as_mut()).is_pending());
        let start = Instant::now();
        sooner.as_mut().get_mut().reset(start + 10 * MS);
        sooner.as_mut().await;
        assert!(start.elapsed() >= 10 * MS);
        // A sleep that has ended can be used again.
        let again = Instant::now() + 10 * MS;
        sooner.as_mut().get_mut().reset(again);
        assert_eq!(sooner.deadline(), again);
        sooner.await;
        assert!(Instant::now() >= again);
        let start = Instant::now();
        let mut later = Box::pin(sleep(200 * MS));
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        later.as_mut().get_mut().reset(start + 300 * MS);
        later.await;
        assert!(start.elapsed() >= 300 * MS);
    });
}

#[test]
fn a_timeout_gives_the_output_or_the_end_of_patience() {
    run(async {
        assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5));
        assert_eq!(timeout(Duration::MAX, async { 5 }).await, Ok(5));
        let start = Instant::now();
        let never = std::future::pending::<()>();
        let elapsed: Elapsed = timeout(20 * MS, never).await.unwrap_err();
        assert!(start.elapsed() >= 20 * MS);
        let error = std::io::Error::from(elapsed);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "the deadline has elapsed");
    });
}

#[test]
fn a_timeout_drops_what_it_waited_for() {
    run(async {
        let witness = Rc::new(());
        let inner = Rc::clone(&witness);
        let waiting = timeout(5 * MS, async move {
            let _inner = inner;
            std::future::pending::<()>().await;
        });
        assert!(waiting.await.is_err());
        assert_eq!(Rc::strong_count(&witness), 1);
    });
}

#[test]
fn an_interval_keeps_its_grid_and_skips_what_it_missed() {
    run(async {
        let start = Instant::now();
        let mut ticks = interval(10 * MS);
        let first = ticks.tick().await;
        let told = Instant::now();
        assert!(first >= start + 10 * MS && told >= first);
        // Miss some on purpose.
        std::thread::sleep(35 * MS);
        let steps = |tick: Instant| {
            let steps = (tick - first).as_nanos() / (10 * MS).as_nanos();
            let steps = u32::try_from(steps).unwrap();
            assert_eq!(first + 10 * MS * steps, tick, "off the grid");
            steps
        };
        let second = steps(ticks.tick().await);
        // Not at once where the first was told of so late that others had been missed by then.
        assert!(second == 1 || told >= first + 10 * MS, "{second} steps");
        let third = ticks.tick().await;
        assert!(steps(third) >= 4, "{} steps", steps(third));
        // Giving up on a tick loses none.
        let mut tick = Box::pin(ticks.tick());
        let _ = futures_util::poll!(tick.as_mut());
        drop(tick);
        assert!(ticks.tick().await > third);
    });
}

#[test]
#[should_panic(expected = "an interval needs a period")]
fn an_interval_of_nothing_is_refused() {
    let _ = interval(Duration::ZERO);
}

#[test]
fn timers_fire_between_the_polls_of_tasks_that_never_rest() {
    run(async {
        let busy: Vec<_> = (0..8)
            .map(|_| {
                spawn_local(async {
                    loop {
                        yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 0..5 {
            sleep(2 * MS).await;
        }
        for task in busy {
            task.abort();
        }
    });
}

#[test]
fn the_next_deadline_is_that_of_the_nearest_timer() {
    let worker = worker();
    assert_eq!(worker.next_deadline(), None);
    let far = Instant::now() + Duration::from_secs(100);
    let task = worker.spawn_local(sleep_until(far));
    // A turn that comes too late, as the machine has stood still, has ended the sleep already.
    let (near, nearer, report) = loop {
        let near = Instant::now() + 20 * MS;
        let nearer = worker.spawn_local(sleep_until(near));
        let report = worker.turn(TurnBudget::default());
        if !nearer.is_finished() {
            break (near, nearer, report);
        }
    };
    let next = report.next_deadline.unwrap();
    assert!(next <= near + MS, "{:?} too late", next - near);
    assert_eq!(worker.next_deadline(), Some(next));
    while !nearer.is_finished() {
        worker.park(None);
        worker.turn(TurnBudget::default());
    }
    assert!(Instant::now() >= near);
    assert!(
        worker
            .next_deadline()
            .is_some_and(|next| next > near && next <= far + MS)
    );
    task.abort();
    worker.turn(TurnBudget::default());
    assert_eq!(worker.next_deadline(), None);
}
