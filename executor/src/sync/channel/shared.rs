//! What the ends of a channel share: its places, and under a lock those who wait.
//!
//! Who sends or receives looks at two flags, and comes to the lock only if somebody waits. Each of the
//! two waits is agreed on in the same way: the one side writes that it waits and looks for a place (or a
//! value) once more, the other frees a place (or fills one) and looks whether somebody waits, each with a
//! fence in between. So one of them sees the other.
//!
//! # Safety
//!
//! This is an unsafe room. The places are emptied by the receiver, of which there is one, by `&mut`; and
//! once it is gone, by whoever holds the lock under which it said so.
#![allow(unsafe_code, reason = "says who may empty places")]

use std::hint::spin_loop;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::Waker;

use crossbeam_utils::CachePadded;

use super::places::{Places, Refused};
use crate::guard::guarded;
use crate::shim::{AtomicUsize, fence};
use crate::sync::lock::{Lock, Mutex};
use crate::sync::permits::{HasPermits, Permits, wake_granted, wake_in_parts};
use crate::sync::{TryRecvError, TrySendError};

/// `Flags::receiver`: it has something to do, or will look before it waits.
const BUSY: usize = 0;
/// `Flags::receiver`: its waker is under the lock.
const WAITING: usize = 1;
/// `Flags::receiver`: whoever holds the lock drops what is there.
const GONE: usize = 2;

/// How often a receiver that may not wait looks for a value that is on its way: a sender fills its place
/// within some instructions, unless its thread is stopped in between.
const FILLING_LOOKS: usize = 100;

#[derive(Debug)]
pub(super) struct Shared<T> {
    places: Places<T>,
    flags: CachePadded<Flags>,
    waits: Mutex<Waits>,
}

/// Written under the lock, and looked at without it by the other side.
#[derive(Debug)]
struct Flags {
    /// What the receiver does. Senders look.
    receiver: AtomicUsize,
    /// Whether senders wait in line (1 or 0). The receiver looks.
    senders_wait: AtomicUsize,
}

/// Under the lock.
#[derive(Debug)]
pub(super) struct Waits {
    /// The line of senders, and the free places that are promised to nobody: as counted when the lock
    /// was taken with the gate closed.
    places: Permits,
    /// The receiver's, while it waits. Whoever takes it sets `Flags::receiver` to `BUSY`.
    receiver: Option<Waker>,
    sender_count: usize,
}

impl HasPermits for Waits {
    fn permits(&mut self) -> &mut Permits {
        &mut self.places
    }
}

impl Waits {
    /// Leaves the receiver's waker, in exchange for what was there.
    pub(super) fn swap_receiver(&mut self, spare: &mut Option<Waker>) {
        std::mem::swap(&mut self.receiver, spare);
    }

    pub(super) fn wakes_receiver(&self, waker: &Waker) -> bool {
        (self.receiver.as_ref()).is_some_and(|stored| stored.will_wake(waker))
    }
}

/// The lock with the gate closed: nobody but who is in here takes a place, and how many are free is known.
impl<T> Lock<Waits> for Shared<T> {
    fn with<R>(&self, visit: impl FnOnce(&mut Waits) -> R) -> R {
        self.waits.with(|waits| {
            self.places.close_gate();
            self.flags.senders_wait.store(1, Relaxed);
            fence(SeqCst);
            let free = self.places.capacity() - self.places.taken();
            let promised = waits.places.granted_count();
            waits.places.set_available(free.saturating_sub(promised));
            let value = visit(waits);
            let is_waited_for = waits.places.is_waited_for();
            // Those who were served come for their places by themselves: the receiver need not.
            (self.flags.senders_wait).store(usize::from(is_waited_for), Relaxed);
            if !is_waited_for && waits.places.granted_count() == 0 {
                self.places.open_gate();
            }
            value
        })
    }
}

impl<T> Shared<T> {
    /// Makes a channel with one sender.
    ///
    /// # Panics
    ///
    /// Panics when `capacity` is zero.
    #[track_caller]
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            places: Places::new(capacity),
            flags: CachePadded::new(Flags {
                receiver: AtomicUsize::new(BUSY),
                senders_wait: AtomicUsize::new(0),
            }),
            waits: Mutex::new(Waits {
                places: Permits::new(capacity),
                receiver: None,
                sender_count: 1,
            }),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    pub(super) fn len(&self) -> usize {
        self.places.taken()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.places.is_closed()
    }

    /// The lock alone.
    pub(super) fn waits(&self) -> &impl Lock<Waits> {
        &self.waits
    }
}

/// Sending.
impl<T> Shared<T> {
    /// Sends without the lock, if it can be done.
    #[inline]
    pub(super) fn send_now(&self, value: T) -> Result<(), Refused<T>> {
        self.places.push(value)?;
        self.tell_receiver();
        Ok(())
    }

