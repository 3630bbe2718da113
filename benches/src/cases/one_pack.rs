//! Ranges of 64 KiB of one large file, and the same of many smaller ones, from one core and from
//! all: whether a pack is slower than loose files because all reads meet in one file.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use blobio::{NativeFileAsyncBlobRandomReader, RandomReadBlobAsync};
use corelane::{Config, Executor, Worker, spawn_local};

use crate::cold::evict;
use crate::content::{Content, FILE_LEN, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::measure::{Contender, Sample, interleave};
use crate::{Failure, Options, Outcome};

const LEN: usize = 64 << 10;
/// Loose files that hold together what the large one holds.
const FILES: u64 = 64;
/// Tasks of each worker, and the reads of each task in a round.
const TASKS: u64 = 16;
const READS: u64 = 500;

/// How the pages of the files came into the cache, which decides how large they are.
#[derive(Clone, Copy, Debug)]
enum Pages {
    Written,
    ReadBack,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Written => "as written",
            Self::ReadBack => "read back",
        })
    }
}

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let copies = Copies::make(&content.path)?;
    for pages in [Pages::Written, Pages::ReadBack] {
        if let Pages::ReadBack = pages {
            copies.read_back()?;
        }
        for workers in [1, cores.count()] {
            let executor = Executor::builder().workers(workers).start()?;
            let items = workers as u64 * TASKS * READS;
            let contenders = vec![
                Contender::new("64 loose files", || read(&executor, &copies.loose, items)),
                Contender::new("one file", || read(&executor, &copies.one, items)),
            ];
            let title = format!("one_pack: 64 KiB, cached, {pages}, {workers} workers");
            interleave(&title, "read", options.rounds, contenders)?;
        }
    }
    Ok(())
}

/// The content in one file and in many, written in the same way, one after the other; removed
/// afterwards.
struct Copies {
    folder: PathBuf,
    one: Arc<Vec<PathBuf>>,
    loose: Arc<Vec<PathBuf>>,
}

impl Copies {
    fn make(whole: &Path) -> Result<Self, Failure> {
        let folder = whole.with_extension("copies");
        fs::create_dir_all(&folder)?;
        let file_len = FILE_LEN / FILES;
        let whole = File::open(whole)?;
        let mut chunk = vec![0; usize::try_from(file_len)?];
        let paths = (0..FILES).map(|number| folder.join(format!("{number:02}.bin")));
        let copies = Self {
            one: Arc::new(vec![folder.join("one.bin")]),
            loose: Arc::new(paths.collect()),
            folder,
        };
        let mut one = File::create(&copies.one[0])?;
        for (number, path) in copies.loose.iter().enumerate() {
            whole.read_exact_at(&mut chunk, number as u64 * file_len)?;
            one.write_all(&chunk)?;
            let mut loose = File::create(path)?;
            loose.write_all(&chunk)?;
            // Not in the middle of a round.
            loose.sync_all()?;
        }
        one.sync_all()?;
        Ok(copies)
    }

    /// Takes all of it out of the page cache, and reads it in order.
    fn read_back(&self) -> Outcome {
        let worker = Worker::new(Config::default())?;
        let mut chunk = vec![0; 1 << 20];
        for path in self.one.iter().chain(&*self.loose) {
            worker.block_on(evict(path))?;
            let mut file = File::open(path)?;
            while file.read(&mut chunk)? > 0 {}
        }
        Ok(())
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("benches: {} is left: {error}", self.folder.display());
        }
    }
}

/// Lets the tasks of every worker read ranges all over the files.
fn read(executor: &Executor, paths: &Arc<Vec<PathBuf>>, items: u64) -> Result<Sample, Failure> {
    let start = Instant::now();
    let workers: Vec<_> = (0..executor.workers())
        .map(|worker| {
            let paths = Arc::clone(paths);
            executor.spawn_on(worker, move || read_on_worker(paths, worker as u64))
        })
        .collect::<Result<_, _>>()?;
    for worker in workers {
        executor.block_on(worker)?.map_err(Failure::from)?;
    }
    Ok(Sample {
        elapsed: start.elapsed(),
        items,
    })
}

async fn read_on_worker(paths: Arc<Vec<PathBuf>>, worker: u64) -> Result<(), String> {
    let mut blobs = Vec::new();
    for path in &*paths {
        let blob = NativeFileAsyncBlobRandomReader::open(path).await;
        blobs.push(blob.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    let blobs = Rc::new(blobs);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| spawn_local(read_ranges(Rc::clone(&blobs), worker * TASKS + task)))
        .collect();
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

async fn read_ranges(
    blobs: Rc<Vec<NativeFileAsyncBlobRandomReader>>,
    seed: u64,
) -> Result<(), String> {
    let file_len = FILE_LEN / blobs.len() as u64;
    let places = FILE_LEN / LEN as u64;
    let mut buf = Vec::new();
    for number in 0..READS {
        let at = (seed * READS + number) * 7_919 % places * LEN as u64;
        let blob = &blobs[usize::try_from(at / file_len).expect("a file's number")];
        let (got, back) = blob.read_owned_async(at % file_len, LEN, buf).await;
        buf = back;
        let last = LEN - 8;
        if got.ok() != Some(LEN) || !is_content(&buf[last..], at + last as u64) {
            return Err(format!("the read at {at} is wrong"));
        }
    }
    Ok(())
}
