//! `multipart/byteranges` framing: RFC 9110, section 14.6.

use std::io::Write as _;

use crate::http::range::RangeList;

const BOUNDARY_LEN: usize = 32;

/// The line that separates the parts of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary([u8; BOUNDARY_LEN]);

impl Boundary {
    /// Returns its characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes boundaries that whoever wrote the assets could not have foreseen. One per worker.
#[derive(Debug)]
pub struct BoundarySource {
    key: [u8; 32],
    count: u64,
}

impl BoundarySource {
    /// Makes a source from 32 bytes; from the same bytes come the same boundaries.
    pub fn from_key(key: [u8; 32]) -> Self {
        Self { key, count: 0 }
    }

    /// Makes a source whose boundaries differ from those of any other.
    pub fn random() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        let mut key = [0; 32];
        for (index, chunk) in key.chunks_exact_mut(8).enumerate() {
            // The standard library's per-process hash key comes from the system's generator.
            chunk.copy_from_slice(&RandomState::new().hash_one(index).to_le_bytes());
        }
        Self::from_key(key)
    }

    /// Makes the next boundary.
    pub fn next_boundary(&mut self) -> Boundary {
        self.count = self.count.wrapping_add(1);
        let hash = blake3::keyed_hash(&self.key, &self.count.to_le_bytes());
        let mut boundary = [0; BOUNDARY_LEN];
        boundary.copy_from_slice(&hash.to_hex().as_bytes()[..BOUNDARY_LEN]);
        Boundary(boundary)
    }
}

/// The parts of one answer: which bytes, and the framing around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The ranges, one part each.
    pub ranges: RangeList,
    /// What separates them.
    pub boundary: Boundary,
    /// The content type of each part.
    pub content_type: &'static str,
    /// The length of the whole representation.
    pub full_len: u64,
}

impl Parts {
    /// Appends what precedes the bytes of part `index`.
    ///
    /// # Panics
    /// If there is no such part.
    pub fn write_part_head(&self, index: usize, out: &mut Vec<u8>) {
        let range = self.ranges.as_slice()[index];
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--");
        out.extend_from_slice(self.boundary.as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(self.content_type.as_bytes());
        write!(
            out,
            "\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
            range.start,
            range.end - 1,
            self.full_len
        )
        .expect("writing to memory cannot fail");
    }

    /// Appends what follows the bytes of the last part.
    pub fn write_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n--");
        out.extend_from_slice(self.boundary.as_bytes());
        out.extend_from_slice(b"--\r\n");
    }

    /// Returns the length of the whole body, framing included; the greatest one where it would be
    /// more, which no file is long enough for.
    pub fn body_len(&self) -> u64 {
        let fixed = b"--".len()
            + BOUNDARY_LEN
            + b"\r\nContent-Type: ".len()
            + self.content_type.len()
            + b"\r\nContent-Range: bytes -/\r\n\r\n".len();
        let fixed = as_u64(fixed) + digits(self.full_len);
        let mut len = as_u64(b"\r\n--".len() + BOUNDARY_LEN + b"--\r\n".len());
        for (index, range) in self.ranges.as_slice().iter().enumerate() {
            let lead = if index > 0 { 2 } else { 0 };
            let framing = lead + fixed + digits(range.start) + digits(range.end - 1);
            len = len.saturating_add(framing).saturating_add(range.len());
        }
        len
    }
}

fn digits(value: u64) -> u64 {
    u64::from(value.checked_ilog10().unwrap_or(0)) + 1
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}
