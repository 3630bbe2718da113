//! Runs the program, and makes what it is run on.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use zip::CompressionMethod::{Deflated, Stored};
use zip::write::SimpleFileOptions;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_pack");

/// What a run of the program gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// Checks that it failed, saying this.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        for said in said {
            assert!(self.err.contains(said), "{said:?} is not in {:?}", self.err);
        }
        self
    }
}

/// Runs the program with these words, then these paths.
pub(crate) fn pack(line: &str, paths: &[&Path]) -> Run {
    let mut command = Command::new(PROGRAM);
    command.args(line.split_whitespace()).args(paths);
    Run::of(command.stdin(Stdio::null()).output().unwrap())
}

/// Builds a pack of `inputs` with these options.
pub(crate) fn build(options: &str, output: &Path, inputs: &[&Path]) -> Run {
    let mut command = Command::new(PROGRAM);
    command.arg("build").args(inputs).arg("-o").arg(output);
    command.args(options.split_whitespace());
    Run::of(command.stdin(Stdio::null()).output().unwrap())
}

/// Bytes that are nowhere the same for long, and compress to about a third.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&(state & 0x0f0f_0f0f_000f_000f).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Files around the limits of a block, some of them the same, in an order that is not that of
/// their paths.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let lens = [0, 1, 65_535, 65_536, 65_537, 131_072, 400_000];
    let mut files: Vec<_> = lens
        .iter()
        .map(|&len| (format!("by length/{len}.bin"), noise(len, 1)))
        .collect();
    files.push(("z/copy".to_owned(), noise(65_537, 1)));
    files.push(("a/ü \"odd\" name".to_owned(), noise(3_000, 2)));
    files.push(("top".to_owned(), b"top\n".to_vec()));
    files
}

pub(crate) fn write_tree<'a>(root: &Path, files: impl IntoIterator<Item = &'a (String, Vec<u8>)>) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

pub(crate) fn write_zip(path: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .add_directory("folder/", SimpleFileOptions::default())
        .unwrap();
    for (index, (name, content)) in files.iter().enumerate() {
        let method = if index % 2 == 0 { Stored } else { Deflated };
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    fs::write(path, writer.finish().unwrap().get_ref()).unwrap();
    path.to_owned()
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let children = fs::read_dir(folder).unwrap();
    let names = children.map(|child| child.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
