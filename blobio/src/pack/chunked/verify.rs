//! Reading all of a pack to hold it against itself.

use std::ops::Bound;

use super::entry::{Content, ContentHash};
use super::error::{PackError, PackErrorKind};
use super::pack::Pack;
use crate::traits::RandomReadBlob;

/// How many records are looked at together.
const BATCH_COUNT: usize = 256;
/// How much of a content is read at once.
const CHUNK_LEN: usize = 1 << 20;

/// What [`Pack::verify`] has looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Verified {
    /// Entries.
    pub entries: u64,
    /// Different contents.
    pub contents: u64,
    /// Bytes of the different contents.
    pub contents_len: u64,
    /// Errors found.
    pub errors: u64,
}

impl<B: RandomReadBlob> Pack<B> {
    /// Reads everything: every page, every block by its checksum, every content by its hash.
    ///
    /// Each error is given to `on_error`, and reading goes on where it can. `on_progress` is called
    /// with what has been looked at, at least once for each content.
    pub fn verify(
        &self,
        mut on_error: impl FnMut(PackError),
        mut on_progress: impl FnMut(&Verified),
    ) -> Verified {
        let mut verified = Verified::default();
        let mut last: Option<Box<str>> = None;
        loop {
            let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let entries = match self.list(start, BATCH_COUNT) {
                Ok(entries) => entries,
                Err(e) => {
                    verified.errors += 1;
                    on_error(e);
                    break;
                }
            };
            let Some(entry) = entries.last() else {
                let (found, said) = (verified.entries, self.len());
                self.check_count(found == said, &mut verified, &mut on_error);
                break;
            };
            last = Some(entry.path().into());
            for entry in &entries {
                verified.entries += 1;
                if let Err(e) = self.check_content_record(entry.content()) {
                    verified.errors += 1;
                    on_error(e.of_entry(entry.path()));
                }
            }
            on_progress(&verified);
        }
        self.verify_contents(&mut verified, &mut on_error, &mut on_progress);
        verified
    }

    /// Reads a content to check its blocks, its length and its hash.
    ///
    /// # Errors
    ///
    /// When it cannot be read, a checksum does not hold, or the content has another hash.
    pub fn verify_content(&self, content: &Content) -> Result<(), PackError> {
        let data = self.content_data(content);
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; CHUNK_LEN];
        let mut pos = 0;
        loop {
            let got = data.read_checked(pos, &mut chunk)?;
            hasher.update(&chunk[..got]);
            pos += got as u64;
            if got < chunk.len() {
                break;
            }
        }
        let hash = ContentHash::from_bytes(*hasher.finalize().as_bytes());
        if hash != content.hash() || pos != content.len() {
            let name = content.hash().to_string();
            return Err(self.shared().error(PackErrorKind::Hash).of_entry(&name));
        }
        Ok(())
    }

    fn verify_contents(
        &self,
        verified: &mut Verified,
        on_error: &mut impl FnMut(PackError),
        on_progress: &mut impl FnMut(&Verified),
    ) {
        let mut last: Option<ContentHash> = None;
        loop {
            let start = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let contents = match self.list_contents(start, BATCH_COUNT) {
                Ok(contents) => contents,
                Err(e) => {
                    verified.errors += 1;
                    on_error(e);
                    return;
                }
            };
            let Some(content) = contents.last() else {
                let (found, said) = (verified.contents, self.content_count());
                self.check_count(found == said, verified, on_error);
                return;
            };
            last = Some(content.hash());
            for content in &contents {
                if let Err(e) = self.verify_content(content) {
                    verified.errors += 1;
                    on_error(e);
                }
                verified.contents += 1;
                verified.contents_len += content.len();
                on_progress(verified);
            }
        }
    }

    /// Holds what the tree of paths says of a content against the tree of hashes.
    fn check_content_record(&self, content: &Content) -> Result<(), PackError> {
        let other = self.content(&content.hash())?;
        if other.is_none_or(|other| other != *content) {
            let kind = PackErrorKind::Directory("the two trees contradict each other");
            return Err(self.shared().error(kind));
        }
        Ok(())
    }

    fn check_count(
        &self,
        is_right: bool,
        verified: &mut Verified,
        on_error: &mut impl FnMut(PackError),
    ) {
        if !is_right {
            verified.errors += 1;
            let kind = PackErrorKind::Directory("the header counts other records than there are");
            on_error(self.shared().error(kind).at(0));
        }
    }
}
