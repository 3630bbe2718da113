//! Finds what goes into a pack, before any of it is read.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use blobio::NativeFileBlobRandomReader;
use blobio::pack::zip::{Archive, Entry};

use super::stop::Stop;
use super::zipped::{self, FileArchive};
use crate::failure::Failure;
use crate::list::Escaped;

/// The longest path of an entry, in bytes.
const PATH_LEN_MAX: usize = 1024;

/// What goes into a pack, and what does not.
pub(crate) struct Gathered {
    pub(crate) inputs: Vec<Input>,
    /// In the order in which they are to be added.
    pub(crate) items: Vec<Item>,
    pub(crate) unfit: Vec<Unfit>,
}

/// What was given to make a pack of.
pub(crate) enum Input {
    /// Its items know where their files are.
    Folder,
    Archive(FileArchive),
}

/// Something that becomes an entry.
pub(crate) struct Item {
    /// The path of the entry.
    pub(crate) path: String,
    /// The number of the input.
    pub(crate) input: usize,
    pub(crate) origin: Origin,
    /// What its length is said to be.
    pub(crate) len: u64,
}

/// Where the content of an entry comes from.
pub(crate) enum Origin {
    /// This file.
    File(PathBuf),
    /// This entry of the archive that the input is.
    Zipped(Entry),
}

/// Something that cannot be an entry.
pub(crate) struct Unfit {
    what: String,
    why: &'static str,
}

/// Finds everything in `inputs` but the pack that is to be replaced.
pub(crate) fn gather(inputs: &[PathBuf], output: &Path, stop: &Stop) -> Result<Gathered, Failure> {
    let mut gathered = Gathered {
        inputs: Vec::with_capacity(inputs.len()),
        items: Vec::new(),
        unfit: Vec::new(),
    };
    let output = fs::metadata(output).ok().as_ref().map(identity);
    for path in inputs {
        let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
        if metadata.is_dir() {
            gathered.folder(path, output, stop)?;
        } else if metadata.is_file() {
            gathered.archive(path)?;
        } else {
            let path = path.display();
            return Err(Failure::Failed(format!(
                "{path} is neither a folder nor a zip archive"
            )));
        }
    }
    Ok(gathered)
}

impl Gathered {
    /// Returns a line for each path that two inputs give.
    pub(crate) fn twice(&self) -> Vec<String> {
        let mut first: HashMap<&str, &Item> = HashMap::with_capacity(self.items.len());
        let mut lines = Vec::new();
        for item in &self.items {
            if let Some(other) = first.insert(&item.path, item) {
                let (one, two) = (
                    other.origin_shown(&self.inputs),
                    item.origin_shown(&self.inputs),
                );
                let path = Escaped(&item.path);
                lines.push(format!(
                    "entry {path} is given twice: by {one} and by {two}"
                ));
            }
        }
        lines
    }

    fn folder(
        &mut self,
        root: &Path,
        output: Option<(u64, u64)>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let real = fs::canonicalize(root).map_err(|error| cannot_read(root, &error))?;
        let mut walk = Walk {
            real,
            output,
            items: Vec::new(),
            unfit: Vec::new(),
            input: self.inputs.len(),
        };
        let mut folders = vec![(root.to_owned(), String::new())];
        while let Some((folder, path)) = folders.pop() {
            stop.check()?;
            let children = fs::read_dir(&folder).map_err(|error| cannot_read(&folder, &error))?;
            for child in children {
                let child = child.map_err(|error| cannot_read(&folder, &error))?;
                let (below, name) = (child.path(), child.file_name());
                let Some(name) = name.to_str() else {
                    walk.unfit(&below, "its name is not UTF-8");
                    continue;
                };
                let path = match path.as_str() {
                    "" => name.to_owned(),
                    path => format!("{path}/{name}"),
                };
                let kind = child
                    .file_type()
                    .map_err(|error| cannot_read(&below, &error))?;
                if kind.is_dir() {
                    folders.push((below, path));
                } else {
                    walk.file(below, path)?;
                }
            }
        }
        // What the file system lists first is nobody's choice.
        walk.items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        walk.unfit.sort_unstable_by(|a, b| a.what.cmp(&b.what));
        self.items.append(&mut walk.items);
        self.unfit.append(&mut walk.unfit);
        self.inputs.push(Input::Folder);
        Ok(())
    }

