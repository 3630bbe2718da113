//! Takes the names out of the catalogue's headers, and makes the headers fit for the parser.
//!
//! The parser guesses one encoding for all names of an archive, and refuses an archive for one
//! extra field that it cannot decode. So the names are decoded here, each by its own flag, and the
//! parser is given headers of the same length in which names and comments are ASCII and extra
//! fields are those it can decode. What an entry needs and its header does not say in a sound way
//! is then missing from this entry alone. Pure.

use std::ops::Range;

/// What begins each header.
const SIGNATURE: &[u8] = b"PK\x01\x02";
/// The length of a header without name, extra fields and comment.
const FIXED_LEN: usize = 46;
const FLAGS_FIELD: usize = 8;
const NAME_LEN_FIELD: usize = 28;
const EXTRA_LEN_FIELD: usize = 30;
const COMMENT_LEN_FIELD: usize = 32;
/// The fields that a zip64 field stands for if all their bits are set: sizes and offset.
const ZIP64_FIELDS: [usize; 3] = [20, 24, 42];
/// The flag that says that the name is UTF-8.
const UTF8_FLAG: u16 = 1 << 11;

/// What begins the archive's end record, how long it is without its comment, and where it has the
/// comment's length.
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;
const END_COMMENT_LEN_FIELD: usize = 20;

const ZIP64_TAG: u16 = 0x0001;
const NTFS_TAG: u16 = 0x000a;
const TIMESTAMP_TAG: u16 = 0x5455;
/// Fields with an owner in them, which is not asked for.
const UNIX_TAGS: [u16; 2] = [0x000d, 0x7875];
/// A field that means nothing.
const NO_TAG: u16 = 0xffff;

/// The headers in a run of reads that follow each other.
pub(super) struct Headers {
    run_end: Option<u64>,
    // Whether the run began with a header, and nothing else has come since.
    in_headers: bool,
    // The begin of a header that the reads so far do not hold as a whole.
    pending: Vec<u8>,
    names: Vec<String>,
}

