//! Every reader over the same file: whichever one reads, the bytes are the same.
//!
//! | reader | reads | for |
//! |---|---|---|
//! | `NativeFileBlobRandomReader` | by pread(2) | threads that may block |
//! | its `mmap` | by touching memory | bytes that are needed again and again |
//! | `NativeFileAsyncBlobRandomReader` | on the worker's ring | tasks on the worker that opened it |
//! | `RemoteBlob` | on that worker, for others | other cores, threads and executors |
//! | `BlobSlice` | a range of any of them | entries of packs |
//!
//! Run it with `cargo run --release -p examples --bin blob_read -- [FILE]`.
#![deny(unsafe_code)]

use std::error::Error;
use std::io::{self, IoSliceMut, Write};
use std::path::{Path, PathBuf};

use blake3::{Hash, Hasher};
use blobio::{
    BlobMetadata, BlobSlice, MemoryMapBlob, NativeFileAsyncBlobRandomReader,
    NativeFileBlobRandomReader, RandomReadBlob, RandomReadBlobAsync, RemoteBlob,
};
use clap::Parser;
use corelane::Executor;

/// Reads a file with every reader and compares the checksums.
#[derive(Debug, Parser)]
struct Options {
    /// The file to read; without it, one of 10 MB and a bit is made up.
    file: Option<PathBuf>,
}

/// Bytes asked for at a time.
const CHUNK_LEN: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    // Removed when it is dropped.
    let made_up = if options.file.is_none() {
        Some(make_file()?)
    } else {
        None
    };
    let path = match (&options.file, &made_up) {
        (Some(path), _) => path.clone(),
        (None, Some(file)) => file.path().to_owned(),
        (None, None) => unreachable!("without a file one was made"),
    };

    let mut sums = blocking(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let executor = Executor::builder().workers(1).start()?;
    let on_worker = path.clone();
    sums.extend(executor.block_on(executor.spawn_on(0, || asynchronous(on_worker))?)??);

    // From this thread, which is not a worker, through a handle to a reader on one.
    let spawner = executor.spawner(0);
    let remote = executor.block_on(RemoteBlob::open(spawner, path))?;
    sums.push((
        "remote, read_owned",
        executor.block_on(read_owned(&remote))?,
    ));
    sums.push((
        "slices of the remote",
        executor.block_on(slices_async(&remote))?,
    ));

    for (reader, sum) in &sums {
        println!("{sum}  {reader}");
    }
    if sums.iter().any(|(_, sum)| sum != &sums[0].1) {
        return Err("the readers disagree".into());
    }
    println!("{} ways to read, one checksum", sums.len());
    Ok(())
}

type Sums = Vec<(&'static str, Hash)>;

/// The readers for threads that may block.
fn blocking(path: &Path) -> Result<Sums, Box<dyn Error>> {
    let reader = NativeFileBlobRandomReader::open(path)?;
    let len = reader.byte_length()?;

    let mut chunks = Hasher::new();
    let mut pos = 0;
    let mut buf = vec![0; CHUNK_LEN];
    loop {
        // Fewer bytes than asked for come only at the end, zero behind it.
        let got = reader.read_slice(pos, &mut buf)?;
        if got == 0 {
            break;
        }
        chunks.update(&buf[..got]);
        pos += got as u64;
    }

    let view = reader.mmap(0, usize::try_from(len)?)?;
    let mut slices = Hasher::new();
    for (offset, part_len) in parts(len) {
        let part = BlobSlice::new(&reader, offset, part_len)?;
        slices.update(&part.read_to_end(0)?);
    }
    Ok(vec![
        ("blocking, by chunks", chunks.finalize()),
        (
            "blocking, to the end",
            blake3::hash(&reader.read_to_end(0)?),
        ),
        ("mapped", blake3::hash(&view)),
        ("slices", slices.finalize()),
    ])
}

/// The reader for the worker that opened it.
async fn asynchronous(path: PathBuf) -> io::Result<Sums> {
    let reader = NativeFileAsyncBlobRandomReader::open(path).await?;

    // Into a buffer that goes to the kernel and comes back: nothing is copied.
    let mut owned = Hasher::new();
    let mut buf = Vec::with_capacity(CHUNK_LEN);
    let mut pos = 0;
    loop {
        let (got, back) = reader.read_at(buf, pos).await;
        let got = got?;
        if got == 0 {
            break;
        }
        owned.update(&back[..got]);
        pos += got as u64;
        buf = back;
    }

    // Into borrowed memory: simpler, for one copy. Two halves at once show the vectored form.
    let mut borrowed = Hasher::new();
    let (mut one, mut two) = (vec![0; CHUNK_LEN / 2], vec![0; CHUNK_LEN / 2]);
    let mut pos = 0;
    loop {
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        let got = reader.readv_async(pos, &mut bufs).await?;
        if got == 0 {
            break;
        }
        let in_one = got.min(one.len());
        borrowed.update(&one[..in_one]);
        borrowed.update(&two[..got - in_one]);
        pos += got as u64;
    }

    Ok(vec![
        ("worker, owned buffers", owned.finalize()),
        ("worker, borrowed and vectored", borrowed.finalize()),
        ("worker, read_owned", read_owned(&reader).await?),
        ("slices of the worker's", slices_async(&reader).await?),
    ])
}

/// Reads by the form that every asynchronous blob has and that needs no copy.
async fn read_owned<B: RandomReadBlobAsync>(blob: &B) -> io::Result<Hash> {
    let mut hasher = Hasher::new();
    let mut buf = Vec::new();
    let mut pos = 0;
    loop {
        let (got, back) = blob.read_owned_async(pos, CHUNK_LEN, buf).await;
        if got? == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&back);
        pos += back.len() as u64;
        buf = back;
    }
}

async fn slices_async<B: RandomReadBlobAsync>(blob: &B) -> io::Result<Hash> {
    let mut hasher = Hasher::new();
    for (offset, len) in parts(blob.byte_length_async().await?) {
        let part = BlobSlice::new(blob, offset, len)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let (got, bytes) = part.read_owned_async(0, len, Vec::new()).await;
        if got? != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&bytes);
    }
    Ok(hasher.finalize())
}

/// Cuts a length into ranges that are neither aligned nor equal.
fn parts(len: u64) -> impl Iterator<Item = (u64, u64)> {
    let cuts = [0, len / 7, len / 3 + 1, len / 2 + 13, len].map(|cut| cut.min(len));
    (1..cuts.len()).map(move |at| (cuts[at - 1], cuts[at].saturating_sub(cuts[at - 1])))
}

fn make_file() -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    let words = (0..1_250_001_u64).flat_map(|at| (at * at + 7).to_le_bytes());
    file.write_all(&words.collect::<Vec<_>>())?;
    file.write_all(b"end")?;
    Ok(file)
}
