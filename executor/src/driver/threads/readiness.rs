//! Operations that wait for their descriptors, over epoll (`polling`).
//!
//! Each operation is tried first; one that would block waits at its descriptor, which is in the
//! poller as long as an operation waits there, edge-triggered: an edge makes all that wait there
//! be tried again, in their order. Operations of one direction take turns, so that what was asked
//! for first is served first; and no other is tried while a thread is at one of them, as both would find
//! that there is something, and one of them would wait for more in a call that nobody can end.
//!
//! # Safety
//!
//! A descriptor is added to the poller only for an operation in flight, whose memory keeps it open
//! until its last completion was dispatched; it is deleted when no operation waits there any more,
//! before the last one's completion is handed out. The kick's eventfd is never closed.
#![allow(unsafe_code, reason = "adds descriptors to a poller")]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use super::alarm::Alarm;
use super::interest::Interest;
use super::pool::Job;
use super::work::{Attempt, Work};
use crate::op::slab::OpKey;
use crate::ring::Cqe;
use crate::ring::buf_ring::Consumer;

/// `IORING_CQE_F_MORE`.
const MORE: u32 = 1 << 1;
/// Results that a multishot operation brings at most before others have their turn.
const BURST_MAX: usize = 32;
/// Descriptors that one look learns of at most; the others are learnt of by the next.
const EVENTS_MAX: usize = 256;
/// Emptied lists of descriptors that are kept for the next.
const SPARE_MAX: usize = 64;

/// What trying operations brings about.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) ready: VecDeque<Cqe>,
    /// What turned out to need a thread.
    pub(super) blocking: Vec<Job>,
}

impl Outbox {
    pub(super) fn post(&mut self, user_data: u64, result: i32, flags: u32) {
        self.ready.push_back(Cqe {
            user_data,
            result,
            flags,
        });
    }
}

/// Operations that wait for readiness.
pub(super) struct Readiness {
    poller: Arc<Poller>,
    events: Events,
    sources: HashMap<RawFd, Source>,
    waiting: HashMap<OpKey, RawFd>,
    /// Where threads are at operations that were found ready, and in which direction.
    blocking: HashMap<RawFd, Interest>,
    /// Descriptors at which operations are to be tried.
    hot: VecDeque<RawFd>,
    /// Descriptors at which they are to be tried when the alarm goes off.
    paused: Vec<RawFd>,
    alarm: Option<Alarm>,
    groups: HashMap<u16, Consumer>,
    spare: Vec<VecDeque<Waiting>>,
    kick: Option<RawFd>,
}

/// A descriptor at which operations wait.
#[derive(Debug, Default)]
struct Source {
    ops: VecDeque<Waiting>,
    /// What the poller tells of.
    registered: Interest,
    hot: bool,
}

#[derive(Debug)]
struct Waiting {
    key: OpKey,
    work: Work,
    /// Waits for the alarm, not for readiness.
    paused: bool,
}

/// What became of an operation that was tried.
#[derive(Debug)]
enum Tried {
    Over,
    /// Only a call that may block can tell.
    Blocks,
    Waits {
        paused: bool,
    },
    /// There is more, but others have their turn first.
    HasMore,
}

