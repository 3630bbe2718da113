//! Archives whose entries are blobs.

pub mod zip;
