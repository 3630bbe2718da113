//! Opens what is to be served, once, before anything is answered.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use blobio::NativeFileBlobRandomReader;
use blobio::decode::{DecodePool, PoolConfig};
use blobio::queue::BlobQueue;

use super::catalogue::{self, Catalogue, Contents, PackEntry, WorkerPack};
use super::queued::QueuedFile;
use super::worker::Worker;
use crate::etag::FileIdentity;
use crate::mounts::{ArchiveIndex, Mount, Mounts, Source};

/// All mounts, with what is known of them without reading.
pub(super) type SiteMounts = Mounts<FolderRoot, PackRoot, PackEntry>;

/// Most threads that decompress blocks of packs.
const DECODE_THREADS_MAX: usize = 16;

/// What the process has open of an archive, beside what each worker has: its file, and the one that
/// its catalogue was read from.
pub(super) const PER_ARCHIVE: u64 = 2;

/// What is served, and what of it can be asked for by hash.
pub(super) struct Opened {
    pub(super) mounts: SiteMounts,
    pub(super) contents: Contents,
}

/// How often each worker looks whether an archive is still the one it has the catalogue of.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What a worker knows of whether an archive was changed in place. Its catalogue and its entity
/// tags are those of the start: from then on it cannot be served.
#[derive(Debug, Default)]
pub(super) struct PackCheck {
    last: Cell<Option<Instant>>,
    is_changed: Cell<bool>,
}

/// A folder. Each worker has it open under its number.
#[derive(Debug)]
pub(super) struct FolderRoot {
    pub(super) index: usize,
    pub(super) path: PathBuf,
}

/// A zip archive or a pack. Each worker has its file open under its number.
#[derive(Debug)]
pub(super) struct PackRoot {
    pub(super) index: usize,
    pub(super) path: PathBuf,
    /// Its catalogue, read once; each worker reads the rest by itself.
    catalogue: Catalogue,
    file: File,
    /// What it was when its catalogue was read.
    identity: FileIdentity,
    /// When the archive was modified, in seconds since 1970. It stands for its entries as well:
    /// their own dates have no time zone.
    pub(super) modified: Option<u64>,
}

impl PackRoot {
    /// Gives the archive to the current worker, to be read through its queue.
    pub(super) fn on_worker(&self, queue: &BlobQueue) -> io::Result<WorkerPack> {
        let file = corelane::fs::File::from_std(self.file.try_clone()?);
        Ok(self.catalogue.on(QueuedFile::new(file.into(), queue)))
    }

    /// Returns whether the archive is still what it was, looking at most once in
    /// [`CHECK_INTERVAL`], and complains the first time that it is not.
    ///
    /// Its length and its modification time tell. That its inode was changed does not: it is when
    /// a new archive is moved to its path, and then the one that is open is whole and goes on
    /// being served.
    pub(super) async fn is_unchanged(&self, worker: &Worker) -> bool {
        let check = &worker.pack_checks[self.index];
        let now = Instant::now();
        let is_due = |last| now.duration_since(last) >= CHECK_INTERVAL;
        if !check.is_changed.get() && check.last.get().is_none_or(is_due) {
            // Set before it is waited for: one look is enough.
            check.last.set(Some(now));
            let file = worker.packs[self.index].file().reader().file();
            let looked = file.statx().await;
            // What cannot be looked at cannot be read either, and that is told then.
            let is_other = looked.is_ok_and(|metadata| {
                metadata.len() != self.identity.size
                    || metadata.mtime_ns() != self.identity.mtime_ns
            });
            if is_other && !check.is_changed.replace(true) {
                worker.cache.clear();
                let name = self.path.display();
                worker.complain(&format!(
                    "{name} was changed in place, and is not served until a restart"
                ));
            }
        }
        !check.is_changed.get()
    }
}

