//! The rules. Each returns what it found, as lines of `file:line: what is wrong`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

pub(crate) const FILE_LINES_MAX: usize = 500;
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// Which module may import which.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// Module, floor, and what it may import besides the lower floors.
    modules: BTreeMap<String, (u32, Vec<String>)>,
    /// Modules that the highest floor does not see.
    hidden: Vec<String>,
    /// The module of each name that the crate root exports.
    root_names: BTreeMap<String, String>,
}

impl Floors {
    /// Reads the rows `| floor | module | besides |` of a page.
    pub(crate) fn parse(page: &str, hidden: &[&str]) -> Self {
        let mut floors = Self {
            hidden: hidden.iter().map(|&name| name.to_owned()).collect(),
            ..Self::default()
        };
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, floor, module, besides, ..] = cells[..] else {
                continue;
            };
            if let (Ok(floor), [module]) = (floor.parse(), &quoted(module)[..]) {
                floors
                    .modules
                    .insert(module.clone(), (floor, quoted(besides)));
            }
        }
        floors
    }

    /// Learns from the crate root which module a re-exported name comes from.
    pub(crate) fn with_root(mut self, root: &Source) -> Self {
        for path in paths(root) {
            if let [module, .., name] = &path.names[..] {
                self.root_names.insert(name.clone(), module.clone());
            }
        }
        self
    }

    pub(crate) fn modules(&self) -> BTreeSet<String> {
        self.modules.keys().cloned().collect()
    }

    fn allows(&self, from: &str, path: &[String]) -> Result<(), String> {
        let to = self.root_names.get(&path[0]).unwrap_or(&path[0]);
        let Some((floor, besides)) = self.modules.get(from) else {
            return Err(format!("the module `{from}` has no floor"));
        };
        let Some((other, _)) = self.modules.get(to) else {
            return Err(format!("the module `{to}` has no floor"));
        };
        let named = path.join("::");
        let granted = besides
            .iter()
            .any(|grant| grant == to || named.starts_with(grant));
        let highest = self.modules.values().map(|(floor, _)| *floor).max();
        let hidden = Some(*floor) == highest && self.hidden.contains(to);
        if from == to || granted || (other < floor && !hidden) {
            return Ok(());
        }
        Err(format!(
            "`{from}` (floor {floor}) imports `{named}` (floor {other})"
        ))
    }
}

/// Finds imports that the floors do not allow.
pub(crate) fn imports(source: &Source, floors: &Floors) -> Vec<String> {
    let from = module_of(&source.path);
    let Some(from) = from.first() else {
        return Vec::new();
    };
    paths(source)
        .into_iter()
        .filter(|path| path.absolute && !path.names.is_empty())
        .filter_map(|path| {
            let error = floors.allows(from, &path.names).err()?;
            Some(format!("{}:{}: {error}", source.path, path.line))
        })
        .collect()
}

/// Compares the files that opt into unsafe code with those that the safety page lists.
pub(crate) fn rooms(sources: &[Source], prefix: &str, page: &str) -> Vec<String> {
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|path| path.starts_with(prefix))
        .map(str::to_owned)
        .collect();
    let opted: BTreeSet<String> = sources
        .iter()
        .filter(|source| !source.is_test() && opts_into_unsafe(source))
        .map(|source| format!("{prefix}{}", source.path))
        .collect();
    let missing = opted
        .difference(&listed)
        .map(|path| format!("{path}: allows unsafe code and docs/SAFETY.md does not list it"));
    let stale = listed
        .difference(&opted)
        .map(|path| format!("{path}: docs/SAFETY.md lists it, but it allows no unsafe code"));
    let silent = sources
        .iter()
        .filter(|source| opted.contains(&format!("{prefix}{}", source.path)))
        .filter(|source| {
            let mut comments = source.comments.iter();
            !comments.any(|(_, text)| text == "//! # Safety")
        })
        .map(|source| format!("{}:1: a room without a `# Safety` paragraph", source.path));
    missing.chain(stale).chain(silent).collect()
}

