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
    heads(&corpus.join("head"))?;
    paths(&corpus.join("path"))?;
    ranges(&corpus.join("range"))?;
    Ok(())
}

/// Requests as they come from browsers, from tools, and from who means harm.
fn heads(folder: &Path) -> std::io::Result<()> {
    let fields = [
        "",
        "Connection: close\r\n",
        "Connection: keep-alive, te\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Range: bytes=0-1,-5,9-\r\n",
        "Range: bytes=0-0\r\nIf-Range: \"0123\"\r\n",
        "If-None-Match: W/\"a\", \"b\" , *\r\n",
        "If-Match: \"\", \"x\"\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n",
        "Priority: u=1, i\r\n",
        "X: a\r\n b\r\n",
    ];
    let lines = [
        "GET / HTTP/1.1",
        "HEAD /a/x%20y?q HTTP/1.0",
        "GET http://host:80/a HTTP/1.1",
        "POST * HTTP/1.1",
        "GET /a HTTP/1.7",
        "PRI * HTTP/2.0",
    ];
    fs::create_dir_all(folder)?;
    for (line_index, line) in lines.iter().enumerate() {
        for (index, fields) in fields.iter().enumerate() {
            let request = format!("{line}\r\nHost: x\r\n{fields}\r\n");
            let bare = request.replace('\r', "");
            let twice = format!("\r\n{request}\r\n{request}hello");
            // The last byte says how it arrives.
            for (how, text) in [(b'\0', &request), (b'\x03', &bare), (b'\xff', &twice)] {
                let input = [text.as_bytes(), &[how]].concat();
                fs::write(folder.join(format!("seed-{line_index}-{index}-{how}")), input)?;
            }
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n", "x".repeat(300));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\0", "X: y\r\n".repeat(65));
    fs::write(folder.join("seed-long"), long)?;
    fs::write(folder.join("seed-many"), many)
}

/// A path on the first line, and the names among which it is looked for.
fn paths(folder: &Path) -> std::io::Result<()> {
    let names = "a\nb\nbelow/a\nbelow/b\nbelow/deep/a\n/absolute\n../up\nx\\y\na b\n%2e\nfolder/\n";
    let paths = [
        "",
        "a",
        "below/",
        "below/deep/a",
        "%62elow%2fa",
        "a%20b",
        "%252e",
        "%2e%2e/a",
        "../a",
        "below//a",
        "/absolute",
        "..%5c..%00",
        "%c0%ae%c0%ae/%ef%bc%8f",
        "%zz%4",
    ];
    fs::create_dir_all(folder)?;
    for (index, path) in paths.iter().enumerate() {
        fs::write(folder.join(format!("seed-{index}")), format!("{path}\n{names}"))?;
    }
    let long = format!("{}\n{}", "%41".repeat(4095), "A".repeat(4095));
    fs::write(folder.join("seed-long"), long)
}

/// A field's value, then the length of what it is of, and how many of its bits count.
fn ranges(folder: &Path) -> std::io::Result<()> {
    let values = [
        "bytes=0-0",
        "bytes=5-",
        "bytes=-5",
        "bytes=0-99,50-149, 300-",
        "bytes=0-1,4-5,8-9,2-3,,-1",
        "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30",
        "BYTES= 1-0",
        "bytes=18446744073709551614-18446744073709551615,0-0",
        "bytes=99999999999999999999999-,-99999999999999999999999",
        "items=0-1",
        "bytes=-0,-",
    ];
    fs::create_dir_all(folder)?;
    for (index, value) in values.iter().enumerate() {
        for (len, bits) in [(0, 0), (1000, 12), (u64::MAX, 63), (u64::MAX, 64)] {
            let mut input = value.as_bytes().to_vec();
            input.extend_from_slice(&len.to_le_bytes());
            input.push(bits);
            fs::write(folder.join(format!("seed-{index}-{bits}")), input)?;
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
