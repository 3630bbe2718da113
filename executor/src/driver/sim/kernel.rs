//! What the kernel does behind the ring's back: reads and writes the memory of operations in
//! flight, and makes descriptors.
//!
//! # Safety
//!
//! The raw pointers of a [`Request`] are used as the kernel uses them: from the time that the
//! request is submitted until its last completion is posted, and never after. That they are
//! valid for as long is the promise of [`Kind`](crate::op::Kind) and of the slab, the same that
//! `Ring::push` is discharged by; to break it is what this module is there to find out, by
//! address sanitizer or by its own checks of what the memory holds.
#![allow(
    unsafe_code,
    reason = "uses requests' memory as the kernel does, makes descriptors"
)]

use std::fs::File;
use std::io::Read;
use std::mem::{ManuallyDrop, offset_of};
use std::os::fd::{FromRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use super::rng::Rng;
use crate::config::SimConfig;
use crate::op::kinds::vectored::SEGMENTS_MAX;
use crate::op::request::RW_LEN_MAX;
use crate::op::{ReadMode, Request};

/// Most bytes that are written before an operation completes, and that are read again.
const TOUCH_MAX: usize = 64 * 1024;
/// What operations fail with.
const ERRORS: [i32; 7] = [
    libc::EIO,
    libc::EAGAIN,
    libc::ENOSPC,
    libc::ENOMEM,
    libc::EINTR,
    libc::ECONNRESET,
    libc::ENOBUFS,
];

/// The memory of one operation in flight, and what it must hold.
#[derive(Debug)]
pub(super) struct Memory {
    /// What the kernel reads.
    inputs: Vec<Range>,
    /// The inputs' bytes when they were submitted.
    checksum: u64,
    /// What the kernel writes.
    outputs: Vec<Range>,
    /// Offset of the first output byte in its file.
    offset: u64,
    /// How many bytes are to be moved, where the result counts them.
    counted: Option<usize>,
    /// How many bytes of the outputs have been written.
    written: usize,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    ptr: *mut u8,
    len: usize,
}

impl Range {
    fn new<T>(ptr: *const T, len: usize) -> Self {
        Self {
            ptr: ptr.cast_mut().cast(),
            len,
        }
    }

    fn one<T>(ptr: *const T) -> Self {
        Self::new(ptr, size_of::<T>())
    }

    fn bytes(&self) -> impl Iterator<Item = *mut u8> {
        let ptr = self.ptr;
        (0..self.len).map(move |at| ptr.wrapping_add(at))
    }
}

impl Memory {
    pub(super) fn of(request: &Request) -> Self {
        let (inputs, outputs, offset) = ranges(request);
        let mut memory = Self {
            inputs,
            checksum: 0,
            outputs,
            offset,
            counted: None,
            written: 0,
        };
        memory.counted = memory.count(request);
        memory.checksum = memory.sum();
        memory
    }

    /// Uses the memory in the middle of the operation: all that is read is read again, and some
    /// of what may be written is written.
    ///
    /// # Panics
    ///
    /// Panics when the memory was changed by somebody else.
    pub(super) fn touch(&mut self, seed: u64, rng: &mut Rng) {
        let most = self.output_len().min(TOUCH_MAX);
        self.check(seed);
        self.write(rng.index(most + 1));
    }

    /// Returns how many bytes the operation is asked to move, where its result counts them.
    pub(super) fn counted(&self) -> Option<usize> {
        self.counted
    }

    fn count(&self, request: &Request) -> Option<usize> {
        match request {
            Request::Read { .. } | Request::Readv { .. } | Request::Recv { .. } => {
                Some(self.output_len())
            }
            Request::Write { .. } | Request::Send { .. } => Some(self.input_len()),
            // The first of the inputs describe the others.
            Request::Writev { .. } => Some(self.input_len() - self.inputs[0].len),
            Request::SendMsg { .. } => {
                Some(self.input_len() - self.inputs[0].len - self.inputs[1].len)
            }
            _ => None,
        }
    }

    fn output_len(&self) -> usize {
        self.outputs.iter().map(|range| range.len).sum()
    }

    fn input_len(&self) -> usize {
        self.inputs.iter().map(|range| range.len).sum()
    }

    /// Reads all that is read again.
    ///
    /// # Panics
    ///
    /// Panics when it was changed by somebody else.
    pub(super) fn check_inputs(&self, seed: u64) {
        assert!(
            self.sum() == self.checksum,
            "simulated ring, seed {seed}: bytes to be written changed while in flight"
        );
    }

    /// Looks whether the memory is as the operation was given it.
    ///
    /// # Panics
    ///
    /// Panics when somebody else has changed it.
    pub(super) fn check(&self, seed: u64) {
        self.check_inputs(seed);
        let mut offset = self.offset;
        for ptr in self
            .outputs
            .iter()
            .flat_map(Range::bytes)
            .take(self.written.min(TOUCH_MAX))
        {
            // SAFETY: the operation is in flight, so its outputs are valid; this byte has been
            // written before.
            let byte = unsafe { ptr.read_volatile() };
            assert!(
                byte == SimConfig::byte_at(offset),
                "simulated ring, seed {seed}: memory of a read in flight was changed"
            );
            offset = offset.wrapping_add(1);
        }
    }

    /// Writes the first `len` bytes of the outputs.
    fn write(&mut self, len: usize) {
        let mut offset = self.offset;
        for ptr in self.outputs.iter().flat_map(Range::bytes).take(len) {
            // SAFETY: the operation is in flight, so its outputs are valid for writes.
            unsafe { ptr.write_volatile(SimConfig::byte_at(offset)) };
            offset = offset.wrapping_add(1);
        }
        self.written = self.written.max(len);
    }

    fn sum(&self) -> u64 {
        self.inputs
            .iter()
            .flat_map(Range::bytes)
            .take(TOUCH_MAX)
            .fold(0xcbf2_9ce4_8422_2325, |sum, ptr| {
                // SAFETY: the operation is in flight, so its inputs are valid and initialised.
                let byte = unsafe { ptr.read_volatile() };
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }
}

/// Ends an operation and returns its result.
pub(super) fn finish(
    request: &Request,
    memory: &mut Memory,
    rng: &mut Rng,
    config: &SimConfig,
) -> i32 {
    memory.touch(config.seed, rng);
    let fails = rng.percent(config.error_percent);
    if let Request::Close { fd } = *request {
        // Linux closes the descriptor even where it reports an error.
        // SAFETY: the operation owns the descriptor and gives it up with its completion.
        unsafe { libc::close(fd) };
        return if fails { -libc::EIO } else { 0 };
    }
    if fails {
        return -ERRORS[rng.index(ERRORS.len())];
    }
    let nowait = matches!(request, Request::Read { mode, .. } if *mode == ReadMode::NoWait);
    if nowait && rng.percent(config.nowait_percent) {
        return -libc::EAGAIN;
    }
    if let Some(len) = memory.counted {
        let short = len > 1 && rng.percent(config.short_percent);
        let count = if short { 1 + rng.index(len - 1) } else { len };
        if !memory.outputs.is_empty() {
            memory.write(count);
        }
        return result(count);
    }
    match *request {
        Request::Statx { out, .. } => {
            let stat = metadata();
            // SAFETY: the operation is in flight, so its output is valid for a write.
            unsafe { out.write(stat) };
            0
        }
        Request::Open { .. } | Request::Accept { .. } => descriptor(),
        Request::Poll { events, .. } => events.cast_signed(),
        // There are no buffer groups without a ring.
        Request::RecvMulti { .. } => -libc::ENOBUFS,
        Request::Close { .. }
        | Request::Fsync { .. }
        | Request::Fadvise { .. }
        | Request::Connect { .. }
        | Request::Shutdown { .. } => 0,
        Request::Read { .. }
        | Request::Readv { .. }
        | Request::Recv { .. }
        | Request::Write { .. }
        | Request::Writev { .. }
        | Request::Send { .. }
        | Request::SendMsg { .. } => unreachable!("their results are counts"),
    }
}

/// Says whether the kernel may keep the operation for ever: one that works on memory, and whose
/// end nobody's credit is needed for.
pub(super) fn may_be_held(request: &Request) -> bool {
    matches!(
        request,
        Request::Read { .. } | Request::Write { .. } | Request::Readv { .. }
    )
}

pub(super) fn is_multishot(request: &Request) -> bool {
    matches!(
        request,
        Request::Accept {
            multishot: true,
            ..
        } | Request::RecvMulti { .. }
    )
}

/// Says whether only somebody else's doing ends the operation.
pub(super) fn waits_for_a_peer(request: &Request) -> bool {
    matches!(
        request,
        Request::Accept { .. }
            | Request::Recv { .. }
            | Request::RecvMulti { .. }
            | Request::Poll { .. }
    )
}

/// Names a kind of request.
pub(super) fn name(request: &Request) -> &'static str {
    match request {
        Request::Read { .. } => "read",
        Request::Write { .. } => "write",
        Request::Readv { .. } => "readv",
        Request::Writev { .. } => "writev",
        Request::Fsync { .. } => "fsync",
        Request::Fadvise { .. } => "fadvise",
        Request::Open { .. } => "open",
        Request::Statx { .. } => "statx",
        Request::Close { .. } => "close",
        Request::Accept { .. } => "accept",
        Request::Connect { .. } => "connect",
        Request::Recv { .. } => "recv",
        Request::RecvMulti { .. } => "recv_multi",
        Request::Send { .. } => "send",
        Request::SendMsg { .. } => "sendmsg",
        Request::Shutdown { .. } => "shutdown",
        Request::Poll { .. } => "poll",
    }
}

/// Waits until the eventfd is readable and drains it; without one, or in vain, for the timeout.
pub(super) fn take_kick(eventfd: Option<RawFd>, timeout: Option<Duration>) -> bool {
    let millis = timeout.map_or(-1, |timeout| {
        let rounded = timeout.as_nanos().div_ceil(1_000_000);
        i32::try_from(rounded).unwrap_or(i32::MAX)
    });
    // A negative descriptor is passed over by poll(2).
    let mut poll = libc::pollfd {
        fd: eventfd.unwrap_or(-1),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the array of one pollfd is valid for the duration of the call.
    let readable = unsafe { libc::poll(&raw mut poll, 1, millis) };
    let Some(eventfd) = eventfd.filter(|_| readable == 1) else {
        return false;
    };
    // SAFETY: the eventfd outlives the driver; it is borrowed here and not closed.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(eventfd) });
    // A full read, or nothing where another ring with the same eventfd was faster.
    (&*file).read(&mut [0; 8]).is_ok()
}

fn result(count: usize) -> i32 {
    i32::try_from(count).expect("a request moves at most 31 bits of bytes")
}

fn descriptor() -> i32 {
    match File::open("/dev/null") {
        Ok(file) => file.into_raw_fd(),
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// A regular file of a gibibyte.
fn metadata() -> libc::statx {
    // SAFETY: an all-zero statx is valid: plain integers.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    stat.stx_mask = libc::STATX_BASIC_STATS;
    stat.stx_mode = u16::try_from(libc::S_IFREG | 0o644).expect("a mode has 16 bits");
    stat.stx_size = 1 << 30;
    stat.stx_blksize = 4096;
    stat.stx_nlink = 1;
    stat
}

/// Returns what a request reads, what it writes, and the file offset of the latter.
fn ranges(request: &Request) -> (Vec<Range>, Vec<Range>, u64) {
    match *request {
        Request::Read {
            ptr, len, offset, ..
        } => (vec![], vec![Range::new(ptr, len as usize)], offset),
        Request::Recv { ptr, len, .. } => (vec![], vec![Range::new(ptr, len as usize)], 0),
        Request::Write { ptr, len, .. } | Request::Send { ptr, len, .. } => {
            (vec![Range::new(ptr, len as usize)], vec![], 0)
        }
        Request::Readv {
            iovecs,
            count,
            offset,
            ..
        } => (
            vec![Range::new(iovecs, array_len(count))],
            segments(iovecs, count as usize),
            offset,
        ),
        Request::Writev { iovecs, count, .. } => {
            let mut inputs = vec![Range::new(iovecs, array_len(count))];
            inputs.extend(segments(iovecs, count as usize));
            (inputs, vec![], 0)
        }
        Request::SendMsg { msg, .. } => {
            // SAFETY: the operation is in flight, so its message header is valid.
            let header = unsafe { msg.read() };
            assert_count(header.msg_iovlen);
            let table = Range::new(header.msg_iov, header.msg_iovlen * size_of::<libc::iovec>());
            // Field by field: what lies between them is not initialised.
            let pointers = [
                offset_of!(libc::msghdr, msg_name),
                offset_of!(libc::msghdr, msg_iov),
                offset_of!(libc::msghdr, msg_control),
            ];
            let mut inputs = vec![table];
            inputs.extend(pointers.map(|at| {
                let field = msg.wrapping_byte_add(at);
                Range::one(field.cast::<*const u8>())
            }));
            inputs.extend(segments(header.msg_iov, header.msg_iovlen));
            (inputs, vec![], 0)
        }
        Request::Open { path, how, .. } => (vec![c_string(path), Range::one(how)], vec![], 0),
        Request::Statx { path, out, .. } => (vec![c_string(path)], vec![Range::one(out)], 0),
        Request::Connect { addr, len, .. } => (vec![Range::new(addr, len as usize)], vec![], 0),
        Request::Fsync { .. }
        | Request::Fadvise { .. }
        | Request::Close { .. }
        | Request::Accept { .. }
        | Request::RecvMulti { .. }
        | Request::Shutdown { .. }
        | Request::Poll { .. } => (vec![], vec![], 0),
    }
}

fn array_len(count: u32) -> usize {
    count as usize * size_of::<libc::iovec>()
}

/// Memory that was freed, or is another's by now, seldom describes a table.
fn assert_count(count: usize) {
    assert!(
        count <= SEGMENTS_MAX,
        "the memory of an operation is not its own: a table of {count} segments"
    );
}

fn segments(iovecs: *const libc::iovec, count: usize) -> Vec<Range> {
    assert_count(count);
    let entry = |at| {
        // SAFETY: the operation is in flight, so its table of `count` segments is valid.
        let iovec = unsafe { iovecs.wrapping_add(at).read() };
        assert!(
            iovec.iov_len <= RW_LEN_MAX,
            "the memory of an operation is not its own: a segment of {} bytes",
            iovec.iov_len
        );
        Range {
            ptr: iovec.iov_base.cast(),
            len: iovec.iov_len,
        }
    };
    (0..count).map(entry).collect()
}

fn c_string(path: *const libc::c_char) -> Range {
    // SAFETY: the operation is in flight, so its path is a valid C string.
    Range::new(path, unsafe { libc::strlen(path) } + 1)
}