fn opts_into_unsafe(source: &Source) -> bool {
    ["allow", "expect"].iter().any(|attribute| {
        source.find(attribute).any(|at| {
            source.matches(at + 1, "(")
                && (at..source.closing(at + 1)).any(|at| source.matches(at, "unsafe_code"))
        })
    })
}

/// Finds a file in which unsafe code is neither denied nor forbidden at the root.
pub(crate) fn denies_unsafe(root: &Source) -> Vec<String> {
    let ok = ["deny", "forbid"]
        .iter()
        .any(|level| root.find(&format!("# ! [ {level} ( unsafe_code")).count() == 1);
    finding(!ok, || {
        format!("{}:1: the crate root does not deny unsafe code", root.path)
    })
}

/// Finds calls of the unsafe `push` of the ring: a call `.push(..)` inside of an `unsafe` block.
/// `allowed` is the one file, and the number of calls in it.
pub(crate) fn ring_pushes(sources: &[Source], allowed: (&str, usize)) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let calls: Vec<usize> = source
            .find("unsafe {")
            .filter(|&at| (at..source.closing(at + 1)).any(|at| source.matches(at, ". push (")))
            .collect();
        let limit = if source.path == allowed.0 {
            allowed.1
        } else {
            0
        };
        found.extend(calls.into_iter().skip(limit).map(|at| {
            let line = source.tokens[at].line;
            format!("{}:{line}: another call of `Ring::push`", source.path)
        }));
    }
    found
}

/// Finds `pattern` outside of the files whose path starts with one of `allowed`.
pub(crate) fn only_in(source: &Source, pattern: &str, allowed: &[&str]) -> Vec<String> {
    if source.is_test() || allowed.iter().any(|start| source.path.starts_with(start)) {
        return Vec::new();
    }
    source
        .find(pattern)
        .map(|at| {
            let line = source.tokens[at].line;
            format!("{}:{line}: `{pattern}` belongs in {allowed:?}", source.path)
        })
        .collect()
}

/// Finds who adopts a descriptor by its number, called or imported, outside of `homes`.
pub(crate) fn adoptions(source: &Source, homes: &[&str]) -> Vec<String> {
    let mut found = only_in(source, "fd : : own", homes);
    if source.is_test() || homes.iter().any(|start| source.path.starts_with(start)) {
        return found;
    }
    for at in source.find("fd : : {") {
        let names = at + 3..source.closing(at + 3);
        if names.into_iter().any(|at| source.matches(at, "own")) {
            let line = source.tokens[at].line;
            found.push(format!("{}:{line}: `fd::own` is imported", source.path));
        }
    }
    found
}

/// Finds conversions of an errno outside of `homes`. An error that names a constant of libc is
/// none.
pub(crate) fn errno(source: &Source, homes: &[&str]) -> Vec<String> {
    let mut found = only_in(source, "last_os_error", homes);
    found.extend(only_in(source, "from_raw_os_error", homes));
    let constants: BTreeSet<usize> = source
        .find("from_raw_os_error ( libc : :")
        .filter(|at| source.matches(at + 6, ")"))
        .map(|at| source.tokens[at].line)
        .collect();
    found.retain(|finding| {
        !constants
            .iter()
            .any(|line| finding.starts_with(&format!("{}:{line}: `from", source.path)))
    });
    found
}

/// Finds files and functions that are too long.
pub(crate) fn sizes(source: &Source) -> Vec<String> {
    let mut found = finding(source.line_count > FILE_LINES_MAX, || {
        format!("{}:1: {} lines", source.path, source.line_count)
    });
    for at in source.find("fn") {
        let Some((name, open)) = body_of(source, at) else {
            continue;
        };
        let first = source.tokens[at].line;
        // As clippy counts: lines of the body with code on them.
        let body = &source.tokens[open + 1..source.closing(open) - 1];
        let lines: BTreeSet<usize> = body.iter().map(|token| token.line).collect();
        let lines = lines.len();
        found.extend(finding(lines > FUNCTION_LINES_MAX, || {
            format!("{}:{first}: `{name}` has {lines} lines", source.path)
        }));
    }
    found
}

