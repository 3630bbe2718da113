//! Models of the shipped task core: every interleaving of a few threads, up to a bound.
//!
//! A leak shows because loom tracks each header and each `Arc` that a task captures; a free that
//! did not see every other access shows because `free` touches the cells.

use std::future::{pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::thread;

use super::*;

/// Explores with at most this many preemptions.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Runs the worker until `done`, parking as a worker does.
fn run_until(local: &Local, done: impl Fn() -> bool) {
    let mut announced = 0;
    while !done() {
        {
            let _guard = local.enter();
            local.take_remote();
            while local.run_one() {}
        }
        if !done() {
            announced += 1;
            if local.prepare_park(|| true) {
                local.block().wait_for_kick();
            }
        }
        local.unpark();
        assert!(
            local.block().kicks_sent() <= announced,
            "a kick for each announcement at most"
        );
    }
}

/// Spawns a task that waits for every flag, and polls it once to get its waker.
fn waiting_task(local: &Local, flags: &[Arc<AtomicBool>]) -> (JoinHandle<()>, Waker) {
    let flags = flags.to_vec();
    let slot = std::rc::Rc::new(std::cell::RefCell::new(None));
    let place = std::rc::Rc::clone(&slot);
    let handle = local.spawn(poll_fn(move |cx| {
        if flags.iter().all(|flag| flag.load(Relaxed)) {
            return Poll::Ready(());
        }
        if place.borrow().is_none() {
            *place.borrow_mut() = Some(cx.waker().clone());
        }
        Poll::Pending
    }));
    let _guard = local.enter();
    assert!(local.run_one());
    let waker = slot.borrow_mut().take().unwrap();
    (handle, waker)
}

/// Counts wakes.
struct Flag(AtomicUsize);

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn counting_waker() -> (StdArc<Flag>, Waker) {
    let flag = StdArc::new(Flag(AtomicUsize::new(0)));
    (StdArc::clone(&flag), Waker::from(flag))
}

fn poll_with<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

/// Awaits a handle on a thread that sleeps meanwhile.
fn block_on<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    struct Sleeper(loom::sync::Notify);
    impl Wake for Sleeper {
        fn wake(self: StdArc<Self>) {
            self.0.notify();
        }
    }
    let sleeper = StdArc::new(Sleeper(loom::sync::Notify::new()));
    let waker = Waker::from(StdArc::clone(&sleeper));
    loop {
        match poll_with(&mut handle, &waker) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleeper.0.wait(),
        }
    }
}

#[test]
fn loom_a_wake_is_not_lost_and_shows_what_came_before() {
    model(3, || {
        let local = Local::new(1);
        let flag = Arc::new(AtomicBool::new(false));
        let (handle, waker) = waiting_task(&local, &[Arc::clone(&flag)]);
        let waking = thread::spawn(move || {
            flag.store(true, Relaxed);
            waker.wake();
        });
        run_until(&local, || handle.is_finished());
        waking.join().unwrap();
    });
}

#[test]
fn loom_two_threads_wake_while_the_task_runs_and_completes() {
    model(2, || {
        let local = Local::new(1);
        let flags = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (handle, waker) = waiting_task(&local, &flags);
        let other = waker.clone();
        let [first, second] = flags;
        let by_value = thread::spawn(move || {
            first.store(true, Relaxed);
            other.wake();
        });
        let by_reference = thread::spawn(move || {
            second.store(true, Relaxed);
            waker.wake_by_ref();
            drop(waker);
        });
        run_until(&local, || handle.is_finished());
        drop(handle);
        drop(local);
        by_value.join().unwrap();
        by_reference.join().unwrap();
    });
}

#[test]
fn loom_wakers_are_cloned_and_dropped_against_the_last_reference() {
    model(3, || {
        let local = Local::new(1);
        let (handle, waker) = waiting_task(&local, &[Arc::new(AtomicBool::new(false))]);
        let cloning = thread::spawn(move || {
            let copy = waker.clone();
            drop(waker);
            drop(copy);
        });
        handle.abort();
        {
            let _guard = local.enter();
            local.take_remote();
            while local.run_one() {}
        }
        drop(handle);
        cloning.join().unwrap();
    });
}

#[test]
fn loom_a_handle_is_awaited_while_the_task_completes() {
    model(3, || {
        let local = Local::new(1);
        let output = Arc::new(7);
        let handle = local.spawn(ready(output));
        let waiting = thread::spawn(move || block_on(handle).unwrap());
        {
            let _guard = local.enter();
            assert!(local.run_one());
        }
        assert_eq!(*waiting.join().unwrap(), 7);
    });
}

