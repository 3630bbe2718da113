//! Spawning from other threads.

use super::*;

#[test]
fn a_remote_spawn_builds_its_future_on_the_worker() {
    let local = Local::new(2);
    let spawner = local.spawner();
    let home = thread::current().id();
    let handle = thread::spawn(move || {
        spawner
            .spawn(move || {
                let not_send = Rc::new(Cell::new(1));
                async move {
                    yield_now().await;
                    not_send.set(not_send.get() + 1);
                    (not_send.get(), thread::current().id() == home)
                }
            })
            .unwrap()
    })
    .join()
    .unwrap();
    assert_eq!(local.task_count(), 0);
    assert_eq!(run(&local), 2);
    assert_eq!(ready_now(handle).unwrap(), (2, true));
}

#[test]
fn a_refused_spawn_gives_the_closure_back() {
    let local = Local::new(2);
    let spawner = local.spawner();
    let drops = counter();
    let closure = || {
        let captured = Counted::new(&drops);
        move || async move { drop(captured) }
    };
    let handles: Vec<_> = (0..2).map(|_| spawner.spawn(closure()).unwrap()).collect();
    let full = spawner.spawn(closure()).unwrap_err();
    assert_eq!(full.kind(), SpawnErrorKind::Full);
    assert_eq!(count(&drops), 0);
    assert_eq!(local.take_remote(), 2);
    let again = spawner.spawn(full.into_inner()).unwrap();
    drop(local);
    assert_eq!(
        count(&drops),
        3,
        "closures that were not called are dropped"
    );
    for handle in handles.into_iter().chain([again]) {
        assert!(ready_now(handle).unwrap_err().is_worker_gone());
    }
    let gone = spawner.spawn(closure()).unwrap_err();
    assert_eq!(gone.kind(), SpawnErrorKind::WorkerGone);
    assert_eq!(count(&drops), 3);
    drop(gone);
    assert_eq!(count(&drops), 4);
}

#[test]
fn an_abort_overtakes_a_remote_spawn() {
    let local = Local::new(2);
    let drops = counter();
    let captured = Counted::new(&drops);
    let handle = local
        .spawner()
        .spawn(move || async move { drop(captured) })
        .unwrap();
    handle.abort();
    run(&local);
    assert_eq!(count(&drops), 1);
    assert!(ready_now(handle).unwrap_err().is_cancelled());
}