/// The name of the function at `at`, and where its body opens; `None` without a body.
fn body_of(source: &Source, at: usize) -> Option<(&str, usize)> {
    let name = source.tokens.get(at + 1)?;
    if !name
        .text
        .starts_with(|c: char| c.is_alphabetic() || c == '_')
    {
        return None;
    }
    let mut next = at + 2;
    while let Some(token) = source.tokens.get(next) {
        match token.text.as_str() {
            "{" => return Some((&name.text, next)),
            ";" => return None,
            "(" | "[" => next = source.closing(next),
            _ => next += 1,
        }
    }
    None
}

/// Finds what says that something is not done: macros, notes, tests that do not run.
pub(crate) fn leftovers(source: &Source) -> Vec<String> {
    const NOTES: [&str; 3] = ["FIXME", "TODO", "XXX"];
    let mut found = Vec::new();
    for pattern in ["todo !", "unimplemented !", "# [ ignore"] {
        found.extend(source.find(pattern).map(|at| {
            let line = source.tokens[at].line;
            format!("{}:{line}: `{pattern}` is left", source.path)
        }));
    }
    for (line, text) in &source.comments {
        if let Some(note) = NOTES.iter().find(|note| text.contains(**note)) {
            found.push(format!("{}:{line}: `{note}` is left", source.path));
        }
    }
    found
}

/// A path from the crate root, or the part behind `self`.
#[derive(Debug)]
struct Path {
    names: Vec<String>,
    absolute: bool,
    line: usize,
}

/// Finds every path that begins with `crate`, `super` or, in a `pub use`, with a module.
fn paths(source: &Source) -> Vec<Path> {
    let file = module_of(&source.path);
    let (mut found, mut inline) = (Vec::new(), Vec::<usize>::new());
    let mut at = 0;
    while at < source.tokens.len() {
        inline.retain(|&end| at < end);
        let token = &source.tokens[at];
        if token.text == "mod" && source.matches((at + 2).min(source.tokens.len()), "{") {
            inline.push(source.closing(at + 2));
        }
        let starts_path = source.matches((at + 1).min(source.tokens.len()), ": :");
        let in_path = at > 0 && source.tokens[at - 1].text == ":";
        let is_use = at > 0 && source.tokens[at - 1].text == "use";
        let mut names = match token.text.as_str() {
            "crate" if starts_path => Vec::new(),
            "super" if starts_path && !in_path => {
                let depth = file.len() + inline.len();
                let keep = depth.saturating_sub(1);
                // The names of inline modules do not matter, only that they are there.
                let mut names = file.clone();
                names.resize(depth, String::new());
                names.truncate(keep);
                names
            }
            first if starts_path && is_use && file.is_empty() => vec![first.to_owned()],
            _ => {
                at += 1;
                continue;
            }
        };
        let (line, mut next) = (token.line, at + 3);
        while source.matches(next.min(source.tokens.len()), "super : :") {
            names.pop();
            next += 3;
        }
        let mut leaves = Vec::new();
        at = tree(source, next, &names, &mut leaves).max(at + 1);
        let absolute = leaves.into_iter().map(|names| Path {
            names,
            absolute: true,
            line,
        });
        found.extend(absolute);
    }
    found
}

/// Reads the rest of a path or of a tree of paths from `at`; returns the position behind it.
fn tree(source: &Source, at: usize, prefix: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    let mut names = prefix.to_vec();
    let mut at = at;
    while let Some(token) = source.tokens.get(at) {
        if token.text == "{" {
            let end = source.closing(at);
            at += 1;
            while at + 1 < end {
                at = tree(source, at, &names, leaves);
                while at + 1 < end && source.tokens[at].text != "," {
                    at += 1;
                }
                at += 1;
            }
            return end;
        }
        names.push(token.text.clone());
        at += 1;
        if !source.matches(at.min(source.tokens.len()), ": :") {
            break;
        }
        at += 2;
    }
    leaves.push(names);
    at
}

/// The module path of a file: `src/net/tcp.rs` is `net::tcp`, the crate root is empty.
fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut names: Vec<String> = path.split('/').map(str::to_owned).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
        names.pop();
    }
    names
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn finding(found: bool, text: impl FnOnce() -> String) -> Vec<String> {
    found.then(text).into_iter().collect()
}
