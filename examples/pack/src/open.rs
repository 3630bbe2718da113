//! Opens a pack.

use std::path::Path;

use blobio::NativeFileBlobRandomReader;
use blobio::pack::chunked::Pack;

use crate::failure::Failure;

/// A pack in a file.
pub(crate) type FilePack = Pack<NativeFileBlobRandomReader>;

pub(crate) fn open(path: &Path) -> Result<FilePack, Failure> {
    let name = path.display().to_string();
    let file = NativeFileBlobRandomReader::open(path);
    let file = file.map_err(|error| Failure::Failed(format!("cannot open {name}: {error}")))?;
    Ok(Pack::open(file, &name)?)
}
