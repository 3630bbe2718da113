//! Media types by file name.

/// What a name without a known extension has.
pub const DEFAULT: &str = "application/octet-stream";

/// Sorted by extension.
const TYPES: &[(&str, &str)] = &[
    ("aac", "audio/aac"),
    ("arena", "text/plain; charset=utf-8"),
    ("avif", "image/avif"),
    ("bin", DEFAULT),
    ("bmp", "image/bmp"),
    ("cfg", "text/plain; charset=utf-8"),
    ("conf", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("dds", "image/vnd-ms.dds"),
    ("exr", "image/x-exr"),
    ("fbx", DEFAULT),
    ("flac", "audio/flac"),
    ("frag", "text/plain; charset=utf-8"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("glsl", "text/plain; charset=utf-8"),
    ("gltf", "model/gltf+json"),
    ("gz", "application/gzip"),
    ("hdr", "image/vnd.radiance"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ini", "text/plain; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("ktx", "image/ktx"),
    ("ktx2", "image/ktx2"),
    ("lua", "text/plain; charset=utf-8"),
    ("m4a", "audio/mp4"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mtl", "model/mtl"),
    ("obj", "model/obj"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pcx", "image/vnd.zbrush.pcx"),
    ("pdf", "application/pdf"),
    ("pk3", "application/zip"),
    ("png", "image/png"),
    ("ppm", "image/x-portable-pixmap"),
    ("shader", "text/plain; charset=utf-8"),
    ("stl", "model/stl"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tga", "image/x-tga"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("usdz", "model/vnd.usdz+zip"),
    ("vert", "text/plain; charset=utf-8"),
    ("wad", "application/x-doom"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("wgsl", "text/plain; charset=utf-8"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

const EXTENSION_LEN_MAX: usize = 8;

/// Returns the media type for a file name, whatever the case of its extension.
pub fn content_type(file_name: &[u8]) -> &'static str {
    let mut lower = [0; EXTENSION_LEN_MAX];
    let extension = match file_name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) => &file_name[dot + 1..],
        None => return DEFAULT,
    };
    let Some(lower) = lower.get_mut(..extension.len()) else {
        return DEFAULT;
    };
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    let found = TYPES.binary_search_by(|(name, _)| name.as_bytes().cmp(lower));
    found.map_or(DEFAULT, |index| TYPES[index].1)
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, EXTENSION_LEN_MAX, TYPES, content_type};

    #[test]
    fn the_table_is_sorted_and_every_row_is_found() {
        assert!(TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (extension, media) in TYPES {
            assert!(extension.len() <= EXTENSION_LEN_MAX, "{extension}");
            assert_eq!(content_type(format!("x.{extension}").as_bytes()), *media);
        }
    }

    #[test]
    fn odd_names_have_a_type_too() {
        let cases: &[(&[u8], &str)] = &[
            (b"TEX.PNG", "image/png"),
            (b"a.tar.gz", "application/gzip"),
            (b".png", "image/png"),
            (b"png", DEFAULT),
            (b"x.", DEFAULT),
            (b"", DEFAULT),
            (b"x.averylongextension", DEFAULT),
            (b"x.\xff", DEFAULT),
        ];
        for (name, media) in cases {
            assert_eq!(content_type(name), *media, "{}", name.escape_ascii());
        }
    }
}
