//! Channels, of one core and between cores.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use super::super::{SendError, TryRecvError, TrySendError, channel, local, oneshot};
use super::{Task, poll_once};

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

            /// Of those that are left when the receiver goes, all are dropped, also behind one whose
            /// drop panics, and the channel goes on to answer.
            #[test]
            fn a_value_that_panics_when_dropped_keeps_no_other() {
                struct Panics {
                    _kept: Arc<()>,
                    panics: bool,
                }
                impl Drop for Panics {
                    fn drop(&mut self) {
                        assert!(!self.panics || std::thread::panicking(), "on purpose");
                    }
                }
                let kept = Arc::new(());
                let (sender, receiver) = $module::bounded(3);
                for panics in [false, true, false] {
                    let _kept = Arc::clone(&kept);
                    assert!(sender.try_send(Panics { _kept, panics }).is_ok());
                }
                let dropping = std::panic::AssertUnwindSafe(|| drop(receiver));
                drop(std::panic::catch_unwind(dropping));
                assert_eq!(Arc::strong_count(&kept), 1);
                assert!(sender.is_closed());
            }

            /// Every length of a lap, and many laps: positions go round, and values stay in order.
            #[test]
            fn places_are_used_again_lap_after_lap() {
                for capacity in 1..=9_u32 {
                    let (sender, mut receiver) = $module::bounded(capacity as usize);
                    for lap in 0..50 {
                        let fill = 1 + lap % capacity;
                        (0..fill).for_each(|n| sender.try_send((lap, n)).unwrap());
                        assert_eq!(receiver.len(), fill as usize);
                        if fill == capacity {
                            assert!(matches!(
                                sender.try_send((0, 0)),
                                Err(TrySendError::Full(_))
                            ));
                        }
                        for n in 0..fill {
                            assert_eq!(receiver.try_recv(), Ok((lap, n)));
                        }
                        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
                    }
                }
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

/// Small channels, where senders stand in line most of the time, some give up, and the receiver takes
/// one, many or goes to wait: each value that was said to be sent comes, once and in order.
#[test]
fn senders_that_give_up_between_threads_lose_nothing() {
    const SENDERS: usize = 3;
    for capacity in [1, 2, 5] {
        let (sender, mut receiver) = channel::bounded(capacity);
        let threads: Vec<_> = (0..SENDERS)
            .map(|number| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut sent = Vec::new();
                    for value in 0..3_000 {
                        let is_sent = match value % 3 {
                            0 => sender.try_send((number, value)).is_ok(),
                            1 => poll_once(sender.send((number, value))).is_ready(),
                            _ => futures_executor::block_on(sender.send((number, value))).is_ok(),
                        };
                        sent.extend(is_sent.then_some(value));
                    }
                    sent
                })
            })
            .collect();
        drop(sender);
        let mut received = [const { Vec::new() }; SENDERS];
        futures_executor::block_on(async {
            let mut batch = Vec::new();
            loop {
                assert!(
                    poll_once(receiver.recv_batch(&mut batch, 2)).is_ready() || batch.is_empty()
                );
                batch.extend(receiver.try_recv());
                if batch.is_empty() {
                    match receiver.recv().await {
                        Some(value) => batch.push(value),
                        None => break,
                    }
                }
                for (number, value) in batch.drain(..) {
                    received[number].push(value);
                }
            }
        });
        for (thread, received) in threads.into_iter().zip(received) {
            assert_eq!(thread.join().unwrap(), received);
        }
    }
}

/// Its senders fill the places again while they are emptied.
#[test]
fn a_batch_is_never_longer_than_the_channel() {
    let (sender, mut receiver) = channel::bounded(4);
    let threads = [sender.clone(), sender].map(|sender| {
        std::thread::spawn(move || {
            let mut sent = 0;
            while sent < 20_000 {
                sent += u32::from(sender.try_send(sent).is_ok());
            }
        })
    });
    let mut received = 0;
    futures_executor::block_on(async {
        let mut batch = Vec::new();
        while receiver.recv_batch(&mut batch, usize::MAX).await > 0 {
            assert!(batch.len() <= 4);
            received += batch.len();
            batch.clear();
        }
        assert!(batch.capacity() <= 8);
    });
    assert_eq!(received, 40_000);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Behind the last one in line, also where it gave up, everybody goes without the lock again.
#[test]
fn the_gate_opens_behind_the_line() {
    let gated = |sender: &channel::Sender<u8>| format!("{sender:?}").contains("gated: true");
    let (sender, mut receiver) = channel::bounded(1);
    sender.try_send(0).unwrap();
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    assert!(!gated(&sender), "nobody waits");
    let mut waiting = Task::new(sender.send(2));
    assert!(waiting.poll().is_pending());
    assert!(gated(&sender));
    assert_eq!(receiver.try_recv(), Ok(0));
    assert!(gated(&sender), "the place is promised");
    assert_eq!(waiting.poll(), Poll::Ready(Ok(())));
    assert!(!gated(&sender));
    let mut given_up = Task::new(sender.send(3));
    assert!(given_up.poll().is_pending());
    drop(given_up);
    assert!(!gated(&sender));
    receiver.close();
    assert!(!gated(&sender));
}

/// As with the lock that it had before.
#[test]
fn channel_ends_pass_through_catch_unwind_whatever_they_carry() {
    fn is_unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    type Value = std::cell::UnsafeCell<Box<dyn FnMut() + Send>>;
    is_unwind_safe::<channel::Sender<Value>>();
    is_unwind_safe::<channel::Receiver<Value>>();
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