impl Headers {
    pub(super) fn new() -> Self {
        Self {
            run_end: None,
            in_headers: false,
            pending: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Takes the bytes read at `pos`, after which the archive ends or not, and gives what the
    /// parser is to be given: these, and those kept before, up to a header that is not complete.
    pub(super) fn take(&mut self, pos: u64, bytes: &[u8], is_end: bool) -> Vec<u8> {
        if self.run_end != Some(pos) {
            self.in_headers = bytes.starts_with(SIGNATURE);
            self.pending.clear();
            self.names.clear();
        }
        self.run_end = Some(pos + bytes.len() as u64);
        let mut ready = std::mem::take(&mut self.pending);
        ready.extend_from_slice(bytes);
        let mut done = 0;
        while self.in_headers {
            let rest = &mut ready[done..];
            match header_len(rest) {
                HeaderLen::Known(len) => {
                    self.names.push(sanitize(&mut rest[..len]));
                    done += len;
                }
                HeaderLen::Unknown if is_end => break,
                HeaderLen::Unknown => {
                    self.pending = ready.split_off(done);
                    break;
                }
                HeaderLen::NoHeader => self.in_headers = false,
            }
        }
        if is_end {
            sanitize_end(&mut ready[done..]);
        }
        ready
    }

    /// Gives the number of bytes kept for the next call.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Gives the names in the run, in its order.
    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }
}

enum HeaderLen {
    Known(usize),
    Unknown,
    NoHeader,
}

/// Says how long the header at the start of `bytes` is, if all of it is there.
fn header_len(bytes: &[u8]) -> HeaderLen {
    let signature_len = bytes.len().min(SIGNATURE.len());
    if bytes[..signature_len] != SIGNATURE[..signature_len] {
        return HeaderLen::NoHeader;
    }
    if bytes.len() < FIXED_LEN {
        return HeaderLen::Unknown;
    }
    let fields = [NAME_LEN_FIELD, EXTRA_LEN_FIELD, COMMENT_LEN_FIELD];
    let variable: usize = fields
        .iter()
        .map(|at| usize::from(u16_at(bytes, *at)))
        .sum();
    if bytes.len() < FIXED_LEN + variable {
        return HeaderLen::Unknown;
    }
    HeaderLen::Known(FIXED_LEN + variable)
}

/// Gives the name in a header, and makes the rest of it fit for the parser.
fn sanitize(header: &mut [u8]) -> String {
    let name_end = FIXED_LEN + usize::from(u16_at(header, NAME_LEN_FIELD));
    let extra_end = name_end + usize::from(u16_at(header, EXTRA_LEN_FIELD));
    let is_utf8 = u16_at(header, FLAGS_FIELD) & UTF8_FLAG != 0;
    let name = decode_name(&header[FIXED_LEN..name_end], is_utf8);
    make_ascii(&mut header[FIXED_LEN..name_end]);
    let wide = ZIP64_FIELDS.map(|at| header[at..].starts_with(&[0xff; 4]));
    let zip64_len = 8 * wide.iter().filter(|wide| **wide).count();
    let left = sanitize_extra(&mut header[name_end..extra_end], zip64_len);
    // What is too short to be a field is made a part of the comment behind it.
    let comment_len = u16_at(header, COMMENT_LEN_FIELD);
    if let Some(comment_len) = comment_len.checked_add(left) {
        let extra_len = u16_at(header, EXTRA_LEN_FIELD) - left;
        put_u16(header, EXTRA_LEN_FIELD, extra_len);
        put_u16(header, COMMENT_LEN_FIELD, comment_len);
        make_ascii(&mut header[extra_end - usize::from(left)..]);
    }
    name
}

/// Takes the meaning from the fields that cannot be decoded, and gives the number of bytes at the
/// end, at most 3, that are none.
fn sanitize_extra(mut extra: &mut [u8], zip64_len: usize) -> u16 {
    while extra.len() >= 4 {
        let (tag, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let (head, rest) = extra.split_at_mut(4);
        if len > rest.len() {
            put_u16(head, 0, NO_TAG);
            let len = u16::try_from(rest.len()).expect("less than a u16 said");
            put_u16(head, 2, len);
            return 0;
        }
        let (payload, rest) = rest.split_at_mut(len);
        let is_sound = match tag {
            ZIP64_TAG => payload.len() >= zip64_len,
            TIMESTAMP_TAG => payload.len() >= 5,
            NTFS_TAG => is_sound_ntfs(payload),
            tag => !UNIX_TAGS.contains(&tag),
        };
        if !is_sound {
            put_u16(head, 0, NO_TAG);
        }
        extra = rest;
    }
    u16::try_from(extra.len()).expect("at most 3")
}

/// Says whether the payload is four bytes and then attributes, with three times in the first.
fn is_sound_ntfs(payload: &[u8]) -> bool {
    let Some(mut attributes) = payload.get(4..) else {
        return false;
    };
    while !attributes.is_empty() {
        if attributes.len() < 4 {
            return false;
        }
        let (tag, len) = (u16_at(attributes, 0), usize::from(u16_at(attributes, 2)));
        if (tag == 1 && len < 24) || attributes.len() < 4 + len {
            return false;
        }
        attributes = &attributes[4 + len..];
    }
    true
}

/// Makes the archive's comment ASCII; the end record is looked for as the parser does.
fn sanitize_end(bytes: &mut [u8]) {
    let comment = |at: usize| -> Option<Range<usize>> {
        let record = &bytes[at..];
        let len = usize::from(u16_at(record, END_COMMENT_LEN_FIELD));
        let is_end = record.starts_with(END_SIGNATURE) && record.len() >= END_LEN + len;
        is_end.then_some(at + END_LEN..at + END_LEN + len)
    };
    let mut starts = (0..(bytes.len() + 1).saturating_sub(END_LEN)).rev();
    if let Some(range) = starts.find_map(comment) {
        make_ascii(&mut bytes[range]);
    }
}

/// Decodes a name: UTF-8 where the flag says so and it is, otherwise code page 437.
fn decode_name(bytes: &[u8], is_utf8: bool) -> String {
    if let Ok(name) = std::str::from_utf8(bytes)
        && (is_utf8 || name.is_ascii())
    {
        return name.to_owned();
    }
    let decode = |byte: &u8| match byte.checked_sub(128) {
        Some(high) => CP437_HIGH[usize::from(high)],
        None => char::from(*byte),
    };
    bytes.iter().map(decode).collect()
}

fn make_ascii(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| !byte.is_ascii()) {
        *byte = b'?';
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Code page 437 from 128 on.
#[rustfmt::skip]
const CP437_HIGH: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å',
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ',
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»',
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐',
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧',
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀',
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩',
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];
