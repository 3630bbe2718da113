//! Paths are opened where they are allowed to go, with the kernel's errors, and tell what is there:
//! metadata, whole files, folders.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use corelane::fs::{Dir, File, FileType, OpenOptions, metadata, read, read_dir};

use support::{content, file_of, run};

#[test]
fn metadata_is_that_of_the_file() {
    let on_disk = file_of(&content(1_234));
    let expected = fs::metadata(on_disk.path()).unwrap();
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for seen in [
            file.statx().await.unwrap(),
            metadata(on_disk.path()).await.unwrap(),
        ] {
            assert_eq!(seen.len(), 1_234);
            assert!(seen.is_file() && !seen.is_dir() && !seen.is_symlink());
            assert_eq!(seen.ino(), expected.ino());
            assert_eq!(seen.mode(), expected.mode() & 0o7777);
            assert_eq!(seen.modified(), expected.modified().unwrap());
            let ns =
                i128::from(expected.mtime()) * 1_000_000_000 + i128::from(expected.mtime_nsec());
            assert_eq!(seen.mtime_ns(), ns);
            assert_eq!(
                libc::makedev(seen.dev().0, seen.dev().1),
                expected.dev(),
                "the device's numbers"
            );
        }
        let dir = Dir::open(on_disk.path().parent().unwrap()).await.unwrap();
        assert!(dir.statx().await.unwrap().is_dir());
        let error = metadata("/no/such/file").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn errors_of_opening_are_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    run(async {
        let errno = |path: &Path| {
            let path = path.to_owned();
            async move { File::open(path).await.unwrap_err().raw_os_error() }
        };
        assert_eq!(
            errno(&folder.path().join("missing")).await,
            Some(libc::ENOENT)
        );
        assert_eq!(errno(&file.join("below")).await, Some(libc::ENOTDIR));
        let error = Dir::open(&file).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
        let error = OpenOptions::new()
            .write(true)
            .open(folder.path())
            .await
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
        let dir = File::open(folder.path()).await.unwrap();
        let error = dir.read_at(vec![0; 8], 0).await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
        for path in ["with\0nul", "\0"] {
            assert_eq!(
                File::open(path).await.unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            assert_eq!(
                metadata(path).await.unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
        assert_eq!(
            File::open("").await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let error = OpenOptions::new().open(&file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = OpenOptions::new()
            .read(true)
            .truncate(true)
            .open(&file)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn an_unreadable_file_is_refused() {
    // Root may read everything: what nobody may is a write-only descriptor.
    let on_disk = file_of(b"secret");
    fs::set_permissions(on_disk.path(), fs::Permissions::from_mode(0o000)).unwrap();
    run(async {
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            let error = File::open(on_disk.path()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
        let std_file = fs::OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .unwrap();
        let error = File::from_std(std_file)
            .read_at(vec![0; 4], 0)
            .await
            .0
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    });
}

#[test]
fn nothing_is_opened_outside_of_a_folder() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("inner")).unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::write(root.join("inner/file"), "inside").unwrap();
    symlink("../secret", root.join("escape")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("/proc/self/exe", root.join("magic")).unwrap();
    symlink("inner/../../root/inner/file", root.join("out_and_in")).unwrap();
    symlink("..", root.join("inner/up")).unwrap();
    symlink("inner/file", root.join("fine")).unwrap();
    run(async {
        let dir = Dir::open(&root).await.unwrap();
        let mut options = OpenOptions::new();
        options.read(true);
        for path in [
            "inner/file",
            "fine",
            "inner/up/fine",
            "./inner//file",
            "inner/../fine",
        ] {
            let file = options.open_beneath(&dir, path).await.unwrap();
            assert_eq!(
                file.read_at(Vec::with_capacity(9), 0).await.1,
                b"inside",
                "{path}"
            );
        }
        for path in [
            "../secret",
            "inner/../../secret",
            "/etc/passwd",
            "escape",
            "absolute",
            "magic",
            "out_and_in",
            "inner/up/../secret",
            "..",
        ] {
            let error = options.open_beneath(&dir, path).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{path}");
        }
        let error = options
            .open_beneath(&dir, "inner/fi\0le")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        // The root stays the same folder, whatever its name points to later.
        fs::rename(&root, outside.path().join("moved")).unwrap();
        assert!(options.open_beneath(&dir, "inner/file").await.is_ok());
    });
}

#[test]
fn a_whole_file_is_read_whatever_its_reported_length() {
    let on_disk = file_of(&content(300_001));
    let empty = file_of(&[]);
    run(async {
        assert_eq!(read(on_disk.path()).await.unwrap(), content(300_001));
        assert_eq!(read(empty.path()).await.unwrap(), b"");
        // Files of /proc report no length.
        let status = String::from_utf8(read("/proc/self/status").await.unwrap()).unwrap();
        assert!(
            status.contains(&format!("Pid:\t{}", std::process::id())),
            "{status}"
        );
        // One that is longer than what is read at first, and does not change meanwhile.
        if let Ok(symbols) = fs::read("/proc/kallsyms") {
            assert!(read("/proc/kallsyms").await.unwrap() == symbols);
        }
        assert_eq!(read("/dev/null").await.unwrap(), b"");
        assert_eq!(
            read("/tmp").await.unwrap_err().raw_os_error(),
            Some(libc::EISDIR)
        );
    });
}

#[test]
fn a_folder_is_listed_with_its_types() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    symlink("nowhere", folder.path().join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    run(async {
        let mut entries = read_dir(folder.path()).await.unwrap();
        entries.sort_by_key(|entry| entry.file_name().clone());
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.file_name().to_str().unwrap(), entry.file_type()))
            .collect();
        let expected = [
            ("dir", FileType::Dir),
            ("file", FileType::File),
            ("link", FileType::Symlink),
            ("socket", FileType::Other),
        ];
        assert_eq!(seen, expected);
        assert_eq!(entries[0].path(), folder.path().join("dir"));
        let error = read_dir(folder.path().join("file")).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    });
}
