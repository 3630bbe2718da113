//! Floors that need unsafe code.

pub(crate) mod heap;
pub(crate) mod http;
pub(crate) mod page_cache;
pub(crate) mod ring;

use std::io;

use io_uring::IoUring;

use crate::Failure;

/// Sets a ring up the best way this kernel offers, on the calling thread.
fn set_up(entries: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(entries.next_power_of_two())
}

/// Sorts out why a bare ring cannot be had: where io_uring is refused, that is what the floor's
/// line says; everything else is a failure.
pub(crate) fn or_refused<T>(built: io::Result<T>) -> Result<Result<T, String>, Failure> {
    let error = match built {
        Ok(ring) => return Ok(Ok(ring)),
        Err(error) => error,
    };
    let name = match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM",
        Some(libc::EACCES) => "EACCES",
        Some(libc::ENOSYS) => "ENOSYS",
        _ => return Err(format!("a bare ring: {error}").into()),
    };
    Ok(Err(format!("io_uring refused ({name})")))
}

/// Says whether a bare ring can be had at all, as [`or_refused`] does.
pub(crate) fn ring_or_refused() -> Result<Result<(), String>, Failure> {
    or_refused(set_up(8).map(drop))
}
