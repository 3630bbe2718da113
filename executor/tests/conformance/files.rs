//! Regular files, by position.

use std::io;
use std::os::unix::fs::FileExt;

use corelane::buf::AlignedBuf;
use corelane::fs::{Advice, File, OpenOptions, ReadMode};

use crate::common::PatternFile;
use crate::harness::{Backend, assert_errno, assert_same};
use crate::support::{content, file_of};

/// Segments that one request takes (`UIO_MAXIOV`).
const SEGMENTS_MAX: usize = 1024;

/// Buffers of `capacity` bytes each.
pub(crate) fn empty(count: usize, capacity: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| Vec::with_capacity(capacity)).collect()
}

/// Reads into a buffer of `len` bytes, and checks that it is this one that comes back.
pub(crate) async fn read(file: &File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let buf = Vec::with_capacity(len);
    let (ptr, capacity) = (buf.as_ptr(), buf.capacity());
    let (result, buf) = file.read_at(buf, offset).await;
    assert_eq!(
        (buf.as_ptr(), buf.capacity()),
        (ptr, capacity),
        "another buffer came back"
    );
    assert_eq!(buf.len(), *result.as_ref().unwrap_or(&0));
    result.map(|_| buf)
}

/// Writes, and checks that the buffer comes back as it was.
pub(crate) async fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let buf = bytes.to_vec();
    let ptr = buf.as_ptr();
    let (result, buf) = file.write_at(buf, offset).await;
    assert_eq!((buf.as_ptr(), &buf[..]), (ptr, bytes), "another buffer");
    result
}

/// What pread(2) answers.
pub(crate) fn pread(file: &std::fs::File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let count = file.read_at(&mut bytes, offset)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn both(path: &std::path::Path) -> (File, std::fs::File) {
    let mut options = std::fs::OpenOptions::new();
    let plain = options.read(true).write(true).open(path).unwrap();
    (File::from_std(plain.try_clone().unwrap()), plain)
}

pub(crate) fn reads_end_where_the_file_ends(backend: &Backend) {
    let bytes = content(10_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        for len in [1, 2, 4095, 4096, 4097, 9999, 10_000, 10_001, 100_000] {
            for offset in [0, 1, 4095, 4096, 9999, 10_000, 10_001, 1 << 32] {
                let what = format!("{len} bytes at {offset}");
                let got = read(&file, len, offset).await;
                assert_same(&what, &got, &pread(&plain, len, offset));
            }
        }
        assert_eq!(read(&file, 10_001, 0).await.unwrap(), bytes);
        assert_eq!(read(&file, 5, 9998).await.unwrap(), bytes[9998..]);
        assert_eq!(read(&file, 5, 10_000).await.unwrap(), b"");
    });
}

pub(crate) fn exact_reads_say_what_is_missing(backend: &Backend) {
    let bytes = content(10_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for (len, offset) in [(10_000, 0), (1, 9999), (7777, 11)] {
            let buf = Vec::with_capacity(len);
            let (result, buf) = file.read_exact_at(buf, offset as u64).await;
            result.unwrap();
            assert_eq!(buf, bytes[offset..offset + len]);
        }
        for (len, offset, there) in [(10_001, 0, 10_000), (2, 9999, 1), (1, 10_000, 0)] {
            let (result, buf) = file.read_exact_at(Vec::with_capacity(len), offset).await;
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            let text = error.to_string();
            for number in [len.to_string(), offset.to_string(), there.to_string()] {
                assert!(text.contains(&number), "{text} does not say {number}");
            }
            assert_eq!(buf.capacity(), len);
        }
        let (result, _) = file.read_exact_at(Vec::new(), 1 << 40).await;
        result.unwrap();
    });
}

/// How many of the first segments hold [`SEGMENTS_MAX`] that are not empty.
pub(crate) fn taken(lens: impl Iterator<Item = usize>) -> usize {
    let mut full = lens.enumerate().filter(|(_, len)| *len > 0);
    full.nth(SEGMENTS_MAX - 1).unwrap().0 + 1
}