impl Readiness {
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        let events = NonZeroUsize::new(EVENTS_MAX).expect("not zero");
        Self {
            poller,
            events: Events::with_capacity(events),
            sources: HashMap::new(),
            waiting: HashMap::new(),
            blocking: HashMap::new(),
            hot: VecDeque::new(),
            paused: Vec::new(),
            alarm: None,
            groups: HashMap::new(),
            spare: Vec::new(),
            kick: None,
        }
    }

    /// Says whether a look could find something.
    pub(super) fn is_waiting(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Says whether operations are to be tried without a look.
    pub(super) fn is_hot(&self) -> bool {
        !self.hot.is_empty()
    }

    /// Returns a descriptor that is readable when a look would find something.
    pub(super) fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.poller.as_fd().try_clone_to_owned()
    }

    pub(super) fn add_group(&mut self, group: u16, buffers: Consumer) {
        self.groups.insert(group, buffers);
    }

    pub(super) fn remove_group(&mut self, group: u16) {
        self.groups.remove(&group);
    }

    /// Lets writes to the kick's eventfd end a look, for ever.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub(super) fn add_kick(&mut self, eventfd: RawFd) -> io::Result<()> {
        self.kick = Some(eventfd);
        let event = Event::readable(key_of(eventfd));
        // SAFETY: the eventfd of a block is never closed.
        unsafe { self.poller.add_with_mode(eventfd, event, PollMode::Level) }
    }

    /// Tries an operation, and lets it wait when it would block.
    pub(super) fn start(&mut self, key: OpKey, mut work: Work, out: &mut Outbox) {
        let fd = work.fd();
        let behind = work.takes_turns()
            && (self.is_blocking(fd, work.interest())
                || self.sources.get(&fd).is_some_and(|source| {
                    let mut ops = source.ops.iter().map(|op| &op.work);
                    ops.any(|op| op.takes_turns() && op.interest().overlaps(work.interest()))
                }));
        // A poll is asked of the poller first: it knows what cannot be polled.
        let tried = if behind || !work.takes_turns() {
            Tried::Waits { paused: false }
        } else {
            self.attempt(key, &mut work, out)
        };
        match tried {
            Tried::Over => {}
            Tried::Blocks => self.block(Job { key, work }, out),
            Tried::Waits { paused } => self.wait(key, work, paused, false, out),
            Tried::HasMore => self.wait(key, work, false, true, out),
        }
    }

    /// Gives an operation that was found ready to a thread.
    fn block(&mut self, job: Job, out: &mut Outbox) {
        let blocking = self.blocking.entry(job.work.fd()).or_default();
        *blocking = blocking.or(job.work.interest());
        out.blocking.push(job);
    }

    fn is_blocking(&self, fd: RawFd, interest: Interest) -> bool {
        let blocking = self.blocking.get(&fd);
        blocking.is_some_and(|blocking| blocking.overlaps(interest))
    }

    /// No thread is at this work any more: others may be tried.
    pub(super) fn unblock(&mut self, work: &Work) {
        let fd = work.fd();
        if work.is_stream()
            && let Some(blocking) = self.blocking.get_mut(&fd)
        {
            *blocking = blocking.without(work.interest());
            if *blocking == Interest::NONE {
                self.blocking.remove(&fd);
            }
            self.heat(fd);
        }
    }

    fn wait(&mut self, key: OpKey, work: Work, paused: bool, hot: bool, out: &mut Outbox) {
        let fd = work.fd();
        let spare = &mut self.spare;
        let source = self.sources.entry(fd).or_insert_with(|| Source {
            ops: spare.pop().unwrap_or_default(),
            ..Source::default()
        });
        let before = source.registered;
        let polls = !work.takes_turns();
        source.ops.push_back(Waiting { key, work, paused });
        self.waiting.insert(key, fd);
        match self.register(fd) {
            // An edge that has been told of is not told of again.
            Ok(()) if hot || (polls && self.registered(fd) == before) => self.heat(fd),
            Ok(()) => {}
            Err(error) => self.refuse(fd, key, &error, out),
        }
    }

    fn registered(&self, fd: RawFd) -> Interest {
        self.sources
            .get(&fd)
            .map_or(Interest::NONE, |source| source.registered)
    }

    /// Ends an operation whose descriptor the poller does not take; a file that cannot be polled
    /// is blocked on instead.
    fn refuse(&mut self, fd: RawFd, key: OpKey, error: &io::Error, out: &mut Outbox) {
        let Some(Waiting { key, work, .. }) = self.remove(fd, key) else {
            return;
        };
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        if errno == libc::EPERM && work.is_stream() {
            out.blocking.push(Job { key, work });
        } else {
            out.post(key.user_data(), -errno, 0);
        }
    }

    fn refuse_all(&mut self, fd: RawFd, error: &io::Error, out: &mut Outbox) {
        let ops = self.sources.get(&fd).map(|source| source.ops.iter());
        let keys: Vec<OpKey> = ops.into_iter().flatten().map(|op| op.key).collect();
        for key in keys {
            self.refuse(fd, key, error, out);
        }
    }

    /// Ends the wait of an operation; false when it does not wait here.
    pub(super) fn cancel(&mut self, key: OpKey, out: &mut Outbox) -> bool {
        let Some(&fd) = self.waiting.get(&key) else {
            return false;
        };
        let Some(op) = self.remove(fd, key) else {
            return false;
        };
        out.post(key.user_data(), op.work.cancelled(), 0);
        true
    }

    fn remove(&mut self, fd: RawFd, key: OpKey) -> Option<Waiting> {
        self.waiting.remove(&key);
        let source = self.sources.get_mut(&fd)?;
        let at = source.ops.iter().position(|op| op.key == key)?;
        let op = source.ops.remove(at);
        self.settle(fd);
        op
    }

    /// Tells the poller what is waited for at `fd` now.
    fn register(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(source) = self.sources.get_mut(&fd) else {
            return Ok(());
        };
        let wanted = source
            .ops
            .iter()
            .filter(|op| !op.paused)
            .fold(Interest::NONE, |all, op| all.or(op.work.interest()));
        if wanted == source.registered {
            return Ok(());
        }
        let event = Event::new(key_of(fd), wanted.read, wanted.write);
        // SAFETY: an operation waits at the descriptor, or has just ended and is not dispatched
        // yet: it is open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        if wanted == Interest::NONE {
            source.registered = wanted;
            return self.poller.delete(borrowed);
        }
        if source.registered == Interest::NONE {
            // SAFETY: as above; it is deleted before the last operation's completion is handed
            // out, by `settle`.
            unsafe { self.poller.add_with_mode(fd, event, PollMode::Edge) }?;
        } else {
            let modified = self
                .poller
                .modify_with_mode(borrowed, event, PollMode::Edge);
            modified?;
        }
        source.registered = wanted;
        Ok(())
    }

    /// Waits for less after operations have left, and forgets a descriptor at which none waits.
    fn settle(&mut self, fd: RawFd) {
        // To ask for less fails only where the descriptor is not known, by nobody's fault: then
        // nothing is asked for.
        let _ = self.register(fd);
        if let Some(source) = self.sources.get(&fd)
            && source.ops.is_empty()
            && let Some(source) = self.sources.remove(&fd)
            && self.spare.len() < SPARE_MAX
        {
            self.spare.push(source.ops);
        }
    }

    fn heat(&mut self, fd: RawFd) {
        heat(&mut self.sources, &mut self.hot, fd);
    }

    /// Waits until a descriptor is ready, no longer than `timeout`. True when the kick was there.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2).
    pub(super) fn look(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        let mut kicked = false;
        for event in self.events.iter() {
            let fd = RawFd::try_from(event.key).expect("keys are descriptors");
            if self.kick == Some(fd) {
                kicked |= super::alarm::drain(fd);
            } else if let Some(alarm) = self.alarm.as_mut().filter(|alarm| alarm.fd() == fd) {
                alarm.stop();
                for fd in self.paused.drain(..) {
                    heat(&mut self.sources, &mut self.hot, fd);
                }
            } else {
                heat(&mut self.sources, &mut self.hot, fd);
            }
        }
        Ok(kicked)
    }

    /// Tries what was found ready, once.
    pub(super) fn proceed(&mut self, out: &mut Outbox) {
        for _ in 0..self.hot.len() {
            if let Some(fd) = self.hot.pop_front() {
                self.proceed_at(fd, out);
            }
        }
    }

    /// Lets the operations at `fd` be tried again after a pause.
    ///
    /// # Errors
    ///
    /// Those of timerfd_create(2) and epoll_ctl(2).
    fn pause(&mut self, fd: RawFd, pause: Duration) -> io::Result<()> {
        let alarm = match &mut self.alarm {
            Some(alarm) => alarm,
            none => {
                let alarm = Alarm::new()?;
                let event = Event::readable(key_of(alarm.fd()));
                // SAFETY: the alarm is open, and is deleted from the poller when this is dropped.
                unsafe {
                    self.poller
                        .add_with_mode(alarm.fd(), event, PollMode::Level)
                }?;
                none.insert(alarm)
            }
        };
        self.paused.push(fd);
        // Too early for some is no harm: they pause again.
        alarm.start(pause);
        Ok(())
    }

    fn proceed_at(&mut self, fd: RawFd, out: &mut Outbox) {
        let Some(source) = self.sources.get_mut(&fd) else {
            return;
        };
        source.hot = false;
        let mut ops = std::mem::take(&mut source.ops);
        let mut blocked = self.blocking.get(&fd).copied().unwrap_or_default();
        let mut has_more = false;
        for _ in 0..ops.len() {
            let Some(mut op) = ops.pop_front() else {
                break;
            };
            let interest = op.work.interest();
            if op.work.takes_turns() && blocked.overlaps(interest) {
                ops.push_back(op);
                continue;
            }
            match self.attempt(op.key, &mut op.work, out) {
                Tried::Over => {
                    self.waiting.remove(&op.key);
                    continue;
                }
                Tried::Blocks => {
                    self.waiting.remove(&op.key);
                    blocked = blocked.or(interest);
                    let Waiting { key, work, .. } = op;
                    self.block(Job { key, work }, out);
                    continue;
                }
                Tried::Waits { paused } => op.paused = paused,
                Tried::HasMore => has_more = true,
            }
            if op.work.takes_turns() {
                blocked = blocked.or(interest);
            }
            ops.push_back(op);
        }
        if let Some(source) = self.sources.get_mut(&fd) {
            source.ops = ops;
        }
        if has_more {
            self.heat(fd);
        }
        // What has paused until now waits for readiness, perhaps.
        if let Err(error) = self.register(fd) {
            self.refuse_all(fd, &error, out);
        }
        self.settle(fd);
    }

    /// Tries an operation until it would block.
    fn attempt(&mut self, key: OpKey, work: &mut Work, out: &mut Outbox) -> Tried {
        let user_data = key.user_data();
        for _ in 0..BURST_MAX {
            let buffers = work.group().and_then(|group| self.groups.get_mut(&group));
            match work.attempt(buffers) {
                Attempt::Done(result) => {
                    out.post(user_data, result, 0);
                    return Tried::Over;
                }
                Attempt::More(result, flags) => out.post(user_data, result, flags | MORE),
                Attempt::Wait => return Tried::Waits { paused: false },
                Attempt::Pause(pause) => match self.pause(work.fd(), pause) {
                    Ok(()) => return Tried::Waits { paused: true },
                    Err(_) => {
                        out.post(user_data, -libc::EAGAIN, 0);
                        return Tried::Over;
                    }
                },
                Attempt::Pool => return Tried::Blocks,
            }
        }
        Tried::HasMore
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness")
            .field("sources", &self.sources)
            .field("hot", &self.hot)
            .finish_non_exhaustive()
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if let Some(alarm) = &self.alarm {
            // Nothing is left to do where it fails: the poller ends with this.
            let _ = self.poller.delete(alarm.as_fd());
        }
    }
}

/// Notes that the operations at `fd` are to be tried.
fn heat(sources: &mut HashMap<RawFd, Source>, hot: &mut VecDeque<RawFd>, fd: RawFd) {
    if let Some(source) = sources.get_mut(&fd)
        && !std::mem::replace(&mut source.hot, true)
    {
        hot.push_back(fd);
    }
}

fn key_of(fd: RawFd) -> usize {
    usize::try_from(fd).expect("descriptors in flight are not negative")
}
