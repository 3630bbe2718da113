//! The pages made on the spot.

use std::fs;

use super::site::Site;

#[test]
fn the_index_links_to_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("maps")).unwrap();
    fs::write(folder.path().join("maps/e1m1 & more.bsp"), "map").unwrap();
    fs::write(folder.path().join("read.me"), "text").unwrap();
    let site = Site::start("", &[folder.path()]);
    let index = site.get("/");
    assert_eq!(
        index.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    let text = String::from_utf8(index.body).unwrap();
    assert!(
        text.contains("\"/a/maps/\"") && text.contains("\"/a/read.me\""),
        "{text}"
    );
    let path = folder.path();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(&format!("<h2>{name} ")), "{text}");
    let parent = path.parent().unwrap().to_str().unwrap();
    assert!(!text.contains(parent), "the server's folders: {text}");
    let listing = String::from_utf8(site.get("/a/maps/").body).unwrap();
    assert!(
        listing.contains("\"/a/maps/e1m1%20%26%20more.bsp\""),
        "{listing}"
    );
    assert_eq!(site.get("/a/maps/e1m1%20%26%20more.bsp").body, b"map");
    assert_eq!(site.get("/a/nothing/").status, 404);
}

#[test]
fn health_and_metrics_are_for_the_moment_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "123").unwrap();
    let site = Site::start("--connections-max 77", &[folder.path()]);
    assert_eq!(site.get("/a/x").status, 200);
    let health = site.get("/healthz");
    assert_eq!(
        (health.status, health.body.as_slice()),
        (200, b"ok\n".as_slice())
    );
    let metrics = site.get("/metrics");
    for answer in [&health, &metrics] {
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    assert_eq!(site.metric("connections_max "), 77);
    assert!(
        site.metric("responses_total{worker=\"0\",code=\"200\"}")
            + site.metric("responses_total{worker=\"1\",code=\"200\"}")
            >= 3
    );
    assert!(site.metric("executor_completions_total{") > 0);
    assert_eq!(site.metric("executor_backend_info{worker=\"0\","), 1);
    assert_eq!(site.metric("requests_in_flight{"), 1, "this one");
}

/// Each listing takes memory and a thread for the blocking read.
#[test]
fn only_so_many_listings_are_made_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..3000 {
        fs::write(folder.path().join(format!("f{index}")), "").unwrap();
    }
    let site = Site::start("", &[folder.path()]);
    let ask = || {
        let mut client = site.connect();
        client.send("GET /a/ HTTP/1.1\r\nHost: x\r\n\r\n");
        client
    };
    let asked: Vec<_> = (0..100).map(|_| ask()).collect();
    let answers: Vec<_> = asked
        .into_iter()
        .map(|mut client| client.answer())
        .collect();
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert!(
        count(200) > 0 && count(503) > 0,
        "{}, {}",
        count(200),
        count(503)
    );
    assert_eq!(count(200) + count(503), 100);
    for _ in 0..20 {
        assert_eq!(site.get("/a/").status, 200, "a permit is lost");
        assert_eq!(site.get("/a/none/").status, 404, "a permit is lost");
    }
}

#[test]
fn a_large_archive_is_listed_on_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let names = (0..1200).map(|index| (format!("f{index:04}"), Vec::new()));
    let path = super::archives::pack(folder.path(), "a.pk3", &names.collect::<Vec<_>>());
    let site = Site::start("", &[&path]);
    for (page, first, count) in [(1, "f0000", 500), (2, "f0500", 500), (3, "f1000", 200)] {
        let listing = site.get(&format!("/a/?page={page}"));
        let text = String::from_utf8(listing.body).unwrap();
        assert_eq!(text.matches("<tr>").count(), count, "{page}");
        assert!(
            text.contains(first) && text.contains("1200 names"),
            "{page}"
        );
    }
    let index = String::from_utf8(site.get("/").body).unwrap();
    assert_eq!(index.matches("<tr>").count(), 50);
    assert!(
        index.contains("1200 files") && index.contains(">more<"),
        "{index}"
    );
}

/// More names than are put together on the core, of two mounts, with links among them.
#[test]
fn a_large_folder_is_listed_with_what_other_mounts_have_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let names = (0..600).map(|index| (format!("many/f{index:04}"), b"packed".to_vec()));
    let path = super::archives::pack(folder.path(), "a.pk3", &names.collect::<Vec<_>>());
    let loose = tempfile::tempdir().unwrap();
    let many = loose.path().join("many");
    fs::create_dir(&many).unwrap();
    for index in 300..900 {
        fs::write(many.join(format!("f{index:04}")), "of a folder").unwrap();
    }
    std::os::unix::fs::symlink("f0300", many.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", many.join("dangling")).unwrap();
    let site = Site::start("", &[&path, loose.path()]);
    let mut text = String::new();
    for page in [1, 2] {
        let listing = site.get(&format!("/a/many/?page={page}"));
        text.push_str(std::str::from_utf8(&listing.body).unwrap());
    }
    assert_eq!(text.matches("<tr>").count(), 901);
    assert!(
        text.contains("901 names") && text.contains("/a/many/link\"") && !text.contains("dangling")
    );
    let line =
        |name: &str, len: usize| text.contains(&format!("{name}</a></td><td class=\"n\">{len}<"));
    assert!(line("f0299", 6) && line("f0300", 11) && line("f0899", 11));
    let index = String::from_utf8(site.get("/").body).unwrap();
    assert_eq!(index.matches("/a/many/\"").count(), 2, "{index}");
}
