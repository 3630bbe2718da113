//! Misuse and want: direct reads that are not aligned, more reads than the device takes, a device
//! that shrinks, little lockable memory, few descriptors. Each ends in its error, and the worker
//! goes on.

mod common;
mod support;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{PatternFile, is_pattern};
use corelane::buf::{AlignedBuf, IoBuf};
use corelane::fs::{File, OpenOptions};
use corelane::{BackendChoice, Config, JoinHandle, Worker, spawn_local, time};

use support::{child, content, file_of, is_child, run_on};

/// The alignment that any device is content with.
const ALIGN: usize = 4096;

fn on_each(mut body: impl AsyncFnMut()) {
    for choice in [BackendChoice::Uring, BackendChoice::Threads] {
        match Worker::new(Config::new().backend(choice)) {
            Ok(worker) => run_on(&worker, body()),
            Err(error) => println!("SKIP: {choice:?}: {error}"),
        }
    }
}

#[test]
fn a_direct_read_that_is_not_aligned_is_an_error_or_right() {
    let on_disk = PatternFile::new("misaligned", 1 << 20);
    if on_disk.open_direct().is_none() {
        println!("SKIP: no direct I/O on {}", on_disk.path.display());
        return;
    }
    on_each(async || {
        let file = File::from_std(on_disk.open_direct().unwrap());
        for (skip, offset, len) in [
            (0, 1, ALIGN),
            (1, 0, ALIGN),
            (0, 0, 513),
            (7, 511, 77),
            (0, ALIGN as u64 - 1, 2 * ALIGN),
        ] {
            let case = format!("memory +{skip}, offset {offset}, {len} bytes");
            let mut buf = AlignedBuf::new(skip + len, ALIGN);
            buf.fill_from(&vec![0; skip + len]);
            let (result, buf) = file.read_at(buf.slice(skip..skip + len), offset).await;
            match result {
                Ok(count) => assert!(is_pattern(&buf.into_inner()[skip..][..count], offset)),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{case}"),
            }
        }
        // The end of a file whose length is not a multiple is no misuse.
        let (result, buf) = file.read_at(AlignedBuf::new(ALIGN, ALIGN), 0).await;
        assert_eq!(result.unwrap(), ALIGN);
        assert!(is_pattern(&buf, 0));
    });
}

