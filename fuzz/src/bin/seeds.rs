//! Writes the inputs that fuzzing begins with.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use blobio::pack::chunked::{BuildOptions, Compression, PackWriter};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let text: Vec<u8> = (0..20_000)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    let noise: Vec<u8> = (0..90_000_u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).to_le_bytes()[0])
        .collect();
    let files: [(&str, &[u8]); 6] = [
        ("empty", &[]),
        ("small/text", &text[..500]),
        ("small/noise", &noise[..300]),
        ("blocks", &text[..70_000]),
        ("plain", &noise[..66_000]),
        ("same", &text[..70_000]),
    ];
    let packs = corpus.join("pack");
    fs::create_dir_all(&packs)?;
    let kinds = [Compression::None, Compression::Lz4, Compression::Zstd(3)];
    for (kind, compression) in kinds.into_iter().enumerate() {
        for count in [0, 1, 3, 4, 6] {
            let pack = pack(&files[..count], compression)?;
            for how in [0, 1, 5] {
                let mut input = pack.clone();
                input.push(how);
                fs::write(packs.join(format!("seed-{kind}-{count}-{how}")), input)?;
            }
        }
    }
    let deep: Vec<_> = (0..200)
        .map(|n| (format!("{}{n:04}", "deep/".repeat(40)), &[][..]))
        .collect();
    let deep: Vec<_> = deep
        .iter()
        .map(|(path, none)| (path.as_str(), *none))
        .collect();
    let mut input = pack(&deep, Compression::None)?;
    input.push(1);
    fs::write(packs.join("seed-deep"), input)?;

    let zips = corpus.join("zip");
    fs::create_dir_all(&zips)?;
    for (kind, method) in [CompressionMethod::Stored, CompressionMethod::Deflated]
        .into_iter()
        .enumerate()
    {
        for (large, count) in [(false, 0), (false, 1), (false, 3), (true, 3), (false, 4)] {
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            let options = SimpleFileOptions::default()
                .compression_method(method)
                .large_file(large);
            for (name, content) in &files[..count] {
                writer.start_file(*name, options)?;
                writer.write_all(content)?;
            }
            let bytes = writer.finish()?.into_inner();
            fs::write(zips.join(format!("seed-{kind}-{count}-{large}")), bytes)?;
        }
    }
    Ok(())
}

fn pack(
    files: &[(&str, &[u8])],
    compression: Compression,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let options = BuildOptions {
        compression,
        threads: std::num::NonZeroUsize::MIN,
        ..BuildOptions::default()
    };
    let mut writer = PackWriter::new(Cursor::new(Vec::new()), "seed", options)?;
    for (path, content) in files {
        writer.add(path, *content)?;
    }
    Ok(writer.finish()?.0.into_inner())
}
