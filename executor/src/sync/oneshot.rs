//! One value from one task or thread to another, on any executor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::lock::{Lock, Mutex};
use super::permits::{Look, poll_look};
use super::{RecvError, TryRecvError};

/// Sends the value.
#[derive(Debug)]
pub struct Sender<T> {
    state: Arc<Mutex<State<T>>>,
}

/// Receives the value: a future of `Result<T, RecvError>`.
///
/// # Cancel safety
///
/// Polling it by reference and giving up loses nothing. Dropping it closes the channel: the value,
/// sent before or after, is given back to the sender or dropped.
#[derive(Debug)]
#[must_use = "dropping the receiver closes the channel"]
pub struct Receiver<T> {
    state: Arc<Mutex<State<T>>>,
}

#[derive(Debug)]
struct State<T> {
    /// Put by `Sender::send`, taken by the receiver.
    value: Option<T>,
    /// Put by `Receiver::poll`, taken by the sender.
    receiver: Option<Waker>,
    /// Set when the sender has sent or is gone.
    sender_done: bool,
    /// Set when the receiver is gone.
    receiver_gone: bool,
}

/// Makes a channel for one value.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = corelane::sync::oneshot::channel();
/// std::thread::spawn(move || sender.send(7).unwrap());
/// assert_eq!(futures_executor::block_on(receiver), Ok(7));
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        value: None,
        receiver: None,
        sender_done: false,
        receiver_gone: false,
    };
    let state = Arc::new(Mutex::new(state));
    (
        Sender {
            state: Arc::clone(&state),
        },
        Receiver { state },
    )
}

impl<T> Sender<T> {
    /// Sends the value; never waits.
    ///
    /// # Errors
    ///
    /// Gives the value back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let receiver = self.state.with(|state| {
            if state.receiver_gone {
                return Err(value);
            }
            state.value = Some(value);
            state.sender_done = true;
            Ok(state.receiver.take())
        })?;
        receiver.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Says whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.with(|state| state.receiver_gone)
    }
}

impl<T> Receiver<T> {
    /// Receives the value if it has been sent.
    ///
    /// # Errors
    ///
    /// Says whether it may still come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.state.with(|state| match state.value.take() {
            Some(value) => Ok(value),
            None if state.sender_done => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        })
    }

    /// Says whether the sender has sent or is gone: the next poll is ready.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.with(|state| state.sender_done)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = poll_look(
            &*self.state,
            context,
            |state: &mut State<T>, waker, spare| {
                if state.sender_done {
                    return (Look::Ready, state.value.take());
                }
                match &state.receiver {
                    Some(stored) if stored.will_wake(waker) => (Look::Pending, None),
                    _ if spare.is_none() => (Look::NeedWaker, None),
                    _ => {
                        std::mem::swap(&mut state.receiver, spare);
                        (Look::Pending, None)
                    }
                }
            },
        );
        polled.map(|value| value.ok_or(RecvError))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let receiver = self.state.with(|state| {
            state.sender_done = true;
            state.receiver.take()
        });
        receiver.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = self.state.with(|state| {
            state.receiver_gone = true;
            (state.value.take(), state.receiver.take())
        });
        drop(left);
    }
}