pub(crate) fn vectored_reads_of_0_1_and_1500_segments(backend: &Backend) {
    let bytes = content(200_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, bufs) = file.readv_at(Vec::<Vec<u8>>::new(), 0).await;
        assert_eq!((result.unwrap(), bufs.len()), (0, 0));
        let (result, bufs) = file.readv_at(vec![Vec::with_capacity(77)], 5).await;
        assert_eq!(result.unwrap(), 77);
        assert_eq!(bufs[0], bytes[5..82]);
        // Lengths from 0 to 99; no more than 1,024 that are not empty go at once.
        let bufs: Vec<Vec<u8>> = (0..1500).map(|at| Vec::with_capacity(at % 100)).collect();
        let taken = taken(bufs.iter().map(Vec::capacity));
        let moved: usize = bufs[..taken].iter().map(Vec::capacity).sum();
        let (result, bufs) = file.readv_at(bufs, 1).await;
        assert_eq!(result.unwrap(), moved);
        assert_eq!(bufs.concat(), bytes[1..=moved]);
        let filled = |(at, buf): (usize, &Vec<u8>)| buf.len() == at % 100;
        assert!(bufs.iter().enumerate().take(taken).all(filled));
        assert!(bufs[taken..].iter().all(Vec::is_empty));
        // The end of the file, in the middle of a segment and of the segments.
        let bufs = empty(1500, 10);
        let (result, bufs) = file.readv_at(bufs, 200_000 - 1234).await;
        assert_eq!(result.unwrap(), 1234);
        assert_eq!(bufs.concat(), bytes[200_000 - 1234..]);
        let (result, bufs) = file.readv_at(empty(3, 9), 200_000).await;
        assert_eq!(result.unwrap(), 0);
        assert!(bufs.concat().is_empty());
    });
}

pub(crate) fn vectored_writes_of_0_1_and_1500_segments(backend: &Backend) {
    let on_disk = file_of(b"");
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        let (result, _) = file.writev_at(Vec::<Vec<u8>>::new(), 10).await;
        assert_eq!(result.unwrap(), 0);
        assert_eq!(plain.metadata().unwrap().len(), 0);
        let (result, bufs) = file.writev_at(vec![b"one".to_vec()], 2).await;
        assert_eq!(result.unwrap(), 3);
        assert_eq!(bufs, [b"one"]);
        let bufs: Vec<Vec<u8>> = (0..1500).map(|at| content(at % 100)).collect();
        let taken = taken(bufs.iter().map(Vec::len));
        let moved: usize = bufs[..taken].iter().map(Vec::len).sum();
        let (result, back) = file.writev_at(bufs.clone(), 5).await;
        assert_eq!(result.unwrap(), moved);
        assert_eq!(back, bufs);
        let expected = [&b"\0\0one"[..], &bufs[..taken].concat()].concat();
        assert_eq!(pread(&plain, 1 << 20, 0).unwrap(), expected);
    });
}

pub(crate) fn empty_buffers_move_nothing(backend: &Backend) {
    let on_disk = file_of(b"content");
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        for offset in [0, 3, 7, 8, 1 << 40] {
            assert_eq!(read(&file, 0, offset).await.unwrap(), b"");
            assert_eq!(write(&file, b"", offset).await.unwrap(), 0);
            file.write_all_at(Vec::new(), offset).await.0.unwrap();
            let (result, _) = file.readv_at(vec![Vec::new(); 3], offset).await;
            assert_eq!(result.unwrap(), 0);
            let (result, _) = file.writev_at(vec![Vec::<u8>::new(); 3], offset).await;
            assert_eq!(result.unwrap(), 0);
        }
        assert_eq!(pread(&plain, 100, 0).unwrap(), b"content");
    });
}