/// Opens folders, archives and packs in the order given, for so many workers.
///
/// # Errors
/// A line that names the root and what is wrong with it.
pub(super) fn open(roots: &[PathBuf], workers: Option<NonZeroUsize>) -> Result<Opened, String> {
    let (mut folder_count, mut pack_count) = (0, 0);
    let mut mounts = Vec::with_capacity(roots.len());
    let mut contents = Contents::new();
    let mut pool = None;
    for (mount, root) in roots.iter().enumerate() {
        let failed = |error: &dyn std::fmt::Display| cannot_serve(root, error);
        // Looked at before it is opened: to open a pipe would wait.
        let metadata = fs::metadata(root).map_err(|error| failed(&error))?;
        let source = if metadata.is_dir() {
            let path = root.clone();
            folder_count += 1;
            Source::Folder(FolderRoot {
                index: folder_count - 1,
                path,
            })
        } else if metadata.is_file() {
            let file = File::open(root).map_err(|error| failed(&error))?;
            pack_count += 1;
            let (pack, index) = open_pack(pack_count - 1, root, file, workers, &mut pool)?;
            let added = catalogue::add_contents(&pack.catalogue, mount, &mut contents);
            added.map_err(|error| format!("cannot serve {error}"))?;
            Source::Archive(pack, index)
        } else {
            return Err(failed(&"it is neither a folder nor an archive"));
        };
        mounts.push(Mount {
            name: last_component(root),
            source,
        });
    }
    let mounts = Mounts::new(mounts);
    Ok(Opened { mounts, contents })
}

/// The name that clients see: where a root lies on the server is not their business.
fn last_component(root: &Path) -> String {
    // `.` and what ends in `..` have no name of their own.
    let resolved = match root.file_name() {
        Some(_) => None,
        None => fs::canonicalize(root).ok(),
    };
    let name = resolved.as_deref().unwrap_or(root).file_name();
    name.map_or_else(
        || "/".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Says that a root cannot be served.
pub(super) fn cannot_serve(root: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot serve {}: {error}", root.display())
}

fn open_pack(
    index: usize,
    root: &Path,
    file: File,
    workers: Option<NonZeroUsize>,
    pool: &mut Option<DecodePool>,
) -> Result<(PackRoot, ArchiveIndex<PackEntry>), String> {
    let prepare = || -> io::Result<_> {
        let identity = identity(&file.metadata()?);
        let blob = || file.try_clone().map(NativeFileBlobRandomReader::from);
        Ok((identity, blob()?, blob()?))
    };
    let (identity, blob, again) = prepare().map_err(|error| cannot_serve(root, &error))?;
    let name = root.display().to_string();
    let shared_pool = || match pool {
        Some(pool) => Ok(pool.clone()),
        None => Ok(pool.insert(decode_pool(workers)?).clone()),
    };
    let opened = match catalogue::open_chunked(blob, &name, shared_pool) {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => catalogue::open_zip(again, &name, identity),
        Err(line) => Err(line),
    };
    let (catalogue, entries) = opened.map_err(|line| format!("cannot serve {line}"))?;
    let pack = PackRoot {
        index,
        path: root.to_owned(),
        catalogue,
        file,
        identity,
        modified: seconds(identity.mtime_ns),
    };
    Ok((pack, entries))
}

/// Makes the threads that decompress blocks: one for each core without a worker, or, where there
/// are none, one for each worker, to share its core.
fn decode_pool(workers: Option<NonZeroUsize>) -> io::Result<DecodePool> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = workers.map_or(cores, NonZeroUsize::get);
    let threads = match cores.saturating_sub(workers) {
        0 => workers,
        spare => spare,
    };
    DecodePool::new(&PoolConfig::new(threads.min(DECODE_THREADS_MAX)))
}

fn identity(metadata: &fs::Metadata) -> FileIdentity {
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    FileIdentity {
        dev: metadata.dev(),
        ino: metadata.ino(),
        size: metadata.size(),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Turns a time into whole seconds since 1970; `None` for those before.
pub(super) fn seconds(ns: i128) -> Option<u64> {
    u64::try_from(ns.div_euclid(1_000_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::last_component;

    #[test]
    fn a_mount_is_named_by_its_last_component() {
        let cases = [
            ("/srv/games/base.pk3", "base.pk3"),
            ("assets/", "assets"),
            ("assets/.", "assets"),
            ("/", "/"),
            ("/usr/bin/..", "usr"),
            ("no/such/..", "/"),
        ];
        for (root, name) in cases {
            assert_eq!(last_component(Path::new(root)), name, "{root}");
        }
        assert!(!last_component(Path::new(".")).contains('/'));
    }
}
