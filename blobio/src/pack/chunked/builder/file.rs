//! A pack written to a file that has its name only once it is complete.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;

use super::super::error::PackError;
use super::options::{BuildOptions, Compression};
use super::writer::{PackWriter, Progress, Summary};

/// How many names are tried for the file until it is complete.
const NAMES_MAX: u32 = 1000;

/// Writes a pack file.
///
/// The file grows under a hidden name (`.NAME.PID-N.part`) beside its final one, and is renamed
/// once it is complete and on the disk. Until then a file of the final name stays as it is. Dropped
/// before [`finish`](Self::finish), or when that fails, it removes what it wrote.
///
/// ```no_run
/// use blobio::pack::chunked::{BuildOptions, PackBuilder};
///
/// let mut pack = PackBuilder::create("base.clpk", BuildOptions::default())?;
/// pack.add("maps/e1m1.bsp", std::fs::File::open("maps/e1m1.bsp")?)?;
/// let summary = pack.finish()?;
/// println!("{} entries, {} bytes", summary.entries, summary.file_len);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PackBuilder {
    // Gone once finished.
    writer: Option<PackWriter<File>>,
    temporary: Temporary,
    target: PathBuf,
}

impl PackBuilder {
    /// Begins a pack file of this path.
    ///
    /// # Errors
    ///
    /// When an option is out of bounds, or the folder cannot be written to.
    pub fn create(target: impl AsRef<Path>, options: BuildOptions) -> Result<Self, PackError> {
        let target = target.as_ref();
        let name = target.display().to_string();
        let fail = |e: io::Error| PackError::new(&name.as_str().into(), e);
        let (file, temporary) = Temporary::beside(target).map_err(fail)?;
        let writer = PackWriter::new(file, &name, options)?;
        Ok(Self {
            writer: Some(writer),
            temporary,
            target: target.to_owned(),
        })
    }

    /// Calls `progress` after each block that is taken in, and after each entry.
    pub fn on_progress(&mut self, progress: impl FnMut(&Progress) + Send + 'static) {
        self.writer().on_progress(progress);
    }

    /// Adds an entry with all that `content` gives.
    ///
    /// # Errors
    ///
    /// As [`PackWriter::add`].
    pub fn add(&mut self, path: &str, content: impl Read) -> Result<(), PackError> {
        self.writer().add(path, content)
    }

    /// Adds an entry with all that `content` gives, compressed as said.
    ///
    /// # Errors
    ///
    /// As [`PackWriter::add`].
    pub fn add_as(
        &mut self,
        path: &str,
        compression: Compression,
        content: impl Read,
    ) -> Result<(), PackError> {
        self.writer().add_as(path, compression, content)
    }

    /// Writes the directory and gives the file its name, once all of it is on the disk.
    ///
    /// # Errors
    ///
    /// When writing or renaming fails: then there is no new file of that name. When the folder
    /// cannot be written back: then the file is complete, but may be gone after a power failure.
    pub fn finish(mut self) -> Result<Summary, PackError> {
        let name = self.target.display().to_string();
        let fail = |e: io::Error| PackError::new(&name.as_str().into(), e);
        let Some(writer) = self.writer.take() else {
            return Err(fail(io::Error::other("finished already")));
        };
        let (file, summary) = writer.finish()?;
        file.sync_all().map_err(fail)?;
        drop(file);
        fs::rename(&self.temporary.path, &self.target).map_err(fail)?;
        self.temporary.renamed = true;
        // The name is on the disk once the folder is.
        File::open(folder_of(&self.target))
            .and_then(|folder| folder.sync_all())
            .map_err(fail)?;
        Ok(summary)
    }

    fn writer(&mut self) -> &mut PackWriter<File> {
        self.writer.as_mut().expect("only `finish` takes it")
    }
}

/// A file that is removed unless it was renamed.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn beside(target: &Path) -> io::Result<(File, Self)> {
        let name = target.file_name().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not the path of a file", target.display()),
            )
        })?;
        for number in 0..NAMES_MAX {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{number}.part", process::id()));
            let path = folder_of(target).join(hidden);
            match File::options().write(true).create_new(true).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
                Ok(file) => {
                    let renamed = false;
                    return Ok((file, Self { path, renamed }));
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // There is nobody to tell; the name says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackBuilder")
            .field("target", &self.target)
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}
