//! Wakers and handles on other threads, kicks, workers that are gone.
#![allow(unsafe_code, reason = "does half of a wake")]

use super::*;

/// The public bug: wakers with plain counts in a thread-per-core runtime (monoio#120).
#[test]
fn wakers_are_cloned_woken_and_dropped_by_any_thread_at_any_time() {
    let local = Local::new(8);
    let (send, receive) = mpsc::channel::<Waker>();
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&stop);
    let handle = local.spawn(poll_fn(move |cx| {
        let _ = send.send(cx.waker().clone());
        if done.load(Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    let foreign = thread::spawn(move || {
        let mut kept = Vec::new();
        for waker in receive {
            let copy = waker.clone();
            waker.wake();
            copy.wake_by_ref();
            if kept.len() < 64 {
                kept.push(copy);
            }
        }
        kept
    });
    let _guard = local.enter();
    for _ in 0..5_000 {
        local.take_remote();
        local.run_one();
    }
    stop.store(true, Ordering::SeqCst);
    while !handle.is_finished() {
        local.take_remote();
        local.run_one();
        thread::yield_now();
    }
    let kept = foreign.join().unwrap();
    ready_now(handle).unwrap();
    drop(_guard);
    drop(local);
    let threads: Vec<_> = kept
        .into_iter()
        .map(|waker| {
            thread::spawn(move || {
                waker.wake_by_ref();
                let copy = waker.clone();
                copy.wake();
                drop(waker);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn wakers_of_unfinished_tasks_outlive_the_worker() {
    let local = Local::new(8);
    let slot = Rc::new(RefCell::new(None));
    let handle = local.spawn(park_in(Rc::clone(&slot)));
    run(&local);
    let waker: Waker = slot.borrow_mut().take().unwrap();
    drop(local);
    assert!(ready_now(handle).unwrap_err().is_worker_gone());
    // The block has a new owner, which such a wake must not reach.
    let next = Local::new(8);
    let _guard = next.enter();
    let foreign = waker.clone();
    waker.wake_by_ref();
    waker.wake();
    thread::spawn(move || foreign.wake()).join().unwrap();
    assert_eq!(next.take_remote(), 0);
    assert!(!next.run_one());
}

/// The public bug: a handle that another thread polls never resolved (monoio#241).
#[test]
fn a_handle_is_awaited_on_another_thread() {
    let local = Local::new(8);
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let handle = local.spawn(async move {
        while !released.load(Ordering::SeqCst) {
            yield_now().await;
        }
        String::from("done")
    });
    let waiter = thread::spawn(move || futures_executor::block_on(handle).unwrap());
    {
        let _guard = local.enter();
        for _ in 0..1_000 {
            local.run_one();
        }
    }
    release.store(true, Ordering::SeqCst);
    run(&local);
    assert_eq!(waiter.join().unwrap(), "done");
}

#[test]
fn a_handle_on_another_thread_learns_that_the_worker_is_gone() {
    let local = Local::new(8);
    let handle = local.spawn(pending::<u8>());
    run(&local);
    let waiter = thread::spawn(move || futures_executor::block_on(handle));
    drop(local);
    assert!(waiter.join().unwrap().unwrap_err().is_worker_gone());
}

#[test]
fn the_latest_join_waker_is_the_one_woken() {
    struct Flag(AtomicUsize);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let local = Local::new(8);
    let flags = [0; 2].map(|_| Arc::new(Flag(AtomicUsize::new(0))));
    let mut handle = local.spawn(ready(()));
    for flag in [&flags[0], &flags[0], &flags[1], &flags[1]] {
        let waker = Waker::from(Arc::clone(flag));
        assert!(
            Pin::new(&mut handle)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(
        Arc::strong_count(&flags[0]),
        1,
        "the replaced waker was dropped"
    );
    run(&local);
    assert_eq!(flags[0].0.load(Ordering::SeqCst), 0);
    assert_eq!(flags[1].0.load(Ordering::SeqCst), 1);
    assert_eq!(
        Arc::strong_count(&flags[1]),
        1,
        "the woken waker was dropped"
    );
    let mut dropped = local.spawn(ready(()));
    let waker = Waker::from(Arc::clone(&flags[0]));
    assert!(
        Pin::new(&mut dropped)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    drop(dropped);
    assert_eq!(
        Arc::strong_count(&flags[0]),
        1,
        "a dropped handle takes its waker along"
    );
    ready_now(handle).unwrap();
}

#[test]
fn a_foreign_wake_kicks_a_parked_worker_once() {
    let local = Local::new(8);
    let slot = Rc::new(RefCell::new(None));
    let handle = local.spawn(park_in(Rc::clone(&slot)));
    assert!(!local.prepare_park(|| true), "there is something to run");
    run(&local);
    let waker: Waker = slot.borrow_mut().take().unwrap();
    let kicks = local.block().kicks_sent();
    assert!(local.prepare_park(|| true));
    let copy = waker.clone();
    thread::spawn(move || copy.wake()).join().unwrap();
    thread::spawn(move || waker.wake()).join().unwrap();
    let extra = local.spawner().spawn(|| ready(())).unwrap();
    assert_eq!(local.block().kicks_sent(), kicks + 1);
    assert!(!local.prepare_park(|| true), "there is something to take");
    assert_eq!(run(&local), 2);
    assert!(local.prepare_park(|| true));
    assert!(!local.unpark());
    assert_eq!(local.block().kicks_sent(), kicks + 1);
    ready_now(handle).unwrap();
    ready_now(extra).unwrap();
}

#[test]
fn leaving_a_parked_worker_with_work_kicks_it() {
    let local = Local::new(8);
    assert!(local.prepare_park(|| true));
    let kicks = local.block().kicks_sent();
    let guard = local.enter();
    drop(local.spawn(ready(())));
    drop(guard);
    assert_eq!(local.block().kicks_sent(), kicks + 1);
    assert!(local.unpark());
}

/// A thread may stop between scheduling a task and pushing its entry for as long as it likes.
#[test]
fn an_entry_that_comes_after_the_shutdown_is_buried() {
    let local = Local::new(8);
    let slot = Rc::new(RefCell::new(None));
    let handle = local.spawn(park_in(Rc::clone(&slot)));
    run(&local);
    let waker: Waker = slot.borrow_mut().take().unwrap();
    let header = std::ptr::NonNull::new(waker.data().cast_mut()).unwrap();
    // SAFETY: the waker's data is the task, which the waker keeps alive.
    let task = unsafe { header::TaskPtr::from_raw(header.cast()) };
    assert!(task.state.wake());
    assert_eq!(local.shutdown(), 1);
    assert_eq!(
        local.block().owed(),
        1,
        "the shutdown does not wait for ever"
    );
    drop((waker, handle));
    // SAFETY: this thread scheduled the live task, so it owes the entry, which has kept the task.
    unsafe { task.owner.push_wake(task.link()) };
    assert_eq!(local.take_remote(), 1);
    assert!(local.run_one());
    assert_eq!(local.block().owed(), 0);
}
