use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{
    Notify, RecvError, Semaphore, SendError, TryRecvError, TrySendError, channel, local, oneshot,
};

/// Counts wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A pinned future with a waker of its own.
struct Task<F> {
    future: Pin<Box<F>>,
    count: Arc<Count>,
}

impl<F: Future> Task<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            count: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.count));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Returns the wakes since the last call.
    fn wakes(&self) -> usize {
        self.count.0.swap(0, Ordering::SeqCst)
    }
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future)
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// The same sequences for the core-local and the cross-core channel.
macro_rules! channel_tests {
    ($name:ident, $module:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn values_come_in_order_and_only_the_first_wakes() {
                let (sender, mut receiver) = $module::bounded(4);
                let mut batch = Vec::new();
                {
                    let mut receive = Task::new(receiver.recv_batch(&mut batch, 8));
                    assert!(receive.poll().is_pending());
                    for value in 0..4 {
                        sender.try_send(value).unwrap();
                    }
                    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
                    assert_eq!(receive.wakes(), 1);
                    assert_eq!(receive.poll(), Poll::Ready(4));
                }
                assert_eq!(batch, [0, 1, 2, 3]);
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            }

            #[test]
            fn a_batch_takes_no_more_than_its_maximum() {
                let (sender, mut receiver) = $module::bounded(4);
                (0..3).for_each(|value| sender.try_send(value).unwrap());
                let mut batch = Vec::new();
                assert_eq!(
                    poll_once(receiver.recv_batch(&mut batch, 0)),
                    Poll::Ready(0)
                );
                assert_eq!(
                    poll_once(receiver.recv_batch(&mut batch, 2)),
                    Poll::Ready(2)
                );
                assert_eq!((batch, receiver.len()), (vec![0, 1], 1));
            }

            #[test]
            fn a_place_is_free_when_its_value_was_given_out_and_not_before() {
                let (sender, mut receiver) = $module::bounded(3);
                let mut next = 0..;
                let mut fill = || {
                    let sent = next.by_ref().map(|value| sender.try_send(value));
                    sent.take_while(Result::is_ok).count()
                };
                assert_eq!(fill(), 3);
                for _ in 0..10 {
                    assert!(poll_once(receiver.recv()).is_ready());
                    assert_eq!((receiver.len(), fill(), receiver.len()), (2, 1, 3));
                }
                let mut batch = Vec::new();
                let taken = poll_once(receiver.recv_batch(&mut batch, 2));
                assert_eq!((taken, fill()), (Poll::Ready(2), 2));
                assert!(receiver.try_recv().is_ok());
                assert_eq!(fill(), 1);
            }

            #[test]
            fn a_sender_that_waits_gets_the_first_place_of_many_that_are_full() {
                let (sender, mut receiver) = $module::bounded(3);
                (0..3).for_each(|value| sender.try_send(value).unwrap());
                assert!(poll_once(receiver.recv()).is_ready());
                sender.try_send(3).unwrap();
                let mut send = Task::new(sender.send(4));
                assert!(send.poll().is_pending());
                assert_eq!(receiver.try_recv(), Ok(1));
                assert_eq!(send.wakes(), 1);
                assert_eq!(send.poll(), Poll::Ready(Ok(())));
                let left: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
                assert_eq!(left, [2, 3, 4]);
            }

            #[test]
            fn blocked_senders_get_their_places_in_order() {
                let (sender, mut receiver) = $module::bounded(1);
                sender.try_send(0).unwrap();
                let mut first = Task::new(sender.send(1));
                let mut second = Task::new(sender.send(2));
                assert!(first.poll().is_pending() && second.poll().is_pending());
                assert_eq!(receiver.try_recv(), Ok(0));
                assert_eq!((first.wakes(), second.wakes()), (1, 0));
                // The free place is promised: nobody else gets it.
                assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
                assert!(second.poll().is_pending());
                assert_eq!(first.poll(), Poll::Ready(Ok(())));
                assert_eq!(receiver.try_recv(), Ok(1));
                assert_eq!(second.poll(), Poll::Ready(Ok(())));
                assert_eq!(receiver.try_recv(), Ok(2));
            }

            #[test]
            fn a_dropped_sender_passes_its_place_on() {
                let (sender, mut receiver) = $module::bounded(1);
                sender.try_send(0).unwrap();
                let mut first = Task::new(sender.send(1));
                let mut second = Task::new(sender.send(2));
                let mut third = Task::new(sender.send(3));
                assert!(first.poll().is_pending() && second.poll().is_pending());
                assert!(third.poll().is_pending());
                drop(second);
                assert_eq!(receiver.try_recv(), Ok(0));
                assert_eq!((first.wakes(), third.wakes()), (1, 0));
                drop(first);
                assert_eq!(third.wakes(), 1);
                assert_eq!(third.poll(), Poll::Ready(Ok(())));
                assert_eq!(receiver.try_recv(), Ok(3));
                assert_eq!(sender.try_send(4), Ok(()));
            }

            #[test]
            fn a_receiver_that_goes_gives_values_back() {
                let (sender, receiver) = $module::bounded(1);
                let kept = Arc::new(());
                sender.try_send(Arc::clone(&kept)).unwrap();
                let mut blocked = Task::new(sender.send(Arc::clone(&kept)));
                assert!(blocked.poll().is_pending());
                drop(receiver);
                assert_eq!(blocked.wakes(), 1);
                assert_eq!(
                    blocked.poll(),
                    Poll::Ready(Err(SendError(Arc::clone(&kept))))
                );
                drop(blocked);
                assert!(sender.is_closed());
                assert_eq!(
                    poll_once(sender.send(kept.clone())),
                    Poll::Ready(Err(SendError(kept.clone())))
                );
                assert!(matches!(
                    sender.try_send(kept.clone()),
                    Err(TrySendError::Closed(_))
                ));
                assert_eq!(
                    Arc::strong_count(&kept),
                    1,
                    "what was sent has been dropped"
                );
            }

            #[test]
            fn a_closed_channel_hands_out_what_was_sent() {
                let (sender, mut receiver) = $module::bounded(2);
                sender.try_send(1).unwrap();
                receiver.close();
                assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
                assert_eq!(poll_once(receiver.recv()), Poll::Ready(Some(1)));
                assert_eq!(poll_once(receiver.recv()), Poll::Ready(None));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
            }

            #[test]
            fn the_last_sender_wakes_the_receiver() {
                let (sender, mut receiver) = $module::bounded::<u8>(1);
                let other = sender.clone();
                let mut receive = Task::new(receiver.recv());
                assert!(receive.poll().is_pending());
                drop(sender);
                assert_eq!(receive.wakes(), 0);
                drop(other);
                assert_eq!(receive.wakes(), 1);
                assert_eq!(receive.poll(), Poll::Ready(None));
            }

            #[test]
            fn a_dropped_receive_loses_nothing_and_keeps_no_waker() {
                let (sender, mut receiver) = $module::bounded(1);
                let mut receive = Task::new(receiver.recv());
                assert!(receive.poll().is_pending());
                let count = Arc::clone(&receive.count);
                drop(receive);
                assert_eq!(Arc::strong_count(&count), 1);
                sender.try_send(1).unwrap();
                assert_eq!(count.0.load(Ordering::SeqCst), 0);
                assert_eq!(poll_once(receiver.recv()), Poll::Ready(Some(1)));
            }

            #[test]
            fn a_future_polled_with_another_waker_wakes_that_one() {
                let (sender, mut receiver) = $module::bounded(1);
                let mut receive = Task::new(receiver.recv());
                assert!(receive.poll().is_pending());
                let former = std::mem::take(&mut receive.count);
                assert!(receive.poll().is_pending());
                let mut fill = Task::new(sender.send(1));
                assert!(fill.poll().is_ready());
                assert_eq!((former.0.load(Ordering::SeqCst), receive.wakes()), (0, 1));
            }

            #[test]
            fn many_blocked_senders_all_leave_when_the_receiver_goes() {
                let (sender, receiver) = $module::bounded(1);
                sender.try_send(0).unwrap();
                let mut blocked: Vec<_> = (1..50).map(|n| Task::new(sender.send(n))).collect();
                assert!(blocked.iter_mut().all(|task| task.poll().is_pending()));
                drop(receiver);
                for (value, task) in (1..).zip(&mut blocked) {
                    assert_eq!(task.wakes(), 1);
                    assert_eq!(task.poll(), Poll::Ready(Err(SendError(value))));
                }
            }

            #[test]
            fn a_value_may_use_the_channel_while_it_is_dropped() {
                struct Reentrant(Option<$module::Sender<Reentrant>>);
                impl Drop for Reentrant {
                    fn drop(&mut self) {
                        if let Some(sender) = self.0.take() {
                            assert!(sender.try_send(Self(None)).is_err());
                        }
                    }
                }
                let (sender, receiver) = $module::bounded(2);
                assert!(sender.try_send(Reentrant(Some(sender.clone()))).is_ok());
                drop(receiver);
            }

            #[test]
            #[should_panic(expected = "capacity of at least one")]
            fn a_capacity_of_zero_panics() {
                drop($module::bounded::<u8>(0));
            }
        }
    };
}

channel_tests!(on_one_core, local);
channel_tests!(across_cores, channel);

#[test]
fn a_channel_between_threads_loses_nothing() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 5_000;
    let (sender, mut receiver) = channel::bounded(7);
    let threads: Vec<_> = (0..SENDERS)
        .map(|number| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                futures_executor::block_on(async {
                    for value in 0..EACH {
                        sender.send((number, value)).await.unwrap();
                    }
                });
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; 4];
    futures_executor::block_on(async {
        let mut batch = Vec::new();
        while receiver.recv_batch(&mut batch, 5).await > 0 {
            for (number, value) in batch.drain(..) {
                let expected = &mut next[usize::try_from(number).unwrap()];
                assert_eq!(value, *expected);
                *expected += 1;
            }
        }
    });
    assert_eq!(next, [EACH; 4]);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn channel_ends_are_send() {
    fn is_send<T: Send>(_: &T) {}
    let (sender, mut receiver) = channel::bounded::<u8>(1);
    is_send(&sender.send(1));
    is_send(&receiver.recv());
    let mut batch = Vec::new();
    is_send(&receiver.recv_batch(&mut batch, 1));
    is_send(&oneshot::channel::<u8>());
}

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
