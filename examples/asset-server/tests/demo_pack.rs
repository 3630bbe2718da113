//! The demo pack: the same everywhere, readable by others, in place only when complete.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::io::{Cursor, Read as _};
use std::path::PathBuf;
use std::sync::LazyLock;

use asset_server::demo;
use flate2::read::ZlibDecoder;

/// Packing takes a while without optimisation.
static PACK: LazyLock<Vec<u8>> = LazyLock::new(|| demo::pack().unwrap());

#[test]
fn another_reader_finds_every_asset_in_the_pack() {
    let mut archive = zip::ZipArchive::new(Cursor::new(PACK.as_slice())).unwrap();
    let assets: Vec<_> = demo::assets().collect();
    assert_eq!(archive.len(), assets.len());
    assert!((300..600).contains(&assets.len()), "{}", assets.len());
    let mut stored = 0;
    for (index, asset) in assets.iter().enumerate() {
        // Reading to the end checks the CRC.
        let mut file = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(
            (&*file.name().unwrap(), &bytes),
            (asset.name.as_str(), &asset.bytes)
        );
        let method = file.compression();
        assert_eq!(
            method == zip::CompressionMethod::Deflated,
            asset.is_deflated
        );
        stored += usize::from(method == zip::CompressionMethod::Stored);
    }
    assert!(stored > 50 && assets.len() - stored > 50, "{stored} stored");
}

/// The contents, not the archive: another version of the compressor may pack them differently.
#[test]
fn the_contents_are_the_same_on_every_machine() {
    let mut hasher = blake3::Hasher::new();
    for asset in demo::assets() {
        // A PNG has the compressor's output in it.
        let bytes = match asset.name.ends_with(".png") {
            true => png_rows(&asset.bytes),
            false => asset.bytes,
        };
        hasher.update(asset.name.as_bytes()).update(&[0]);
        hasher
            .update(&u64::try_from(bytes.len()).unwrap().to_le_bytes())
            .update(&bytes);
    }
    let expected = "c21d19ea318e42de110ef0f0dbffb569af8b3feb2a1c11530655b5a2d001d058";
    assert_eq!(hasher.finalize().to_hex().as_str(), expected);
}

/// Checks a PNG's chunks and returns its pixels, a filter byte before each row.
fn png_rows(png: &[u8]) -> Vec<u8> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
    let be = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut rows = Vec::new();
    let (mut size, mut kinds) = (0, Vec::new());
    while !rest.is_empty() {
        let len = usize::try_from(be(&rest[..4])).unwrap();
        let (kind, body) = (&rest[4..8], &rest[8..8 + len]);
        assert_eq!(
            be(&rest[8 + len..12 + len]),
            crc32fast::hash(&rest[4..8 + len])
        );
        match kind {
            b"IHDR" => size = usize::try_from(be(&body[..4])).unwrap(),
            b"IDAT" => drop(ZlibDecoder::new(body).read_to_end(&mut rows).unwrap()),
            _ => {}
        }
        kinds.push(kind);
        rest = &rest[12 + len..];
    }
    assert_eq!(kinds, [b"IHDR", b"IDAT", b"IEND"]);
    assert_eq!(rows.len(), size * (1 + size * 3));
    rows
}

#[test]
fn sounds_and_meshes_state_their_lengths() {
    let le = |bytes: &[u8]| usize::try_from(u32::from_le_bytes(bytes.try_into().unwrap())).unwrap();
    let (mut wavs, mut glbs) = (0, 0);
    for asset in demo::assets() {
        let bytes = &asset.bytes;
        if asset.name.ends_with(".wav") {
            assert_eq!(
                (le(&bytes[4..8]), le(&bytes[40..44])),
                (bytes.len() - 8, bytes.len() - 44)
            );
            wavs += 1;
        } else if asset.name.ends_with(".glb") {
            assert_eq!((le(&bytes[8..12]), bytes.len() % 4), (bytes.len(), 0));
            let json = le(&bytes[12..16]);
            assert_eq!(le(&bytes[20 + json..24 + json]), bytes.len() - 28 - json);
            glbs += 1;
        }
    }
    assert!(wavs > 20 && glbs > 20, "{wavs} {glbs}");
}

#[test]
fn the_pack_is_made_once_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("not/there/yet");
    let path = demo::ensure(&cache).unwrap();
    assert!(fs::read(&path).unwrap() == *PACK, "two packs differ");
    fs::write(&path, "kept").unwrap();
    assert_eq!(demo::ensure(&cache).unwrap(), path);
    assert_eq!(fs::read(&path).unwrap(), b"kept");
    let names: Vec<_> = fs::read_dir(&cache)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, [demo::FILE_NAME]);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(demo::ensure(&file.join("cache")).is_err());
}

#[test]
fn the_cache_folder_follows_the_xdg_rules() {
    let some = |text: &str| Some(OsString::from(text));
    let expect = |text: &str| Some(PathBuf::from(text));
    let cases = [
        (some("/x"), some("/h"), expect("/x/corelane")),
        (None, some("/h"), expect("/h/.cache/corelane")),
        (some(""), some("/h"), expect("/h/.cache/corelane")),
        (some("relative"), some("/h"), expect("/h/.cache/corelane")),
        (some("relative"), some("h"), None),
        (None, None, None),
    ];
    for (xdg, home, expected) in cases {
        assert_eq!(
            demo::cache_folder(xdg.clone(), home.clone()),
            expected,
            "{xdg:?} {home:?}"
        );
    }
}
