//! Limits: never exceeded, nothing lost, nobody refused while credits lie idle.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use asset_server::limits::Limit;

#[test]
fn a_limit_is_reached_exactly_by_one_worker_and_by_several() {
    for batch in [0, 1, 8, 1000] {
        let limit = Limit::new(10, 3, batch);
        let one: Vec<_> = (0..10).map(|_| limit.try_take(0, 1).unwrap()).collect();
        assert_eq!(limit.in_use(), 10);
        assert!(limit.try_take(0, 1).is_none() && limit.try_take(2, 1).is_none());
        drop(one);
        assert_eq!(limit.in_use(), 0);
        // Worker 0 has credits at hand now; the others reach the limit all the same.
        let several: Vec<_> = (0..10).map(|i| limit.try_take(i % 3, 1).unwrap()).collect();
        assert!(limit.try_take(1, 1).is_none());
        drop(several);
        assert!(limit.try_take(2, 10).is_some(), "batch {batch}");
    }
}

#[test]
fn a_take_is_all_or_none() {
    let limit = Limit::new(10, 2, 4);
    let held = limit.try_take(0, 7).unwrap();
    assert!(limit.try_take(1, 4).is_none());
    assert_eq!(limit.in_use(), 7);
    assert_eq!(limit.try_take(1, 3).unwrap().credits(), 3);
    assert!(limit.try_take(1, 11).is_none() && limit.try_take(1, u64::MAX).is_none());
    drop(held);
    assert_eq!((limit.in_use(), limit.max()), (0, 10));
}

/// The sum of what the workers hold is counted beside the limit, after each take and before each
/// release, so it can only be an underestimate of what the limit has given out.
#[test]
fn threads_never_exceed_the_limit_and_lose_nothing() {
    const MAX: u64 = 40;
    const WORKERS: usize = 4;
    const ROUNDS: u64 = 20_000;
    for batch in [0, 3, 16] {
        let limit = Limit::new(MAX, WORKERS, batch);
        let held = Arc::new(AtomicU64::new(0));
        let taken: u64 = thread::scope(|scope| {
            let work = |worker: usize| {
                let (limit, held) = (Arc::clone(&limit), Arc::clone(&held));
                move || {
                    let mut permits = Vec::new();
                    let mut taken = 0;
                    for round in 0..ROUNDS {
                        let credits = 1 + (round * 7 + u64::try_from(worker).unwrap()) % 9;
                        if let Some(permit) = limit.try_take(worker, credits) {
                            let now = held.fetch_add(credits, Ordering::SeqCst) + credits;
                            assert!(now <= MAX, "{now} of {MAX} held");
                            permits.push(permit);
                            taken += 1;
                        }
                        if round % 3 == 0 && !permits.is_empty() {
                            let permit = permits.swap_remove(0);
                            held.fetch_sub(permit.credits(), Ordering::SeqCst);
                        }
                    }
                    for permit in permits.drain(..) {
                        held.fetch_sub(permit.credits(), Ordering::SeqCst);
                    }
                    taken
                }
            };
            let threads: Vec<_> = (0..WORKERS)
                .map(|worker| scope.spawn(work(worker)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(taken > ROUNDS / 3, "batch {batch}: only {taken} takes");
        assert_eq!(limit.in_use(), 0, "batch {batch}");
        assert!(limit.try_take(0, MAX).is_some(), "batch {batch}");
    }
}
