//! A bare ring: reads kept at a constant depth by one loop, with nothing around it.
//!
//! # Safety
//!
//! The kernel writes into a slot's buffer between the push of a read and its completion. Buffers
//! are boxed slices of a [`BareRing`], so they do not move, and are looked at only when the slot
//! has no read in flight. [`BareRing::read`] returns only when no read is in flight, and a panic
//! or an error on the way there aborts the process ([`Bomb`]). Where the buffers are registered,
//! the kernel holds their pages until the ring is closed, which is before they are freed, and
//! touches them in reads alone. Registered files are held by the corpus and, besides, by the ring.
#![allow(
    unsafe_code,
    reason = "drives io_uring without the library that is measured"
)]

use std::io;
use std::os::fd::AsRawFd;

use io_uring::squeue::SubmissionQueue;
use io_uring::{IoUring, opcode, types};

use crate::Failure;
use crate::content::{Corpus, Positions, Span, check_sum, is_content};

/// Direct reads want their memory aligned; so that all are alike, every buffer is.
const ALIGN: usize = 4096;

/// How many reads are kept in flight, of what, and into what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) depth: u32,
    pub(crate) span: Span,
    pub(crate) registered: Registered,
}

/// What the ring knows beforehand, so that the kernel need not look it up for each read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    Nothing,
    Buffers,
    BuffersAndFiles,
}

/// A ring and as many buffers as reads are kept in flight.
pub(crate) struct BareRing {
    // Closed before the buffers are freed.
    ring: IoUring,
    slots: Vec<Slot>,
    shape: Shape,
    /// How often the ring was entered.
    pub(crate) enters: u64,
}

struct Slot {
    index: u16,
    memory: Box<[u8]>,
    /// Where the aligned part begins.
    begin: usize,
    positions: Positions,
    at: u64,
    left: u64,
}

impl BareRing {
    /// Sets a ring up, on the calling thread.
    pub(crate) fn new(shape: Shape) -> io::Result<Self> {
        let ring = super::set_up(shape.depth)?;
        let depth = u16::try_from(shape.depth).expect("a moderate depth");
        let mut slots: Vec<Slot> = (0..depth)
            .map(|index| {
                let memory: Box<[u8]> = vec![0; shape.span.read_len + ALIGN].into();
                Slot {
                    index,
                    begin: memory.as_ptr().align_offset(ALIGN),
                    memory,
                    positions: Positions::new(0, shape.span),
                    at: 0,
                    left: 0,
                }
            })
            .collect();
        if shape.registered != Registered::Nothing {
            let iovecs: Vec<_> = slots
                .iter_mut()
                .map(|slot| slot.iovec(shape.span.read_len))
                .collect();
            // SAFETY: the buffers live as long as the ring, which is closed before they are freed,
            // and reads are the only ones to write to them.
            unsafe { ring.submitter().register_buffers(&iovecs) }?;
        }
        Ok(Self {
            ring,
            slots,
            shape,
            enters: 0,
        })
    }

    /// Lets each slot do `reads` reads of the corpus at its positions, from their beginning, and
    /// returns the sum of the checks. The first slot's positions are those of `first_seed`. With
    /// `whole`, every byte is checked.
    pub(crate) fn read(
        &mut self,
        corpus: &Corpus,
        first_seed: u64,
        reads: u64,
        whole: bool,
    ) -> Result<u64, Failure> {
        for (seed, slot) in (first_seed..).zip(&mut self.slots) {
            slot.positions = Positions::new(seed, self.shape.span);
            slot.left = reads;
        }
        let Self {
            ring,
            slots,
            shape,
            enters,
        } = self;
        let (submitter, mut sq, mut cq) = ring.split();
        let by_number = shape.registered == Registered::BuffersAndFiles;
        if by_number {
            submitter.register_files(&corpus.descriptors())?;
        }
        let bomb = Bomb;
        let (mut sum, mut in_flight, mut failed) = (0_u64, 0_usize, None);
        for slot in slots.iter_mut() {
            in_flight += usize::from(slot.push(&mut sq, corpus, *shape));
        }
        while in_flight > 0 {
            sq.sync();
            *enters += 1;
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
                let bytes = &slot.memory[slot.begin..][..shape.span.read_len];
                if usize::try_from(cqe.result()) != Ok(bytes.len())
                    || (whole && !is_content(bytes, slot.at))
                {
                    failed = Some((slot.at, cqe.result()));
                }
                sum = sum.wrapping_add(check_sum(bytes));
                in_flight += usize::from(failed.is_none() && slot.push(&mut sq, corpus, *shape));
            }
        }
        std::mem::forget(bomb);
        if by_number {
            submitter.unregister_files()?;
        }
        match failed {
            None => Ok(sum),
            Some((at, result)) => Err(format!("the read at {at} gave {result}").into()),
        }
    }
}

impl Slot {
    fn iovec(&mut self, len: usize) -> libc::iovec {
        libc::iovec {
            iov_base: self.memory[self.begin..][..len].as_mut_ptr().cast(),
            iov_len: len,
        }
    }

    /// Pushes the next read, if there is one left. No read of the slot is in flight.
    fn push(&mut self, sq: &mut SubmissionQueue<'_>, corpus: &Corpus, shape: Shape) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.at = self.positions.next();
        let buf = &mut self.memory[self.begin..][..shape.span.read_len];
        let len = u32::try_from(buf.len()).expect("a short buffer");
        let (number, at) = corpus.place(self.at);
        let fd = types::Fd(corpus.file(number).as_raw_fd());
        let buf = buf.as_mut_ptr();
        let read = match shape.registered {
            Registered::Nothing => opcode::Read::new(fd, buf, len).offset(at).build(),
            Registered::Buffers => opcode::ReadFixed::new(fd, buf, len, self.index)
                .offset(at)
                .build(),
            Registered::BuffersAndFiles => {
                let fd = types::Fixed(u32::try_from(number).expect("few files"));
                opcode::ReadFixed::new(fd, buf, len, self.index)
                    .offset(at)
                    .build()
            }
        };
        let read = read.user_data(self.index.into());
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
