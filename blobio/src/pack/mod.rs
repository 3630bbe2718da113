//! Archives whose entries are blobs.

#[cfg(feature = "pack")]
pub mod chunked;
pub mod zip;
