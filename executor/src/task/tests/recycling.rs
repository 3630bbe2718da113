//! The memory of tasks that are gone goes to the next ones, as in a worker in use: never while
//! anybody still has a reference.
//!
//! Under AddressSanitizer, with `--cfg corelane_asan`, a use of memory that is kept is reported.

use super::*;

/// Stays pending until told, and says where it is. Its bytes tell it from all others.
struct Resident<const LEN: usize> {
    place: Rc<Cell<usize>>,
    done: Rc<Cell<bool>>,
    id: u8,
    bytes: [u8; LEN],
    _counted: Counted,
}

impl<const LEN: usize> Future for Resident<LEN> {
    type Output = [u8; LEN];

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert_eq!(self.bytes, [self.id; LEN], "another task wrote here");
        self.place.set((&raw const self.bytes).addr());
        if self.done.get() {
            Poll::Ready(self.bytes)
        } else {
            Poll::Pending
        }
    }
}

/// What the test knows of a task.
struct Guest<const LEN: usize> {
    handle: JoinHandle<[u8; LEN]>,
    place: Rc<Cell<usize>>,
    done: Rc<Cell<bool>>,
}

fn spawn<const LEN: usize>(local: &Local, id: u8, drops: &Arc<AtomicUsize>) -> Guest<LEN> {
    let (place, done) = (Rc::default(), Rc::default());
    let handle = local.spawn(Resident {
        place: Rc::clone(&place),
        done: Rc::clone(&done),
        id,
        bytes: [id; LEN],
        _counted: Counted::at_home(drops),
    });
    Guest {
        handle,
        place,
        done,
    }
}

/// Where a task of this size is, which is over at once.
fn place_of_next(local: &Local) -> usize {
    let guest = spawn::<100>(local, 9, &counter());
    guest.done.set(true);
    run(local);
    let place = guest.place.get();
    let _guard = local.enter();
    assert_eq!(ready_now(guest.handle).unwrap(), [9; 100]);
    place
}

#[test]
fn the_memory_of_a_task_goes_to_the_next_of_its_size() {
    let local = Local::recycling(8);
    let first = place_of_next(&local);
    assert_eq!(place_of_next(&local), first);
    // One that is larger gets other memory, and leaves this to who fits.
    let large = spawn::<400>(&local, 1, &counter());
    run(&local);
    assert_ne!(large.place.get(), first);
    assert_eq!(place_of_next(&local), first);
}

#[test]
fn memory_that_somebody_refers_to_goes_to_nobody() {
    let local = Local::recycling(8);
    let drops = counter();
    let slot = Rc::new(RefCell::new(None));
    let old = local.spawn({
        let (slot, counted) = (Rc::clone(&slot), Counted::new(&drops));
        async move {
            let _counted = counted;
            park_in(slot).await;
        }
    });
    run(&local);
    old.abort();
    run(&local);
    assert_eq!(count(&drops), 1);
    let waker: Waker = slot.borrow_mut().take().unwrap();
    // The task is over, and its handle and waker are there.
    let guests: Vec<_> = (0..64).map(|id| spawn::<64>(&local, id, &drops)).collect();
    run(&local);
    {
        let _guard = local.enter();
        waker.wake_by_ref();
    }
    assert_eq!(run(&local), 0, "a waker of an old task wakes a new one");
    assert!(ready_now(old).unwrap_err().is_cancelled());
    waker.wake();
    assert_eq!(run(&local), 0);
    for guest in &guests {
        guest.handle.abort();
    }
    run(&local);
    assert_eq!(count(&drops), 65);
}

/// The last reference may go anywhere: to a thread that is in no worker, or in one of its own.
#[test]
fn memory_is_kept_by_the_thread_that_frees_it() {
    let local = Local::recycling(8);
    for round in 0..200_u8 {
        let slot = Rc::new(RefCell::new(None));
        drop(local.spawn(park_in(Rc::clone(&slot))));
        run(&local);
        let waker: Waker = slot.borrow_mut().take().unwrap();
        let own = waker.clone();
        {
            let _guard = local.enter();
            own.wake();
        }
        run(&local);
        let elsewhere = thread::spawn(move || {
            let other = Local::recycling(8);
            if round % 2 == 0 {
                let _guard = other.enter();
                drop(waker);
            } else {
                drop(waker);
            }
            place_of_next(&other);
        });
        if round % 3 == 0 {
            place_of_next(&local);
        }
        elsewhere.join().unwrap();
        place_of_next(&local);
    }
}

/// Two workers on one thread, of which one ends: what it keeps is its own.
#[test]
fn a_worker_that_ends_takes_nothing_from_another() {
    let first = Local::recycling(8);
    let second = Local::recycling(8);
    let guest = spawn::<100>(&first, 3, &counter());
    guest.done.set(true);
    run(&first);
    {
        // The last reference is dropped inside of the other worker.
        let _guard = second.enter();
        assert_eq!(ready_now(guest.handle).unwrap(), [3; 100]);
    }
    drop(first);
    assert_eq!(place_of_next(&second), guest.place.get());
    drop(second);
    place_of_next(&Local::recycling(8));
}

/// Tasks of several sizes come, stay, end, are aborted and let go of in an order of chance.
#[test]
fn tasks_that_come_and_go_never_share_memory() {
    let local = Local::recycling(8);
    let drops = counter();
    let mut seed = 0x9e37_79b9_u32;
    let mut chance = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed as usize % below
    };
    let (mut small, mut large) = (Vec::new(), Vec::new());
    let rounds = 20_000;
    for round in 0..rounds {
        let id = u8::try_from(round % 251).unwrap();
        small.push(spawn::<24>(&local, id, &drops));
        large.push(spawn::<200>(&local, id, &drops));
        if chance(4) == 0 {
            run(&local);
        }
        while small.len() > 40 {
            end(&local, small.swap_remove(chance(40)), chance(3));
            end(&local, large.swap_remove(chance(40)), chance(3));
        }
    }
    drop((small, large));
    drop(local);
    assert_eq!(count(&drops), 2 * rounds);
}

/// Lets go of a task in one of three ways.
fn end<const LEN: usize>(local: &Local, guest: Guest<LEN>, how: usize) {
    match how {
        // It ends in its first poll, if that is still to come, with an output that nobody takes.
        0 => guest.done.set(true),
        1 => guest.handle.abort(),
        _ => {
            guest.handle.abort();
            run(local);
            let _guard = local.enter();
            assert!(ready_now(guest.handle).unwrap_err().is_cancelled());
        }
    }
}