pub(crate) fn offsets_beyond_4_gib_and_holes(backend: &Backend) {
    let on_disk = file_of(b"begin");
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        let far = (1 << 32) + 3;
        assert_eq!(write(&file, b"far away", far).await.unwrap(), 8);
        let farther = (1 << 40) - 1;
        let (result, _) = file
            .writev_at(vec![b"far".to_vec(), b"ther".to_vec()], farther)
            .await;
        assert_eq!(result.unwrap(), 7);
        assert_eq!(file.statx().await.unwrap().len(), farther + 7);
        for (len, offset) in [
            (20, 0),
            (100_000, 1 << 20),
            (4096, far - 10),
            (3, far + 5),
            (10_000, (1 << 32) - 5000),
            (100, farther - 50),
            (100, farther + 7),
        ] {
            let got = read(&file, len, offset).await;
            let what = format!("{len} bytes at {offset}");
            assert_same(&what, &got, &pread(&plain, len, offset));
            let (result, bufs) = file.readv_at(vec![Vec::with_capacity(len)], offset).await;
            assert_eq!(result.unwrap(), bufs[0].len());
            assert_eq!(bufs[0], got.unwrap());
        }
        let zeros = read(&file, 64 * 1024, 1 << 30).await.unwrap();
        assert!(zeros.len() == 64 * 1024 && zeros.iter().all(|byte| *byte == 0));
        assert_eq!(read(&file, 100, far).await.unwrap()[..8], *b"far away");
    });
}

pub(crate) fn offsets_that_no_file_has(backend: &Backend) {
    let on_disk = file_of(&content(100));
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        let last = i64::MAX.cast_unsigned();
        for offset in [last - 4, last - 1, last, last + 1, u64::MAX - 1, u64::MAX] {
            let what = format!("at {offset}");
            let got = read(&file, 4, offset).await;
            assert_same(&what, &got, &pread(&plain, 4, offset));
            let (result, bufs) = file.readv_at(vec![Vec::with_capacity(4)], offset).await;
            let got = result.map(|_| bufs.concat());
            assert_same(&what, &got, &pread(&plain, 4, offset));
            let got = write(&file, b"four", offset).await;
            assert_same(&what, &got, &plain.write_at(b"four", offset));
            let (result, _) = file.writev_at(vec![b"four".to_vec()], offset).await;
            assert_same(&what, &result, &plain.write_at(b"four", offset));
        }
        assert_eq!(pread(&plain, 1000, 0).unwrap(), content(100));
    });
}

pub(crate) fn a_file_truncated_under_its_reader(backend: &Backend) {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        assert_eq!(
            read(&file, 1000, 60_000).await.unwrap(),
            bytes[60_000..61_000]
        );
        plain.set_len(60_500).unwrap();
        assert_eq!(
            read(&file, 1000, 60_000).await.unwrap(),
            bytes[60_000..60_500]
        );
        let (result, bufs) = file.readv_at(empty(3, 400), 60_000).await;
        assert_eq!(result.unwrap(), 500);
        assert_eq!([bufs[0].len(), bufs[1].len(), bufs[2].len()], [400, 100, 0]);
        let (result, _) = file.read_exact_at(Vec::with_capacity(1000), 60_000).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        plain.set_len(0).unwrap();
        assert_eq!(read(&file, 1000, 0).await.unwrap(), b"");
        // Made longer again, it is a hole.
        plain.set_len(2000).unwrap();
        assert_eq!(read(&file, 1000, 0).await.unwrap(), vec![0; 1000]);
        assert_eq!(file.statx().await.unwrap().len(), 2000);
    });
}

