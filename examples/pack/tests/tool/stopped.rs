//! A build that does not come to its end leaves nothing behind.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::util::{PROGRAM, Run, names, noise, pack, write_tree};

/// No step of these tests takes nearly as long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Packing this takes longer than anybody waits.
fn write_endless(root: &Path) {
    fs::create_dir_all(root).unwrap();
    let file = File::create(root.join("endless")).unwrap();
    file.set_len(1 << 40).unwrap();
}

#[test]
fn signals_leave_the_file_as_it_was() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let work = tempfile::tempdir().unwrap();
        let (root, to) = (work.path().join("root"), work.path().join("to"));
        write_endless(&root);
        fs::create_dir(&to).unwrap();
        let output = to.join("x.clpk");
        fs::write(&output, "as it was").unwrap();
        let child = Command::new(PROGRAM)
            .args(["build", "--codec", "lz4", "-o"])
            .args([&output, &root])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + TIMEOUT;
        while names(&to).len() < 2 {
            assert!(Instant::now() < deadline, "it does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        let id = child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(sent.success());
        let run = Run::of(child.wait_with_output().unwrap());
        run.failed(code, &["stopped by a signal", "nothing was written"]);
        assert_eq!(names(&to), ["x.clpk"]);
        assert_eq!(fs::read(&output).unwrap(), b"as it was");
    }
}

#[test]
fn a_limit_on_the_length_of_files_leaves_the_file_as_it_was() {
    let work = tempfile::tempdir().unwrap();
    let (root, to) = (work.path().join("root"), work.path().join("to"));
    write_tree(&root, &[("long".to_owned(), noise(4 << 20, 1))]);
    fs::create_dir(&to).unwrap();
    let output = to.join("x.clpk");
    fs::write(&output, "as it was").unwrap();
    // In units of 512 or 1024 bytes, as the shell has it.
    let limited = "ulimit -f 1000 && exec \"$0\" build --codec none -o \"$1\" \"$2\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", limited, PROGRAM])
        .args([&output, &root]);
    Run::of(command.output().unwrap()).failed(1, &["x.clpk", "File too large"]);
    assert_eq!(names(&to), ["x.clpk"]);
    assert_eq!(fs::read(&output).unwrap(), b"as it was");
}

/// A file system of 1 MiB; only where this may mount one.
#[test]
fn a_full_disk_leaves_the_file_as_it_was() {
    let work = tempfile::tempdir().unwrap();
    let (root, to) = (work.path().join("root"), work.path().join("to"));
    write_tree(&root, &[("long".to_owned(), noise(4 << 20, 1))]);
    fs::create_dir(&to).unwrap();
    let output = to.join("x.clpk");
    // In a namespace of its own, so that nothing is left mounted; as root of one of its own where
    // this is not the superuser.
    let script = "mount -t tmpfs -o size=1m none \"$1\" || exit 77; \
        echo as it was > \"$2\"; \"$0\" build --codec none -o \"$2\" \"$3\"; code=$?; \
        ls -A \"$1\"; cat \"$2\"; exit $code";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, PROGRAM]);
    command.args([&to, &output, &root]);
    let run = match command.output() {
        Ok(output) => Run::of(output),
        Err(error) => return println!("skipped: cannot run unshare: {error}"),
    };
    if run.code == Some(77) || run.err.contains("unshare") {
        return println!("skipped: cannot mount a file system: {}", run.err);
    }
    let run = run.failed(1, &["x.clpk", "No space left on device"]);
    assert_eq!(run.out, "x.clpk\nas it was\n");
}

#[test]
fn a_finished_pack_takes_the_place_of_the_old_one() {
    let work = tempfile::tempdir().unwrap();
    let (root, output) = (work.path().join("root"), work.path().join("x.clpk"));
    write_tree(&root, &[("a".to_owned(), b"new".to_vec())]);
    fs::write(&output, "as it was").unwrap();
    super::util::build("", &output, &[&root]).ok();
    assert_eq!(pack("cat", &[&output, "a".as_ref()]).ok().out, "new");
}
