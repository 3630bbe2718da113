//! A pack written to anything that can be written and sought.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use super::super::entry::{Content, ContentHash, Layout};
use super::super::error::{PackError, PackErrorKind};
use super::super::format::{
    CONTENT_LEN_MAX, ENTRIES_MAX, FEATURE_LZ4, FEATURE_ZSTD, HEAD_LEN, ROWS_MAX, Row, check_path,
};
use super::compress::{Packed, pack};
use super::options::{BuildOptions, Compression, check_level};
use crate::decode::{Codec, DecodePool, JobError, PoolConfig, Running};
use crate::queue::Class;

/// Small blocks are written together, up to this many bytes.
const BUFFER_LEN: usize = 1 << 20;
/// The blocks in work for each thread.
const BLOCKS_PER_THREAD: usize = 4;

/// What a pack can be written to.
pub trait PackOutput: Write + Seek {
    /// Cuts off what is past `len` bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be cut off.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// Writes a pack.
///
/// Entries are added one after the other, in the order in which their blocks shall lie. Whatever
/// fails but a path or the reader of an entry is final: all later calls fail.
pub struct PackWriter<W: PackOutput> {
    name: Arc<str>,
    pub(super) out: BufWriter<W>,
    pub(super) position: u64,
    pub(super) options: BuildOptions,
    pool: Option<DecodePool>,
    window: VecDeque<Step>,
    /// Every path and the number of its content, once that is known.
    pub(super) paths: BTreeMap<Box<str>, usize>,
    pub(super) contents: Vec<Content>,
    by_hash: HashMap<ContentHash, usize>,
    blocks: HashMap<[u8; 32], Row>,
    pub(super) rows: Vec<Row>,
    pub(super) features: u32,
    current: Current,
    pub(super) progress: Progress,
    on_progress: Option<ProgressFn>,
    failed: bool,
}

type ProgressFn = Box<dyn FnMut(&Progress) + Send>;

/// How far a pack has been written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Entries added.
    pub entries: u64,
    /// Bytes of contents taken in.
    pub content_len: u64,
    /// Bytes of blocks written.
    pub stored_len: u64,
}

/// What a finished pack holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// Entries.
    pub entries: u64,
    /// Different contents.
    pub contents: u64,
    /// Different blocks.
    pub blocks: u64,
    /// Bytes of all entries' contents.
    pub entries_len: u64,
    /// Bytes of the different contents.
    pub contents_len: u64,
    /// Bytes of the blocks as stored.
    pub stored_len: u64,
    /// Bytes of the pack.
    pub file_len: u64,
}

/// What is done in order when its turn comes.
enum Step {
    Block(Work),
    End {
        path: Box<str>,
        hash: ContentHash,
        len: u64,
    },
    GiveUp {
        path: Box<str>,
    },
}

enum Work {
    Done(io::Result<Packed>),
    Underway(Running<io::Result<Packed>>),
}

/// The content whose blocks are being written.
#[derive(Default)]
struct Current {
    rows: Vec<Row>,
    /// Where its first block of its own, padding included, begins.
    begin: Option<u64>,
    /// The blocks of its own.
    keys: Vec<[u8; 32]>,
    stored_len: u64,
}

impl<W: PackOutput> PackWriter<W> {
    /// Begins a pack at the start of `out`, which is empty; errors will call it `name`.
    ///
    /// # Errors
    ///
    /// When an option is out of bounds, a thread cannot be started or `out` cannot be written.
    pub fn new(out: W, name: &str, options: BuildOptions) -> Result<Self, PackError> {
        let name: Arc<str> = name.into();
        let fail = |kind: PackErrorKind| PackError::new(&name, kind);
        options.check().map_err(fail)?;
        // The calling thread compresses as well, while it waits.
        let pool = match options.threads.get() - 1 {
            0 => None,
            threads => {
                let config = PoolConfig::new(threads);
                Some(DecodePool::new(&config).map_err(|e| fail(e.into()))?)
            }
        };
        let mut writer = Self {
            name: Arc::clone(&name),
            out: BufWriter::with_capacity(BUFFER_LEN, out),
            position: 0,
            options,
            pool,
            window: VecDeque::new(),
            paths: BTreeMap::new(),
            contents: Vec::new(),
            by_hash: HashMap::new(),
            blocks: HashMap::new(),
            rows: Vec::new(),
            features: 0,
            current: Current::default(),
            progress: Progress::default(),
            on_progress: None,
            failed: false,
        };
        writer.put(&[0; HEAD_LEN]).map_err(fail)?;
        Ok(writer)
    }