pub(crate) fn a_file_replaced_under_its_reader(backend: &Backend) {
    let folder = tempfile::tempdir().unwrap();
    let (path, next) = (folder.path().join("file"), folder.path().join("next"));
    std::fs::write(&path, b"the old content").unwrap();
    std::fs::write(&next, b"the new").unwrap();
    backend.run(async {
        let old = File::open(&path).await.unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(read(&old, 100, 0).await.unwrap(), b"the old content");
        let new = File::open(&path).await.unwrap();
        assert_eq!(read(&new, 100, 0).await.unwrap(), b"the new");
        let (old_ino, new_ino) = (
            old.statx().await.unwrap().ino(),
            new.statx().await.unwrap().ino(),
        );
        assert_ne!(old_ino, new_ino);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&new, 100, 4).await.unwrap(), b"new");
        assert_errno("gone", File::open(&path).await, libc::ENOENT);
        assert_errno(
            "gone",
            corelane::fs::metadata(&path).await.map(drop),
            libc::ENOENT,
        );
    });
}

pub(crate) fn writes_extend_and_appends_go_to_the_end(backend: &Backend) {
    let on_disk = file_of(b"0123456789");
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        assert_eq!(write(&file, b"abc", 4).await.unwrap(), 3);
        assert_eq!(write(&file, b"end", 12).await.unwrap(), 3);
        assert_eq!(pread(&plain, 100, 0).unwrap(), b"0123abc789\0\0end");
        let mut options = OpenOptions::new();
        let append = options.append(true).open(on_disk.path()).await.unwrap();
        for offset in [0, 5, 1000] {
            assert_eq!(write(&append, b"+", offset).await.unwrap(), 1);
            append.write_all_at(b"-".to_vec(), offset).await.0.unwrap();
        }
        let (result, _) = append
            .writev_at(vec![b"x".to_vec(), b"y".to_vec()], 3)
            .await;
        assert_eq!(result.unwrap(), 2);
        assert_eq!(pread(&plain, 100, 0).unwrap(), b"0123abc789\0\0end+-+-+-xy");
        let mut options = OpenOptions::new();
        options.write(true).truncate(true);
        let cut = options.open(on_disk.path()).await.unwrap();
        assert_eq!(cut.statx().await.unwrap().len(), 0);
        assert_eq!(read(&file, 10, 0).await.unwrap(), b"");
    });
}

pub(crate) fn files_opened_for_the_other_direction(backend: &Backend) {
    let on_disk = file_of(b"content");
    backend.run(async {
        let reader = File::open(on_disk.path()).await.unwrap();
        assert_errno("write", write(&reader, b"x", 0).await, libc::EBADF);
        let (result, bufs) = reader.writev_at(vec![b"x".to_vec()], 0).await;
        assert_errno("writev", result, libc::EBADF);
        assert_eq!(bufs, [b"x"]);
        let (result, buf) = reader.write_all_at(b"xyz".to_vec(), 0).await;
        assert_errno("write all", result, libc::EBADF);
        assert_eq!(buf, b"xyz");
        let mut options = OpenOptions::new();
        let writer = options.write(true).open(on_disk.path()).await.unwrap();
        assert_errno("read", read(&writer, 4, 0).await, libc::EBADF);
        let (result, bufs) = writer.readv_at(vec![Vec::with_capacity(4)], 0).await;
        assert_errno("readv", result, libc::EBADF);
        assert_eq!(bufs[0].capacity(), 4);
        let (result, buf) = writer.read_exact_at(Vec::with_capacity(4), 0).await;
        assert_errno("exact", result, libc::EBADF);
        assert_eq!(buf.capacity(), 4);
        assert_eq!(std::fs::read(on_disk.path()).unwrap(), b"content");
    });
}