    /// Sends if a place is free and nobody waits for one.
    #[inline]
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.send_now(value) {
            Ok(()) => Ok(()),
            Err(Refused::Full(value)) => Err(TrySendError::Full(value)),
            Err(Refused::Closed(value)) => Err(TrySendError::Closed(value)),
            Err(Refused::Gated(value)) => self.try_send_gated(value),
        }
    }

    #[cold]
    fn try_send_gated(&self, value: T) -> Result<(), TrySendError<T>> {
        self.with(|waits| {
            if self.is_closed() {
                Err(TrySendError::Closed(value))
            } else if waits.places.try_acquire(1) {
                self.send_gated(value);
                Ok(())
            } else {
                Err(TrySendError::Full(value))
            }
        })?;
        self.tell_receiver();
        Ok(())
    }

    /// Sends into a place that was just taken out of the permits, within `with`. To be followed by
    /// [`Shared::tell_receiver`], outside of the lock.
    pub(super) fn send_gated(&self, value: T) {
        self.places.push_gated(value);
    }

    /// Wakes the receiver, if it waits, for a value that was sent.
    #[inline]
    pub(super) fn tell_receiver(&self) {
        fence(SeqCst);
        if self.flags.receiver.load(Relaxed) != BUSY {
            self.wake_receiver();
        }
    }

    #[cold]
    fn wake_receiver(&self) {
        let (receiver, is_gone) = self.waits.with(|waits| {
            let is_gone = self.flags.receiver.load(Relaxed) == GONE;
            (self.take_receiver(waits), is_gone)
        });
        if is_gone {
            self.drop_left();
        }
        receiver.into_iter().for_each(Waker::wake);
    }

    pub(super) fn add_sender(&self) {
        self.waits.with(|waits| waits.sender_count += 1);
    }

    pub(super) fn remove_sender(&self) {
        let receiver = self.waits.with(|waits| {
            waits.sender_count -= 1;
            if waits.sender_count > 0 {
                return None;
            }
            self.places.close();
            self.take_receiver(waits)
        });
        receiver.into_iter().for_each(Waker::wake);
    }
}

/// Receiving.
impl<T> Shared<T> {
    /// Takes the first value, if it is there. To be followed by [`Shared::tell_senders`].
    ///
    /// # Safety
    ///
    /// For the receiver alone.
    #[inline]
    pub(super) unsafe fn pop(&self) -> Option<T> {
        // SAFETY: there is one receiver, by the contract, and while it is there nobody else pops.
        unsafe { self.places.pop() }
    }

    /// Lets senders that wait have the places that were freed.
    #[inline]
    pub(super) fn tell_senders(&self) {
        fence(SeqCst);
        if self.flags.senders_wait.load(Relaxed) != 0 {
            wake_granted(self);
        }
    }

    /// Stays for a moment while a sender is about to fill the first place, and others may have filled
    /// theirs behind it. For the receiver.
    pub(super) fn await_first(&self) {
        let looks = if cfg!(corelane_loom) {
            1
        } else {
            FILLING_LOOKS
        };
        for _ in 0..looks {
            if self.places.is_first_there() || self.places.taken() == 0 {
                return;
            }
            spin_loop();
        }
    }

    /// Says whether a value is there, or none will come. For the receiver.
    pub(super) fn is_ready(&self) -> bool {
        self.places.is_first_there() || self.places.is_finished()
    }

    /// Says, of a channel without a value, whether one may still come. For the receiver.
    pub(super) fn why_empty(&self) -> TryRecvError {
        if self.places.is_finished() {
            TryRecvError::Closed
        } else {
            TryRecvError::Empty
        }
    }

    /// Says that the waker under the lock is the receiver's, and looks once more: true when there is
    /// something to do after all. Under the lock.
    pub(super) fn begin_to_wait(&self) -> bool {
        self.flags.receiver.store(WAITING, Relaxed);
        fence(SeqCst);
        self.is_ready()
    }

    /// Takes the waker of a receiver that waits. Under the lock.
    pub(super) fn take_receiver(&self, waits: &mut Waits) -> Option<Waker> {
        let receiver = waits.receiver.take();
        if receiver.is_some() {
            self.flags.receiver.store(BUSY, Relaxed);
        }
        receiver
    }

    /// Refuses further values and sends the waiting senders away; what was sent stays.
    pub(super) fn close(&self) {
        self.waits.with(|_| self.places.close());
        wake_in_parts(self, |waits, wakes| waits.places.release_all(wakes));
    }

    /// Closes and drops what was sent. What a sender is about to fill it drops itself.
    ///
    /// # Safety
    ///
    /// By the receiver, which does not pop after that.
    pub(super) unsafe fn abandon(&self) {
        self.close();
        let receiver = self.waits.with(|waits| {
            let receiver = self.take_receiver(waits);
            self.flags.receiver.store(GONE, Relaxed);
            receiver
        });
        fence(SeqCst);
        self.drop_left();
        drop(receiver);
    }

    /// Drops what is there, outside of the lock, after the receiver.
    fn drop_left(&self) {
        // SAFETY: the receiver has said under this lock that it does not pop any more, and so whoever
        // holds the lock does, one at a time.
        while let Some(value) = self.waits.with(|_| unsafe { self.places.pop() }) {
            guarded(|| drop(value));
        }
    }
}
