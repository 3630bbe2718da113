//! One suite over every blocking reader.

mod util;

use std::io::Cursor;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use blobio::pack::zip::{Archive, EntryData};
use blobio::{BlobSlice, MemoryBlob, MemoryMapBlob, NativeFileBlobRandomReader, RandomReadBlob};

use util::blobs::Minimal;
use util::sync_suite::check;
use util::{content, file_of};

const LEN: usize = 20_000;

#[test]
fn file() {
    let content = content(LEN);
    let file = file_of(&content);
    check(
        "file",
        &NativeFileBlobRandomReader::open(file.path()).unwrap(),
        &content,
    );
    let opened = std::fs::File::open(file.path()).unwrap();
    check(
        "from a File",
        &NativeFileBlobRandomReader::from(opened),
        &content,
    );
}

#[test]
fn memory() {
    let content = content(LEN);
    let leaked: &'static [u8] = Box::leak(content.clone().into_boxed_slice());
    check("Vec", &MemoryBlob::new(content.clone()), &content);
    check(
        "Arc<[u8]>",
        &MemoryBlob::new(Arc::<[u8]>::from(content.as_slice())),
        &content,
    );
    check("&'static [u8]", &MemoryBlob::new(leaked), &content);
}

#[test]
fn mapping() {
    let content = content(LEN);
    let file = file_of(&content);
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    check(
        "Mapping",
        &MemoryBlob::new(reader.mmap(0, LEN).unwrap()),
        &content,
    );
}

#[test]
fn provided_methods_alone() {
    let content = content(LEN);
    check("read_slice only", &Minimal(content.clone()), &content);
}

#[test]
fn pointers_to_readers() {
    let content = content(300);
    let blob = Minimal(content.clone());
    check("&T", &&blob, &content);
    check("Box", &Box::new(blob.clone()), &content);
    check("Rc", &Rc::new(blob.clone()), &content);
    check("Arc", &Arc::new(blob.clone()), &content);
    let dynamic: Box<dyn RandomReadBlob> = Box::new(blob);
    check("Box<dyn>", &dynamic, &content);
}

#[test]
fn slices_of_readers() {
    let content = content(LEN);
    let file = file_of(&content);
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    let part = BlobSlice::new(reader.clone(), 777, 5000).unwrap();
    check("slice of a file", &part, &content[777..5777]);
    let part = BlobSlice::new(&part, 100, 200).unwrap();
    check("slice of a slice", &part, &content[877..1077]);
    let past = BlobSlice::new(&reader, LEN as u64 - 150, 1 << 40).unwrap();
    check("slice past the end", &past, &content[LEN - 150..]);
    let minimal = BlobSlice::new(Minimal(content.clone()), 1, 9999).unwrap();
    check("slice of provided methods", &minimal, &content[1..10_000]);
}

#[test]
fn stored_zip_entry() {
    let content = content(LEN);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("before", stored).unwrap();
    writer.write_all(b"something").unwrap();
    writer.start_file("entry", stored).unwrap();
    writer.write_all(&content).unwrap();
    let bytes = writer.finish().unwrap().into_inner();

    let archive = Archive::open(MemoryBlob::new(bytes), "a.zip").unwrap();
    let entry = archive.entry("entry").unwrap();
    let EntryData::Stored(blob) = archive.data(entry).unwrap() else {
        panic!("not stored")
    };
    check("stored zip entry", &blob, &content);
}