#[test]
fn loom_join_wakers_are_replaced_while_the_task_completes() {
    model(3, || {
        let local = Local::new(1);
        let mut handle = local.spawn(ready(Arc::new(7)));
        let polling = thread::spawn(move || {
            let (first_flag, first) = counting_waker();
            let (second_flag, second) = counting_waker();
            let mut pending = 0;
            for waker in [&first, &second, &second] {
                if poll_with(&mut handle, waker).is_ready() {
                    return None;
                }
                pending += 1;
            }
            assert_eq!(pending, 3);
            drop(first);
            assert_eq!(StdArc::strong_count(&first_flag), 1, "replaced");
            Some((handle, second_flag))
        });
        {
            let _guard = local.enter();
            assert!(local.run_one());
        }
        if let Some((mut handle, flag)) = polling.join().unwrap() {
            assert_eq!(flag.0.load(Relaxed), 1, "the last waker is woken, once");
            assert!(poll_with(&mut handle, Waker::noop()).is_ready());
        }
    });
}

#[test]
fn loom_a_polled_handle_is_dropped_while_the_task_completes() {
    model(3, || {
        let local = Local::new(1);
        let mut handle = local.spawn(ready(Arc::new(7)));
        let (flag, waker) = counting_waker();
        let dropping = thread::spawn(move || {
            let _ = poll_with(&mut handle, &waker);
            drop(handle);
        });
        {
            let _guard = local.enter();
            assert!(local.run_one());
        }
        dropping.join().unwrap();
        assert_eq!(StdArc::strong_count(&flag), 1, "nobody kept the waker");
    });
}

#[test]
fn loom_an_unpolled_handle_is_dropped_while_the_task_completes() {
    model(3, || {
        let local = Local::new(1);
        let captured = Arc::new(());
        let handle = local.spawn(async move { captured });
        let dropping = thread::spawn(move || drop(handle));
        {
            let _guard = local.enter();
            assert!(local.run_one());
        }
        dropping.join().unwrap();
    });
}

#[test]
fn loom_an_abort_meets_a_completion() {
    model(3, || {
        let local = Local::new(1);
        let handle = local.spawn(ready(Arc::new(7)));
        let aborting = thread::spawn(move || {
            handle.abort();
            handle
        });
        {
            let _guard = local.enter();
            local.run_one();
        }
        let mut handle = aborting.join().unwrap();
        match poll_with(&mut handle, Waker::noop()) {
            Poll::Ready(Ok(output)) => assert_eq!(*output, 7),
            Poll::Ready(Err(error)) => assert!(error.is_cancelled()),
            Poll::Pending => panic!("an aborted task was polled and forgotten"),
        }
    });
}

#[test]
fn loom_an_abort_reaches_a_parked_worker() {
    model(3, || {
        let local = Local::new(1);
        let captured = Arc::new(());
        let handle = Arc::new(local.spawn(async move {
            let _captured = captured;
            pending::<()>().await;
        }));
        let aborting = {
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle.abort())
        };
        run_until(&local, || handle.is_finished());
        aborting.join().unwrap();
    });
}

#[test]
fn loom_a_spawn_meets_the_shutdown() {
    model(3, || {
        let local = Local::new(1);
        let spawner = local.spawner();
        let captured = Arc::new(7);
        let spawning = thread::spawn(move || spawner.spawn(move || ready(captured)));
        {
            let _guard = local.enter();
            local.take_remote();
            local.run_one();
        }
        drop(local);
        match spawning.join().unwrap() {
            Ok(mut handle) => match poll_with(&mut handle, Waker::noop()) {
                Poll::Ready(Ok(output)) => assert_eq!(*output, 7),
                Poll::Ready(Err(error)) => assert!(error.is_worker_gone()),
                Poll::Pending => panic!("a spawn was lost"),
            },
            Err(refused) => {
                assert_eq!(refused.kind(), SpawnErrorKind::WorkerGone);
                drop(refused.into_inner()());
            }
        }
    });
}

#[test]
fn loom_a_spawn_reaches_a_parked_worker_and_its_handle_returns() {
    model(2, || {
        let local = Local::new(1);
        let spawner = local.spawner();
        let done = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&done);
        let spawning = thread::spawn(move || {
            let task = move || poll_fn(move |_| Poll::Ready(finished.store(true, Relaxed)));
            drop(spawner.spawn(task).unwrap());
        });
        run_until(&local, || done.load(Relaxed));
        spawning.join().unwrap();
    });
}

#[test]
fn loom_a_shutdown_waits_for_a_push_in_flight() {
    model(3, || {
        let local = Local::new(1);
        let flag = Arc::new(AtomicBool::new(false));
        let (mut handle, waker) = waiting_task(&local, &[Arc::clone(&flag)]);
        let waking = thread::spawn(move || waker.wake());
        let block = local.block();
        drop(local);
        assert_eq!(block.owed(), 0);
        waking.join().unwrap();
        let Poll::Ready(Err(error)) = poll_with(&mut handle, Waker::noop()) else {
            panic!("the worker is gone");
        };
        assert!(error.is_worker_gone());
    });
}
