//! The lists and the kick, on real threads and a real eventfd.
#![allow(unsafe_code, reason = "pushes links and makes an eventfd")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::thread;

use super::*;

/// A block for one test, given back at its end.
struct Owned(&'static WakeBlock);

impl Owned {
    fn new() -> Self {
        Self(WakeBlock::acquire())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the test was its owner and has no tasks.
        unsafe { self.0.release() };
    }
}

/// A leaked link, so that every push may rely on it.
fn link() -> NonNull<Link> {
    NonNull::from(Box::leak(Box::new(Link::new())))
}

fn addresses(chain: &Chain) -> Vec<usize> {
    let mut addresses = Vec::new();
    let mut rest = chain.first;
    while let Some(link) = rest {
        addresses.push(link.addr().get());
        // SAFETY: links are leaked.
        rest = unsafe { link.as_ref() }.next();
    }
    assert_eq!(addresses.len(), chain.len);
    assert_eq!(
        addresses.last().copied(),
        chain.last.map(|last| last.addr().get())
    );
    addresses
}

/// Frees the links of a chain.
fn free(chain: &Chain) {
    for address in addresses(chain) {
        let link = std::ptr::with_exposed_provenance_mut::<Link>(address);
        // SAFETY: the link was leaked from a box, and is in no list any more.
        drop(unsafe { Box::from_raw(link) });
    }
}

fn push(block: &WakeBlock) -> usize {
    let link = link();
    // SAFETY: the link is new, and leaked.
    unsafe { block.push_wake(link) };
    link.as_ptr().expose_provenance()
}

fn push_spawn(spawns: &SpawnBox) -> Result<usize, Refused> {
    spawns.reserve()?;
    let link = link();
    // SAFETY: the link is new, and leaked.
    let pushed = unsafe { spawns.push(link) };
    if pushed.is_err() {
        // SAFETY: a refused link is still the caller's.
        drop(unsafe { Box::from_raw(link.as_ptr()) });
    }
    pushed.map(|_kicked| link.as_ptr().expose_provenance())
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor is new, and this is its owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads the counter of an eventfd, which that sets to zero.
fn read_kicks(block: &'static WakeBlock) -> u64 {
    let fd = block.kick_fd(eventfd).unwrap();
    let mut kicks = [0_u8; 8];
    // SAFETY: the buffer is writable for its length; the descriptor is open.
    let read = unsafe { libc::read(fd.as_raw_fd(), kicks.as_mut_ptr().cast(), kicks.len()) };
    if read < 0 {
        assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::WouldBlock);
        return 0;
    }
    u64::from_ne_bytes(kicks)
}

#[test]
fn wakes_come_out_in_the_order_of_their_pushes() {
    let owned = Owned::new();
    let block = owned.0;
    assert_eq!(block.take_wakes().len, 0);
    let pushed: Vec<_> = (0..5).map(|_| push(block)).collect();
    let taken = block.take_wakes();
    assert_eq!(addresses(&taken), pushed);
    assert_eq!(block.take_wakes().len, 0);
    free(&taken);
}

#[test]
fn pushes_of_many_threads_all_arrive() {
    const THREADS: usize = 4;
    const PUSHES: usize = 2_000;
    let owned = Owned::new();
    let block = owned.0;
    let mut taken = Vec::new();
    let mut pushed = thread::scope(|scope| {
        let pushers: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| (0..PUSHES).map(|_| push(block)).collect::<Vec<_>>()))
            .collect();
        while taken.len() < THREADS * PUSHES {
            let chain = block.take_wakes();
            taken.extend(addresses(&chain));
            thread::yield_now();
        }
        let pushed = pushers
            .into_iter()
            .flat_map(|pusher| pusher.join().unwrap());
        pushed.collect::<Vec<_>>()
    });
    taken.sort_unstable();
    pushed.sort_unstable();
    assert_eq!(taken, pushed);
    for address in taken {
        let link = std::ptr::with_exposed_provenance_mut::<Link>(address);
        // SAFETY: the link was leaked from a box and has been taken.
        drop(unsafe { Box::from_raw(link) });
    }
}

#[test]
fn a_parked_owner_is_kicked_once_through_its_eventfd() {
    let owned = Owned::new();
    let block = owned.0;
    let _ = read_kicks(block);
    push(block);
    assert_eq!(read_kicks(block), 0, "the owner is running");
    assert!(!block.prepare_park(|| true), "there is something to take");
    free(&block.take_wakes());
    assert!(
        !block.prepare_park(|| false),
        "there is something elsewhere"
    );
    assert!(block.prepare_park(|| true));
    assert!(block.is_parked());
    push(block);
    push(block);
    block.notify();
    assert_eq!(read_kicks(block), 1);
    assert!(!block.is_parked());
    assert!(block.unpark(), "kicked");
    assert!(!block.unpark());
    free(&block.take_wakes());
    assert!(block.prepare_park(|| true));
    assert!(!block.unpark(), "not kicked");
    assert_eq!(read_kicks(block), 0);
}

#[test]
fn the_eventfd_stays_with_the_block() {
    let owned = Owned::new();
    let block = owned.0;
    let first = block.kick_fd(eventfd).unwrap().as_raw_fd();
    let second = block
        .kick_fd(|| panic!("there is one already"))
        .unwrap()
        .as_raw_fd();
    assert_eq!(first, second);
}

#[test]
fn a_failed_eventfd_is_an_error_and_may_be_tried_again() {
    let block: &'static WakeBlock = loop {
        let owned = Owned::new();
        let block = owned.0;
        if block
            .kick_fd(|| Err(io::ErrorKind::OutOfMemory.into()))
            .is_err()
        {
            break block;
        }
    };
    block.kick_fd(eventfd).unwrap();
}

#[test]
fn a_spawn_box_is_bounded_and_closes() {
    let owned = Owned::new();
    let block = owned.0;
    let spawns = SpawnBox::new(block, 2);
    assert!(spawns.is_empty());
    let first = push_spawn(&spawns).unwrap();
    let second = push_spawn(&spawns).unwrap();
    assert_eq!(push_spawn(&spawns), Err(Refused::Full));
    let taken = spawns.take();
    assert_eq!(addresses(&taken), [first, second]);
    free(&taken);
    let third = push_spawn(&spawns).unwrap();
    let left = spawns.close();
    assert_eq!(addresses(&left), [third]);
    free(&left);
    assert!(spawns.is_empty());
    assert_eq!(push_spawn(&spawns), Err(Refused::Closed));
    assert_eq!(spawns.take().len, 0);
    assert_eq!(spawns.close().len, 0);
}
