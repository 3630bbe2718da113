//! The rules of the source that no compiler checks: floors, rooms, funnels, sizes, leftovers.
//!
//! The floors are read from docs/ARCHITECTURE.md and the unsafe rooms from docs/SAFETY.md, so
//! that neither page can drift from the code.

use std::fs;
use std::path::Path;

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use rules::Floors;
use source::Source;

/// The face is thin: it is built of operations and workers.
const HIDDEN_FROM_FACE: [&str; 2] = ["ring", "driver"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("../docs").join(name)).expect("the page exists")
}

fn sources() -> Vec<Source> {
    let sources = source::load(root(), "src");
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

#[track_caller]
fn clean(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn floors(sources: &[Source]) -> Floors {
    let lib = sources
        .iter()
        .find(|source| source.path == "src/lib.rs")
        .unwrap();
    Floors::parse(&page("ARCHITECTURE.md"), &HIDDEN_FROM_FACE).with_root(lib)
}

#[test]
fn modules_import_lower_floors_only() {
    let sources = sources();
    let floors = floors(&sources);
    clean(
        sources
            .iter()
            .flat_map(|source| rules::imports(source, &floors)),
    );
}

#[test]
fn the_table_of_floors_names_every_module_and_no_other() {
    let sources = sources();
    let built: std::collections::BTreeSet<String> = sources
        .iter()
        .filter_map(|source| {
            let name = source.path.strip_prefix("src/")?.split('/').next()?;
            Some(name.trim_end_matches(".rs").to_owned())
        })
        .filter(|name| name != "lib")
        .collect();
    assert_eq!(floors(&sources).modules(), built);
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let mut all = sources();
    let simulate = source::load(root(), "simulate/src");
    all.extend(source::load(root(), "simulate/src"));
    clean(rules::rooms(&all, "executor/", &page("SAFETY.md")));
    let macros = source::load(root(), "macros/src");
    for lib in [&sources(), &macros, &simulate].map(|sources| {
        sources
            .iter()
            .find(|source| source.path.ends_with("src/lib.rs"))
    }) {
        clean(rules::denies_unsafe(lib.unwrap()));
    }
}

#[test]
fn the_ring_is_pushed_to_in_one_place() {
    // Task queues have an unsafe `push` of their own, and the floors keep the ring from them;
    // the ring itself pushes into the kernel's queue, and a no-op to see that it works.
    let others = ["src/task/", "src/mailbox/", "src/ring/"];
    let sources: Vec<Source> = sources()
        .into_iter()
        .filter(|source| !others.iter().any(|start| source.path.starts_with(start)))
        .collect();
    clean(rules::ring_pushes(&sources, ("src/driver/submit.rs", 1)));
}

#[test]
fn an_errno_becomes_an_error_in_sys() {
    // The simulated ring stands in for the kernel, and makes errnos up.
    let homes = ["src/sys/", "src/driver/sim/"];
    clean(
        sources()
            .iter()
            .flat_map(|source| rules::errno(source, &homes)),
    );
}

/// What a number names is owned once: it comes from an operation that has just made it.
#[test]
fn a_descriptor_is_adopted_where_an_operation_made_it() {
    let results = [
        "src/op/mod.rs",
        "src/op/kinds/accept.rs",
        "src/op/kinds/open.rs",
        "src/net/listener.rs",
        "src/driver/threads/work.rs",
    ];
    // The calls of the system that make one, and the simulated kernel, which has its numbers.
    let calls = ["src/sys/", "src/op/fd.rs", "src/driver/threads/alarm.rs"];
    let kernels = [
        "src/sys/",
        "src/driver/sim/kernel.rs",
        "src/mailbox/tests.rs",
    ];
    let mut found = Vec::new();
    for source in sources() {
        found.extend(rules::adoptions(&source, &results));
        found.extend(rules::only_in(&source, "own_fd", &calls));
        found.extend(rules::only_in(&source, "from_raw_fd", &kernels));
    }
    clean(found);
    for home in results {
        let source = sources().into_iter().find(|source| source.path == home);
        let source = source.unwrap_or_else(|| panic!("{home} is no file"));
        let adopts = source.find("fd : : own").next().is_some();
        assert!(adopts, "{home} adopts no descriptor any more");
    }
}

#[test]
fn thread_locals_say_which_worker_this_is_and_nothing_else() {
    let homes = ["src/worker/context.rs", "src/shim.rs", "src/sim/mod.rs"];
    let models = ["src/task/enter.rs", "src/shim.rs"];
    let mut found = Vec::new();
    for source in sources() {
        found.extend(rules::only_in(&source, "thread_local !", &homes));
        found.extend(rules::only_in(&source, "const_thread_local !", &models));
    }
    clean(found);
}

#[test]
fn files_and_functions_are_small_and_finished() {
    let mut found = Vec::new();
    // Every package of the workspace, where there is one around this package.
    for folder in [
        "src",
        "tests",
        "macros/src",
        "faultfs/src",
        "simulate/src",
        "simulate/tests",
        "../examples",
        "../benches/src",
    ] {
        for source in source::load(root(), folder) {
            if source.path.contains("/target/") {
                continue;
            }
            found.extend(rules::sizes(&source));
            found.extend(rules::leftovers(&source));
        }
    }
    clean(found);
}

#[test]
fn examples_need_no_unsafe_code() {
    let found = source::load(root(), "../examples")
        .into_iter()
        .flat_map(|source| rules::only_in(&source, "unsafe", &[]));
    clean(found);
}

/// The rules on snippets that break them.
mod snippets {
    use super::*;

    const TABLE: &str = "\
        | 0 | `sys` | | |\n\
        | 1 | `ring` | | |\n\
        | 1 | `task` | `sync` | |\n\
        | 1 | `sync` | | |\n\
        | 3 | `driver` | | |\n\
        | 5 | `net` | `driver::Op` | |\n\
        | 5 | `fs` | | |\n";

    fn imports(path: &str, text: &str) -> Vec<String> {
        let lib = Source::parse(
            "src/lib.rs",
            "mod net; pub use net::{Stream, tcp::Listener};",
        );
        let floors = Floors::parse(TABLE, &HIDDEN_FROM_FACE).with_root(&lib);
        rules::imports(&Source::parse(path, text), &floors)
    }

    #[test]
    fn imports_upwards_and_sideways_are_found() {
        for (path, text) in [
            ("src/ring/mod.rs", "use crate::driver::Driver;"),
            (
                "src/ring/mod.rs",
                "use std::io;\nuse crate::{sys, task::State};",
            ),
            ("src/ring/sqe.rs", "fn f() { crate::net::f() }"),
            ("src/ring/sqe.rs", "use super::super::driver::Driver;"),
            ("src/sys/mod.rs", "use super::ring::Ring;"),
            (
                "src/sys/mod.rs",
                "mod tests { use super::super::ring::Ring; }",
            ),
            ("src/sync/mod.rs", "use crate::task::State;"),
            ("src/fs/mod.rs", "use crate::Stream;"),
            ("src/driver/mod.rs", "use crate::Listener;"),
            ("src/fs/mod.rs", "use crate::driver::Op;"),
            ("src/net/mod.rs", "use crate::driver::{Op, Driver};"),
            ("src/net/mod.rs", "use crate::nowhere::X;"),
            ("src/stray.rs", "use crate::sys::check;"),
        ] {
            assert_eq!(imports(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn imports_downwards_pass() {
        for (path, text) in [
            (
                "src/driver/mod.rs",
                "use crate::ring::{Ring, sqe::{self, Sqe}};",
            ),
            ("src/driver/mod.rs", "use super::ring::Ring;"),
            (
                "src/driver/op.rs",
                "use super::Driver; mod tests { use super::*; }",
            ),
            ("src/task/mod.rs", "use crate::sync::Lock;"),
            (
                "src/net/tcp.rs",
                "use crate::driver::Op; use super::{udp, tcp::X as Y};",
            ),
            (
                "src/ring/mod.rs",
                "// use crate::net::X;\nconst A: &str = \"crate::net::X\";",
            ),
            (
                "src/ring/mod.rs",
                "pub(crate) fn f() {} pub(in crate::ring) fn g() {}",
            ),
        ] {
            assert_eq!(imports(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn rooms_are_compared_both_ways() {
        let rooms = |sources: &[Source]| {
            rules::rooms(sources, "executor/", "| `executor/src/a.rs` | why |\n")
        };
        let opt = |path: &str| {
            let text = "//! # Safety\n#![allow(\n unsafe_code,\n reason = \"x\"\n)]";
            Source::parse(path, text)
        };
        assert_eq!(rooms(&[opt("src/a.rs")]), [""; 0]);
        assert_eq!(rooms(&[opt("src/a.rs"), opt("src/b.rs")]).len(), 1);
        assert_eq!(rooms(&[Source::parse("src/a.rs", "")]).len(), 1);
        let one_item = "#[expect(unsafe_code, reason = \"x\")] fn f() {}";
        assert_eq!(rooms(&[Source::parse("src/c.rs", one_item)]).len(), 3);
        let root = |text| rules::denies_unsafe(&Source::parse("src/lib.rs", text)).len();
        assert_eq!(root("#![deny(unsafe_code)]"), 0);
        assert_eq!(root("// #![deny(unsafe_code)]"), 1);
    }

    #[test]
    fn a_second_push_is_found() {
        let push = "fn f(r: &mut Ring) { let _ = unsafe { r.ring().push(sqe) }; }";
        let pushes = |path: &str, text: &str| {
            rules::ring_pushes(&[Source::parse(path, text)], ("src/driver/submit.rs", 1)).len()
        };
        assert_eq!(pushes("src/driver/submit.rs", push), 0);
        assert_eq!(pushes("src/driver/submit.rs", &push.repeat(2)), 1);
        assert_eq!(pushes("src/net/tcp.rs", push), 1);
        assert_eq!(pushes("src/net/tcp.rs", "fn f() { list.push(1) }"), 0);
    }

    #[test]
    fn adoptions_of_descriptors_are_found() {
        let adoptions = |path: &str, text: &str| {
            rules::adoptions(&Source::parse(path, text), &["src/op/mod.rs"]).len()
        };
        assert_eq!(adoptions("src/net/a.rs", "result.map(fd::own)"), 1);
        assert_eq!(adoptions("src/net/a.rs", "use crate::op::fd::own;"), 1);
        assert_eq!(adoptions("src/net/a.rs", "use fd::{Shared, own};"), 1);
        assert_eq!(adoptions("src/net/a.rs", "use fd::{Shared}; own()"), 0);
        assert_eq!(adoptions("src/op/mod.rs", "drop(fd::own(fd))"), 0);
    }

    #[test]
    fn errno_conversions_are_found() {
        let errno =
            |path: &str, text: &str| rules::errno(&Source::parse(path, text), &["src/sys/"]).len();
        assert_eq!(errno("src/net/a.rs", "io::Error::from_raw_os_error(-r)"), 1);
        assert_eq!(errno("src/net/a.rs", "io::Error::last_os_error()"), 1);
        assert_eq!(errno("src/sys/a.rs", "io::Error::from_raw_os_error(-r)"), 0);
        let constant = "io::Error::from_raw_os_error(libc::EINVAL)";
        assert_eq!(errno("src/net/a.rs", constant), 0);
        let computed = "io::Error::from_raw_os_error(libc::EINVAL + x)";
        assert_eq!(errno("src/net/a.rs", computed), 1);
    }

    #[test]
    fn what_belongs_elsewhere_is_found() {
        let source = Source::parse("src/a.rs", "std::thread_local! { static A: u8 = 0; }");
        assert_eq!(
            rules::only_in(&source, "thread_local !", &["src/b.rs"]).len(),
            1
        );
        assert_eq!(
            rules::only_in(&source, "thread_local !", &["src/a.rs"]).len(),
            0
        );
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let sizes = |text: &str| rules::sizes(&Source::parse("src/a.rs", text)).len();
        assert_eq!(sizes(&"// x\n".repeat(500)), 0);
        assert_eq!(sizes(&"// x\n".repeat(501)), 1);
        let body = |lines| {
            format!(
                "fn f(a: [u8; 3]) -> [u8; 3] {{\n{}}}\n",
                "x;\n".repeat(lines)
            )
        };
        assert_eq!(sizes(&body(70)), 0);
        assert_eq!(sizes(&body(71)), 1);
        assert_eq!(sizes("trait T { fn f(&self); } type F = fn(u8) -> u8;"), 0);
    }

    #[test]
    fn leftovers_are_found() {
        let leftovers = |text: &str| rules::leftovers(&Source::parse("src/a.rs", text)).len();
        assert_eq!(leftovers("fn f() { todo!() }"), 1);
        assert_eq!(leftovers("fn f() { unimplemented!(\"x\") }"), 1);
        assert_eq!(leftovers(&format!("// {}: later", "FIXME")), 1);
        assert_eq!(leftovers("#[test]\n#[ignore = \"slow\"]\nfn f() {}"), 1);
        assert_eq!(
            leftovers("const A: &str = r#\"todo!()\"#; let c = '\"'; b'\\''"),
            0
        );
    }
}
