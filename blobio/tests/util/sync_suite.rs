//! What every blocking reader promises, as one function.

use std::io;
use std::mem::MaybeUninit;

use blobio::RandomReadBlob;

use super::{MARK, read_marked, slices, take_init};

/// Holds `blob` to the contract; its content is `content`, at least 100 bytes.
pub(crate) fn check(name: &str, blob: &(impl RandomReadBlob + ?Sized), content: &[u8]) {
    println!("reader: {name}");
    let len = content.len() as u64;
    assert!(len >= 100);
    assert_eq!(blob.byte_length().unwrap(), len, "byte_length");
    single_reads(blob, content);
    vectored_reads(blob, content);
    exact_reads(blob, content);
    vectors(blob, content);
}

fn single_reads(blob: &(impl RandomReadBlob + ?Sized), content: &[u8]) {
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
        let (got, memory) = read_marked(blob, pos as u64, want);
        assert_eq!(got, expected.len(), "read {want} at {pos}");
        assert_eq!(&memory[..got], expected, "read {want} at {pos}");
        assert!(
            memory[got..].iter().all(|b| *b == MARK),
            "read {want} at {pos} wrote too much"
        );

        let mut memory = vec![MARK; want];
        assert_eq!(
            blob.read_slice(pos as u64, &mut memory).unwrap(),
            expected.len()
        );
        assert_eq!(&memory[..expected.len()], expected);
    }
    for pos in [total as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
        assert_eq!(
            read_marked(blob, pos, 9),
            (0, vec![MARK; 9]),
            "past the end is the end"
        );
        assert_eq!(blob.read_slice(pos, &mut [0; 9]).unwrap(), 0);
    }
    // No cursor: the same read gives the same bytes.
    assert_eq!(read_marked(blob, 3, 10), read_marked(blob, 3, 10));
}

fn vectored_reads(blob: &(impl RandomReadBlob + ?Sized), content: &[u8]) {
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
            let got = blob.readv(pos as u64, &mut slices(&mut parts)).unwrap();
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
    // More slices than the kernel takes at once.
    let mut parts = vec![vec![MARK; 1]; 3000];
    let got = blob.readv(0, &mut slices(&mut parts)).unwrap();
    assert_eq!(got, total.min(3000));
    assert_eq!(parts.concat()[..got], content[..got]);
    assert_eq!(blob.readv(u64::MAX, &mut slices(&mut parts)).unwrap(), 0);
}

fn exact_reads(blob: &(impl RandomReadBlob + ?Sized), content: &[u8]) {
    let total = content.len();
    let mut memory = vec![MaybeUninit::new(MARK); 30];
    blob.read_exact(total as u64 - 30, &mut memory).unwrap();
    assert_eq!(take_init(memory), content[total - 30..]);
    blob.read_exact(u64::MAX, &mut []).unwrap();

    for (pos, want, there) in [
        (total as u64 - 30, 31, 30),
        (total as u64, 1, 0),
        (u64::MAX, 2, 0),
        (0, total + 1, total),
    ] {
        let error = blob
            .read_exact(pos, &mut vec![MaybeUninit::uninit(); want])
            .unwrap_err();
        assert_names(&error, pos, want, there);
        let mut parts = [vec![0; want / 2], vec![0; want - want / 2]];
        let error = blob.readv_all(pos, &mut slices(&mut parts)).unwrap_err();
        assert_names(&error, pos, want, there);
    }

    let mut parts = [vec![0; 1], vec![], vec![0; 29]];
    blob.readv_all(total as u64 - 30, &mut slices(&mut parts))
        .unwrap();
    assert_eq!(parts.concat(), content[total - 30..]);
    blob.readv_all(u64::MAX, &mut []).unwrap();
}

/// Asserts that the error of an exact read says what was wanted where.
pub(crate) fn assert_names(error: &io::Error, pos: u64, want: usize, there: usize) {
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        error.to_string(),
        format!("blob ended early: {want} bytes wanted at position {pos}, {there} there")
    );
}

fn vectors(blob: &(impl RandomReadBlob + ?Sized), content: &[u8]) {
    let total = content.len();
    assert_eq!(blob.read_vec(5, 20).unwrap(), content[5..25]);
    assert_eq!(
        blob.read_vec(total as u64 - 5, 20).unwrap(),
        content[total - 5..]
    );
    assert_eq!(blob.read_vec(u64::MAX, 20).unwrap(), []);
    assert_eq!(blob.read_vec(0, 0).unwrap(), []);

    let all = blob.read_to_end(0).unwrap();
    assert_eq!(all, content);
    assert_eq!(all.capacity(), total, "read_to_end allocates once, exactly");
    assert_eq!(
        blob.read_to_end(total as u64 - 7).unwrap(),
        content[total - 7..]
    );
    assert_eq!(blob.read_to_end(total as u64).unwrap(), []);
    assert_eq!(blob.read_to_end(u64::MAX).unwrap(), []);
}
