//! Files are read and written by position, with the kernel's exact counts, from and into buffers
//! of any kind.

mod support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;

use corelane::buf::{AlignedBuf, IoBuf};
use corelane::fs::{Advice, File, OpenOptions};
use corelane::{Config, PoolConfig};

use support::{content, file_of, run, run_with};

#[test]
fn a_read_names_its_position_and_gives_the_count() {
    let bytes = content(10_000);
    let on_disk = file_of(&bytes);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for (offset, capacity, count) in [
            (0, 10_000, 10_000),
            (0, 1, 1),
            (4_095, 2, 2),
            (9_999, 1, 1),
            (9_999, 100, 1),
            (9_000, 4_096, 1_000),
            (10_000, 100, 0),
            (1 << 40, 100, 0),
            (i64::MAX as u64 - 4_096, 100, 0),
        ] {
            let (result, buf) = file.read_at(boxed(capacity), offset).await;
            assert_eq!(result.unwrap(), count, "{capacity} bytes at {offset}");
            if count > 0 {
                let at = usize::try_from(offset).unwrap();
                assert_eq!(buf[..count], bytes[at..at + count]);
            }
            assert!(
                buf[count..].iter().all(|&byte| byte == 0xee),
                "written behind the count"
            );
        }
    });
}

fn boxed(len: usize) -> Box<[u8]> {
    vec![0xee; len].into_boxed_slice()
}

#[test]
fn a_vector_is_filled_up_to_its_capacity_and_has_the_length_of_what_was_read() {
    let on_disk = file_of(&content(100));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, buf) = file.read_at(Vec::with_capacity(64), 60).await;
        assert_eq!(result.unwrap(), 40);
        assert_eq!(buf, content(100)[60..]);
        let (result, buf) = file.read_at(vec![7; 8], 100).await;
        assert_eq!(result.unwrap(), 0);
        assert!(buf.is_empty());
    });
}

#[test]
fn a_part_of_a_buffer_is_filled_alone() {
    let on_disk = file_of(&content(100));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, part) = file.read_at(boxed(16).slice(4..8), 50).await;
        assert_eq!(result.unwrap(), 4);
        let buf = part.into_inner();
        assert_eq!(buf[..4], [0xee; 4]);
        assert_eq!(buf[4..8], content(100)[50..54]);
        assert_eq!(buf[8..], [0xee; 8]);
    });
}

#[test]
fn an_empty_buffer_reads_and_writes_nothing() {
    let on_disk = file_of(&content(100));
    run(async {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(on_disk.path())
            .await
            .unwrap();
        assert_eq!(file.read_at(Vec::new(), 0).await.0.unwrap(), 0);
        assert_eq!(file.write_at("", 0).await.0.unwrap(), 0);
        file.write_all_at("", 0).await.0.unwrap();
        file.read_exact_at(Vec::new(), 1_000).await.0.unwrap();
        let (result, bufs) = file.readv_at(Vec::<Vec<u8>>::new(), 0).await;
        assert_eq!((result.unwrap(), bufs.len()), (0, 0));
        let (result, bufs) = file
            .readv_at(vec![Vec::new(), Vec::with_capacity(8)], 92)
            .await;
        assert_eq!(result.unwrap(), 8);
        assert_eq!(bufs, [&[], &content(100)[92..]]);
        assert_eq!(file.writev_at(Vec::<&str>::new(), 0).await.0.unwrap(), 0);
    });
    assert_eq!(fs::read(on_disk.path()).unwrap(), content(100));
}

#[test]
fn an_exact_read_is_full_or_an_error_that_says_where() {
    let on_disk = file_of(&content(10_000));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, buf) = file.read_exact_at(Vec::with_capacity(5_000), 5_000).await;
        result.unwrap();
        assert_eq!(buf, content(10_000)[5_000..]);
        let (result, buf) = file.read_exact_at(boxed(5_001), 5_000).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let text = error.to_string();
        assert!(text.contains("5001") && text.contains("5000"), "{text}");
        assert_eq!(buf.len(), 5_001);
    });
}

