//! What is opened like a file and is none: folders, pipes, devices, /proc.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};

use corelane::fs::{Dir, File, OpenOptions};
use corelane::{spawn_local, time};

use crate::files::{empty, pread, read, write};
use crate::harness::{Backend, assert_errno, assert_same};
use crate::os;
use crate::support::{content, file_of, yield_until};

pub(crate) fn directories_are_not_read(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    backend.run(async {
        let file = File::open(folder.path()).await.unwrap();
        assert!(file.statx().await.unwrap().is_dir());
        assert_errno("read", read(&file, 100, 0).await, libc::EISDIR);
        // Nothing is asked of it.
        assert_eq!(read(&file, 0, 0).await.unwrap(), b"");
        let (result, _) = file.readv_at(vec![Vec::with_capacity(10)], 0).await;
        assert_errno("readv", result, libc::EISDIR);
        assert_errno("write", write(&file, b"x", 0).await, libc::EBADF);
        let opened = OpenOptions::new().write(true).open(folder.path()).await;
        assert_errno("open for writing", opened, libc::EISDIR);
        assert_errno("create", File::create(folder.path()).await, libc::EISDIR);
        file.close().await.unwrap();
    });
}

fn pipe() -> (File, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (
        File::from_std(OwnedFd::from(reader).into()),
        File::from_std(OwnedFd::from(writer).into()),
    )
}

pub(crate) fn pipes_have_no_positions(backend: &Backend) {
    backend.run(async {
        let (reader, writer) = pipe();
        // Any offset is the pipe's own.
        assert_eq!(write(&writer, b"one two three", 0).await.unwrap(), 13);
        assert_eq!(read(&reader, 4, 0).await.unwrap(), b"one ");
        assert_eq!(read(&reader, 4, 0).await.unwrap(), b"two ");
        let (result, bufs) = reader.readv_at(empty(2, 2), 0).await;
        assert_eq!((result.unwrap(), bufs.concat()), (4, b"thre".to_vec()));
        assert_eq!(read(&reader, 100, 0).await.unwrap(), b"e");
        // A read waits for bytes, and takes as many as there are.
        let task = spawn_local({
            let reader = reader.clone();
            async move { read(&reader, 100, 0).await }
        });
        time::sleep(std::time::Duration::from_millis(3)).await;
        assert!(!task.is_finished());
        let (result, _) = writer
            .writev_at(vec![b"la".to_vec(), b"ter".to_vec()], 0)
            .await;
        assert_eq!(result.unwrap(), 5);
        assert_eq!(task.await.unwrap().unwrap(), b"later");
        // An exact read goes on until it has all.
        let task = spawn_local({
            let reader = reader.clone();
            async move { reader.read_exact_at(Vec::with_capacity(6), 0).await }
        });
        for piece in [&b"a"[..], b"bcd", b"ef"] {
            writer.write_all_at(piece.to_vec(), 0).await.0.unwrap();
        }
        let (result, buf) = task.await.unwrap();
        result.unwrap();
        assert_eq!(buf, b"abcdef");
        // A write waits for room.
        let big = content(300_000);
        let task = spawn_local({
            let (writer, big) = (writer.clone(), big.clone());
            async move { writer.write_all_at(big, 0).await.0 }
        });
        let mut got = Vec::new();
        while got.len() < big.len() {
            got.extend(read(&reader, 10_000, 0).await.unwrap());
        }
        task.await.unwrap().unwrap();
        assert_eq!(got, big);
        drop(writer);
        assert_eq!(read(&reader, 10, 0).await.unwrap(), b"");
        let (reader, writer) = pipe();
        drop(reader);
        assert_errno(
            "write to nobody",
            write(&writer, b"x", 0).await,
            libc::EPIPE,
        );
    });
}

