//! The counts of record: a file of one line per case.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;

const HEAD: &str = "\
# Instructions of one operation in the program's own code. Compared by
#   cargo run --release -p benches --bin instructions
# and written anew with --record.
";

/// What each case took, and the compiler that made the program.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Record {
    pub(crate) fn new(compiler: &str) -> Self {
        Self {
            compiler: compiler.to_owned(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, case: &str) -> Option<u64> {
        self.counts.get(case).copied()
    }

    pub(crate) fn set(&mut self, case: &str, count: u64) {
        self.counts.insert(case.to_owned(), count);
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let mut record = Self::new("");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("compiler", compiler)) => compiler.clone_into(&mut record.compiler),
                Some((case, count)) => record.set(case, count.trim().parse()?),
                None => return Err(format!("{name}: \"{line}\" is not a case and a count").into()),
            }
        }
        Ok(record)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut text = format!("{HEAD}compiler {}\n", self.compiler);
        for (case, count) in &self.counts {
            text.push_str(&format!("{case} {count}\n"));
        }
        Ok(fs::write(path, text)?)
    }
}

/// Names the compiler and its target.
pub(crate) fn compiler() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let said = String::from_utf8(output.stdout)?;
    let find = |key| said.lines().find_map(|line: &str| line.strip_prefix(key));
    match (find("release: "), find("host: ")) {
        (Some(release), Some(host)) => Ok(format!("{release} {host}")),
        _ => Err("rustc -vV does not say its release and host".into()),
    }
}
