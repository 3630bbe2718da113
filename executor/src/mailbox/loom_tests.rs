//! Models of the shipped wake list and park protocol.
#![allow(unsafe_code, reason = "pushes links")]

use std::ptr::NonNull;

use loom::thread;

use super::*;

/// A link for one push; freed by the test when it was taken.
fn link() -> NonNull<Link> {
    NonNull::from(Box::leak(Box::new(Link::new())))
}

fn free(chain: Chain) -> usize {
    let mut rest = chain.first;
    while let Some(link) = rest {
        // SAFETY: the link was leaked from a box, and the chain is the only one to have it.
        let link = unsafe { Box::from_raw(link.as_ptr()) };
        rest = link.next();
    }
    chain.len
}

fn push(block: &WakeBlock) {
    // SAFETY: the link is new, and lives until it was taken.
    unsafe { block.push_wake(link()) };
}

/// Takes `expected` wakes, parking when there is nothing; holds the kicks to the announcements.
fn take_all(block: &'static WakeBlock, expected: usize) {
    let (mut taken, mut announced) = (0, 0);
    while taken < expected {
        announced += 1;
        if block.prepare_park(|| true) {
            block.wait_for_kick();
        }
        block.unpark();
        taken += free(block.take_wakes());
        assert!(
            block.kicks_sent() <= announced,
            "a kick for each announcement at most"
        );
    }
}

#[test]
fn loom_a_push_is_seen_or_kicks() {
    loom::model(|| {
        let block = WakeBlock::acquire();
        let pushing = thread::spawn(move || push(block));
        take_all(block, 1);
        pushing.join().unwrap();
    });
}

#[test]
fn loom_two_pushers_kick_once_for_each_announcement() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let block = WakeBlock::acquire();
        let pushing = [(); 2].map(|()| thread::spawn(move || push(block)));
        take_all(block, 2);
        for pushing in pushing {
            pushing.join().unwrap();
        }
    });
}

#[test]
fn loom_one_thread_pushes_twice() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let block = WakeBlock::acquire();
        let pushing = thread::spawn(move || {
            push(block);
            push(block);
        });
        take_all(block, 2);
        pushing.join().unwrap();
    });
}

#[test]
fn loom_a_closed_box_takes_nothing_more() {
    loom::model(|| {
        let block = WakeBlock::acquire();
        let spawns = loom::sync::Arc::new(SpawnBox::new(block, 1));
        let pushing = {
            let spawns = loom::sync::Arc::clone(&spawns);
            thread::spawn(move || {
                spawns.reserve().unwrap();
                let link = link();
                // SAFETY: the link is new, and lives until it was taken.
                let pushed = unsafe { spawns.push(link) };
                if pushed.is_err() {
                    // SAFETY: a refused link is still this thread's.
                    drop(unsafe { Box::from_raw(link.as_ptr()) });
                }
                pushed
            })
        };
        let taken = free(spawns.take()) + free(spawns.close());
        match pushing.join().unwrap() {
            Ok(_kicked) => assert_eq!(taken, 1),
            Err(refused) => assert_eq!((taken, refused), (0, Refused::Closed)),
        }
        assert!(spawns.is_empty());
    });
}
