//! Paths inside a mount.
//!
//! A URL path is percent-decoded once and must then be the one plain name of what it names:
//!
//! - refused are `.` and `..`, empty components (so that no path is absolute), NUL, the backslash,
//!   a `/` that was percent-encoded, and a `%` that two hexadecimal digits do not follow;
//! - one `/` at the end is allowed and asks for a folder;
//! - bytes need not be UTF-8; longer than [`PATH_LEN_MAX`] is too long.
//!
//! Names of archive entries pass the same check, undecoded; an entry whose name fails it cannot be
//! asked for.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// The longest path in bytes, decoded (what Linux takes, less the NUL).
pub const PATH_LEN_MAX: usize = 4095;

/// All but the unreserved characters of RFC 3986 and the separator.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// It could name something outside, or the same thing in a second way.
    Unsafe,
    /// Its percent-encoding is broken.
    Encoding,
    /// It is longer than [`PATH_LEN_MAX`].
    TooLong,
}

/// A path that stays inside the mount it is looked up in. Reusable: one per connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RelPath {
    /// Components that passed [`check_component`], with one `/` between them.
    bytes: Vec<u8>,
    is_folder: bool,
}

impl RelPath {
    /// Makes the path of the mount's root.
    pub fn root() -> Self {
        Self {
            bytes: Vec::new(),
            is_folder: true,
        }
    }

    /// Makes a path from a name in an archive or a folder, which is not percent-encoded.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn from_name(name: &[u8]) -> Result<Self, PathError> {
        let mut path = Self::root();
        path.fill(name, |component, out| {
            out.extend_from_slice(component);
            Ok(())
        })?;
        Ok(path)
    }

    /// Replaces the path by a decoded one; `encoded` is what follows the prefix `/a/`. On an error
    /// the path is the root.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn decode(&mut self, encoded: &[u8]) -> Result<(), PathError> {
        self.fill(encoded, decode_component)
    }

    /// Returns the path without a separator at either end; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the last component; empty for the root.
    pub fn file_name(&self) -> &[u8] {
        self.bytes
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or_default()
    }

    /// Returns whether the path ended in a separator, or is the root.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    fn fill(
        &mut self,
        text: &[u8],
        mut append: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), PathError>,
    ) -> Result<(), PathError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let filled = fill(text, &mut bytes, &mut append);
        self.is_folder = *filled.as_ref().unwrap_or(&true);
        if filled.is_err() {
            bytes.clear();
        }
        self.bytes = bytes;
        filled.map(drop)
    }
}

/// Appends the path in the form it has in a link.
pub fn encode(path: &[u8], out: &mut String) {
    out.extend(percent_encode(path, ENCODED));
}

fn fill(
    text: &[u8],
    out: &mut Vec<u8>,
    append: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), PathError>,
) -> Result<bool, PathError> {
    let (body, is_folder) = match text {
        [] => return Ok(true),
        [body @ .., b'/'] => (body, true),
        body => (body, false),
    };
    for component in body.split(|&byte| byte == b'/') {
        if !out.is_empty() {
            out.push(b'/');
        }
        let start = out.len();
        append(component, out)?;
        check_component(&out[start..])?;
        if out.len() > PATH_LEN_MAX {
            return Err(PathError::TooLong);
        }
    }
    Ok(is_folder)
}

fn check_component(component: &[u8]) -> Result<(), PathError> {
    let is_unsafe = matches!(component, b"" | b"." | b"..")
        || component
            .iter()
            .any(|byte| matches!(byte, 0 | b'/' | b'\\'));
    if is_unsafe {
        Err(PathError::Unsafe)
    } else {
        Ok(())
    }
}

fn decode_component(component: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut rest = component;
    while let Some(percent) = rest.iter().position(|&byte| byte == b'%') {
        let [high, low, ..] = rest[percent + 1..] else {
            return Err(PathError::Encoding);
        };
        let (Some(high), Some(low)) = (hex(high), hex(low)) else {
            return Err(PathError::Encoding);
        };
        out.extend_from_slice(&rest[..percent]);
        out.push(high << 4 | low);
        rest = &rest[percent + 3..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
