//! The file system itself.

use std::ffi::OsStr;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, PollEvents,
    PollFlags, PollNotifier, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll,
    ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;

use crate::behaviour::{Behaviour, OpenFault, ReadFault, StatFault, WriteFault};
use crate::files::{Files, HELD, RELEASE, byte_at};
use crate::state::{Answer, Held, Node, State, TTL, lock};

/// More requests of the page cache than this do not go out while the others wait.
const BACKGROUND_MAX: u16 = 4096;

/// A mounted file system with faults, served by threads of this process until it is dropped.
#[derive(Debug)]
pub struct FaultFs {
    files: Files,
    shared: Arc<Mutex<State>>,
    /// `None` once it has ended.
    session: Option<BackgroundSession>,
    _folders: tempfile::TempDir,
    /// The mount is one of the thread that made it.
    _not_send: PhantomData<*const ()>,
}

/// Returns why no file system can be mounted here.
#[must_use]
pub fn unavailable() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("mounting a file system needs root".to_owned());
    }
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .err()
        .map(|error| format!("/dev/fuse: {error}"))
}

impl FaultFs {
    /// Mounts the file system on a folder of its own, for this thread and the processes that it
    /// starts.
    ///
    /// # Errors
    ///
    /// What mounting fails with.
    pub fn mount() -> io::Result<Self> {
        // Nobody else sees the mount, and it goes with the last who does.
        nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        nix::mount::mount::<str, str, str, str>(None, "/", None, flags, None)?;
        let folders = tempfile::tempdir()?;
        let files = Files {
            mount: folders.path().join("mount"),
            backing: folders.path().join("backing"),
        };
        std::fs::create_dir(&files.mount)?;
        std::fs::create_dir(&files.backing)?;
        let shared = Arc::new(Mutex::new(State::default()));
        let server = Server {
            backing: files.backing.clone(),
            shared: Arc::clone(&shared),
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faultfs".to_owned())];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(server, &files.mount, &config)?;
        Ok(Self {
            files,
            shared,
            session: Some(session),
            _folders: folders,
            _not_send: PhantomData,
        })
    }

    /// Returns the files.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Returns how many requests wait for an answer. Unlike [`Files::held`], it asks nothing of
    /// the file system.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.shared).held.len()
    }

    /// Ends the file system: everything that waits for it fails.
    pub fn abort(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        // By force is what ends the connection, whoever waits; the rest is tidying up.
        let flags = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH;
        if let Err(error) = nix::mount::umount2(&self.files.mount, flags) {
            eprintln!("faultfs: umount {}: {error}", self.files.mount.display());
        }
        lock(&self.shared).held.clear();
        drop(session);
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        self.abort();
    }
}

#[derive(Debug)]
struct Server {
    backing: PathBuf,
    shared: Arc<Mutex<State>>,
}

fn index_of(ino: INodeNo) -> Option<usize> {
    usize::try_from(u64::from(ino)).ok()?.checked_sub(2)
}