    fn archive(&mut self, path: &Path) -> Result<(), Failure> {
        let file = NativeFileBlobRandomReader::open(path);
        let file = file.map_err(|error| cannot_read(path, &error))?;
        let archive = Archive::open(file, &path.display().to_string())?;
        let input = self.inputs.len();
        for entry in archive
            .entries()
            .filter(|entry| !entry.name().ends_with('/'))
        {
            if let Some(why) = zipped::unfit(entry).or_else(|| unfit_path(entry.name())) {
                let what = format!("{} in {}", Escaped(entry.name()), archive.name());
                self.unfit.push(Unfit { what, why });
                continue;
            }
            self.items.push(Item {
                path: entry.name().to_owned(),
                input,
                origin: Origin::Zipped(entry.clone()),
                len: entry.len(),
            });
        }
        self.inputs.push(Input::Archive(archive));
        Ok(())
    }
}

/// What a walk through a folder has found.
struct Walk {
    /// Where the folder is, without links.
    real: PathBuf,
    output: Option<(u64, u64)>,
    items: Vec<Item>,
    unfit: Vec<Unfit>,
    input: usize,
}

impl Walk {
    /// Takes what is not a folder.
    fn file(&mut self, file: PathBuf, path: String) -> Result<(), Failure> {
        let of_itself = fs::symlink_metadata(&file).map_err(|error| cannot_read(&file, &error))?;
        let metadata = if of_itself.is_symlink() {
            match self.linked(&file) {
                Ok(metadata) => metadata,
                Err(why) => {
                    self.unfit(&file, why);
                    return Ok(());
                }
            }
        } else {
            of_itself
        };
        if !metadata.is_file() {
            self.unfit(&file, "it is not a regular file");
        } else if let Some(why) = unfit_path(&path) {
            self.unfit(&file, why);
        } else if self.output != Some(identity(&metadata)) {
            self.items.push(Item {
                path,
                input: self.input,
                origin: Origin::File(file),
                len: metadata.len(),
            });
        }
        Ok(())
    }

    /// Follows a link, which may lead to what is below the folder.
    fn linked(&self, link: &Path) -> Result<Metadata, &'static str> {
        let target =
            fs::canonicalize(link).map_err(|_| "it is a symbolic link that leads nowhere")?;
        if !target.starts_with(&self.real) {
            return Err("it is a symbolic link that leads out of the folder");
        }
        match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => Err("it is a symbolic link to a folder"),
            Ok(metadata) => Ok(metadata),
            Err(_) => Err("it is a symbolic link that leads nowhere"),
        }
    }

    fn unfit(&mut self, file: &Path, why: &'static str) {
        let what = Escaped(&file.to_string_lossy()).to_string();
        self.unfit.push(Unfit { what, why });
    }
}

impl Item {
    /// Shows where the content comes from.
    pub(crate) fn origin_shown(&self, inputs: &[Input]) -> String {
        match (&self.origin, &inputs[self.input]) {
            (Origin::Zipped(entry), Input::Archive(archive)) => {
                format!("{} in {}", Escaped(entry.name()), archive.name())
            }
            (Origin::Zipped(entry), Input::Folder) => Escaped(entry.name()).to_string(),
            (Origin::File(path), _) => Escaped(&path.to_string_lossy()).to_string(),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Says why a path cannot be an entry's, as the format has it.
fn unfit_path(path: &str) -> Option<&'static str> {
    if path.len() > PATH_LEN_MAX {
        return Some("its path is longer than 1024 bytes");
    }
    if path.contains('\0') {
        return Some("its path holds a NUL");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("its path has an empty component"),
        "." | ".." => Some("its path has a component `.` or `..`"),
        _ => None,
    })
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::unfit_path;

    #[test]
    fn paths_are_those_of_the_format() {
        for path in ["a", "a/b.c", "ü/ /\u{1b}", "...", "a/..b", "\\"] {
            assert_eq!(unfit_path(path), None, "{path}");
        }
        let long = "x".repeat(1025);
        for path in ["", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\0", &long] {
            assert!(unfit_path(path).is_some(), "{path}");
        }
        assert_eq!(unfit_path(&long[1..]), None);
    }
}
