//! What is built is what was given, and always the same.

use std::fs;
use std::os::unix::fs::symlink;

use super::util::{build, files, names, noise, pack, write_tree, write_zip};

const CODECS: [&str; 6] = [
    "--codec none",
    "--codec lz4",
    "--codec zstd",
    "--codec zstd --level 1 --block-len 256K",
    "--codec none --align 4K --threads 1",
    "--codec lz4 --align 64K --block-len 128K",
];

#[test]
fn folders_and_archives_come_back_byte_by_byte() {
    let work = tempfile::tempdir().unwrap();
    let (root, zip) = (work.path().join("root"), work.path().join("x.pk3"));
    let in_folder = files();
    write_tree(&root, &in_folder);
    fs::create_dir(root.join("empty")).unwrap();
    let in_zip = files()
        .into_iter()
        .map(|(path, content)| (format!("zip/{path}"), content));
    let in_zip: Vec<_> = in_zip.collect();
    write_zip(&zip, &in_zip);
    let mut all: Vec<_> = in_folder.into_iter().chain(in_zip).collect();
    all.sort();
    for options in CODECS {
        let output = work.path().join("x.clpk");
        let told = build(options, &output, &[&root, &zip]).ok();
        let count = format!("{} entries, 9 contents", all.len());
        assert!(told.out.contains(&count) && told.err.is_empty(), "{told:?}");
        pack("verify", &[&output]).ok();
        let list = pack("ls", &[&output]).ok();
        let paths = all.iter().map(|(path, _)| format!("{path}\n"));
        assert_eq!(list.out, paths.collect::<String>());
        for (path, content) in &all {
            let whole = pack("cat", &[&output, path.as_ref()]).ok();
            assert!(whole.bytes == *content, "{path} with {options}");
        }
    }
    assert_eq!(names(work.path()), ["root", "x.clpk", "x.pk3"]);
}

/// More than are listed at a time, and than fit into the head of a pack.
#[test]
fn thousands_of_entries_are_listed_in_order() {
    let work = tempfile::tempdir().unwrap();
    let files = (0..3000_u32).rev().map(|number| {
        let content = number.to_le_bytes().repeat(3);
        (format!("folder {:02}/{number}", number % 50), content)
    });
    let mut files: Vec<_> = files.collect();
    let zip = write_zip(&work.path().join("x.zip"), &files);
    let output = work.path().join("x.clpk");
    build("", &output, &[&zip]).ok();
    files.sort();
    let paths = files.iter().map(|(path, _)| format!("{path}\n"));
    assert_eq!(pack("ls", &[&output]).ok().out, paths.collect::<String>());
    assert!(
        pack("verify", &[&output])
            .ok()
            .out
            .contains("3000 entries, 3000 contents")
    );
    let (path, content) = &files[2_345];
    assert_eq!(pack("cat", &[&output, path.as_ref()]).ok().bytes, *content);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let work = tempfile::tempdir().unwrap();
    let mut files = files();
    let zip = write_zip(
        &work.path().join("x.zip"),
        &[("in/zip".to_owned(), noise(9_000, 7))],
    );
    let mut packs = Vec::new();
    for (name, threads) in [("one", 1), ("two", 2), ("three", 5)] {
        // Another folder, and made in another order.
        let root = work.path().join(name);
        files.rotate_left(3);
        write_tree(&root, &files);
        let output = work.path().join(format!("{name}.clpk"));
        build(&format!("--threads {threads}"), &output, &[&root, &zip]).ok();
        packs.push(fs::read(output).unwrap());
    }
    assert!(packs[0] == packs[1] && packs[0] == packs[2]);
}

#[test]
fn links_to_files_below_the_folder_are_those_files() {
    let work = tempfile::tempdir().unwrap();
    let (root, output) = (work.path().join("root"), work.path().join("x.clpk"));
    write_tree(&root, &files());
    symlink("../top", root.join("a/link")).unwrap();
    symlink("a/link", root.join("chain")).unwrap();
    symlink(root.join("top"), root.join("absolute")).unwrap();
    build("", &output, &[&root]).ok();
    for path in ["a/link", "chain", "absolute"] {
        assert_eq!(pack("cat", &[&output, path.as_ref()]).ok().out, "top\n");
    }
}

#[test]
fn a_pack_inside_of_its_own_folder_is_not_an_entry_of_itself() {
    let work = tempfile::tempdir().unwrap();
    write_tree(work.path(), &files());
    let output = work.path().join("x.clpk");
    build("", &output, &[work.path()]).ok();
    let first = fs::read(&output).unwrap();
    build("", &output, &[work.path()]).ok();
    assert!(fs::read(&output).unwrap() == first);
    assert!(!pack("ls", &[&output]).ok().out.contains("clpk"));
}

#[test]
fn nothing_is_printed_when_it_is_to_be_quiet() {
    let work = tempfile::tempdir().unwrap();
    let (root, output) = (work.path().join("root"), work.path().join("x.clpk"));
    fs::create_dir(&root).unwrap();
    let told = build("--quiet", &output, &[&root]).ok();
    assert_eq!((told.out.as_str(), told.err.as_str()), ("", ""));
    let told = pack("verify --quiet", &[&output]).ok();
    assert_eq!((told.out.as_str(), told.err.as_str()), ("", ""));
    assert_eq!(pack("ls", &[&output]).ok().out, "");
}
