//! One file per runtime: what it does in each case, written as its own documentation has it.

pub(crate) mod compio;
mod flume_pair;
pub(crate) mod glommio;
pub(crate) mod kimojio;
pub(crate) mod monoio;
mod timers;
pub(crate) mod tokio;
pub(crate) mod tokio_files;
mod tokio_pair;
pub(crate) mod tokio_uring;
