//! A bare ring: reads kept at a constant depth by one loop, with nothing around it.
//!
//! # Safety
//!
//! The kernel writes into a slot's buffer between the push of a read and its completion. Buffers
//! are boxed slices of a [`BareRing`], so they do not move, and are looked at only when the slot
//! has no read in flight. [`BareRing::read`] returns only when no read is in flight, and a panic
//! or an error on the way there aborts the process ([`Bomb`]).
#![allow(
    unsafe_code,
    reason = "drives io_uring without the library that is measured"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::squeue::SubmissionQueue;
use io_uring::{IoUring, opcode, types};

use crate::Failure;
use crate::content::{Positions, READ_LEN, check_sum, is_content};

/// A ring and as many buffers as reads are kept in flight.
pub(crate) struct BareRing {
    ring: IoUring,
    slots: Vec<Slot>,
}

struct Slot {
    buf: Box<[u8]>,
    positions: Positions,
    at: u64,
    left: u64,
}

impl BareRing {
    /// Sets a ring up the best way this kernel offers, on the calling thread.
    pub(crate) fn new(depth: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(depth.next_power_of_two())?;
        let slot = |seed| Slot {
            buf: vec![0; READ_LEN].into(),
            positions: Positions::new(seed),
            at: 0,
            left: 0,
        };
        Ok(Self {
            ring,
            slots: (0..u64::from(depth)).map(slot).collect(),
        })
    }

    /// Lets each slot do `reads` reads of `file` at its positions, from their beginning, and
    /// returns the sum of the checks. With `whole`, every byte is checked.
    pub(crate) fn read(&mut self, file: &File, reads: u64, whole: bool) -> Result<u64, Failure> {
        for (seed, slot) in (0..).zip(&mut self.slots) {
            slot.positions = Positions::new(seed);
            slot.left = reads;
        }
        let Self { ring, slots } = self;
        let (submitter, mut sq, mut cq) = ring.split();
        let bomb = Bomb;
        let (mut sum, mut in_flight, mut failed) = (0_u64, 0_usize, None);
        for (index, slot) in slots.iter_mut().enumerate() {
            in_flight += usize::from(slot.push(&mut sq, file, index));
        }
        while in_flight > 0 {
            sq.sync();
            match submitter.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("the bare ring cannot be entered: {error}"),
            }
            // The kernel has taken the entries, and delivered what is complete.
            sq.sync();
            cq.sync();
            for cqe in &mut cq {
                in_flight -= 1;
                let index = usize::try_from(cqe.user_data()).expect("an index was pushed");
                let slot = &mut slots[index];
                if usize::try_from(cqe.result()) != Ok(READ_LEN)
                    || (whole && !is_content(&slot.buf, slot.at))
                {
                    failed = Some((slot.at, cqe.result()));
                }
                sum = sum.wrapping_add(check_sum(&slot.buf));
                in_flight += usize::from(failed.is_none() && slot.push(&mut sq, file, index));
            }
        }
        std::mem::forget(bomb);
        match failed {
            None => Ok(sum),
            Some((at, result)) => Err(format!("the read at {at} gave {result}").into()),
        }
    }
}

impl Slot {
    /// Pushes the next read, if there is one left. No read of the slot is in flight.
    fn push(&mut self, sq: &mut SubmissionQueue<'_>, file: &File, index: usize) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.at = self.positions.next();
        let len = u32::try_from(self.buf.len()).expect("a short buffer");
        let read = opcode::Read::new(types::Fd(file.as_raw_fd()), self.buf.as_mut_ptr(), len)
            .offset(self.at)
            .build()
            .user_data(index as u64);
        // SAFETY: the buffer outlives the read and nobody else touches it meanwhile, as the
        // caller waits for every completion before it returns, and holds the file for as long.
        let pushed = unsafe { sq.push(&read) };
        pushed.expect("the queue has an entry for each slot");
        true
    }
}

/// Ends the process when it is dropped: reads are in flight, and nothing says until when.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::process::abort();
    }
}