pub(crate) fn modes_of_reading_agree(backend: &Backend) {
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for mode in [ReadMode::Inline, ReadMode::Async, ReadMode::NoWait] {
            for (len, offset) in [
                (0, 0),
                (1000, 5),
                (100_000, 0),
                (1000, 99_500),
                (10, 100_000),
            ] {
                let buf = Vec::with_capacity(len);
                let (result, buf) = file.read_at_with(buf, offset as u64, mode).await;
                let expected = &bytes[offset..(offset + len).min(bytes.len())];
                match result {
                    Ok(count) if mode != ReadMode::NoWait => {
                        assert_eq!((count, &buf[..]), (expected.len(), expected), "{mode:?}");
                    }
                    // What is cached, which was written just now; it may be gone already.
                    Ok(count) => assert_eq!(&buf[..], &expected[..count]),
                    Err(error) => {
                        assert_eq!(mode, ReadMode::NoWait, "{error}");
                        let errno = error.raw_os_error();
                        assert!(
                            errno == Some(libc::EAGAIN) || errno == Some(libc::EOPNOTSUPP),
                            "{error}"
                        );
                    }
                }
            }
        }
    });
}

pub(crate) fn flushes_advice_and_metadata(backend: &Backend) {
    let on_disk = file_of(&content(5000));
    backend.run(async {
        let (file, plain) = both(on_disk.path());
        file.sync_all().await.unwrap();
        file.sync_data().await.unwrap();
        for advice in [
            Advice::Normal,
            Advice::Sequential,
            Advice::Random,
            Advice::WillNeed,
            Advice::DontNeed,
        ] {
            file.advise(0, 0, advice).await.unwrap();
            file.advise(4096, 100, advice).await.unwrap();
            file.advise(1 << 40, 100, advice).await.unwrap();
        }
        let (ours, by_path) = (
            file.statx().await.unwrap(),
            corelane::fs::metadata(on_disk.path()).await.unwrap(),
        );
        use std::os::unix::fs::MetadataExt;
        let theirs = plain.metadata().unwrap();
        for stat in [ours, by_path] {
            assert_eq!((stat.len(), stat.ino()), (theirs.len(), theirs.ino()));
            assert_eq!(stat.mode(), theirs.mode() & 0o7777);
            assert!(stat.is_file() && !stat.is_dir() && !stat.is_symlink());
            assert_eq!(stat.modified(), theirs.modified().unwrap());
        }
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        assert_errno("flush a pipe", pipe.sync_all().await, libc::EINVAL);
        let advised = pipe.advise(0, 0, Advice::Normal).await;
        assert_errno("advise on a pipe", advised, libc::ESPIPE);
        file.close().await.unwrap();
    });
}

pub(crate) fn direct_reads_that_are_not_aligned(backend: &Backend) {
    let on_disk = PatternFile::new(&format!("conformance-direct-{backend:p}"), 64 * 1024);
    let Some(direct) = on_disk.open_direct() else {
        println!("SKIP: no direct I/O on {}", on_disk.path.display());
        return;
    };
    backend.run(async {
        let file = File::from_std(direct.try_clone().unwrap());
        for (len, offset) in [
            (4096, 0),
            (8192, 4096),
            (4096, 1),
            (4096, 511),
            (100, 0),
            (4095, 4096),
            (8192, 60 * 1024),
            (4096, 64 * 1024),
            (4096, 64 * 1024 + 1),
        ] {
            let what = format!("{len} bytes at {offset}");
            let mut plain = AlignedBuf::new(len, 4096);
            plain.fill_from(&vec![0; len]);
            let call = direct.read_at(&mut plain[..len], offset);
            let call = call.map(|count| plain[..count].to_vec());
            for mode in [ReadMode::Inline, ReadMode::Async] {
                let buf = AlignedBuf::new(len, 4096);
                let (result, buf) = file.read_at_with(buf, offset, mode).await;
                let got = result.map(|count| buf[..count].to_vec());
                assert_same(&what, &got, &call);
            }
            let (result, bufs) = file
                .readv_at(vec![AlignedBuf::new(len, 4096)], offset)
                .await;
            let got = result.map(|count| bufs[0][..count].to_vec());
            assert_same(&what, &got, &call);
        }
    });
}