fn attr(ino: u64, size: u64, kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o777,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Server {
    fn node(&self, ino: INodeNo) -> Option<(usize, Node)> {
        let index = index_of(ino)?;
        let node = lock(&self.shared).nodes.get(index)?.clone();
        Some((index, node))
    }

    /// How long the file really is.
    fn size(&self, node: &Node) -> u64 {
        let size = match &node.behaviour.from {
            Some(name) => std::fs::metadata(self.backing.join(name)).map_or(0, |file| file.len()),
            None => node.behaviour.size,
        };
        size.max(node.written_len)
    }

    /// How long the file claims to be.
    fn attr(&self, index: usize, node: &Node) -> FileAttr {
        let size = match node.behaviour.stat {
            StatFault::Size(size) => size,
            _ => self.size(node),
        };
        attr(index as u64 + 2, size, FileType::RegularFile)
    }

    fn bytes(&self, node: &Node, offset: u64, len: u32) -> Vec<u8> {
        let end = self.size(node).min(offset + u64::from(len));
        let mut bytes = match &node.behaviour.from {
            Some(name) => self.backed(name, offset, end),
            None => (offset..end).map(byte_at).collect(),
        };
        bytes.truncate(node.behaviour.short.unwrap_or(usize::MAX));
        bytes
    }

    fn backed(&self, name: &str, offset: u64, end: u64) -> Vec<u8> {
        let len = usize::try_from(end.saturating_sub(offset)).expect("a read's length");
        let mut bytes = vec![0; len];
        std::fs::File::open(self.backing.join(name))
            .and_then(|file| file.read_exact_at(&mut bytes, offset))
            .expect("the backing file is there");
        bytes
    }

    fn hold(&self, node: usize, answer: Answer) {
        lock(&self.shared).held.push(Held { node, answer });
    }

    /// Counts a read that fails; says whether it is to.
    fn fails_again(&self, index: usize, times: u64) -> bool {
        let failed = &mut lock(&self.shared).nodes[index].failed;
        *failed += 1;
        *failed <= times
    }

    /// Keeps reads of a file until `count` are there, and answers them from the last.
    fn answer_backwards(&self, index: usize, count: usize, answer: Answer) {
        let mut state = lock(&self.shared);
        let node = index;
        state.held.push(Held { node, answer });
        state.nodes[index].waiting += 1;
        if state.nodes[index].waiting < count {
            return;
        }
        state.nodes[index].waiting = 0;
        let due: Vec<Held> = state
            .held
            .extract_if(.., |held| held.node == node)
            .collect();
        drop(state);
        due.into_iter().rev().for_each(|held| held.answer.send());
    }

    fn release_all(&self) {
        let held = std::mem::take(&mut lock(&self.shared).held);
        held.into_iter().for_each(|held| held.answer.send());
    }

    /// Answers a request that has no result but its success.
    fn end(&self, ino: INodeNo, fault: impl FnOnce(&Behaviour) -> OpenFault, reply: ReplyEmpty) {
        let Some((index, node)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        match fault(&node.behaviour) {
            OpenFault::None => reply.ok(),
            OpenFault::Eio => reply.error(Errno::EIO),
            OpenFault::Eacces => reply.error(Errno::EACCES),
            OpenFault::Ecanceled => self.hold(index, Answer::Cancelled(reply)),
            OpenFault::Never => self.hold(index, Answer::Empty(reply)),
        }
    }

    fn read_file(&self, index: usize, node: &Node, offset: u64, len: u32, reply: ReplyData) {
        let reaches = |from: u64| offset + u64::from(len) > from;
        match node.behaviour.read {
            ReadFault::Eio(from) if reaches(from) => return reply.error(Errno::EIO),
            ReadFault::Eintr(times) if self.fails_again(index, times) => {
                return reply.error(Errno::EINTR);
            }
            ReadFault::Eagain(times) if self.fails_again(index, times) => {
                return reply.error(Errno::EAGAIN);
            }
            _ => {}
        }
        let answer = Answer::Data(reply, self.bytes(node, offset, len));
        match node.behaviour.read {
            ReadFault::Never(from) if reaches(from) => self.hold(index, answer),
            ReadFault::Reverse(count) => self.answer_backwards(index, count, answer),
            _ if node.behaviour.slow > Duration::ZERO => {
                let slow = node.behaviour.slow;
                std::thread::spawn(move || {
                    std::thread::sleep(slow);
                    answer.send();
                });
            }
            _ => answer.send(),
        }
    }
}

impl Filesystem for Server {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Not all kernels have it, and none needs it.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        let _ = config.set_max_background(BACKGROUND_MAX);
        let _ = config.set_congestion_threshold(BACKGROUND_MAX);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_str().unwrap_or_default();
        let parsed = match name {
            HELD | RELEASE => Some(Behaviour::default()),
            _ => Behaviour::parse(name),
        };
        let Some(behaviour) = parsed.filter(|_| parent == INodeNo::ROOT) else {
            return reply.error(Errno::ENOENT);
        };
        if let Some(from) = &behaviour.from
            && !Path::new(&self.backing).join(from).exists()
        {
            return reply.error(Errno::ENOENT);
        }
        let mut state = lock(&self.shared);
        let known = state.nodes.iter().position(|node| node.name == name);
        let index = known.unwrap_or(state.nodes.len());
        if known.is_none() {
            state.nodes.push(Node {
                name: name.to_owned(),
                behaviour,
                failed: 0,
                waiting: 0,
                written_len: 0,
            });
        }
        let node = state.nodes[index].clone();
        drop(state);
        // With a name that is known, the kernel gets as far as the open without leaving its caller.
        let known = matches!(node.behaviour.open, OpenFault::Never);
        let ttl = Duration::from_secs(3600 * u64::from(known));
        reply.entry(&ttl, &self.attr(index, &node), Generation(0));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if ino == INodeNo::ROOT {
            return reply.attr(&TTL, &attr(1, 0, FileType::Directory));
        }
        let Some((index, node)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let attr = self.attr(index, &node);
        match node.behaviour.stat {
            StatFault::Eio => reply.error(Errno::EIO),
            StatFault::Never => self.hold(index, Answer::Attr(reply, attr)),
            StatFault::None | StatFault::Size(_) => reply.attr(&TTL, &attr),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        // What files hold is decided by their names.
        self.getattr(request, ino, handle, reply);
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let Some((index, node)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        if node.name == RELEASE {
            self.release_all();
        }
        let control = node.name == HELD || node.name == RELEASE;
        let flags = if node.behaviour.direct || control {
            FopenFlags::FOPEN_DIRECT_IO
        } else {
            FopenFlags::FOPEN_KEEP_CACHE
        };
        match node.behaviour.open {
            OpenFault::None | OpenFault::Ecanceled => reply.opened(FileHandle(0), flags),
            OpenFault::Eio => reply.error(Errno::EIO),
            OpenFault::Eacces => reply.error(Errno::EACCES),
            OpenFault::Never => self.hold(index, Answer::Open(reply)),
        }
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        len: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((index, node)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        if node.name == HELD {
            let text = lock(&self.shared).held.len().to_string();
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            return reply.data(text.as_bytes().get(from..).unwrap_or_default());
        }
        self.read_file(index, &node, offset, len, reply);
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some((index, node)) = self.node(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let len = u32::try_from(data.len()).expect("a write of 16 MiB at most");
        let end = offset + u64::from(len);
        let answer = match node.behaviour.write {
            WriteFault::Eio => return reply.error(Errno::EIO),
            WriteFault::Enospc(from) if end > from => return reply.error(Errno::ENOSPC),
            _ => Answer::Written(reply, len),
        };
        if node.behaviour.write == WriteFault::Never {
            return self.hold(index, answer);
        }
        let written_len = &mut lock(&self.shared).nodes[index].written_len;
        *written_len = end.max(*written_len);
        answer.send();
    }

    fn poll(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        match self.node(ino) {
            Some((index, node)) if node.behaviour.poll == OpenFault::Never => {
                self.hold(index, Answer::Poll(reply));
            }
            // The kernel takes it that every file is ready at any time, and asks no more.
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.end(ino, |behaviour| behaviour.close, reply);
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.end(ino, |behaviour| behaviour.fsync, reply);
    }
}
