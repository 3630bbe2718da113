//! Meshes, and two formats for them.

use std::fmt::Write as _;

use super::rng::Rng;

/// Triangles over vertices in 16ths of a unit.
#[derive(Debug)]
pub(super) struct Mesh {
    vertices: Vec<[u16; 3]>,
    triangles: Vec<[u16; 3]>,
}

impl Mesh {
    /// A square of hills with `side` vertices on each side (at most 255).
    pub(super) fn terrain(side: u32, rng: &mut Rng) -> Self {
        let side = u16::try_from(side.min(255)).expect("just limited");
        let vertices = (0..side * side)
            .map(|index| {
                let height = u16::try_from(rng.below(48)).expect("below 48");
                [index % side * 16, height, index / side * 16]
            })
            .collect();
        let mut triangles = Vec::new();
        for row in 0..side - 1 {
            for column in 0..side - 1 {
                let corner = row * side + column;
                triangles.push([corner, corner + side, corner + 1]);
                triangles.push([corner + 1, corner + side, corner + side + 1]);
            }
        }
        Self {
            vertices,
            triangles,
        }
    }

    /// Wavefront OBJ.
    pub(super) fn obj(&self) -> Vec<u8> {
        let mut out = String::from("o terrain\n");
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            writeln!(out, "{arguments}").expect("writing to memory cannot fail");
        };
        for vertex in &self.vertices {
            let [x, y, z] = vertex.map(|sixteenths| f64::from(sixteenths) / 16.0);
            line(format_args!("v {x:.4} {y:.4} {z:.4}"));
        }
        for triangle in &self.triangles {
            let [a, b, c] = triangle.map(|index| u32::from(index) + 1);
            line(format_args!("f {a} {b} {c}"));
        }
        out.into_bytes()
    }

    /// Binary glTF 2.0: one mesh, 16-bit indices, 32-bit float positions.
    pub(super) fn glb(&self) -> Vec<u8> {
        // A sixteenth is exact in binary, so the bytes are the same on every machine.
        let position = |sixteenths: u16| (f32::from(sixteenths) / 16.0).to_le_bytes();
        let mut binary: Vec<u8> = self
            .vertices
            .iter()
            .flatten()
            .flat_map(|&value| position(value))
            .collect();
        let positions_len = binary.len();
        binary.extend(
            self.triangles
                .iter()
                .flatten()
                .flat_map(|index| index.to_le_bytes()),
        );
        let indices_len = binary.len() - positions_len;
        pad(&mut binary, 0);

        let mut json = self
            .describe(positions_len, indices_len, binary.len())
            .into_bytes();
        pad(&mut json, b' ');

        let mut out = Vec::new();
        let total = 12 + 8 + json.len() + 8 + binary.len();
        out.extend(b"glTF");
        out.extend(2_u32.to_le_bytes());
        out.extend(narrow(total).to_le_bytes());
        for (kind, chunk) in [(b"JSON", json), (b"BIN\0", binary)] {
            out.extend(narrow(chunk.len()).to_le_bytes());
            out.extend(kind);
            out.extend(chunk);
        }
        out
    }

    fn describe(&self, positions_len: usize, indices_len: usize, binary_len: usize) -> String {
        let extreme = |pick: fn(u16, u16) -> u16| {
            let first = self.vertices[0];
            let found = self.vertices.iter().fold(first, |found, vertex| {
                [0, 1, 2].map(|axis| pick(found[axis], vertex[axis]))
            });
            let [x, y, z] = found.map(|sixteenths| f64::from(sixteenths) / 16.0);
            format!("[{x},{y},{z}]")
        };
        let (min, max) = (extreme(u16::min), extreme(u16::max));
        let (vertices, indices) = (self.vertices.len(), self.triangles.len() * 3);
        format!(
            "{{\"asset\":{{\"version\":\"2.0\"}},\"scene\":0,\"scenes\":[{{\"nodes\":[0]}}],\
             \"nodes\":[{{\"mesh\":0}}],\"meshes\":[{{\"primitives\":[{{\"attributes\":\
             {{\"POSITION\":0}},\"indices\":1}}]}}],\"accessors\":[{{\"bufferView\":0,\
             \"componentType\":5126,\"count\":{vertices},\"type\":\"VEC3\",\"min\":{min},\
             \"max\":{max}}},{{\"bufferView\":1,\"componentType\":5123,\"count\":{indices},\
             \"type\":\"SCALAR\"}}],\"bufferViews\":[{{\"buffer\":0,\"byteLength\":\
             {positions_len},\"target\":34962}},{{\"buffer\":0,\"byteOffset\":{positions_len},\
             \"byteLength\":{indices_len},\"target\":34963}}],\"buffers\":[{{\"byteLength\":\
             {binary_len}}}]}}"
        )
    }
}

/// Chunks end on a multiple of four bytes.
fn pad(bytes: &mut Vec<u8>, with: u8) {
    bytes.resize(bytes.len().next_multiple_of(4), with);
}

fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("a demo mesh is small")
}
