//! The rules of the source that no compiler checks: rooms, sizes, leftovers, and that one folder
//! alone names the executor. Shared with corelane, whose tests try each rule on bad snippets.

use std::fs;
use std::path::Path;

#[path = "../../executor/tests/tidy/rules.rs"]
#[allow(dead_code, reason = "the rules on modules are for corelane")]
mod rules;
#[path = "../../executor/tests/tidy/source.rs"]
mod source;

use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let sources = source::load(root(), "src");
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

#[track_caller]
fn clean(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let sources = sources();
    let page = fs::read_to_string(root().join("../docs/SAFETY.md")).expect("the page exists");
    clean(&rules::rooms(&sources, "blobio/", &page));
    let lib = sources
        .iter()
        .find(|source| source.path == "src/lib.rs")
        .expect("the crate root");
    clean(&rules::denies_unsafe(lib));
}

#[test]
fn one_folder_names_the_executor() {
    let mut found = Vec::new();
    for source in sources() {
        found.extend(rules::only_in(&source, "corelane", &["src/async_reader/"]));
    }
    clean(&found);
}

#[test]
fn the_catalogue_the_headers_and_inflating_do_no_io() {
    let pure = ["catalogue.rs", "local.rs", "inflate.rs", "entry.rs"];
    let pure = pure.map(|file| format!("src/pack/zip/{file}"));
    let mut found = Vec::new();
    let sources = sources();
    let mut pure_sources = 0;
    for source in sources.iter().filter(|source| pure.contains(&source.path)) {
        pure_sources += 1;
        found.extend(rules::only_in(source, "crate : : traits", &[]));
        found.extend(rules::only_in(source, "std : : fs", &[]));
    }
    assert_eq!(pure_sources, pure.len());
    clean(&found);
}

#[test]
fn what_a_call_returned_becomes_an_error_beside_the_call() {
    let mut found = Vec::new();
    for source in sources() {
        found.extend(rules::errno(&source, &["src/sync_reader/pread.rs"]));
    }
    clean(&found);
}

#[test]
fn files_and_functions_are_small_and_finished() {
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        for source in source::load(root(), folder) {
            found.extend(rules::sizes(&source));
            found.extend(rules::leftovers(&source));
        }
    }
    clean(&found);
}
