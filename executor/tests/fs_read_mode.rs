//! How a read is issued: one that must not wait gives what is cached or `WouldBlock`, and is not
//! tried again behind the caller's back; one that is handed off takes nothing of what a turn may
//! copy.
#![allow(unsafe_code, reason = "asks the kernel which pages are cached")]

mod support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};

use corelane::buf::AlignedBuf;
use corelane::fs::{Advice, File, OpenOptions, ReadMode};
use corelane::{Config, stats};

use support::{content, run, run_with};

const LEN: usize = 256 * 1024;

/// A file whose bytes are on the device, next to the build: `/tmp` may be memory.
fn file_on_disk() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&content(LEN)).unwrap();
    file.as_file().sync_all().unwrap();
    file
}

/// Counts the pages of a file that are cached.
fn cached_pages(file: &impl AsFd, len: usize) -> usize {
    let (fd, null) = (file.as_fd().as_raw_fd(), std::ptr::null_mut());
    // SAFETY: a new shared mapping of an open file, which nobody reads.
    let map = unsafe { libc::mmap(null, len, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    assert_ne!(map, libc::MAP_FAILED);
    let mut pages = vec![0; len.div_ceil(4096)];
    // SAFETY: the mapping is `len` bytes long, and the vector has a byte for each page.
    let asked = unsafe { libc::mincore(map, len, pages.as_mut_ptr()) };
    // SAFETY: unmapped once, and used no more.
    unsafe { libc::munmap(map, len) };
    assert_eq!(asked, 0);
    pages.iter().filter(|&&page| page & 1 == 1).count()
}

#[test]
fn a_read_that_must_not_wait_gives_what_is_cached() {
    let on_disk = file_on_disk();
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, _) = file.read_at(Vec::with_capacity(LEN), 0).await;
        assert_eq!(result.unwrap(), LEN);
        let aligned = AlignedBuf::new(LEN, 4096);
        let (result, buf) = file.read_at_with(aligned, 0, ReadMode::NoWait).await;
        match result {
            Ok(count) => assert_eq!(count, LEN),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                eprintln!("SKIP: the file system cannot tell what is cached");
                return;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(buf[..] == content(LEN));
    });
}

/// Reads a page of a file none of whose pages are cached, without waiting. `None` when it cannot be
/// told here whether such a read is refused.
async fn read_uncached(file: &File) -> Option<(std::io::Result<usize>, AlignedBuf)> {
    // What lies in the middle of being written is not dropped at once.
    for _ in 0..100 {
        file.advise(0, 0, Advice::DontNeed).await.unwrap();
        file.advise(0, 0, Advice::Random).await.unwrap();
        if cached_pages(file, LEN) == 0 {
            break;
        }
    }
    if cached_pages(file, LEN) > 0 {
        eprintln!("SKIP: the file system keeps the pages, or is in memory");
        return None;
    }
    let before = stats().submits;
    let buf = AlignedBuf::new(4096, 4096);
    let (result, buf) = file.read_at_with(buf, 128 * 1024, ReadMode::NoWait).await;
    if result.as_ref().err().and_then(std::io::Error::raw_os_error) == Some(libc::EOPNOTSUPP) {
        eprintln!("SKIP: the file system cannot tell what is cached");
        return None;
    }
    assert_eq!(stats().submits, before + 1, "tried again");
    Some((result, buf))
}

#[test]
fn a_read_that_would_wait_is_refused_once() {
    let on_disk = file_on_disk();
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let wanted = &content(LEN)[128 * 1024..][..4096];
        // The kernel starts to read the page before it says that it is not there; where the device
        // is done by then, the read has it. That happens, and not each time.
        for _ in 0..100 {
            let Some((result, buf)) = read_uncached(&file).await else {
                return;
            };
            let Err(error) = result else {
                assert!(buf[..] == *wanted);
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let (result, buf) = file.read_at_with(buf, 128 * 1024, ReadMode::Async).await;
            assert_eq!(result.unwrap(), 4096);
            assert!(buf[..] == *wanted);
            return;
        }
        panic!("100 reads of what was not cached, and none was refused");
    });
}

#[test]
fn reads_that_copy_nothing_are_submitted_past_the_limit_of_what_a_turn_copies() {
    let bytes = content(LEN);
    let on_disk = file_on_disk();
    let config = Config::new().submit_bytes_max(4096);
    for (mode, direct) in [
        (ReadMode::Inline, false),
        (ReadMode::Inline, true),
        (ReadMode::Async, false),
    ] {
        let on_disk = on_disk.path().to_owned();
        let bytes = bytes.clone();
        run_with(config.clone(), async move {
            let mut options = OpenOptions::new();
            let file = options.read(true).direct(direct).open(&on_disk).await;
            if direct
                && file
                    .as_ref()
                    .is_err_and(|e| e.kind() == ErrorKind::InvalidInput)
            {
                return println!("SKIP: the file system has no direct reads");
            }
            let file = file.unwrap();
            let reads: Vec<_> = (0..16)
                .map(|at| {
                    let file = file.clone();
                    corelane::spawn_local(async move {
                        let offset = at * 4096;
                        let buf = AlignedBuf::new(4096, 4096);
                        (offset, file.read_at_with(buf, offset as u64, mode).await)
                    })
                })
                .collect();
            for read in reads {
                let (offset, (result, buf)) = read.await.unwrap();
                assert_eq!(result.unwrap(), 4096);
                assert!(buf[..] == bytes[offset..][..4096]);
            }
            let waited = stats().queued_high_water;
            let copies = mode == ReadMode::Inline && !direct;
            assert_eq!(waited > 0, copies, "{mode:?}, {direct}: {waited} waited");
        });
    }
}

#[test]
fn an_end_of_file_is_no_reason_to_wait() {
    let on_disk = file_on_disk();
    let tail = fs::metadata(on_disk.path()).unwrap().len();
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for mode in [ReadMode::Inline, ReadMode::Async] {
            let (result, _) = file.read_at_with(vec![0; 8], tail, mode).await;
            assert_eq!(result.unwrap(), 0, "{mode:?}");
        }
    });
}