pub(crate) fn a_fifo_opens_when_both_ends_do(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    os::mkfifo(&path);
    backend.run(async {
        let reader = spawn_local({
            let path = path.clone();
            async move { File::open(path).await }
        });
        // Whether the first open waits for the second differs: docs/TESTING.md, "Backends compared".
        corelane::yield_now().await;
        let writer = OpenOptions::new().write(true).open(&path).await.unwrap();
        let reader = reader.await.unwrap().unwrap();
        assert_eq!(write(&writer, b"through", 0).await.unwrap(), 7);
        assert_eq!(read(&reader, 100, 0).await.unwrap(), b"through");
        drop(writer);
        assert_eq!(read(&reader, 100, 0).await.unwrap(), b"");
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        drop(reader);
        yield_until("the reader is closed", || {
            std::fs::OpenOptions::new()
                .write(true)
                .custom_flags_nonblock()
                .open(&path)
                .is_err()
        })
        .await;
        assert_errno("nobody reads", options.open(&path).await, libc::ENXIO);
    });
}

/// `O_NONBLOCK` for std's options.
trait NonBlock {
    fn custom_flags_nonblock(&mut self) -> &mut Self;
}

impl NonBlock for std::fs::OpenOptions {
    fn custom_flags_nonblock(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(libc::O_NONBLOCK)
    }
}

pub(crate) fn files_of_proc(backend: &Backend) {
    backend.run(async {
        // Files whose size is zero and whose content is made by the read.
        for path in ["/proc/version", "/proc/self/limits", "/proc/self/cmdline"] {
            let file = File::open(path).await.unwrap();
            let plain = std::fs::File::open(path).unwrap();
            assert_eq!(file.statx().await.unwrap().len(), 0);
            let mut whole = Vec::new();
            loop {
                let piece = read(&file, 100, whole.len() as u64).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                whole.extend(piece);
            }
            let expected = std::fs::read(path).unwrap();
            assert_eq!(whole, expected, "{path}");
            assert_eq!(corelane::fs::read(path).await.unwrap(), expected, "{path}");
            for (len, offset) in [(0, 0), (10, 3), (1 << 20, 0), (10, 1 << 20), (10, 1 << 40)] {
                let what = format!("{path}, {len} bytes at {offset}");
                let got = read(&file, len, offset).await;
                assert_same(&what, &got, &pread(&plain, len, offset));
            }
            assert_errno("write", write(&file, b"x", 0).await, libc::EBADF);
        }
        assert_errno("read", File::open("/proc/self/nothing").await, libc::ENOENT);
        let memory = File::open("/proc/self/mem").await.unwrap();
        assert_errno("page 0", read(&memory, 10, 0).await, libc::EIO);
    });
}

pub(crate) fn devices(backend: &Backend) {
    backend.run(async {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let null = options.open("/dev/null").await.unwrap();
        assert_eq!(read(&null, 10, 5).await.unwrap(), b"");
        assert_eq!(write(&null, b"gone", 1 << 40).await.unwrap(), 4);
        let zero = options.open("/dev/zero").await.unwrap();
        // A ring reads without waiting first, and the kernel ends that where another thread is due
        // on the core: short, by whole pages.
        let got = read(&zero, 100_000, 77).await.unwrap();
        assert!(got.len() >= 4_096 && got.iter().all(|&byte| byte == 0));
        let (result, got) = zero.read_exact_at(Vec::with_capacity(100_000), 77).await;
        result.unwrap();
        assert_eq!(got, vec![0; 100_000]);
        let (result, bufs) = zero.readv_at(empty(20, 10), 0).await;
        assert_eq!((result.unwrap(), bufs.concat()), (200, vec![0; 200]));
        let full = options.open("/dev/full").await.unwrap();
        assert_errno("write", write(&full, b"x", 0).await, libc::ENOSPC);
        let (result, buf) = full.write_all_at(b"xyz".to_vec(), 0).await;
        assert_errno("write all", result, libc::ENOSPC);
        assert_eq!(buf, b"xyz");
        assert_errno(
            "no device",
            File::open("/dev/tty").await.map(drop),
            tty_errno(),
        );
    });
}

/// What opening the controlling terminal comes to.
fn tty_errno() -> i32 {
    match std::fs::File::open("/dev/tty") {
        Err(error) => error.raw_os_error().unwrap(),
        Ok(_) => panic!("this test is not for a terminal"),
    }
}