#[test]
fn a_vectored_read_fills_one_slot_after_the_other() {
    let bytes = content(6_000);
    let on_disk = file_of(&bytes);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, bufs) = file.readv_at(vec![boxed(3)], 7).await;
        assert_eq!(result.unwrap(), 3);
        assert_eq!(bufs[0][..], bytes[7..10]);
        // One call takes 1,024 segments.
        let (result, bufs) = file
            .readv_at((0..1_500).map(|_| boxed(4)).collect(), 0)
            .await;
        assert_eq!(result.unwrap(), 4 * 1_024);
        assert_eq!(bufs.len(), 1_500);
        assert_eq!(bufs[..1_024].concat(), bytes[..4_096]);
        assert!(bufs[1_024..].concat().iter().all(|&byte| byte == 0xee));
        // The end of the file lies inside of a segment.
        let vecs = (0..4).map(|_| Vec::with_capacity(100)).collect();
        let (result, bufs) = file.readv_at(vecs, 5_850).await;
        assert_eq!(result.unwrap(), 150);
        assert_eq!(
            bufs.iter().map(Vec::len).collect::<Vec<_>>(),
            [100, 50, 0, 0]
        );
        assert_eq!(bufs.concat(), bytes[5_850..]);
    });
}

#[test]
fn a_vectored_write_takes_one_slot_after_the_other() {
    let on_disk = file_of(&[]);
    run(async {
        let file = OpenOptions::new()
            .write(true)
            .open(on_disk.path())
            .await
            .unwrap();
        let bufs: Vec<Vec<u8>> = content(6_000).chunks(4).map(<[u8]>::to_vec).collect();
        let (result, bufs) = file.writev_at(bufs, 3).await;
        assert_eq!((result.unwrap(), bufs.len()), (4 * 1_024, 1_500));
    });
    let written = fs::read(on_disk.path()).unwrap();
    assert_eq!(written[..3], [0; 3]);
    assert_eq!(written[3..], content(6_000)[..4_096]);
}

#[test]
fn offsets_beyond_four_gib_are_whole() {
    const FAR: u64 = (5 << 30) + 12_345;
    let on_disk = file_of(&[]);
    run(async {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(on_disk.path())
            .await
            .unwrap();
        file.write_all_at("far out", FAR).await.0.unwrap();
        assert_eq!(file.write_at("!", FAR + 7).await.0.unwrap(), 1);
        assert_eq!(file.statx().await.unwrap().len(), FAR + 8);
        assert_eq!(
            file.read_at(Vec::with_capacity(99), FAR).await.1,
            b"far out!"
        );
        // A hole reads as zeroes, as the same offset cut to 32 bits would.
        let (result, bufs) = file.readv_at(vec![boxed(4), boxed(4)], FAR - 4).await;
        assert_eq!(result.unwrap(), 8);
        assert_eq!(bufs.concat(), b"\0\0\0\0far ");
        let low = file.read_at(boxed(8), FAR & u64::from(u32::MAX)).await;
        assert_eq!(low.1[..], [0; 8]);
        file.read_exact_at(boxed(8), FAR).await.0.unwrap();
    });
}

#[test]
fn an_offset_that_no_file_has_is_refused() {
    // Linux reads an offset of -1 as "the descriptor's own position".
    let on_disk = file_of(b"untouched");
    run(async {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(on_disk.path())
            .await
            .unwrap();
        for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
            let errors = [
                file.read_at(boxed(4), offset).await.0.unwrap_err(),
                file.write_at("xxxx", offset).await.0.unwrap_err(),
                file.readv_at(vec![boxed(4)], offset).await.0.unwrap_err(),
                file.writev_at(vec!["xxxx"], offset).await.0.unwrap_err(),
                file.write_all_at("xxxx", offset).await.0.unwrap_err(),
                file.read_exact_at(boxed(4), offset).await.0.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(
                    error.raw_os_error(),
                    Some(libc::EINVAL),
                    "{offset}: {error}"
                );
            }
        }
    });
    assert_eq!(fs::read(on_disk.path()).unwrap(), b"untouched");
}

