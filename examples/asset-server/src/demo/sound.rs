//! Sounds from integer waves.

use super::rng::Rng;

const RATE: u32 = 22_050;

/// Makes a mono 16-bit WAV of so many samples.
pub(super) fn wav(kind: &str, samples: u32, rng: &mut Rng) -> Vec<u8> {
    let period = 40 + rng.below(200);
    let mut out = header(samples * 2);
    for index in 0..samples {
        let sample = match kind {
            "noise" => i32::try_from(rng.below(65_536)).expect("16 bits fit") - 32_768,
            "chirp" => triangle(index, (period - period * index / samples).max(8)),
            _ => triangle(index, period),
        };
        // Fades out; the division keeps it within 16 bits.
        let left = i64::from(samples - index);
        let faded = i64::from(sample) * left / i64::from(samples);
        let sample = i16::try_from(faded).expect("a faded sample has 16 bits");
        out.extend(sample.to_le_bytes());
    }
    out
}

/// A triangle wave, -32,768 to 32,767.
fn triangle(index: u32, period: u32) -> i32 {
    let phase = index % period * 65_535 * 2 / period;
    let height = if phase > 65_535 {
        131_070 - phase
    } else {
        phase
    };
    i32::try_from(height).expect("17 bits fit") - 32_768
}

fn header(data_len: u32) -> Vec<u8> {
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data_len).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    out.extend([1, 0, 1, 0]);
    out.extend(RATE.to_le_bytes());
    out.extend((RATE * 2).to_le_bytes());
    // Bytes per frame, bits per sample.
    out.extend([2, 0, 16, 0]);
    out.extend(b"data");
    out.extend(data_len.to_le_bytes());
    out
}
