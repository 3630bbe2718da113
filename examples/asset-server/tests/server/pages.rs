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
    assert_eq!(site.metric("requests_in_flight{"), 1, "this one");
}
