//! Listing, reading, checking and measuring.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::util::{PROGRAM, build, files, noise, pack, write_tree};

fn made(work: &Path, options: &str) -> PathBuf {
    let root = work.join("root");
    write_tree(&root, &files());
    let output = work.join("x.clpk");
    build(options, &output, &[&root]).ok();
    output
}

#[test]
fn ranges_are_read_by_path_and_by_hash() {
    let work = tempfile::tempdir().unwrap();
    let file = made(work.path(), "");
    let content = noise(400_000, 1);
    let hash = blake3::hash(&content).to_string();
    let ranges = [
        ("", 0..400_000),
        ("--range 0-0", 0..1),
        ("--range 65535-65536", 65_535..65_537),
        ("--range 70000-", 70_000..400_000),
        ("--range -5", 399_995..400_000),
        ("--range -999999", 0..400_000),
        ("--range 1000-999999999999", 1_000..400_000),
    ];
    for (option, wanted) in ranges {
        let by_path = pack(
            &format!("cat {option}"),
            &[&file, "by length/400000.bin".as_ref()],
        );
        let by_hash = pack(&format!("cat {option} --hash {hash}"), &[&file]);
        assert!(by_path.ok().bytes == content[wanted.clone()], "{option}");
        assert!(by_hash.ok().bytes == content[wanted], "{option}");
    }
    let far = pack(
        "cat --range 400000-",
        &[&file, "by length/400000.bin".as_ref()],
    );
    assert!(far.failed(1, &["400000-", "400000 bytes"]).bytes.is_empty());
    pack("cat", &[&file, "by length".as_ref()]).failed(1, &["by length", "no such entry"]);
    let zeros = "0".repeat(64);
    pack(&format!("cat --hash {zeros}"), &[&file]).failed(1, &[&zeros]);
    pack("cat", &[&file]).failed(2, &["PATH"]);
    pack(&format!("cat --hash {}", &zeros[1..]), &[&file]).failed(2, &["64 hexadecimal digits"]);
}

#[test]
fn a_long_list_has_hash_length_and_kind() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    let text = ("a\nb".to_owned(), vec![b'x'; 70_000]);
    write_tree(&root, &[text, ("c".to_owned(), noise(10, 3))]);
    let output = work.path().join("x.clpk");
    build("", &output, &[&root]).ok();
    let (one, two) = (blake3::hash(&[b'x'; 70_000]), blake3::hash(&noise(10, 3)));
    let list = pack("ls --long", &[&output]).ok();
    let wanted = format!("{one}        70000 blocks a\\nb\n{two}           10 plain  c\n");
    assert_eq!(list.out, wanted);
    assert_eq!(pack("ls --null", &[&output]).ok().out, "a\nb\0c\0");
}

/// As `pack cat | head -c 10` is.
#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    write_tree(&root, &[("long".to_owned(), noise(8 << 20, 4))]);
    let output = work.path().join("x.clpk");
    build("--codec none", &output, &[&root]).ok();
    let mut child = Command::new(PROGRAM)
        .arg("cat")
        .args([&output, Path::new("long")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut head = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut head).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.stderr.is_empty(),
        "{:?}",
        String::from_utf8(ended.stderr)
    );
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let work = tempfile::tempdir().unwrap();
    let file = made(work.path(), "");
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    for words in [&["ls"][..], &["cat"], &["verify"]] {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg(&file).stdout(full());
        if words == ["cat"] {
            command.arg("top");
        }
        let ended = command.output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{words:?}");
        assert!(said.contains("standard output"), "{said}");
    }
}

#[test]
fn every_defect_is_named() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    let files = [
        ("good".to_owned(), noise(100_000, 1)),
        ("one".to_owned(), noise(200_000, 2)),
        ("two".to_owned(), noise(300, 3)),
    ];
    write_tree(&root, &files);
    let output = work.path().join("x.clpk");
    build("--codec none", &output, &[&root]).ok();
    let mut bytes = fs::read(&output).unwrap();
    let mut broken = Vec::new();
    for (_, content) in &files[1..] {
        let at = bytes
            .windows(64)
            .position(|window| window == &content[100..164])
            .unwrap();
        bytes[at] ^= 1;
        broken.push((blake3::hash(content).to_string(), at - 100));
    }
    fs::write(&output, &bytes).unwrap();
    let told = pack("verify", &[&output]).failed(1, &["x.clpk: 2 defects"]);
    assert_eq!(told.err.lines().count(), 3, "{}", told.err);
    for (hash, at) in &broken {
        let named = |line: &str| line.contains(hash) && line.contains(&format!("byte {at}:"));
        assert!(told.err.lines().any(named), "{hash} {at}: {}", told.err);
    }
    pack("cat", &[&output, "one".as_ref()]).failed(1, &["\"one\"", "checksum"]);
    let good = pack("cat", &[&output, "good".as_ref()]).ok();
    assert!(good.bytes == files[0].1);

    fs::write(&output, &bytes[..bytes.len() - 1]).unwrap();
    for command in ["ls", "verify", "bench --seconds 1"] {
        pack(command, &[&output]).failed(1, &["x.clpk", "not the declared"]);
    }
    fs::write(&output, noise(20_000, 9)).unwrap();
    pack("ls", &[&output]).failed(1, &["x.clpk", "not a pack"]);
    pack("ls", &[&work.path().join("none")]).failed(1, &["cannot open", "none"]);
}

#[test]
fn reads_are_measured() {
    let work = tempfile::tempdir().unwrap();
    let file = made(work.path(), "--codec lz4");
    let told = pack("bench --seconds 1 --threads 2 --len 4K", &[&file]).ok();
    for word in [
        "4.0 KiB by 2 threads",
        "throughput",
        "p50",
        "p99",
        "stored bytes",
    ] {
        assert!(told.out.contains(word), "{word}: {}", told.out);
    }
    let reads: u64 = told.out.split(' ').next().unwrap().parse().unwrap();
    assert!(reads >= 2, "{}", told.out);
    let empty = work.path().join("empty");
    fs::create_dir(&empty).unwrap();
    build("", &file, &[&empty]).ok();
    pack("bench --seconds 1", &[&file]).failed(1, &["nothing to read"]);
}
