//! Models of the channels between threads: no value and no wake is lost, and every wait ends.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::{RecvError, channel, oneshot};

/// Explores with at most this many preemptions.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Waits on a thread that sleeps meanwhile: a wake that is lost is a deadlock, which loom reports.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Sleeper(loom::sync::Notify);
    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }
    let sleeper = Arc::new(Sleeper(loom::sync::Notify::new()));
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => sleeper.0.wait(),
        }
    }
}

#[test]
fn loom_a_full_channel_gives_every_value_once_and_then_ends() {
    model(2, || {
        let (sender, mut receiver) = channel::bounded(1);
        let sending = thread::spawn(move || {
            for value in 1..=3 {
                block_on(sender.send(value)).unwrap();
            }
        });
        let mut received = Vec::new();
        while let Some(value) = block_on(receiver.recv()) {
            received.push(value);
        }
        assert_eq!(received, [1, 2, 3]);
        sending.join().unwrap();
    });
}

#[test]
fn loom_senders_that_wait_share_the_places_that_a_batch_frees() {
    model(2, || {
        let (sender, mut receiver) = channel::bounded(1);
        let senders = [sender.clone(), sender];
        let sending = senders.map(|sender| thread::spawn(move || block_on(sender.send(1))));
        let mut batch = Vec::new();
        while block_on(receiver.recv_batch(&mut batch, 4)) > 0 {}
        assert_eq!(batch, [1, 1]);
        for sender in sending {
            assert!(sender.join().unwrap().is_ok());
        }
    });
}