    /// Calls `progress` after each block that is taken in, and after each entry.
    pub fn on_progress(&mut self, progress: impl FnMut(&Progress) + Send + 'static) {
        self.on_progress = Some(Box::new(progress));
    }

    /// Says how far the pack has been written.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Adds an entry with all that `content` gives.
    ///
    /// # Errors
    ///
    /// When `path` cannot be an entry's or has been added, or `content` fails: the entry is then
    /// left out, and the others can go on. When writing fails: then nothing can.
    pub fn add(&mut self, path: &str, content: impl Read) -> Result<(), PackError> {
        self.add_as(path, self.options.compression, content)
    }

    /// Adds an entry with all that `content` gives, compressed as said.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_as(
        &mut self,
        path: &str,
        compression: Compression,
        mut content: impl Read,
    ) -> Result<(), PackError> {
        self.begin(path, compression)
            .and_then(|()| self.take(path, compression, &mut content))
            .map_err(|kind| PackError::new(&self.name, kind).of_entry(path))
    }

    /// Writes what is left and the directory, and gives the output back, flushed.
    ///
    /// # Errors
    ///
    /// When writing fails, now or earlier.
    pub fn finish(mut self) -> Result<(W, Summary), PackError> {
        let name = Arc::clone(&self.name);
        let fail = |kind: PackErrorKind| PackError::new(&name, kind);
        if self.failed {
            return Err(fail(PackErrorKind::Abandoned));
        }
        let summary = self
            .advance(0)
            .and_then(|()| self.write_directory())
            .map_err(fail)?;
        let out = self.out.into_inner();
        let out = out.map_err(|e| fail(e.into_error().into()))?;
        Ok((out, summary))
    }

    fn begin(&mut self, path: &str, compression: Compression) -> Result<(), PackErrorKind> {
        if self.failed {
            return Err(PackErrorKind::Abandoned);
        }
        check_path(path).map_err(PackErrorKind::Path)?;
        check_level(compression)?;
        if self.paths.contains_key(path) {
            return Err(PackErrorKind::DuplicatePath);
        }
        if self.paths.len() as u64 >= ENTRIES_MAX {
            return Err(PackErrorKind::Limit("4,294,967,295 entries"));
        }
        self.paths.insert(path.into(), usize::MAX);
        Ok(())
    }

    fn take(
        &mut self,
        path: &str,
        compression: Compression,
        content: &mut dyn Read,
    ) -> Result<(), PackErrorKind> {
        let block_len = self.options.block_len as usize;
        let mut hasher = blake3::Hasher::new();
        let mut len = 0_u64;
        loop {
            let block = match read_block(content, block_len, len) {
                Ok(block) => block,
                Err(kind) => {
                    self.window.push_back(Step::GiveUp { path: path.into() });
                    self.advance(0)?;
                    return Err(kind);
                }
            };
            let is_last = block.len() < block_len;
            if !block.is_empty() {
                hasher.update(&block);
                len += block.len() as u64;
                self.progress.content_len += block.len() as u64;
                self.window
                    .push_back(Step::Block(self.compress(block, compression)));
                self.go_on()?;
            }
            if is_last {
                break;
            }
        }
        self.window.push_back(Step::End {
            path: path.into(),
            hash: ContentHash::from_bytes(*hasher.finalize().as_bytes()),
            len,
        });
        self.progress.entries += 1;
        self.go_on()
    }

    fn compress(&self, block: Vec<u8>, compression: Compression) -> Work {
        let gain_min = self.options.gain_min_permille;
        let job = move || pack(block, compression, gain_min);
        match &self.pool {
            Some(pool) => Work::Underway(pool.run(Class::Normal, job)),
            None => Work::Done(job()),
        }
    }

    fn go_on(&mut self) -> Result<(), PackErrorKind> {
        let result = self.advance(self.options.threads.get() * BLOCKS_PER_THREAD);
        let progress = self.progress;
        if let Some(on_progress) = &mut self.on_progress {
            on_progress(&progress);
        }
        result
    }

    /// Does what is first in order until at most `left` steps are left.
    fn advance(&mut self, left: usize) -> Result<(), PackErrorKind> {
        while self.window.len() > left {
            let Some(step) = self.window.pop_front() else {
                break;
            };
            let result = match step {
                Step::Block(work) => work.wait().and_then(|block| self.write_block(block)),
                Step::End { path, hash, len } => self.end_content(path, hash, len),
                Step::GiveUp { path } => {
                    self.paths.remove(&path);
                    self.take_back()
                }
            };
            if let Err(kind) = result {
                self.failed = true;
                return Err(kind);
            }
        }
        Ok(())
    }

    fn write_block(&mut self, block: Packed) -> Result<(), PackErrorKind> {
        let known = self.blocks.get(&block.key);
        if let Some(row) = known.filter(|_| block.may_share) {
            self.current.rows.push(*row);
            return Ok(());
        }
        if self.current.begin.is_none() {
            self.current.begin = Some(self.position);
            let align = u64::from(self.options.align);
            let padding = self.position.next_multiple_of(align) - self.position;
            let padding = usize::try_from(padding).expect("less than 64 KiB");
            self.put(&vec![0; padding])?;
        }
        let row = Row {
            position: self.position,
            checksum: block.checksum,
            stored_len: u32::try_from(block.stored.len()).expect("a block is short"),
            codec: block.codec,
        };
        self.put(&block.stored)?;
        self.current.rows.push(row);
        self.current.stored_len += u64::from(row.stored_len);
        self.progress.stored_len += u64::from(row.stored_len);
        if self.options.dedup_blocks {
            self.blocks.insert(block.key, row);
            self.current.keys.push(block.key);
        }
        Ok(())
    }

    fn end_content(
        &mut self,
        path: Box<str>,
        hash: ContentHash,
        len: u64,
    ) -> Result<(), PackErrorKind> {
        let number = match self.by_hash.get(&hash) {
            Some(number) => {
                let number = *number;
                self.take_back()?;
                number
            }
            None => {
                let current = std::mem::take(&mut self.current);
                let layout = self.lay_out(&current.rows)?;
                for row in &current.rows {
                    self.features |= match row.codec {
                        Codec::Lz4 => FEATURE_LZ4,
                        Codec::Zstd => FEATURE_ZSTD,
                        _ => 0,
                    };
                }
                let number = self.contents.len();
                self.contents.push(Content::new(hash, len, layout));
                self.by_hash.insert(hash, number);
                number
            }
        };
        self.paths.insert(path, number);
        Ok(())
    }

    /// Says where the blocks of a content are, and puts them into the table if they are many.
    fn lay_out(&mut self, rows: &[Row]) -> Result<Layout, PackErrorKind> {
        let (first, more) = match rows {
            [] => return Ok(Layout::Empty),
            [row] => return Ok(Layout::Single(*row)),
            [first, more @ ..] => (*first, more),
        };
        let first_row = self.rows.len() as u64;
        if first_row + rows.len() as u64 > ROWS_MAX {
            return Err(PackErrorKind::Limit("2^40 blocks"));
        }
        self.rows.extend_from_slice(rows);
        let mut end = first.end();
        let is_run = more.iter().all(|row| {
            let follows = row.position == end && row.codec == Codec::None;
            end = row.end();
            follows
        });
        let aligned = first.position % u64::from(self.options.align) == 0;
        Ok(if is_run && aligned && first.codec == Codec::None {
            Layout::Plain {
                position: first.position,
                first_row,
            }
        } else {
            Layout::Blocks { first_row }
        })
    }

    /// Takes back the blocks that were written for the current content alone.
    fn take_back(&mut self) -> Result<(), PackErrorKind> {
        let current = std::mem::take(&mut self.current);
        let Some(begin) = current.begin else {
            return Ok(());
        };
        for key in &current.keys {
            self.blocks.remove(key);
        }
        self.out.flush()?;
        self.out.get_mut().truncate(begin)?;
        self.out.seek(SeekFrom::Start(begin))?;
        self.position = begin;
        self.progress.stored_len -= current.stored_len;
        Ok(())
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), PackErrorKind> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

impl Work {
    fn wait(self) -> Result<Packed, PackErrorKind> {
        let packed = match self {
            Self::Done(packed) => packed,
            Self::Underway(running) => running
                .wait()
                .map_err(|e: JobError| PackErrorKind::Job(e))?,
        };
        Ok(packed?)
    }
}

/// Reads `block_len` bytes, or fewer where the content ends, after `before` bytes of it.
fn read_block(
    content: &mut dyn Read,
    block_len: usize,
    before: u64,
) -> Result<Vec<u8>, PackErrorKind> {
    let mut block = Vec::with_capacity(block_len);
    content.take(block_len as u64).read_to_end(&mut block)?;
    if before + block.len() as u64 > CONTENT_LEN_MAX {
        return Err(PackErrorKind::Limit("2^48 bytes of one content"));
    }
    Ok(block)
}

impl PackOutput for File {
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

impl PackOutput for Cursor<Vec<u8>> {
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.get_mut().truncate(len);
        Ok(())
    }
}

impl<W: PackOutput> fmt::Debug for PackWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackWriter")
            .field("name", &self.name)
            .field("progress", &self.progress)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
