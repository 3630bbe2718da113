//! What a backend is asked to do: the cut between operations and backends.
//!
//! Pointers are raw and belong to the operation's slot; see [`Kind`](super::Kind).

use std::os::fd::RawFd;

/// Most bytes that one read or write moves (`MAX_RW_COUNT`, read(2)).
pub(crate) const RW_LEN_MAX: usize = 0x7fff_f000;

/// Cuts a buffer's length to what one request may move.
#[inline]
pub(crate) fn request_len(len: usize) -> u32 {
    u32::try_from(len.min(RW_LEN_MAX)).expect("cut to 31 bits")
}

/// How a read of a file is issued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// Tried while it is submitted, which copies what is cached there and then; handed to a thread
    /// of the kernel where the file cannot be asked without blocking. Files that can never be
    /// asked so, those of FUSE, NFS, tmpfs and overlayfs for example, are read as with `Async`.
    #[default]
    Inline,
    /// Tried while it is submitted, and failed with `WouldBlock` where it would wait for the
    /// device (`RWF_NOWAIT`, preadv2(2)). It may give fewer bytes: those that are cached.
    NoWait,
    /// Handed to a thread of the kernel at once (`IOSQE_ASYNC`, `io_uring_sqe_set_flags(3)`), so
    /// that neither a copy nor a stall holds up the worker.
    Async,
}

/// One operation, as plain values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// read(2) at an offset; into registered memory when `fixed` names it.
    Read {
        fd: RawFd,
        ptr: *mut u8,
        len: u32,
        offset: u64,
        fixed: Option<u16>,
        mode: ReadMode,
        /// Past the page cache: nothing is copied.
        direct: bool,
    },
    /// write(2) at an offset; from registered memory when `fixed` names it.
    Write {
        fd: RawFd,
        ptr: *const u8,
        len: u32,
        offset: u64,
        fixed: Option<u16>,
        /// Not to be tried while it is submitted: a thread of the kernel does it.
        handed_off: bool,
    },
    /// preadv(2). `len` is the sum of the segments.
    Readv {
        fd: RawFd,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
        len: u64,
        mode: ReadMode,
        direct: bool,
    },
    /// pwritev(2).
    Writev {
        fd: RawFd,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
        handed_off: bool,
    },
    /// fsync(2), or fdatasync(2).
    Fsync { fd: RawFd, data_only: bool },
    /// posix_fadvise(2).
    Fadvise {
        fd: RawFd,
        offset: u64,
        len: u32,
        advice: i32,
    },
    /// openat2(2). Yields a descriptor.
    Open {
        dir: RawFd,
        path: *const libc::c_char,
        how: *const libc::open_how,
    },
    /// statx(2).
    Statx {
        dir: RawFd,
        path: *const libc::c_char,
        flags: i32,
        mask: u32,
        out: *mut libc::statx,
    },
    /// close(2).
    Close { fd: RawFd },
    /// accept4(2), once or until it is cancelled. Yields descriptors.
    Accept {
        fd: RawFd,
        flags: i32,
        multishot: bool,
    },
    /// connect(2).
    Connect {
        fd: RawFd,
        addr: *const libc::sockaddr,
        len: libc::socklen_t,
    },
    /// recv(2).
    Recv {
        fd: RawFd,
        ptr: *mut u8,
        len: u32,
        flags: i32,
    },
    /// recv(2) into provided buffers until it is cancelled.
    RecvMulti { fd: RawFd, group: u16 },
    /// send(2).
    Send {
        fd: RawFd,
        ptr: *const u8,
        len: u32,
        flags: i32,
    },
    /// sendmsg(2).
    SendMsg {
        fd: RawFd,
        msg: *const libc::msghdr,
        flags: u32,
    },
    /// shutdown(2).
    Shutdown { fd: RawFd, how: i32 },
    /// poll(2) for one event.
    Poll { fd: RawFd, events: u32 },
}

impl Request {
    /// Returns how many bytes the request may copy while it is being submitted: reads of files,
    /// whose pages may be cached.
    #[inline(always)]
    pub(crate) fn inline_bytes(&self) -> u64 {
        let (len, mode, direct) = match *self {
            Self::Read {
                len, mode, direct, ..
            } => (len.into(), mode, direct),
            Self::Readv {
                len, mode, direct, ..
            } => (len, mode, direct),
            _ => return 0,
        };
        if direct || mode == ReadMode::Async {
            0
        } else {
            len
        }
    }
}

/// Names the line in which an operation waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LaneId {
    /// Operations that end by themselves.
    Prompt,
    /// Operations that wait for a peer.
    Peer,
}

impl LaneId {
    pub(crate) const ALL: [Self; 2] = [Self::Prompt, Self::Peer];

    #[inline(always)]
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Accept { .. }
            | Request::Connect { .. }
            | Request::Recv { .. }
            | Request::RecvMulti { .. }
            | Request::Send { .. }
            | Request::SendMsg { .. }
            | Request::Poll { .. } => Self::Peer,
            Request::Read { .. }
            | Request::Write { .. }
            | Request::Readv { .. }
            | Request::Writev { .. }
            | Request::Fsync { .. }
            | Request::Fadvise { .. }
            | Request::Open { .. }
            | Request::Statx { .. }
            | Request::Close { .. }
            | Request::Shutdown { .. } => Self::Prompt,
        }
    }
}