/// The receiver takes one value and does not come again: the sender has to see the place by itself, or
/// to have been seen in line.
#[test]
fn loom_a_sender_gets_the_place_that_a_receiver_frees_and_turns_away_from() {
    model(3, || {
        let (sender, mut receiver) = channel::bounded(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let sending = thread::spawn(move || block_on(sender.send(3)).is_ok());
        assert_eq!(block_on(receiver.recv()), Some(1));
        assert!(sending.join().unwrap());
        assert_eq!(block_on(receiver.recv()), Some(2));
        assert_eq!(block_on(receiver.recv()), Some(3));
    });
}

#[test]
fn loom_a_receiver_that_goes_sends_every_sender_away() {
    model(3, || {
        let (sender, receiver) = channel::bounded(1);
        sender.try_send(Arc::new(())).unwrap();
        let sending = thread::spawn(move || {
            let value = Arc::new(());
            let back = block_on(sender.send(Arc::clone(&value)));
            assert!(back.is_err(), "there never was a place");
            drop(back);
            assert_eq!(Arc::strong_count(&value), 1);
        });
        drop(receiver);
        sending.join().unwrap();
    });
}

/// It is given up before or after the place was promised to it; the next in line gets it.
#[test]
fn loom_a_send_that_is_given_up_hands_its_place_on() {
    model(2, || {
        let (sender, mut receiver) = channel::bounded(1);
        sender.try_send(1).unwrap();
        let other = sender.clone();
        let mut given_up = Box::pin(async move { sender.send(2).await });
        let polled = (given_up.as_mut()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let waiting = thread::spawn(move || block_on(other.send(4)).is_ok());
        let giving_up = thread::spawn(move || drop(given_up));
        assert_eq!(block_on(receiver.recv()), Some(1));
        assert_eq!(block_on(receiver.recv()), Some(4));
        assert!(waiting.join().unwrap());
        giving_up.join().unwrap();
        assert_eq!(block_on(receiver.recv()), None);
    });
}

/// Both race for the places without the lock, on the second lap as well.
#[test]
fn loom_two_senders_fill_two_places_and_each_value_comes_once() {
    model(2, || {
        let (sender, mut receiver) = channel::bounded(2);
        let other = sender.clone();
        let sending = thread::spawn(move || {
            sender.try_send(Box::new(1)).unwrap();
        });
        other.try_send(Box::new(2)).unwrap();
        drop(other);
        let mut sum = 0;
        while let Some(value) = block_on(receiver.recv()) {
            sum += *value;
        }
        assert_eq!(sum, 3);
        sending.join().unwrap();
    });
}

/// The receiver waits or not when the value comes: it gets it, and then the end.
#[test]
fn loom_a_receiver_that_goes_to_wait_sees_the_value_or_is_woken() {
    model(3, || {
        let (sender, mut receiver) = channel::bounded(4);
        let sending = thread::spawn(move || {
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
        });
        assert_eq!(block_on(receiver.recv()), Some(1));
        assert_eq!(block_on(receiver.recv()), Some(2));
        assert_eq!(block_on(receiver.recv()), None);
        sending.join().unwrap();
    });
}

/// The place of the value that is taken belongs to who waits in line, and not to who passes by.
#[test]
fn loom_nobody_passes_a_sender_in_line() {
    model(3, || {
        let (sender, mut receiver) = channel::bounded(1);
        sender.try_send(1).unwrap();
        let other = sender.clone();
        let mut waiting = Box::pin(sender.send(2));
        let waker = Waker::noop();
        let polled = waiting.as_mut().poll(&mut Context::from_waker(waker));
        assert!(polled.is_pending());
        let passing = thread::spawn(move || other.try_send(3).is_ok());
        assert_eq!(receiver.try_recv(), Ok(1));
        assert!(!passing.join().unwrap(), "the place was promised");
        let polled = waiting.as_mut().poll(&mut Context::from_waker(waker));
        assert!(polled.is_ready());
        assert_eq!(receiver.try_recv(), Ok(2));
    });
}

/// A value that is on its way when the receiver goes is dropped by one of the two, once.
#[test]
fn loom_a_value_on_its_way_to_a_receiver_that_goes_is_dropped() {
    model(3, || {
        let (sender, receiver) = channel::bounded(1);
        let value = Arc::new(());
        let sent = Arc::clone(&value);
        let kept = sender.clone();
        let sending = thread::spawn(move || drop(sender.try_send(sent)));
        drop(receiver);
        sending.join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(kept.is_closed());
    });
}

/// What was sent before the receiver closed comes out, and what was not is given back.
#[test]
fn loom_a_close_cuts_between_what_comes_and_what_is_given_back() {
    model(3, || {
        let (sender, mut receiver) = channel::bounded(2);
        let sending = thread::spawn(move || sender.try_send(1).is_ok());
        receiver.close();
        let received = block_on(receiver.recv());
        assert_eq!(received.is_some(), sending.join().unwrap());
        assert_eq!(block_on(receiver.recv()), None);
    });
}

/// The head moves after the number of the place that it frees: a sender that fills the place in between
/// is more than a lap ahead of the head that the next one sees, which must not take that for room.
#[test]
fn loom_a_place_that_is_filled_before_the_head_has_moved_is_not_promised_again() {
    model(3, || {
        let (sender, mut receiver) = channel::bounded(2);
        sender.try_send(0).unwrap();
        // The head is the last of its lap.
        assert_eq!(receiver.try_recv(), Ok(0));
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let sending = thread::spawn(move || {
            for value in 3..=4 {
                block_on(sender.send(value)).unwrap();
            }
        });
        for value in 1..=4 {
            assert_eq!(block_on(receiver.recv()), Some(value));
        }
        assert_eq!(block_on(receiver.recv()), None);
        sending.join().unwrap();
    });
}

/// Who comes after the line was served finds a free place.
#[test]
fn loom_a_sender_that_comes_after_the_line_is_not_refused() {
    model(2, || {
        let (sender, mut receiver) = channel::bounded(1);
        sender.try_send(1).unwrap();
        let sending = thread::spawn(move || {
            block_on(sender.send(2)).unwrap();
            sender
        });
        assert_eq!(block_on(receiver.recv()), Some(1));
        assert_eq!(block_on(receiver.recv()), Some(2));
        let sender = sending.join().unwrap();
        sender.try_send(3).unwrap();
        assert_eq!(receiver.try_recv(), Ok(3));
    });
}

#[test]
fn loom_a_oneshot_delivers_what_was_sent_or_says_that_nothing_comes() {
    model(3, || {
        for sends in [true, false] {
            let (sender, receiver) = oneshot::channel();
            let sending = thread::spawn(move || {
                if sends {
                    sender.send(7).unwrap();
                } else {
                    drop(sender);
                }
            });
            let expected = if sends { Ok(7) } else { Err(RecvError) };
            assert_eq!(block_on(receiver), expected);
            sending.join().unwrap();
        }
    });
}

#[test]
fn loom_a_oneshot_whose_receiver_goes_gives_the_value_back_or_drops_it() {
    model(3, || {
        let (sender, receiver) = oneshot::channel();
        let value = Arc::new(());
        let sent = Arc::clone(&value);
        let sending = thread::spawn(move || drop(sender.send(sent)));
        drop(receiver);
        sending.join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}
