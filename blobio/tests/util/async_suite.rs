//! What every asynchronous reader promises, as one future; run it on the executor it belongs to.

use std::mem::MaybeUninit;

use blobio::RandomReadBlobAsync;

use super::sync_suite::assert_names;
use super::{MARK, slices, take_init};

/// Holds `blob` to the contract; its content is `content`, at least 100 bytes.
pub(crate) async fn check(name: &str, blob: &impl RandomReadBlobAsync, content: &[u8]) {
    println!("reader: {name}");
    assert!(content.len() >= 100);
    assert_eq!(
        blob.byte_length_async().await.unwrap(),
        content.len() as u64,
        "byte_length"
    );
    single_reads(blob, content).await;
    vectored_reads(blob, content).await;
    exact_reads(blob, content).await;
    vectors(blob, content).await;
}

async fn single_reads(blob: &impl RandomReadBlobAsync, content: &[u8]) {
    let total = content.len();
    let cases = [
        (0, total),
        (0, 0),
        (0, 1),
        (1, 7),
        (total - 1, 1),
        (total - 5, 50),
        (0, total + 1000),
        (total, 10),
        (total / 2, total),
    ];
    for (pos, want) in cases {
        let expected = &content[pos..total.min(pos + want)];
        let mut memory = vec![MaybeUninit::new(MARK); want];
        let got = blob.read_async(pos as u64, &mut memory).await.unwrap();
        let memory = take_init(memory);
        assert_eq!(got, expected.len(), "read {want} at {pos}");
        assert_eq!(&memory[..got], expected, "read {want} at {pos}");
        assert!(
            memory[got..].iter().all(|b| *b == MARK),
            "read {want} at {pos} wrote too much"
        );
    }
    for pos in [total as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
        let mut memory = [MaybeUninit::new(MARK); 9];
        assert_eq!(
            blob.read_async(pos, &mut memory).await.unwrap(),
            0,
            "past the end is the end"
        );
    }
}

async fn vectored_reads(blob: &impl RandomReadBlobAsync, content: &[u8]) {
    let total = content.len();
    let shapes: [&[usize]; 6] = [
        &[],
        &[0],
        &[10],
        &[3, 0, 5, 1],
        &[0, 0, 20, 0],
        &[40, 40, 40],
    ];
    for shape in shapes {
        for pos in [0, 1, total - 4, total - 45, total - 80, total, total + 3] {
            let mut parts: Vec<_> = shape.iter().map(|len| vec![MARK; *len]).collect();
            let got = blob
                .readv_async(pos as u64, &mut slices(&mut parts))
                .await
                .unwrap();
            let flat = parts.concat();
            let expected = &content[pos.min(total)..total.min(pos + flat.len())];
            assert_eq!(got, expected.len(), "readv {shape:?} at {pos}");
            assert_eq!(&flat[..got], expected, "readv {shape:?} at {pos}");
            assert!(
                flat[got..].iter().all(|b| *b == MARK),
                "readv {shape:?} at {pos}: too much"
            );
        }
    }
    let mut parts = vec![vec![MARK; 1]; 3000];
    let got = blob.readv_async(0, &mut slices(&mut parts)).await.unwrap();
    assert_eq!(got, total.min(3000));
    assert_eq!(parts.concat()[..got], content[..got]);
}

async fn exact_reads(blob: &impl RandomReadBlobAsync, content: &[u8]) {
    let total = content.len();
    let mut memory = vec![MaybeUninit::new(MARK); 30];
    blob.read_exact_async(total as u64 - 30, &mut memory)
        .await
        .unwrap();
    assert_eq!(take_init(memory), content[total - 30..]);

    for (pos, want, there) in [
        (total as u64 - 30, 31, 30),
        (total as u64, 1, 0),
        (u64::MAX, 2, 0),
        (0, total + 1, total),
    ] {
        let mut memory = vec![MaybeUninit::uninit(); want];
        let error = blob.read_exact_async(pos, &mut memory).await.unwrap_err();
        assert_names(&error, pos, want, there);
        let mut parts = [vec![0; want / 2], vec![0; want - want / 2]];
        let error = blob
            .readv_all_async(pos, &mut slices(&mut parts))
            .await
            .unwrap_err();
        assert_names(&error, pos, want, there);
    }

    let mut parts = [vec![0; 1], vec![], vec![0; 29]];
    blob.readv_all_async(total as u64 - 30, &mut slices(&mut parts))
        .await
        .unwrap();
    assert_eq!(parts.concat(), content[total - 30..]);
}

async fn vectors(blob: &impl RandomReadBlobAsync, content: &[u8]) {
    let total = content.len();
    let old = vec![MARK; 7];
    let (got, bytes) = blob.read_owned_async(5, 20, old).await;
    assert_eq!((got.unwrap(), bytes.as_slice()), (20, &content[5..25]));
    let (got, bytes) = blob.read_owned_async(total as u64 - 5, 20, bytes).await;
    assert_eq!((got.unwrap(), bytes.as_slice()), (5, &content[total - 5..]));
    let (got, bytes) = blob.read_owned_async(u64::MAX, 20, bytes).await;
    assert_eq!((got.unwrap(), bytes.len()), (0, 0));

    let all = blob.read_to_end_async(0).await.unwrap();
    assert_eq!(all, content);
    assert_eq!(
        blob.read_to_end_async(total as u64 - 7).await.unwrap(),
        content[total - 7..]
    );
    assert_eq!(blob.read_to_end_async(total as u64).await.unwrap(), []);
    assert_eq!(blob.read_to_end_async(u64::MAX).await.unwrap(), []);
}