#[test]
fn direct_reads_go_into_aligned_and_pool_buffers() {
    let bytes = content(3 * 4_096 + 500);
    let on_disk = file_of(&bytes);
    on_disk.as_file().sync_all().unwrap();
    let config = Config::new().pool(PoolConfig::new(2, 16_384));
    run_with(config, async {
        let mut options = OpenOptions::new();
        let file = match options.read(true).direct(true).open(&on_disk).await {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                eprintln!("SKIP: the temporary folder's file system has no direct I/O");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let (result, buf) = file.read_at(AlignedBuf::new(8_192, 4_096), 4_096).await;
        assert_eq!(result.unwrap(), 8_192);
        assert_eq!(buf[..], bytes[4_096..12_288]);
        let (result, buf) = file.read_at(buf, 3 * 4_096).await;
        assert_eq!(result.unwrap(), 500);
        assert_eq!(buf[..], bytes[3 * 4_096..]);
        let pooled = corelane::pool().unwrap().try_get().unwrap();
        let (result, pooled) = file.read_at(pooled, 0).await;
        assert_eq!(result.unwrap(), bytes.len());
        assert_eq!(pooled[..], bytes);
        if file.statx().await.unwrap().dio_align().is_some() {
            let unaligned = AlignedBuf::new(8_192, 4_096);
            let error = file.read_at(unaligned, 100).await.0.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
    });
}

#[test]
fn pool_buffers_read_and_write_whole_and_in_part() {
    let bytes = content(10_000);
    let (from, to) = (file_of(&bytes), file_of(&[]));
    let config = Config::new().pool(PoolConfig::new(2, 16_384));
    run_with(config, async {
        let pool = corelane::pool().unwrap();
        let from = File::open(from.path()).await.unwrap();
        let to = OpenOptions::new()
            .write(true)
            .open(to.path())
            .await
            .unwrap();
        let (result, buf) = from.read_at(pool.try_get().unwrap(), 0).await;
        assert_eq!((result.unwrap(), buf.len()), (10_000, 10_000));
        let (result, buf) = to.write_at(buf, 0).await;
        assert_eq!(result.unwrap(), 10_000);
        let (result, part) = to.write_at(buf.slice(1_000..2_000), 10_000).await;
        assert_eq!(result.unwrap(), 1_000);
        let (result, part) = from.read_at(part.into_inner().slice(10..20), 5_000).await;
        assert_eq!(result.unwrap(), 10);
        let buf = part.into_inner();
        assert_eq!(
            (&buf[10..20], &buf[20..]),
            (&bytes[5_000..5_010], &bytes[20..])
        );
        let (result, part) = from.read_at(buf.slice(0..0), 0).await;
        assert_eq!((result.unwrap(), part.get_ref().len()), (0, 10_000));
    });
    let written = fs::read(to.path()).unwrap();
    assert_eq!(written, [&bytes[..], &bytes[1_000..2_000]].concat());
}

#[test]
fn uninitialised_memory_is_read_into() {
    let on_disk = file_of(b"bytes");
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, buf) = file.read_at(Box::<[u8]>::new_uninit_slice(8), 0).await;
        assert_eq!(result.unwrap(), 5);
        let (filled, _): (&[MaybeUninit<u8>], _) = buf.split_at(5);
        // SAFETY: the read has initialised the first five bytes.
        let filled: Vec<u8> = filled
            .iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        assert_eq!(filled, b"bytes");
    });
}

