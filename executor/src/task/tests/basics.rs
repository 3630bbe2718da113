//! Running, waking, aborting, dropping on one thread.

use super::enter::current;
use super::*;

#[test]
fn a_task_runs_and_its_handle_returns_the_output() {
    let local = Local::new(8);
    let handle = local.spawn(async { 42 });
    assert!(!handle.is_finished());
    assert_eq!((local.len(), local.task_count()), (1, 1));
    assert_eq!(run(&local), 1);
    assert!(handle.is_finished());
    assert_eq!((local.len(), local.task_count()), (0, 0));
    assert_eq!(ready_now(handle).unwrap(), 42);
}

#[test]
fn tasks_run_in_the_order_of_their_wakes() {
    let local = Local::new(8);
    let order = Rc::new(RefCell::new(Vec::new()));
    for id in 0..3 {
        let order = Rc::clone(&order);
        drop(local.spawn(async move {
            for round in 0..3 {
                order.borrow_mut().push((round, id));
                yield_now().await;
            }
        }));
    }
    assert_eq!(run(&local), 12);
    let expected: Vec<_> = (0..3)
        .flat_map(|round| (0..3).map(move |id| (round, id)))
        .collect();
    assert_eq!(*order.borrow(), expected);
}

#[test]
fn tasks_join_each_other_on_one_worker() {
    let local = Local::new(8);
    let inner = local.spawn(async {
        yield_now().await;
        7
    });
    let outer = local.spawn(async move { inner.await.unwrap() + 1 });
    run(&local);
    assert_eq!(ready_now(outer).unwrap(), 8);
}

#[test]
fn wakes_before_the_poll_count_once() {
    let local = Local::new(8);
    let slot = Rc::new(RefCell::new(None));
    let handle = local.spawn(park_in(Rc::clone(&slot)));
    assert_eq!(run(&local), 1);
    let waker: Waker = slot.borrow_mut().take().unwrap();
    {
        let _guard = local.enter();
        for _ in 0..5 {
            waker.wake_by_ref();
            let copy = waker.clone();
            copy.wake();
        }
        assert_eq!(local.len(), 1);
    }
    assert_eq!(run(&local), 1);
    assert!(handle.is_finished());
    waker.wake();
    assert_eq!(run(&local), 0);
}

/// The public bugs: reference counts that leaked, ran over or freed twice (glommio #671, #379,
/// #229; compio #850).
#[test]
fn everything_is_dropped_exactly_once() {
    let (futures, outputs) = (counter(), counter());
    let spawn = |local: &Local| {
        let (future, output) = (Counted::at_home(&futures), Counted::new(&outputs));
        local.spawn(async move {
            let _future = future;
            yield_now().await;
            output
        })
    };
    let local = Local::new(8);
    drop(spawn(&local)); // detached before it ran
    let joined = spawn(&local);
    let unread = spawn(&local);
    let dropped_midway = spawn(&local);
    {
        let _guard = local.enter();
        for _ in 0..4 {
            assert!(local.run_one());
        }
        drop(dropped_midway);
    }
    assert_eq!(run(&local), 4);
    assert_eq!(count(&futures), 4);
    assert_eq!(count(&outputs), 2);
    drop(unread);
    assert_eq!(count(&outputs), 3);
    drop(ready_now(joined));
    assert_eq!(count(&outputs), 4);
    // Dropped with the worker, polled and unpolled.
    let polled = spawn(&local);
    assert_eq!(local.len(), 1);
    local.run_one();
    let unpolled = spawn(&local);
    drop(local);
    assert_eq!(count(&futures), 6);
    assert_eq!(count(&outputs), 6);
    assert!(ready_now(polled).err().unwrap().is_worker_gone());
    assert!(ready_now(unpolled).err().unwrap().is_worker_gone());
}

#[test]
fn abort_drops_the_future_and_is_reported() {
    let local = Local::new(8);
    let drops = counter();
    let captured = Counted::at_home(&drops);
    let handle = local.spawn(async move {
        let _captured = captured;
        pending::<()>().await;
    });
    run(&local);
    handle.abort();
    assert_eq!(count(&drops), 0, "only the worker drops it");
    run(&local);
    assert_eq!(count(&drops), 1);
    assert!(ready_now(handle).unwrap_err().is_cancelled());
    let done = local.spawn(ready(3));
    run(&local);
    done.abort();
    assert_eq!(run(&local), 0);
    assert_eq!(ready_now(done).unwrap(), 3);
}

#[test]
fn a_task_that_aborts_or_joins_itself_ends() {
    let local = Local::new(8);
    let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let own = Rc::clone(&slot);
    *slot.borrow_mut() = Some(local.spawn(poll_fn(move |_| {
        own.borrow().as_ref().unwrap().abort();
        Poll::Pending
    })));
    assert_eq!(run(&local), 2);
    assert!(ready_now(slot.take().unwrap()).unwrap_err().is_cancelled());

    let drops = counter();
    let captured = Counted::new(&drops);
    let own = Rc::clone(&slot);
    *slot.borrow_mut() = Some(local.spawn(async move {
        let _captured = captured;
        let handle = own.borrow_mut().take().unwrap();
        let _ = handle.await;
    }));
    run(&local);
    assert_eq!(local.task_count(), 1, "waits for itself");
    drop(local);
    assert_eq!(count(&drops), 1);
}

#[test]
#[should_panic(expected = "re-entered")]
fn a_worker_is_not_re_entered() {
    let local = Rc::new(Local::new(8));
    let inner = Rc::clone(&local);
    let handle = local.spawn(async move { inner.run_one() });
    run(&local);
    std::panic::resume_unwind(ready_now(handle).unwrap_err().into_panic());
}

#[test]
fn workers_nest_on_one_thread() {
    let (outer, inner) = (Local::new(8), Local::new(8));
    let slot = Rc::new(RefCell::new(None));
    let parked = outer.spawn(park_in(Rc::clone(&slot)));
    run(&outer);
    let outer_guard = outer.enter();
    let inner_guard = inner.enter();
    let waker: Waker = slot.borrow_mut().take().unwrap();
    waker.wake();
    assert_eq!(
        (outer.len(), inner.len()),
        (0, 0),
        "the inner worker is the current one"
    );
    assert_eq!(outer.take_remote(), 1);
    // Guards may go in any order, or not at all.
    drop(outer_guard);
    assert!(std::ptr::eq(&*current().unwrap(), &*inner));
    std::mem::forget(inner_guard);
    drop(inner);
    assert!(current().is_none());
    run(&outer);
    ready_now(parked).unwrap();
}

#[test]
fn handles_are_send_and_errors_are_small() {
    fn send_sync<T: Send + Sync + Unpin>() {}
    send_sync::<JoinHandle<Cell<u8>>>();
    send_sync::<RemoteSpawner>();
    send_sync::<JoinError>();
    send_sync::<SpawnError<u8>>();
    assert!(size_of::<JoinError>() <= 24);
    assert!(size_of::<header::Header>() <= 64);
}
