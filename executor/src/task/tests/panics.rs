//! Panics end their task and nothing else.

use super::*;

/// The public bugs: a panic destroyed the runtime (monoio#241) or the process (glommio#689).
#[test]
fn a_panic_ends_its_task_only() {
    let local = Local::new(8);
    let drops = counter();
    let captured = Counted::at_home(&drops);
    let bad = local.spawn(async move {
        let _captured = captured;
        yield_now().await;
        panic!("bad {}", 1 + 1);
    });
    let static_message = local.spawn(async { panic!("static") });
    let no_message = local.spawn(async { panic_any(17_u8) });
    let good = local.spawn(async {
        yield_now().await;
        yield_now().await;
        1
    });
    run(&local);
    let error = ready_now::<JoinHandle<()>>(bad).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled() && !error.is_worker_gone());
    assert_eq!(error.to_string(), "the task panicked: bad 2");
    assert_eq!(count(&drops), 1);
    let error = ready_now::<JoinHandle<()>>(static_message).unwrap_err();
    assert_eq!(error.to_string(), "the task panicked: static");
    let error = ready_now::<JoinHandle<()>>(no_message).unwrap_err();
    assert_eq!(error.to_string(), "the task panicked");
    assert_eq!(*error.into_panic().downcast::<u8>().unwrap(), 17);
    assert_eq!(ready_now(good).unwrap(), 1);
}

#[test]
fn panics_of_drops_are_caught() {
    let local = Local::new(8);
    // The future's drop panics after it was ready; its output is dropped as well.
    let drops = counter();
    let output = Counted::new(&drops);
    let bomb = Bomb("after ready");
    let mut output = Some(output);
    let after_ready = local.spawn(poll_fn(move |_| {
        let _ = &bomb;
        Poll::Ready(output.take())
    }));
    // The future's drop panics after its poll did: the first panic is reported.
    let bomb = Bomb("second");
    let twice = local.spawn(poll_fn(move |_| -> Poll<()> {
        let _ = &bomb;
        panic_any("first");
    }));
    // A detached output's drop panics.
    drop(local.spawn(ready(Bomb("output"))));
    // An aborted future's drop panics.
    let bomb = Bomb("aborted");
    let aborted = local.spawn(poll_fn(move |_| -> Poll<()> {
        let _ = &bomb;
        Poll::Pending
    }));
    aborted.abort();
    run(&local);
    let payload = ready_now(after_ready).err().unwrap().into_panic();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "after ready");
    assert_eq!(count(&drops), 1);
    let payload = ready_now(twice).unwrap_err().into_panic();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "first");
    let payload = ready_now(aborted).unwrap_err().into_panic();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "aborted");
    assert_eq!(local.task_count(), 0);
}

#[test]
fn a_panic_payload_that_panics_is_survived() {
    struct Launcher(Option<Bomb>);
    impl Drop for Launcher {
        fn drop(&mut self) {
            panic_any(self.0.take());
        }
    }
    let local = Local::new(8);
    let launcher = Launcher(Some(Bomb("unheard")));
    // The payload of the future's second panic is itself a bomb, and nobody is there to take it.
    let handle = local.spawn(poll_fn(move |_| -> Poll<()> {
        let _launcher = &launcher;
        panic_any("first");
    }));
    run(&local);
    assert!(ready_now(handle).unwrap_err().is_panic());
}

#[test]
fn drops_at_shutdown_may_wake_spawn_and_panic() {
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let local = Rc::new(Local::new(8));
    let slot = Rc::new(RefCell::new(None));
    let drops = counter();
    let spawned: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    drop(local.spawn(park_in(Rc::clone(&slot))));
    let (waking, spawning, handle, captured) = (
        Rc::clone(&slot),
        Rc::clone(&local),
        Rc::clone(&spawned),
        Counted::new(&drops),
    );
    let mut captured = Some(captured);
    let on_drop = OnDrop(move || {
        waking.borrow().as_ref().map(Waker::wake_by_ref);
        let captured = captured.take();
        let task = spawning.spawn(async move {
            let _captured = captured;
        });
        *handle.borrow_mut() = Some(task);
        panic_any("on drop");
    });
    drop(local.spawn(async move {
        let _on_drop = on_drop;
        pending::<()>().await;
    }));
    run(&local);
    assert_eq!(local.task_count(), 2);
    assert_eq!(local.shutdown(), 2);
    assert_eq!(
        count(&drops),
        1,
        "what is spawned during a shutdown is dropped"
    );
    assert!(
        ready_now(spawned.take().unwrap())
            .unwrap_err()
            .is_worker_gone()
    );
    assert_eq!(
        (local.len(), local.task_count(), local.block().owed()),
        (0, 0, 0)
    );
    let late = local.spawn(ready(1));
    assert!(ready_now(late).unwrap_err().is_worker_gone());
    assert_eq!(local.shutdown(), 0);
}

#[test]
fn a_closure_that_panics_ends_its_task_only() {
    let local = Local::new(2);
    let handle = local
        .spawner()
        .spawn(|| -> std::future::Ready<()> { panic!("no future") });
    let handle = handle.unwrap();
    run(&local);
    assert_eq!(
        ready_now(handle).unwrap_err().to_string(),
        "the task panicked: no future"
    );
}
