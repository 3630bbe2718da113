//! A TCP stream is received into provided buffers, which go back to their ring, and receiving waits
//! while there are none.

mod support;

use std::io::{ErrorKind, Write};
use std::time::Duration;

use corelane::net::BufRing;
use corelane::time::timeout;
use corelane::{spawn_local, stats};

use support::{content, run, tcp_half, yield_until};

#[test]
fn a_stream_is_received_into_provided_buffers() {
    run(async {
        let (client, mut server) = tcp_half().await;
        let ring = BufRing::new(8, 1_000).unwrap();
        assert_eq!(ring.buffer_len(), 1_000);
        let writer = std::thread::spawn(move || server.write_all(&content(1_000_000)).unwrap());
        let mut received = client.recv_stream(&ring);
        let mut all = Vec::new();
        while let Some(part) = received.next().await {
            let part = part.unwrap();
            assert!(!part.is_empty() && part.len() <= 1_000);
            all.extend_from_slice(&part);
        }
        assert!(all == content(1_000_000), "{} bytes", all.len());
        assert!(received.next().await.is_none());
        writer.join().unwrap();
    });
}

#[test]
fn receiving_waits_while_every_buffer_is_out() {
    run(async {
        let (client, mut server) = tcp_half().await;
        let ring = BufRing::new(2, 4).unwrap();
        let mut received = client.recv_stream(&ring);
        server.write_all(b"aaaabbbbcccc").unwrap();
        let first = received.next().await.unwrap().unwrap();
        let second = received.next().await.unwrap().unwrap();
        assert_eq!((&first[..], &second[..]), (&b"aaaa"[..], &b"bbbb"[..]));
        let third = {
            let mut next = std::pin::pin!(received.next());
            assert!(
                timeout(Duration::from_millis(20), next.as_mut())
                    .await
                    .is_err()
            );
            // Starved, it does not spin.
            let (polls, submits) = (stats().polls, stats().submits);
            assert!(
                timeout(Duration::from_millis(50), next.as_mut())
                    .await
                    .is_err()
            );
            assert!(
                stats().polls - polls < 20,
                "{} polls",
                stats().polls - polls
            );
            assert!(
                stats().submits - submits < 10,
                "{} submits",
                stats().submits - submits
            );
            drop(first);
            next.await.unwrap().unwrap()
        };
        assert_eq!(third[..], *b"cccc");
        // What is held stays as it is while the other buffer goes round.
        drop(third);
        for _ in 0..10 {
            server.write_all(b"dddd").unwrap();
            assert_eq!(received.next().await.unwrap().unwrap()[..], *b"dddd");
        }
        assert_eq!(second[..], *b"bbbb");
        drop(server);
        assert!(received.next().await.is_none());
    });
}

#[test]
fn a_stream_that_reads_nothing_makes_the_others_wait_and_not_spin() {
    run(async {
        let ring = BufRing::new(2, 4).unwrap();
        let (hoarder, mut to_hoarder) = tcp_half().await;
        let (starved, mut to_starved) = tcp_half().await;
        let mut hoards = hoarder.recv_stream(&ring);
        // Arm it, and let it take both buffers into its queue, unread.
        {
            let mut next = std::pin::pin!(hoards.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
        }
        to_hoarder.write_all(b"aaaabbbb").unwrap();
        let before = stats().completions;
        while stats().completions < before + 2 {
            corelane::time::sleep(Duration::from_millis(1)).await;
        }
        to_starved.write_all(b"cccc").unwrap();
        let mut starving = starved.recv_stream(&ring);
        let waiting = spawn_local(async move { starving.next().await.unwrap().unwrap().to_vec() });
        corelane::time::sleep(Duration::from_millis(20)).await;
        let submits = stats().submits;
        corelane::time::sleep(Duration::from_millis(100)).await;
        let submits = stats().submits - submits;
        assert!(
            submits < 20,
            "{submits} submits while there was nothing to do"
        );
        assert!(!waiting.is_finished());
        assert_eq!(hoards.next().await.unwrap().unwrap()[..], *b"aaaa");
        assert_eq!(waiting.await.unwrap(), b"cccc");
    });
}

#[test]
fn buffers_of_a_dropped_stream_go_back_to_the_ring() {
    run(async {
        let ring = BufRing::new(4, 16).unwrap();
        for _ in 0..8 {
            let (client, mut server) = tcp_half().await;
            let mut received = client.recv_stream(&ring);
            {
                let mut next = std::pin::pin!(received.next());
                assert!(futures_util::poll!(next.as_mut()).is_pending());
            }
            let before = stats().completions;
            server.write_all(&content(40)).unwrap();
            yield_until("data has arrived", || stats().completions > before).await;
            drop(received);
        }
        let (client, mut server) = tcp_half().await;
        server.write_all(&content(64)).unwrap();
        let mut received = client.recv_stream(&ring);
        let mut held = Vec::new();
        while held
            .iter()
            .map(|part: &corelane::net::RingBuf| part.len())
            .sum::<usize>()
            < 64
        {
            held.push(received.next().await.unwrap().unwrap());
        }
        assert_eq!(
            held.iter()
                .flat_map(|part| part.to_vec())
                .collect::<Vec<_>>(),
            content(64)
        );
    });
}

#[test]
fn a_buffer_outlives_its_stream_its_ring_and_its_worker() {
    let held = run(async {
        let (client, mut server) = tcp_half().await;
        let ring = BufRing::new(2, 64).unwrap();
        server.write_all(b"kept").unwrap();
        client.recv_stream(&ring).next().await.unwrap().unwrap()
    });
    assert_eq!(held[..], *b"kept");
}

#[test]
fn the_sizes_of_a_ring_are_checked() {
    run(async {
        for (entries, len) in [(0, 16), (3, 16), (8, 0)] {
            let error = BufRing::new(entries, len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}
