//! What tasks wait for besides channels.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::super::{Notify, RecvError, Semaphore, TryRecvError, oneshot};
use super::{Task, poll_once};

#[test]
fn a_oneshot_wakes_its_receiver() {
    let (sender, receiver) = oneshot::channel();
    let mut receive = Task::new(receiver);
    assert!(receive.poll().is_pending());
    assert!(!receive.future.is_finished());
    sender.send(5).unwrap();
    assert_eq!(receive.wakes(), 1);
    assert!(receive.future.is_finished());
    assert_eq!(receive.poll(), Poll::Ready(Ok(5)));
}

#[test]
fn a_oneshot_tells_each_side_that_the_other_is_gone() {
    let (sender, receiver) = oneshot::channel::<u8>();
    let mut receive = Task::new(receiver);
    assert!(receive.poll().is_pending());
    drop(sender);
    assert_eq!(receive.wakes(), 1);
    assert_eq!(receive.poll(), Poll::Ready(Err(RecvError)));

    let (sender, mut receiver) = oneshot::channel();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(3), Err(3));
}

#[test]
fn a_oneshot_drops_a_value_nobody_took() {
    let value = Arc::new(());
    let (sender, receiver) = oneshot::channel();
    sender.send(Arc::clone(&value)).unwrap();
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn notify_one_keeps_a_single_permit() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    assert!(poll_once(notify.notified()).is_ready());
    assert!(poll_once(notify.notified()).is_pending());
}

#[test]
fn notify_one_wakes_in_order_and_survives_a_drop() {
    let notify = Notify::new();
    let mut first = Task::new(notify.notified());
    let mut second = Task::new(notify.notified());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    notify.notify_one();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!(second.wakes(), 1);
    drop(second);
    assert!(
        poll_once(notify.notified()).is_ready(),
        "kept when nobody was left"
    );
}

#[test]
fn notify_waiters_wakes_all_who_wait_and_keeps_nothing() {
    let notify = Notify::new();
    let mut waiting: Vec<_> = (0..40).map(|_| Task::new(notify.notified())).collect();
    assert!(waiting.iter_mut().all(|task| task.poll().is_pending()));
    let mut late = Task::new(notify.notified());
    notify.notify_waiters();
    assert!(waiting.iter().all(|task| task.wakes() == 1));
    drop(waiting.pop());
    assert!(waiting.iter_mut().all(|task| task.poll().is_ready()));
    assert!(late.poll().is_pending());
}

/// Panics when it is woken.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker");
    }
}

#[test]
fn a_waker_that_panics_keeps_no_other_from_being_woken() {
    let notify = Notify::new();
    let mut first = pin!(notify.notified());
    let waker = Waker::from(Arc::new(Panics));
    let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    // More than are woken at a time.
    let mut others: Vec<_> = (0..40).map(|_| Task::new(notify.notified())).collect();
    assert!(others.iter_mut().all(|task| task.poll().is_pending()));
    notify.notify_waiters();
    assert!(others.iter().all(|task| task.wakes() == 1));
}

#[test]
fn a_semaphore_serves_in_turn() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.try_acquire(1).unwrap();
    let mut large = Task::new(semaphore.acquire(2));
    let mut small = Task::new(semaphore.acquire(1));
    assert!(large.poll().is_pending());
    // One is free, but the earlier caller comes first.
    assert!(small.poll().is_pending());
    assert!(semaphore.try_acquire(1).is_none());
    drop(held);
    assert_eq!((large.wakes(), small.wakes()), (1, 0));
    let Poll::Ready(permit) = large.poll() else {
        panic!("granted")
    };
    assert_eq!(permit.count(), 2);
    drop(permit);
    assert_eq!(small.wakes(), 1);
    assert!(small.poll().is_ready());
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_dropped_acquire_lets_those_behind_it_pass() {
    let semaphore = Semaphore::new(1);
    let mut large = Task::new(semaphore.acquire(2));
    let mut small = Task::new(semaphore.acquire(1));
    assert!(large.poll().is_pending() && small.poll().is_pending());
    drop(large);
    assert_eq!(small.wakes(), 1);
    drop(small);
    assert_eq!(
        semaphore.available(),
        1,
        "a granted but unused permit is back"
    );
    semaphore.try_acquire(1).unwrap().forget();
    assert_eq!(semaphore.available(), 0);
    semaphore.add_permits(3);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn a_waker_may_use_what_woke_it() {
    // Single-threaded use inside a `Wake`, which must be Send + Sync: by a thread-local.
    thread_local! {
        static SEMAPHORE: RefCell<Option<Rc<Semaphore>>> = const { RefCell::new(None) };
    }
    struct Reenter;
    impl Wake for Reenter {
        fn wake(self: Arc<Self>) {
            SEMAPHORE.with_borrow(|semaphore| {
                assert_eq!(semaphore.as_ref().unwrap().available(), 0);
            });
        }
    }
    let semaphore = Rc::new(Semaphore::new(1));
    SEMAPHORE.set(Some(Rc::clone(&semaphore)));
    let held = semaphore.try_acquire(1).unwrap();
    let mut waiting = pin!(semaphore.acquire(1));
    let waker = Waker::from(Arc::new(Reenter));
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(held);
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    );
}
