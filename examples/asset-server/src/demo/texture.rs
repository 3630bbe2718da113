//! Pictures from integer noise, and three formats for them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::rng::{Rng, mix};

/// A square picture of RGB pixels.
#[derive(Debug)]
pub(super) struct Picture {
    size: u32,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    pub(super) fn make(kind: &str, size: u32, rng: &mut Rng) -> Self {
        let seed = rng.next();
        let [low, high] = [color(rng), color(rng)];
        let cell = 2 + rng.below(size / 4);
        let level = |x: u32, y: u32| match kind {
            "checker" => (x / cell + y / cell) % 2 * 255,
            "wood" => (x * 16 + noise(seed, x, y, cell) / 2) % 256,
            "cloud" => (noise(seed, x, y, cell) * 2 + noise(seed ^ 1, x, y, cell / 2 + 1)) / 3,
            _ => (noise(seed, x, y, cell) + noise(seed ^ 2, x, y, 1)) / 2,
        };
        let pixels = (0..size * size)
            .map(|index| {
                let level = level(index % size, index / size);
                [0, 1, 2].map(|channel| between(low[channel], high[channel], level))
            })
            .collect();
        Self { size, pixels }
    }
}

fn color(rng: &mut Rng) -> [u8; 3] {
    rng.next().to_le_bytes()[..3]
        .try_into()
        .expect("three of eight bytes")
}

/// Mixes two values; `level` is 0 to 255.
fn between(low: u8, high: u8, level: u32) -> u8 {
    let mixed = (u32::from(low) * (255 - level) + u32::from(high) * level) / 255;
    u8::try_from(mixed).expect("between two bytes")
}

/// Value noise, 0 to 255: random levels on a grid of `cell` pixels, bilinear in between.
fn noise(seed: u64, x: u32, y: u32, cell: u32) -> u32 {
    let corner = |x: u32, y: u32| {
        let [level, ..] = mix(seed ^ u64::from(x) << 32 ^ u64::from(y)).to_le_bytes();
        u32::from(level)
    };
    let (column, row, right, down) = (x / cell, y / cell, x % cell, y % cell);
    let upper = corner(column, row) * (cell - right) + corner(column + 1, row) * right;
    let lower = corner(column, row + 1) * (cell - right) + corner(column + 1, row + 1) * right;
    (upper * (cell - down) + lower * down) / (cell * cell)
}

/// Binary portable pixmap.
pub(super) fn ppm(picture: &Picture) -> Vec<u8> {
    let size = picture.size;
    let mut out = format!("P6\n{size} {size}\n255\n").into_bytes();
    out.extend(picture.pixels.iter().flatten());
    out
}

/// Uncompressed true-colour Targa, top row first.
pub(super) fn tga(picture: &Picture) -> Vec<u8> {
    const TRUE_COLOR: u8 = 2;
    const TOP_LEFT: u8 = 0x20;
    let [low, high, ..] = picture.size.to_le_bytes();
    let mut out = vec![0, 0, TRUE_COLOR, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend([low, high, low, high, 24, TOP_LEFT]);
    out.extend(
        picture
            .pixels
            .iter()
            .flat_map(|&[red, green, blue]| [blue, green, red]),
    );
    out
}

/// PNG, without filters.
pub(super) fn png(picture: &Picture) -> Vec<u8> {
    let width = usize::try_from(picture.size).expect("32 bits fit");
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in picture.pixels.chunks(width) {
        let line: Vec<u8> = [0]
            .into_iter()
            .chain(row.iter().flatten().copied())
            .collect();
        rows.write_all(&line)
            .expect("writing to memory cannot fail");
    }
    let rows = rows.finish().expect("writing to memory cannot fail");

    let mut header = [picture.size.to_be_bytes(), picture.size.to_be_bytes()].concat();
    // 8 bits, RGB, and the only compression, filtering and interlacing there is use of.
    header.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, b"IHDR", &header);
    chunk(&mut out, b"IDAT", &rows);
    chunk(&mut out, b"IEND", b"");
    out
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    let len = u32::try_from(body.len()).expect("a demo picture is small");
    out.extend(len.to_be_bytes());
    let start = out.len();
    out.extend(kind);
    out.extend(body);
    let crc = crc32fast::hash(&out[start..]);
    out.extend(crc.to_be_bytes());
}
