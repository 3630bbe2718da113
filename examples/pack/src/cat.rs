//! `pack cat`

use std::io::{self, Write as _};

use blobio::RandomReadBlob;
use blobio::pack::chunked::EntryBlob;

use crate::args::CatArgs;
use crate::failure::Failure;
use crate::open::open;

/// How much is read at a time.
const CHUNK_LEN: usize = 1 << 20;

pub(crate) fn run(args: &CatArgs) -> Result<(), Failure> {
    let pack = open(&args.file)?;
    let data = match (&args.path, &args.hash) {
        (Some(path), _) => pack.data(&pack.entry(path)?),
        (None, Some(hash)) => match pack.content(hash)? {
            Some(content) => pack.content_data(&content),
            None => {
                let pack = pack.name();
                return Err(Failure::Failed(format!(
                    "{pack}: no content of hash {hash}"
                )));
            }
        },
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    let whole = (0, data.len());
    let (pos, len) = match args.range {
        None => whole,
        Some(range) => range.within(data.len()).ok_or_else(|| {
            let len = data.len();
            Failure::Failed(format!("range {range} has none of the {len} bytes"))
        })?,
    };
    copy(&data, pos, len)
}

fn copy<B>(data: &EntryBlob<B>, mut pos: u64, len: u64) -> Result<(), Failure>
where
    EntryBlob<B>: RandomReadBlob,
{
    let mut out = io::stdout().lock();
    let end = pos + len;
    while pos < end {
        let left = usize::try_from(end - pos).unwrap_or(CHUNK_LEN);
        let chunk = data.read_vec(pos, left.min(CHUNK_LEN))?;
        if chunk.is_empty() {
            return Err(Failure::Failed(format!(
                "the pack ends before byte {pos} of the entry"
            )));
        }
        out.write_all(&chunk)
            .map_err(|error| Failure::of_output(&error))?;
        pos += chunk.len() as u64;
    }
    out.flush().map_err(|error| Failure::of_output(&error))
}
