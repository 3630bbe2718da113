//! A file is sent to a TCP connection whole, wherever the kernel has it, and as far as it goes.

mod support;

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;

use corelane::fs::File;
use corelane::{Config, PoolConfig, spawn_local};

use support::{content, file_of, run, run_with, tcp_half};

async fn received(mut from: std::net::TcpStream) -> Vec<u8> {
    corelane::spawn_blocking(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
    .await
    .unwrap()
}

#[test]
fn a_file_is_sent_from_the_page_cache() {
    let bytes = content(5_000_000);
    let on_disk = file_of(&bytes);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = tcp_half().await;
        let reading = spawn_local(received(server));
        assert_eq!(
            client.send_file(&file, 0..5_000_000).await.unwrap(),
            5_000_000
        );
        assert_eq!(
            client.send_file(&file, 4_000_001..4_000_002).await.unwrap(),
            1
        );
        assert_eq!(client.send_file(&file, 7..7).await.unwrap(), 0);
        drop(client);
        let all = reading.await.unwrap();
        assert!(all[..5_000_000] == bytes);
        assert_eq!(all[5_000_000..], bytes[4_000_001..4_000_002]);
    });
}

#[test]
fn what_is_sent_before_more_waits_for_the_file_behind_it() {
    const TRIES: usize = 10;
    let bytes = content(100_000);
    let on_disk = file_of(&bytes);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let mut has_waited = false;
        for _ in 0..TRIES {
            let (client, server) = tcp_half().await;
            client.set_nodelay(true).unwrap();
            client.send_all_before_more("head").await.0.unwrap();
            server.set_nonblocking(true).unwrap();
            let peeked = server.peek(&mut [0; 4]);
            // The kernel waits for 200 ms at most, which a busy machine may take for this.
            has_waited |= peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            server.set_nonblocking(false).unwrap();
            let reading = spawn_local(received(server));
            client.send_file(&file, 0..100_000).await.unwrap();
            drop(client);
            assert!(reading.await.unwrap() == [b"head", &bytes[..]].concat());
        }
        assert!(has_waited);
    });
}

#[test]
fn a_file_that_is_not_in_the_page_cache_is_sent_all_the_same() {
    let bytes = content(3_000_001);
    let on_disk = file_of(&bytes);
    on_disk.as_file().sync_all().unwrap();
    let config = Config::new().pool(PoolConfig::new(2, 65_536));
    run_with(config, async {
        // SAFETY: posix_fadvise takes no memory.
        unsafe {
            libc::posix_fadvise(
                on_disk.as_file().as_raw_fd(),
                0,
                0,
                libc::POSIX_FADV_DONTNEED,
            )
        };
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = tcp_half().await;
        let reading = spawn_local(received(server));
        assert_eq!(
            client.send_file(&file, 1..3_000_001).await.unwrap(),
            3_000_000
        );
        client.close().await.unwrap();
        assert!(reading.await.unwrap() == bytes[1..]);
    });
}

#[test]
fn a_file_that_ends_early_is_sent_as_far_as_it_goes() {
    let on_disk = file_of(&content(1_000));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = tcp_half().await;
        let reading = spawn_local(received(server));
        assert_eq!(
            client.send_file(&file, 900..5_000_000_000).await.unwrap(),
            100
        );
        assert_eq!(client.send_file(&file, 1_000..1_001).await.unwrap(), 0);
        assert_eq!(client.send_file(&file, 1 << 40..1 << 41).await.unwrap(), 0);
        drop(client);
        assert_eq!(reading.await.unwrap(), content(1_000)[900..]);
    });
}

#[test]
fn sending_a_file_to_nobody_is_an_error_and_not_a_signal() {
    let on_disk = file_of(&content(3_000_000));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let (client, server) = tcp_half().await;
        drop(server);
        let error = loop {
            if let Err(error) = client.send_file(&file, 0..3_000_000).await {
                break error;
            }
        };
        let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(expected.contains(&error.kind()), "{error}");
    });
}

#[test]
fn peers_that_do_not_read_hold_no_buffer_of_the_pool() {
    let bytes = content(8_000_000);
    let on_disk = file_of(&bytes);
    on_disk.as_file().sync_all().unwrap();
    let config = Config::new().pool(PoolConfig::new(1, 65_536));
    run_with(config, async {
        let file = File::open(on_disk.path()).await.unwrap();
        let mut stuck = Vec::new();
        for _ in 0..3 {
            // SAFETY: posix_fadvise takes no memory.
            unsafe {
                libc::posix_fadvise(
                    on_disk.as_file().as_raw_fd(),
                    0,
                    0,
                    libc::POSIX_FADV_DONTNEED,
                )
            };
            let (client, server) = tcp_half().await;
            let file = file.clone();
            let send = spawn_local(async move { client.send_file(&file, 0..8_000_000).await });
            stuck.push((send, server));
            corelane::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let pool = corelane::pool().unwrap();
        assert!(stuck.iter().all(|(send, _)| !send.is_finished()));
        let buf = corelane::time::timeout(support::HUNG / 2, pool.get()).await;
        assert!(
            buf.is_ok(),
            "a peer that does not read keeps the only buffer"
        );
    });
}
