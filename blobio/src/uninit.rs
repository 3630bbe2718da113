//! Lengths and copies into memory that may not be initialised yet; no unsafe is needed for either.

use std::io;
use std::mem::MaybeUninit;

/// Copies `src` to the start of `dst`.
///
/// # Panics
///
/// When `dst` is shorter than `src`.
pub(crate) fn copy_into(dst: &mut [MaybeUninit<u8>], src: &[u8]) {
    // A loop over two slices of one length, which the compiler turns into one copy.
    let dst = &mut dst[..src.len()];
    for (to, from) in dst.iter_mut().zip(src) {
        to.write(*from);
    }
}

/// Gives the number of bytes to read when `want` are wanted and `left` remain.
pub(crate) fn clamp(want: usize, left: u64) -> usize {
    usize::try_from(left).map_or(want, |left| want.min(left))
}

/// Allocates an empty vector of at least `len` bytes of room, failing instead of aborting.
///
/// Lengths come from files, and a length that cannot be met is an error of the file's reader.
pub(crate) fn vec_with_room(len: usize) -> io::Result<Vec<u8>> {
    let mut vec = Vec::new();
    make_room(&mut vec, len)?;
    Ok(vec)
}

/// Empties `vec` and makes room in it for `len` bytes, failing instead of aborting.
pub(crate) fn make_room(vec: &mut Vec<u8>, len: usize) -> io::Result<()> {
    vec.clear();
    vec.try_reserve_exact(len).map_err(|_| {
        io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("no memory for {len} bytes of a blob"),
        )
    })
}
