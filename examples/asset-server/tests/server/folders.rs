//! Files of folders.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::site::{Site, noise, write_old};

#[test]
fn files_of_every_length_come_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let lens = [0, 1, 4096, 16_384, 16_385, 65_536, 300_000, 5_000_000];
    for len in lens {
        fs::write(folder.path().join(format!("{len}.bin")), noise(len)).unwrap();
    }
    let site = Site::start("", &[folder.path()]);
    let mut client = site.connect();
    for len in lens {
        let (path, content) = (format!("/a/{len}.bin"), noise(len));
        let answer = client.get(&path);
        assert_eq!(
            (answer.status, answer.body == content),
            (200, true),
            "{len}"
        );
        for (first, last) in [(0, 0), (len / 3, len / 2), (len / 2, len - len.min(1))] {
            if first > last || last >= len {
                continue;
            }
            let answer = site.get_with(&path, &format!("Range: bytes={first}-{last}\r\n"));
            assert_eq!(answer.status, 206, "{len}: {first}-{last}");
            assert!(
                answer.body == content[first..=last],
                "{len}: {first}-{last}"
            );
        }
    }
}

#[test]
fn later_folders_shadow_earlier_ones_and_only_files_do() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, name, text) in [
        (&one, "both", "one"),
        (&two, "both", "two"),
        (&one, "only", "one"),
        (&one, "hidden", "one"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(two.path().join("hidden")).unwrap();
    let site = Site::start("", &[one.path(), two.path()]);
    for (name, text) in [("both", "two"), ("only", "one"), ("hidden", "one")] {
        let answer = site.get(&format!("/a/{name}"));
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, text.as_bytes()),
            "{name}"
        );
    }
}

#[test]
fn links_are_followed_inside_of_the_folder_only() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("plain"), "plain").unwrap();
    let outside_name = outside.path().file_name().unwrap().to_str().unwrap();
    let links = [
        ("inside", "plain".to_owned(), 200),
        ("below/up", "../plain".to_owned(), 200),
        ("absolute", secret.to_str().unwrap().to_owned(), 404),
        ("up", format!("../{outside_name}/secret"), 404),
        ("folder", outside.path().to_str().unwrap().to_owned(), 404),
        ("proc", "/proc/self/environ".to_owned(), 404),
        ("loop", "loop".to_owned(), 404),
        ("dangling", "nothing".to_owned(), 404),
    ];
    for (name, target, _) in &links {
        symlink(target, folder.path().join(name)).unwrap();
    }
    let site = Site::start("", &[folder.path()]);
    for (name, _, status) in &links {
        let answer = site.get(&format!("/a/{name}"));
        assert_eq!(answer.status, *status, "{name}");
        assert!(
            !answer.body.windows(6).any(|window| window == b"secret"),
            "{name}"
        );
    }
    assert_eq!(site.get("/a/folder/secret").status, 404);
    assert_eq!(
        site.get("/a/folder/").status,
        404,
        "the listing of a folder outside"
    );
    let listing = String::from_utf8(site.get("/a/").body).unwrap();
    let is_listed = |name: &str| listing.contains(&format!("\"/a/{name}\""));
    assert!(
        is_listed("inside") && is_listed("plain") && is_listed("below/"),
        "{listing}"
    );
    for (name, _, status) in links {
        assert!(status == 200 || !is_listed(name), "{name}: {listing}");
    }
}

#[test]
fn what_is_no_regular_file_is_not_there_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let long = "x".repeat(300);
    let site = Site::start("", &[folder.path()]);
    let mut client = site.connect();
    for name in [
        "pipe",
        "socket",
        "folder",
        "pipe/x",
        "nothing",
        long.as_str(),
    ] {
        assert_eq!(client.get(&format!("/a/{name}")).status, 404, "{name}");
    }
}

#[test]
fn a_file_that_changes_changes_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write_old(&path, b"one", 1_000_000_000);
    let site = Site::start("", &[folder.path()]);
    let first = site.get("/a/file");
    let tag = first.field("etag").unwrap();
    let unchanged = site.get_with("/a/file", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(unchanged.status, 304);
    // The same length and the same time; the inode's own time tells.
    write_old(&path, b"two", 1_000_000_000);
    let changed = site.get_with("/a/file", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(
        (changed.status, changed.body.as_slice()),
        (200, b"two".as_slice())
    );
}

#[test]
fn a_file_that_shrinks_under_way_ends_the_connection_and_not_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let len = 64 << 20;
    fs::File::create(&path).unwrap().set_len(len).unwrap();
    let site = Site::start("", &[folder.path()]);
    let mut client = site.connect();
    client.send("GET /a/file HTTP/1.1\r\nHost: x\r\n\r\n");
    super::site::wait_until("nothing is sent", || {
        site.metric("sent_bytes_total") > 100_000
    });
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(10)
        .unwrap();
    let received = u64::try_from(client.rest().len()).unwrap();
    assert!(received < len, "{received}");
    assert_eq!(site.get("/a/file").body, [0; 10]);
}

#[test]
fn a_file_that_may_not_be_read_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let site = Site::start("", &[folder.path()]);
    // Whoever runs this as root may read it all the same.
    let expected = if fs::File::open(&path).is_ok() {
        200
    } else {
        404
    };
    assert_eq!(site.get("/a/file").status, expected);
}