/// How many requests the block device below `path` queues; 256 where that cannot be told.
fn requests_max(path: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let dev = std::fs::metadata(path).unwrap().dev();
    let (major, minor) = (libc::major(dev), libc::minor(dev));
    let known = |file: &str| {
        let path = format!("/sys/dev/block/{major}:{minor}/{file}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    known("queue/nr_requests")
        .or_else(|| known("../queue/nr_requests"))
        .unwrap_or(256)
}

#[test]
fn more_direct_reads_than_the_device_queues_all_end() {
    const FILE_LEN: usize = 4 << 20;
    let on_disk = PatternFile::new("many-direct", FILE_LEN);
    if on_disk.open_direct().is_none() {
        println!("SKIP: no direct I/O on {}", on_disk.path.display());
        return;
    }
    let reads_count = (2 * requests_max(&on_disk.path)).min(4096);
    on_each(async || {
        let file = File::from_std(on_disk.open_direct().unwrap());
        let reads: Vec<JoinHandle<()>> = (0..reads_count)
            .map(|at| {
                let file = file.clone();
                spawn_local(async move {
                    let offset = (at * ALIGN % FILE_LEN) as u64;
                    let (result, buf) = file.read_at(AlignedBuf::new(ALIGN, ALIGN), offset).await;
                    assert_eq!(result.unwrap(), ALIGN);
                    assert!(is_pattern(&buf, offset));
                })
            })
            .collect();
        let mut ticks = 0;
        while !reads.iter().all(JoinHandle::is_finished) {
            time::sleep(Duration::from_micros(200)).await;
            ticks += 1;
        }
        assert!(ticks > 0, "the worker stood still");
        for read in reads {
            read.await.unwrap();
        }
    });
}

/// A loop device, gone with the value.
struct LoopDevice(PathBuf);

impl LoopDevice {
    fn over(file: &Path) -> Result<Self, String> {
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self(String::from_utf8_lossy(&output.stdout).trim().into()))
    }

    /// Lets the device take note of the size of its file.
    fn resize(&self) {
        let status = Command::new("losetup")
            .arg("--set-capacity")
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // Said by `losetup` itself when it fails.
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn a_device_that_shrinks_ends_its_reads() {
    const LEN: usize = 4 << 20;
    const LEFT: u64 = 1 << 20;
    let bytes = content(LEN);
    on_each(async || {
        let backing = file_of(&bytes);
        let device = match LoopDevice::over(backing.path()) {
            Ok(device) => device,
            Err(why) => {
                println!("SKIP: a_device_that_shrinks_ends_its_reads: {why}");
                return;
            }
        };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .direct(true)
            .open(&device.0)
            .await
            .unwrap();
        let read = async |offset: u64| file.read_at(AlignedBuf::new(ALIGN, ALIGN), offset).await;
        let (result, buf) = read(3 * LEFT).await;
        assert_eq!(result.unwrap(), ALIGN);
        let at = usize::try_from(3 * LEFT).unwrap();
        assert!(buf[..] == bytes[at..at + ALIGN]);
        // Under the device, which does not know: an error, or the zeroes of a hole.
        backing.as_file().set_len(LEFT).unwrap();
        match read(3 * LEFT).await {
            (Ok(count), buf) => assert!(buf[..count].iter().all(|byte| *byte == 0)),
            (Err(error), _) => assert_eq!(error.raw_os_error(), Some(libc::EIO)),
        }
        device.resize();
        assert_eq!(read(3 * LEFT).await.0.unwrap(), 0, "behind the end");
        let (result, buf) = read(0).await;
        assert_eq!(result.unwrap(), ALIGN);
        assert!(buf[..] == bytes[..ALIGN]);
        file.close().await.unwrap();
    });
}

/// Lowers a limit of this process.
fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: the limit is a local.
    let set = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// As in a container: 64 KiB may be locked, and nobody is root. Nothing is registered then, and
/// everything works.
#[test]
fn little_lockable_memory_is_enough() {
    if !is_child() {
        let (status, stderr) = child("little_lockable_memory_is_enough");
        assert!(status.success(), "{stderr}");
        return;
    }
    // Made while the folder may still be written to.
    let bytes = content(200_000);
    let on_disk = file_of(&bytes);
    let readable: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(on_disk.path(), readable).unwrap();
    limit(libc::RLIMIT_MEMLOCK, 64 << 10);
    // SAFETY: no memory is passed.
    if unsafe { libc::geteuid() } == 0 {
        // SAFETY: no memory is passed; all of the process changes, this test alone.
        let set = unsafe { libc::setresuid(65_534, 65_534, 65_534) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
    on_each(async || {
        let backend = corelane::current_worker();
        let pool = corelane::pool().unwrap();
        println!("{backend:?}: registered: {}", pool.is_registered());
        assert!(pool.buffer_len() < 64 << 10 || !pool.is_registered());
        let file = File::open(on_disk.path()).await.unwrap();
        let buf = pool.get().await;
        let (result, buf) = file.read_at(buf, 100).await;
        let count = result.unwrap();
        assert!(count > 0 && buf[..] == bytes[100..100 + count]);
        let (result, read) = file.read_exact_at(Vec::with_capacity(200_000), 0).await;
        result.unwrap();
        assert!(read == bytes);
    });
}

#[test]
fn few_descriptors_are_an_error_of_who_wants_one_more() {
    if !is_child() {
        let (status, stderr) = child("few_descriptors_are_an_error_of_who_wants_one_more");
        assert!(status.success(), "{stderr}");
        return;
    }
    let bytes = content(10_000);
    let on_disk = file_of(&bytes);
    limit(libc::RLIMIT_NOFILE, 32);
    on_each(async || {
        let mut open = Vec::new();
        let error = loop {
            match File::open(on_disk.path()).await {
                Ok(file) => open.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert!(open.len() > 8, "{} files", open.len());
        // What is open is read, and tasks run, with no descriptor left.
        for file in &open {
            let (result, read) = file.read_exact_at(Vec::with_capacity(10_000), 0).await;
            result.unwrap();
            assert!(read == bytes);
        }
        time::sleep(Duration::from_millis(1)).await;
        let refused = corelane::net::TcpListener::bind("127.0.0.1:0").unwrap_err();
        assert_ne!(refused.kind(), ErrorKind::AddrInUse);
        // One that goes is one that may come.
        open.pop().unwrap().close().await.unwrap();
        open.push(File::open(on_disk.path()).await.unwrap());
    });
}
