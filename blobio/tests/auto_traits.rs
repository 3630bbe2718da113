//! Which types may go to other threads and be unpinned; a change here is a change of the API.

use std::sync::Arc;

use blobio::adapters::{AsyncReadSeek, BufferedBlobReader, ReadSeek};
use blobio::error::ArchiveError;
use blobio::pack::zip::{Archive, EntryData, InflateReader};
use blobio::{
    BlobSlice, Mapping, MemoryBlob, NativeFileBlobRandomReader, RandomReadBlob,
    RandomReadBlobAsync, Region, RegionSlice,
};

type File = NativeFileBlobRandomReader;
type Memory = MemoryBlob<Arc<[u8]>>;

fn shared<T: Send + Sync + Unpin + 'static>() {}
fn sent(_: impl Send) {}

#[test]
fn readers_archives_and_regions_are_send_and_sync() {
    shared::<File>();
    shared::<Memory>();
    shared::<BlobSlice<File>>();
    shared::<Mapping>();
    shared::<Region>();
    shared::<RegionSlice>();
    shared::<Archive<File>>();
    shared::<EntryData<File>>();
    shared::<InflateReader<File>>();
    shared::<ReadSeek<File>>();
    shared::<BufferedBlobReader<File>>();
    shared::<AsyncReadSeek<Memory>>();
    shared::<ArchiveError>();
    shared::<Box<dyn RandomReadBlob + Send + Sync>>();
}

#[test]
fn futures_of_a_shared_reader_are_send() {
    let blob = MemoryBlob::new(Arc::<[u8]>::from(*b"content"));
    let slice = BlobSlice::new(blob.clone(), 1, 5).unwrap();
    sent(slice.read_to_end_async(0));
    sent(slice.read_exact_async(0, &mut []));
    sent(slice.readv_all_async(0, &mut []));
    sent(slice.read_owned_async(0, 1, Vec::new()));
    sent(Archive::open_async(blob, "a.zip"));
}
