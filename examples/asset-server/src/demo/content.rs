//! Which assets the demo pack has.

use super::rng::Rng;
use super::texture::Picture;
use super::{mesh, sound, texture};

const SEED: u64 = 0x636f_7265_6c61_6e65;

/// One file of the pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its path in the pack.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Whether it is deflated in the pack, rather than stored.
    pub is_deflated: bool,
}

/// Makes the assets one after the other, in the order of the pack.
pub fn assets() -> impl Iterator<Item = Asset> {
    std::iter::once(readme())
        .chain((0..96).flat_map(material))
        .chain((0..64).map(model))
        .chain((0..48).map(effect))
        .chain((0..32).map(level))
}

fn readme() -> Asset {
    let text = "Procedural textures, meshes and sounds, made by asset-server from a fixed seed.\n\
                They are in the public domain.\n";
    Asset {
        name: "README.txt".to_owned(),
        bytes: text.as_bytes().to_vec(),
        is_deflated: false,
    }
}

fn rng(kind: u64, index: u32) -> Rng {
    Rng::new(SEED ^ (kind << 32) ^ u64::from(index))
}

/// A texture in one of three formats, and the text that describes it.
fn material(index: u32) -> [Asset; 2] {
    const KINDS: [&str; 4] = ["stone", "wood", "checker", "cloud"];
    let mut rng = rng(1, index);
    let kind = KINDS[index as usize % KINDS.len()];
    let size = 16 << rng.below(4);
    let picture = Picture::make(kind, size, &mut rng);
    let (extension, bytes, is_deflated) = match index % 3 {
        0 => ("png", texture::png(&picture), false),
        1 => ("tga", texture::tga(&picture), true),
        _ => ("ppm", texture::ppm(&picture), true),
    };
    let name = format!("textures/{kind}/{kind}_{index:03}.{extension}");
    let text = format!(
        "{{\"texture\":\"{name}\",\"size\":{size},\"roughness\":{},\"metal\":{}}}\n",
        rng.below(256),
        rng.below(2) == 1
    );
    let described = format!("materials/{kind}_{index:03}.json");
    [
        Asset {
            name,
            bytes,
            is_deflated,
        },
        Asset {
            name: described,
            bytes: text.into_bytes(),
            is_deflated: index.is_multiple_of(2),
        },
    ]
}

fn model(index: u32) -> Asset {
    let mut rng = rng(2, index);
    let terrain = mesh::Mesh::terrain(4 + rng.below(36), &mut rng);
    let (extension, bytes, is_deflated) = match index % 2 {
        0 => ("obj", terrain.obj(), true),
        _ => ("glb", terrain.glb(), index % 4 == 1),
    };
    Asset {
        name: format!("models/terrain_{index:02}.{extension}"),
        bytes,
        is_deflated,
    }
}

fn effect(index: u32) -> Asset {
    const KINDS: [&str; 3] = ["tone", "noise", "chirp"];
    let mut rng = rng(3, index);
    let kind = KINDS[index as usize % KINDS.len()];
    let bytes = sound::wav(kind, 2_000 + rng.below(40_000), &mut rng);
    Asset {
        name: format!("sounds/{kind}_{index:02}.wav"),
        bytes,
        is_deflated: index.is_multiple_of(2),
    }
}

/// A raw grid of tiles; the last one is a large one.
fn level(index: u32) -> Asset {
    let mut rng = rng(4, index);
    let len = if index == 31 {
        2 << 20
    } else {
        256 << rng.below(9)
    };
    let bytes = (0..len / 8)
        .flat_map(|_| rng.next().to_le_bytes())
        .collect();
    Asset {
        name: format!("levels/level {index:02}.bin"),
        bytes,
        is_deflated: false,
    }
}