#[test]
fn writes_reach_the_file_and_the_file_can_be_flushed_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made");
    run(async {
        let file = File::create(&path).await.unwrap();
        assert_eq!(file.write_at("hello", 3).await.0.unwrap(), 5);
        let (result, buf) = file.write_all_at(content(100_000), 8).await;
        result.unwrap();
        assert_eq!(buf, content(100_000));
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();
        let shared = file.clone();
        file.close().await.unwrap();
        assert_eq!(shared.statx().await.unwrap().len(), 100_008);
        shared.close().await.unwrap();
        let error = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let appended = OpenOptions::new().append(true).open(&path).await.unwrap();
        appended.write_all_at("end", 0).await.0.unwrap();
    });
    let expected = [b"\0\0\0hello", &content(100_000)[..], b"end"].concat();
    assert_eq!(fs::read(path).unwrap(), expected);
}

#[test]
fn a_read_does_not_move_a_shared_cursor() {
    let on_disk = file_of(&content(100));
    let std_file = fs::File::open(on_disk.path()).unwrap();
    let copy = std_file.try_clone().unwrap();
    run(async {
        let file = File::from_std(std_file);
        file.read_at(boxed(50), 10).await.0.unwrap();
        file.readv_at(vec![boxed(50)], 10).await.0.unwrap();
    });
    let position = std::io::Seek::stream_position(&mut &copy).unwrap();
    assert_eq!(position, 0);
}

#[test]
fn a_write_to_a_file_opened_for_reading_gives_the_buffer_back() {
    let on_disk = file_of(b"x");
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (result, buf) = file.write_at(content(9), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(buf, content(9));
        let (result, bufs) = file.writev_at(vec![content(9), content(2)], 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(bufs, [content(9), content(2)]);
        let (result, buf) = file.write_all_at(content(9), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(buf, content(9));
    });
}

#[test]
fn advice_is_taken() {
    let on_disk = file_of(&content(100_000));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for advice in [
            Advice::Sequential,
            Advice::Random,
            Advice::Normal,
            Advice::WillNeed,
            Advice::DontNeed,
        ] {
            file.advise(0, 0, advice).await.unwrap();
            file.advise(4_096, 8_192, advice).await.unwrap();
        }
        let (pipe, _writer) = std::io::pipe().unwrap();
        let pipe = File::from_std(std::os::fd::OwnedFd::from(pipe).into());
        let error = pipe.advise(0, 0, Advice::Normal).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESPIPE));
    });
}

#[test]
fn a_pipe_is_read_as_far_as_it_is_filled() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    run(async {
        let reader = File::from_std(std::os::fd::OwnedFd::from(reader).into());
        let waiting = corelane::spawn_local(async move {
            let first = reader.read_at(boxed(64), 0).await;
            let second = reader.read_at(boxed(64), 0).await;
            (first.0.unwrap(), second.0.unwrap(), first.1)
        });
        corelane::yield_now().await;
        writer.write_all(b"abcd").unwrap();
        drop(writer);
        let (first, second, buf) = waiting.await.unwrap();
        assert_eq!((first, second, &buf[..4]), (4, 0, &b"abcd"[..]));
    });
}

#[test]
fn many_reads_in_flight_each_get_their_own_bytes() {
    let bytes = content(1 << 20);
    let on_disk = file_of(&bytes);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let reads: Vec<_> = (0..500usize)
            .map(|index| {
                let (file, offset) = (file.clone(), index * 2_097 % (1 << 20));
                corelane::spawn_local(async move {
                    let (result, buf) = file.read_at(boxed(1_000), offset as u64).await;
                    (offset, result.unwrap(), buf)
                })
            })
            .collect();
        for read in reads {
            let (offset, count, buf) = read.await.unwrap();
            assert_eq!(buf[..count], bytes[offset..offset + count]);
        }
    });
    // The same file through std, as a check of the check.
    let mut buf = [0; 16];
    on_disk.as_file().read_exact_at(&mut buf, 77).unwrap();
    assert_eq!(buf, bytes[77..93]);
}