pub(crate) fn unreadable_files(backend: &Backend) {
    if !backend.in_a_child(|_| {}) {
        return;
    }
    // In the child, which nobody else shares, so that it may give up its rights.
    os::leave_root();
    let folder = tempfile::tempdir().unwrap();
    let (closed, locked) = (folder.path().join("file"), folder.path().join("folder"));
    std::fs::write(&closed, b"secret").unwrap();
    std::fs::create_dir(&locked).unwrap();
    std::fs::write(locked.join("inside"), b"secret").unwrap();
    let mode = std::fs::Permissions::from_mode;
    for path in [&closed, &locked] {
        std::fs::set_permissions(path, mode(0o000)).unwrap();
    }
    backend.run(async {
        assert_errno("open", File::open(&closed).await, libc::EACCES);
        assert_errno("create", File::create(&closed).await, libc::EACCES);
        let read = corelane::fs::read(&closed).await;
        assert_errno("read", read, libc::EACCES);
        let inside = locked.join("inside");
        assert_errno("search", File::open(&inside).await, libc::EACCES);
        let stat = corelane::fs::metadata(&inside).await.map(drop);
        assert_errno("stat", stat, libc::EACCES);
        let list = corelane::fs::read_dir(&locked).await.map(drop);
        assert_errno("list", list, libc::EACCES);
        // What is known without opening it is known.
        assert_eq!(corelane::fs::metadata(&closed).await.unwrap().len(), 6);
        // Rights are checked when it is opened, not when it is read.
        std::fs::set_permissions(&closed, mode(0o400)).unwrap();
        let file = File::open(&closed).await.unwrap();
        std::fs::set_permissions(&closed, mode(0o000)).unwrap();
        let (result, buf) = file.read_at(Vec::with_capacity(10), 0).await;
        assert_eq!((result.unwrap(), &buf[..]), (6, &b"secret"[..]));
    });
    std::fs::set_permissions(&locked, mode(0o700)).unwrap();
}

pub(crate) fn opens_that_fail(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = file_of(b"content");
    let link = folder.path().join("link");
    let circle = folder.path().join("circle");
    symlink(on_disk.path(), &link).unwrap();
    symlink(&circle, &circle).unwrap();
    backend.run(async {
        let open = async |path: &std::path::Path| File::open(path).await;
        assert_errno("none", open(&folder.path().join("no")).await, libc::ENOENT);
        let below_a_file = on_disk.path().join("below");
        assert_errno("below a file", open(&below_a_file).await, libc::ENOTDIR);
        assert_errno("a circle", open(&circle).await, libc::ELOOP);
        let long = folder.path().join("n".repeat(256));
        assert_errno("a long name", open(&long).await, libc::ENAMETOOLONG);
        let long = folder.path().join("n/".repeat(2100));
        assert_errno("a long path", open(&long).await, libc::ENAMETOOLONG);
        assert_errno(
            "no name",
            open(std::path::Path::new("")).await,
            libc::ENOENT,
        );
        let nul = open(std::path::Path::new("a\0b")).await.unwrap_err();
        assert_eq!(nul.kind(), std::io::ErrorKind::InvalidInput);
        let mut options = OpenOptions::new();
        let link_itself = options.read(true).custom_flags(libc::O_NOFOLLOW);
        assert_errno("a link", link_itself.open(&link).await, libc::ELOOP);
        let mut options = OpenOptions::new();
        let new = options.write(true).create_new(true);
        assert_errno("exists", new.open(on_disk.path()).await, libc::EEXIST);
        let none = OpenOptions::new().open(on_disk.path()).await.unwrap_err();
        assert_eq!(none.kind(), std::io::ErrorKind::InvalidInput);
        let dir = Dir::open(folder.path()).await.unwrap();
        let mut reading = OpenOptions::new();
        let beneath = reading.read(true);
        for path in ["..", "../x", "/etc/passwd", "link"] {
            let opened = beneath.open_beneath(&dir, path).await;
            assert_errno(path, opened, libc::EXDEV);
        }
        assert_errno(
            "no folder",
            Dir::open(on_disk.path()).await.map(drop),
            libc::ENOTDIR,
        );
        // The link itself leads somewhere.
        let (mut file, mut text) = (std::fs::File::open(&link).unwrap(), String::new());
        file.read_to_string(&mut text).unwrap();
        let file = open(&link).await.unwrap();
        assert_eq!(read(&file, 100, 0).await.unwrap(), text.as_bytes());
        std::io::stdout().flush().unwrap();
    });
}
