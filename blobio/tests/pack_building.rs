//! Building packs: nothing under the final name until it is complete, and nothing left behind.
#![cfg(feature = "pack")]

mod util;

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use blobio::NativeFileBlobRandomReader;
use blobio::pack::chunked::{
    BuildOptions, Compression, Pack, PackBuilder, PackErrorKind as Kind, PackOutput, PackWriter,
    Progress,
};

use util::content;
use util::packs::{open, options, pack_of, paths, read, text};

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn the_file_has_its_name_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("base.clpk");
    fs::write(&target, "the old one").unwrap();
    let mut builder = PackBuilder::create(&target, BuildOptions::default()).unwrap();
    builder.add("a", &content(300_000)[..]).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"the old one");
    let found = names(folder.path());
    assert_eq!(found.len(), 2);
    assert!(
        found[0].starts_with(".base.clpk.") && found[0].ends_with(".part"),
        "{found:?}"
    );
    let summary = builder.finish().unwrap();
    assert_eq!(names(folder.path()), ["base.clpk"]);
    assert_eq!(fs::metadata(&target).unwrap().len(), summary.file_len);
    let file = NativeFileBlobRandomReader::open(&target).unwrap();
    let pack = Pack::open(file, "base.clpk").unwrap();
    assert_eq!(read(&pack, "a").unwrap(), content(300_000));
}

#[test]
fn a_builder_given_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("base.clpk");
    let mut builder = PackBuilder::create(&target, BuildOptions::default()).unwrap();
    let mut second = PackBuilder::create(&target, BuildOptions::default()).unwrap();
    builder.add("a", &content(3_000_000)[..]).unwrap();
    second.add("b", &b"b"[..]).unwrap();
    drop(builder);
    assert_eq!(names(folder.path()).len(), 1);
    second.finish().unwrap();
    assert_eq!(names(folder.path()), ["base.clpk"]);
    for target in [
        folder.path().join("none/base.clpk"),
        folder.path().join(".."),
    ] {
        let error = PackBuilder::create(&target, BuildOptions::default()).unwrap_err();
        assert!(
            error.to_string().starts_with(&target.display().to_string()),
            "{error}"
        );
    }
    // The name is taken by a folder: renaming fails.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("file"), "").unwrap();
    let builder = PackBuilder::create(&taken, BuildOptions::default()).unwrap();
    assert!(builder.finish().is_err());
    assert_eq!(names(folder.path()), ["base.clpk", "taken"]);
}

/// Gives some bytes and then an error.
struct Broken {
    left: usize,
}

impl Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("bad sector"));
        }
        let len = buf.len().min(self.left);
        buf[..len].copy_from_slice(&content(len));
        self.left -= len;
        Ok(len)
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_left_out() {
    for threads in [1, 3] {
        let options = BuildOptions {
            threads: threads.try_into().unwrap(),
            ..options(Compression::Zstd(1))
        };
        let out = Cursor::new(Vec::new());
        let mut writer = PackWriter::new(out, "test.clpk", options).unwrap();
        writer.add("a", &text(100_000)[..]).unwrap();
        let error = writer.add("broken", Broken { left: 200_000 }).unwrap_err();
        assert_eq!(error.to_string(), "test.clpk: entry \"broken\": bad sector");
        writer.add("z", &text(1000)[..]).unwrap();
        // Its path is free again.
        writer.add("broken", &b"mended"[..]).unwrap();
        let (out, _) = writer.finish().unwrap();
        let entries = [
            ("a", text(100_000)),
            ("z", text(1000)),
            ("broken", b"mended".to_vec()),
        ];
        assert!(
            out.into_inner() == pack_of(&entries, options).0,
            "as if it had not been tried"
        );
    }
}

#[test]
fn paths_and_options_that_cannot_be() {
    let memory = || Cursor::new(Vec::new());
    let mut writer = PackWriter::new(memory(), "test", options(Compression::None)).unwrap();
    let long = "x".repeat(1025);
    for path in ["", "/a", "a/", "a//b", ".", "a/..", "../a", "a\0b", &long] {
        let error = writer.add(path, io::empty()).unwrap_err();
        assert!(matches!(error.kind(), Kind::Path(_)), "{path:?}: {error}");
    }
    let long = "x".repeat(1024);
    for path in ["a", "...", "a/.b", "über/ärger", "a\\b", &long] {
        writer.add(path, io::empty()).unwrap();
        let error = writer.add(path, io::empty()).unwrap_err();
        assert!(matches!(error.kind(), Kind::DuplicatePath));
    }
    let error = writer
        .add_as("level", Compression::Zstd(23), io::empty())
        .unwrap_err();
    assert!(matches!(error.kind(), Kind::Option(_)));
    let (out, summary) = writer.finish().unwrap();
    assert_eq!(summary.entries, 6);
    assert_eq!(
        paths(&open(&out.into_inner()).unwrap(), 100).unwrap().len(),
        6
    );
    let bad: [fn(&mut BuildOptions); 5] = [
        |options| options.block_len = 100_000,
        |options| options.block_len = 32 << 10,
        |options| options.align = 3,
        |options| options.align = 128 << 10,
        |options| options.gain_min_permille = 1001,
    ];
    for change in bad {
        let mut options = options(Compression::None);
        change(&mut options);
        let error = PackWriter::new(memory(), "test", options).unwrap_err();
        assert!(matches!(error.kind(), Kind::Option(_)), "{error}");
    }
}

/// An output that is full after some bytes.
struct Full {
    inner: Cursor<Vec<u8>>,
    len_max: u64,
}

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.inner.position() + buf.len() as u64 > self.len_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl PackOutput for Full {
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }
}

#[test]
fn a_full_disk_is_an_error_at_once_and_for_good() {
    let noise = content(3_000_000);
    let mut finished = 0;
    for len_max in [0, 20_000, 1_000_000, 2_500_000, 3_017_000, 4_000_000] {
        let out = Full {
            inner: Cursor::new(Vec::new()),
            len_max,
        };
        let mut writer = PackWriter::new(out, "full", options(Compression::Lz4)).unwrap();
        let added = (0..3)
            .try_for_each(|n| writer.add(&n.to_string(), &noise[n * 1_000_000..][..1_000_000]));
        if let Err(error) = added {
            assert!(matches!(error.kind(), Kind::Io(_)), "{error}");
            let error = writer.add("more", io::empty()).unwrap_err();
            assert!(matches!(error.kind(), Kind::Abandoned), "{error}");
            assert!(writer.finish().is_err());
            continue;
        }
        finished += usize::from(writer.finish().is_ok());
    }
    assert_eq!(finished, 1);
}

#[test]
fn progress_is_told() {
    let seen = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let out = Cursor::new(Vec::new());
    let mut writer = PackWriter::new(out, "test", options(Compression::None)).unwrap();
    let sink = Arc::clone(&seen);
    writer.on_progress(move |progress| sink.lock().unwrap().push(*progress));
    writer.add("a", &content(150_000)[..]).unwrap();
    writer.add("b", &content(150_000)[..]).unwrap();
    writer.finish().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2 * (3 + 1), "each block and each entry");
    assert_eq!(seen[0].content_len, 65_536);
    let last = seen[seen.len() - 1];
    assert_eq!((last.entries, last.content_len), (2, 300_000));
    assert!(
        seen.windows(2)
            .all(|two| two[0].content_len <= two[1].content_len)
    );
}
