//! What is served: an ordered list of folders and archives, later ones shadowing earlier ones.
//!
//! Archives are indexed once, at the start; folders are looked up by the file system when they are
//! asked, which takes time. So a lookup here is a list of places to try in order, and whoever does
//! the I/O tries them. Only files shadow: a folder does not hide a file of the same name in an
//! earlier mount, and a folder's listing is the union over all mounts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::path::{PathError, RelPath};

/// The mounts, in the order given. `F` is an open folder, `A` an open archive, and `E` what is
/// known of an archive's entry.
#[derive(Debug)]
pub struct Mounts<F, A, E> {
    mounts: Vec<Mount<F, A, E>>,
}

/// One mount.
#[derive(Debug)]
pub struct Mount<F, A, E> {
    /// How it is shown to clients: the last component of its path.
    pub name: String,
    /// Where its files come from.
    pub source: Source<F, A, E>,
}

/// Where the files of a mount come from.
#[derive(Debug)]
pub enum Source<F, A, E> {
    /// A folder.
    Folder(F),
    /// An archive and its index.
    Archive(A, ArchiveIndex<E>),
}

impl<F, A, E> Source<F, A, E> {
    /// Returns whether it is an archive.
    pub fn is_archive(&self) -> bool {
        matches!(self, Self::Archive(..))
    }
}

/// A place where a file may be.
#[derive(Debug)]
pub enum Candidate<'m, F, A, E> {
    /// In this folder, if it is there; otherwise try on.
    Folder(&'m F),
    /// This entry of this archive, certainly.
    Entry(&'m A, &'m E),
}

/// One line of a folder's listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Child {
    /// The last component of its path.
    pub name: Vec<u8>,
    /// The length of a file; `None` for a folder.
    pub len: Option<u64>,
}

impl<F, A, E> Mounts<F, A, E> {
    /// Makes the model of these mounts, the last of which shadows the others.
    pub fn new(mounts: Vec<Mount<F, A, E>>) -> Self {
        Self { mounts }
    }

    /// Returns the mounts in the order given.
    pub fn as_slice(&self) -> &[Mount<F, A, E>] {
        &self.mounts
    }

    /// Returns the places to look for a file, the one that shadows the others first. Nothing
    /// follows an archive's entry; there is none for a path that asks for a folder.
    pub fn candidates<'m>(
        &'m self,
        path: &RelPath,
    ) -> impl Iterator<Item = Candidate<'m, F, A, E>> {
        let mut rest = if path.is_folder() {
            [].iter()
        } else {
            self.mounts.iter()
        };
        std::iter::from_fn(move || {
            while let Some(mount) = rest.next_back() {
                match &mount.source {
                    Source::Folder(folder) => return Some(Candidate::Folder(folder)),
                    Source::Archive(archive, index) => {
                        if let Some(entry) = index.get(path.as_bytes()) {
                            rest = [].iter();
                            return Some(Candidate::Entry(archive, entry));
                        }
                    }
                }
            }
            None
        })
    }
}

/// The files of an archive by name.
#[derive(Debug)]
pub struct ArchiveIndex<E> {
    by_name: HashMap<Arc<[u8]>, usize>,
    /// Sorted by name.
    entries: Vec<(Arc<[u8]>, E)>,
    skipped_count: usize,
}

impl<E> ArchiveIndex<E> {
    /// Indexes the files of an archive in the order of its catalogue. Of two with the same name
    /// the later one counts. Names that no request can ask for (see [`crate::path`]) and folders
    /// are left out.
    pub fn build<N: AsRef<[u8]>>(files: impl IntoIterator<Item = (N, E)>) -> Self {
        let mut sorted = BTreeMap::new();
        let mut skipped_count = 0;
        for (name, entry) in files {
            match RelPath::from_name(name.as_ref()) {
                Ok(path) if !path.is_folder() => {
                    sorted.insert(Arc::<[u8]>::from(path.as_bytes()), entry);
                }
                Ok(_) => {}
                Err(PathError::Unsafe | PathError::Encoding | PathError::TooLong) => {
                    skipped_count += 1;
                }
            }
        }
        let entries: Vec<_> = sorted.into_iter().collect();
        let by_name = entries
            .iter()
            .enumerate()
            .map(|(position, (name, _))| (Arc::clone(name), position))
            .collect();
        Self {
            by_name,
            entries,
            skipped_count,
        }
    }

    /// Returns the file of that name.
    pub fn get(&self, name: &[u8]) -> Option<&E> {
        self.by_name
            .get(name)
            .map(|&position| &self.entries[position].1)
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many names could not be served.
    pub fn skipped_count(&self) -> usize {
        self.skipped_count
    }

    /// Returns every file with its name, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &E)> {
        self.entries.iter().map(|(name, entry)| (&**name, entry))
    }

    /// Adds what lies directly in a folder to a listing, at most `count_max` names of it; returns
    /// whether the folder exists (the root always does). What the listing holds already stays.
    ///
    /// It takes time by the names it adds: what lies below a folder is skipped, not walked.
    pub fn list(
        &self,
        folder: &[u8],
        count_max: usize,
        len_of: impl Fn(&E) -> u64,
        listing: &mut Listing,
    ) -> bool {
        let prefix = if folder.is_empty() {
            Vec::new()
        } else {
            [folder, b"/".as_slice()].concat()
        };
        let first = self.entries.partition_point(|(name, _)| **name < *prefix);
        let mut exists = folder.is_empty();
        let mut rest = &self.entries[first..];
        let mut count = 0;
        while let Some((name, entry)) = rest.first() {
            let Some(below) = name.strip_prefix(prefix.as_slice()) else {
                break;
            };
            exists = true;
            if count == count_max {
                listing.cut();
                break;
            }
            count += 1;
            match below.iter().position(|&byte| byte == b'/') {
                Some(slash) => {
                    listing.add(&below[..slash], None);
                    let inside = &name[..prefix.len() + slash + 1];
                    let next = rest.partition_point(|(name, _)| name.starts_with(inside));
                    rest = &rest[next..];
                }
                None => {
                    listing.add(below, Some(len_of(entry)));
                    rest = &rest[1..];
                }
            }
        }
        exists
    }
}

/// The union of what several mounts have in one folder. Add from the last mount to the first.
#[derive(Debug, Default)]
pub struct Listing {
    /// By name, and whether it is a folder: a file and a folder of one name are both listed.
    children: BTreeMap<(Vec<u8>, bool), Option<u64>>,
    is_cut: bool,
}

impl Listing {
    /// Adds a file of a certain length, or a folder; what is there already, by name, stays.
    pub fn add(&mut self, name: &[u8], len: Option<u64>) {
        self.children
            .entry((name.to_vec(), len.is_none()))
            .or_insert(len);
    }

    /// Says that there are more names.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Returns whether there are more names.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Returns whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Returns the listing sorted by name.
    pub fn into_children(self) -> Vec<Child> {
        self.into_first(usize::MAX)
    }

    /// Returns the first `count` names of the listing sorted by name.
    pub fn into_first(self, count: usize) -> Vec<Child> {
        self.children
            .into_iter()
            .take(count)
            .map(|((name, _), len)| Child { name, len })
            .collect()
    }
}
