//! What cannot be packed is named, and nothing is written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::util::{PROGRAM, Run, build, names, pack, write_tree, write_zip};

fn text(path: &str, text: &str) -> (String, Vec<u8>) {
    (path.to_owned(), text.as_bytes().to_vec())
}

#[test]
fn a_path_that_two_inputs_give_is_named_with_both() {
    let work = tempfile::tempdir().unwrap();
    let (one, two) = (work.path().join("one"), work.path().join("two"));
    write_tree(&one, &[text("maps/a", "1"), text("maps/b", "1")]);
    write_tree(&two, &[text("maps/a", "2"), text("c", "2")]);
    let zip = write_zip(&work.path().join("base.pk3"), &[text("maps/b", "3")]);
    let output = work.path().join("x.clpk");
    let first = one.join("maps/a").display().to_string();
    let second = two.join("maps/a").display().to_string();
    let told = build("--skip", &output, &[&one, &two, &zip]);
    let told = told.failed(
        1,
        &["entry maps/a", &first, &second, "maps/b in", "base.pk3"],
    );
    assert_eq!(told.err.lines().count(), 2, "{}", told.err);
    assert!(!output.exists());
}

#[test]
fn what_cannot_be_an_entry_is_named_or_left_out() {
    let work = tempfile::tempdir().unwrap();
    let (root, output) = (work.path().join("root"), work.path().join("x.clpk"));
    write_tree(&root, &[text("good", "good"), text("folder/deep", "deep")]);
    fs::write(work.path().join("outside"), "secret").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"bad\xff")), "").unwrap();
    let fifo = Command::new("mkfifo")
        .arg(root.join("fifo"))
        .status()
        .unwrap();
    assert!(fifo.success());
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("../outside", root.join("out")).unwrap();
    symlink("folder", root.join("link")).unwrap();
    symlink("fifo", root.join("to-fifo")).unwrap();
    let zip = write_zip(
        &work.path().join("x.zip"),
        &[text("../up", "1"), text("a//b", "2")],
    );
    let causes = [
        ("bad\u{fffd}", "not UTF-8"),
        ("fifo", "not a regular file"),
        ("to-fifo", "not a regular file"),
        ("dangling", "leads nowhere"),
        ("loop", "leads nowhere"),
        ("/out", "leads out of the folder"),
        ("link", "link to a folder"),
        ("../up in", "`..`"),
        ("a//b in", "empty component"),
    ];
    let check = |told: &Run, verb: &str| {
        for (name, why) in causes {
            let named =
                |line: &str| line.contains(verb) && line.contains(name) && line.contains(why);
            assert!(told.err.lines().any(named), "{name}: {why}: {}", told.err);
        }
    };
    let told = build("", &output, &[&root, &zip]).failed(1, &["--skip", "nothing was written"]);
    check(&told, "cannot be an entry");
    assert!(!output.exists());
    let told = build("--skip", &output, &[&root, &zip]).ok();
    check(&told, "left out");
    assert_eq!(told.err.lines().count(), causes.len(), "{}", told.err);
    assert_eq!(pack("ls", &[&output]).ok().out, "folder/deep\ngood\n");
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    write_tree(&root, &[text("a", "a")]);
    let output = work.path().join("x.clpk");
    let none = work.path().join("none");
    build("", &output, &[&root, &none]).failed(1, &["cannot read", "none"]);
    build("", &output, &[&root.join("a")]).failed(1, &["root/a"]);
    build("", &output, &[Path::new("/dev/null")]).failed(1, &["/dev/null", "neither"]);
    build("", &none.join("x.clpk"), &[&root]).failed(1, &["none/x.clpk", "No such file"]);
    build("", work.path(), &[&root]).failed(1, &[work.path().to_str().unwrap()]);
    assert_eq!(names(work.path()), ["root"]);
}

/// As somebody whom permissions bind, which the superuser is not.
#[test]
fn a_file_that_may_not_be_read_is_named() {
    let work = tempfile::tempdir().unwrap();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (root, to) = (work.path().join("root"), work.path().join("to"));
    write_tree(&root, &[text("a/locked", "a"), text("b", "b")]);
    fs::create_dir(&to).unwrap();
    set(work.path(), 0o755);
    set(&to, 0o777);
    set(&root.join("a/locked"), 0);
    let is_superuser = fs::File::open(root.join("a/locked")).is_ok();
    let run = || {
        let mut command = Command::new(PROGRAM);
        if is_superuser {
            command.uid(65_534);
        }
        command
            .arg("build")
            .arg(&root)
            .arg("-o")
            .arg(to.join("x.clpk"));
        Run::of(command.output().unwrap())
    };
    run().failed(1, &["cannot read", "a/locked", "ermission denied"]);
    set(&root.join("a"), 0);
    run().failed(1, &["cannot read", "root/a", "ermission denied"]);
    set(&root.join("a"), 0o755);
    assert!(names(&to).is_empty());
}

#[test]
fn a_corrupt_archive_is_named_with_its_entry() {
    let work = tempfile::tempdir().unwrap();
    let (zip, output) = (work.path().join("x.zip"), work.path().join("x.clpk"));
    for (name, at) in [("stored", 2000), ("deflated", 500)] {
        let content = super::util::noise(4000, 5);
        let files = [
            ("stored".to_owned(), content.clone()),
            ("deflated".to_owned(), content),
        ];
        write_zip(&zip, &files);
        let mut bytes = fs::read(&zip).unwrap();
        let header = bytes
            .windows(name.len())
            .position(|window| window == name.as_bytes());
        bytes[header.unwrap() + at] ^= 0x55;
        fs::write(&zip, bytes).unwrap();
        build("", &output, &[&zip]).failed(1, &["x.zip", name]);
        assert_eq!(names(work.path()), ["x.zip"]);
    }
}
