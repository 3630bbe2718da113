//! The pages made on the spot: the list of mounts, and listings of folders.

use std::fmt::Write as _;

use crate::mounts::Child;
use crate::path::{RelPath, encode};

/// How many lines one page of a listing has.
pub const LINES_MAX: usize = 500;

/// How many of a mount's top-level names the page of mounts shows.
pub const PREVIEW_MAX: usize = 50;

/// How many names of one folder are listed at most, for each mount that has it.
pub const NAMES_MAX: usize = 100_000;

/// The media type of the pages.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;\
padding:0 1em}table{border-collapse:collapse}td{padding:.1em 1em .1em 0}td.n{text-align:right;\
color:#666}h2{font-size:1.1em;margin-bottom:.2em}.k{color:#666;font-weight:normal}";

/// A mount as the page of mounts shows it.
#[derive(Debug)]
pub struct MountView<'a> {
    /// The last component of its path.
    pub name: &'a str,
    /// What it is, for people: "folder", "archive, 978 files".
    pub kind: &'a str,
    /// What lies at its top: all of it, or more than [`PREVIEW_MAX`] names of it.
    pub children: &'a [Child],
}

/// Makes the page that lists the mounts; the last one given, which shadows the others, is on top.
pub fn index(mounts: &[MountView<'_>]) -> String {
    let mut out = String::new();
    begin(&mut out, "assets");
    out.push_str(
        "<p><a href=\"/a/\">all files</a> &middot; <a href=\"/metrics\">metrics</a> &middot; \
         <a href=\"/healthz\">health</a></p>\n",
    );
    for mount in mounts.iter().rev() {
        out.push_str("<h2>");
        escape(&mut out, mount.name);
        out.push_str(" <span class=\"k\">");
        escape(&mut out, mount.kind);
        out.push_str("</span></h2>\n");
        let shown = &mount.children[..mount.children.len().min(PREVIEW_MAX)];
        table(&mut out, &RelPath::root(), shown);
        if shown.len() < mount.children.len() {
            out.push_str("<p><a href=\"/a/\">more</a></p>\n");
        }
    }
    end(out)
}

/// Makes one page of a folder's listing, of which names were left out if it `is_cut`; pages count from 1, and one past the end is the last.
pub fn folder(path: &RelPath, children: &[Child], is_cut: bool, page: usize) -> String {
    let pages = children.len().div_ceil(LINES_MAX).max(1);
    let page = page.clamp(1, pages);
    let start = (page - 1) * LINES_MAX;
    let shown = &children[start..children.len().min(start + LINES_MAX)];

    let mut out = String::new();
    let mut title = String::from("/");
    title.push_str(&String::from_utf8_lossy(path.as_bytes()));
    begin(&mut out, &title);
    out.push_str("<p><a href=\"");
    href(&mut out, parent(path.as_bytes()).unwrap_or_default(), true);
    out.push_str("\">up</a> &middot; <a href=\"/\">mounts</a></p>\n");
    table(&mut out, path, shown);
    if is_cut {
        text(
            &mut out,
            format_args!("<p>No more than {NAMES_MAX} names of a mount are listed.</p>\n"),
        );
    }
    if pages > 1 {
        text(
            &mut out,
            format_args!("<p>page {page} of {pages}, {} names", children.len()),
        );
        for (label, other) in [("previous", page - 1), ("next", page + 1)] {
            if (1..=pages).contains(&other) {
                out.push_str(" &middot; <a href=\"");
                href(&mut out, path.as_bytes(), true);
                text(&mut out, format_args!("?page={other}\">{label}</a>"));
            }
        }
        out.push_str("</p>\n");
    }
    end(out)
}

/// Returns the page that a query asks for, 1 unless it says otherwise.
pub fn page_of_query(query: Option<&[u8]>) -> usize {
    query
        .unwrap_or_default()
        .split(|&byte| byte == b'&')
        .find_map(|pair| {
            std::str::from_utf8(pair.strip_prefix(b"page=")?)
                .ok()?
                .parse()
                .ok()
        })
        .unwrap_or(1)
}

fn begin(out: &mut String, title: &str) {
    out.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    escape(out, title);
    text(
        out,
        format_args!("</title><style>{STYLE}</style></head><body>\n<h1>"),
    );
    escape(out, title);
    out.push_str("</h1>\n");
}

fn end(mut out: String) -> String {
    out.push_str("</body></html>\n");
    out
}

fn table(out: &mut String, folder: &RelPath, children: &[Child]) {
    out.push_str("<table>\n");
    for child in children {
        out.push_str("<tr><td><a href=\"");
        let mut path = folder.as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&child.name);
        href(out, &path, child.len.is_none());
        out.push_str("\">");
        escape(out, &String::from_utf8_lossy(&child.name));
        match child.len {
            Some(len) => text(
                out,
                format_args!("</a></td><td class=\"n\">{len}</td></tr>\n"),
            ),
            None => out.push_str("/</a></td><td></td></tr>\n"),
        }
    }
    out.push_str("</table>\n");
}

/// Links are absolute, so that a page reads the same with and without a final separator.
fn href(out: &mut String, path: &[u8], is_folder: bool) {
    out.push_str("/a/");
    encode(path, out);
    if is_folder && !path.is_empty() {
        out.push('/');
    }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map(|slash| &path[..slash])
}

fn escape(out: &mut String, raw: &str) {
    for character in raw.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

fn text(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, MountView, folder, index, page_of_query};
    use crate::mounts::Child;
    use crate::path::RelPath;

    fn child(name: &[u8], len: Option<u64>) -> Child {
        Child {
            name: name.to_vec(),
            len,
        }
    }

    #[test]
    fn names_are_escaped_in_text_and_encoded_in_links() {
        let evil = b"\"><script>'&.png";
        let path = RelPath::from_name(b"a b").unwrap();
        let page = folder(
            &path,
            &[child(evil, Some(7)), child(b"\xff?#", None)],
            false,
            1,
        );
        assert!(!page.contains("<script>"), "{page}");
        assert!(
            page.contains("&quot;&gt;&lt;script&gt;&#39;&amp;.png"),
            "{page}"
        );
        assert!(
            page.contains("href=\"/a/a%20b/%22%3E%3Cscript%3E%27%26.png\""),
            "{page}"
        );
        assert!(page.contains("href=\"/a/a%20b/%FF%3F%23/\""), "{page}");

        let page = index(&[MountView {
            name: "<b>",
            kind: "x&y",
            children: &[child(evil, None)],
        }]);
        assert!(
            page.contains("&lt;b&gt;") && page.contains("x&amp;y"),
            "{page}"
        );
        assert!(!page.contains("<script>"), "{page}");
    }

    #[test]
    fn pages_cover_every_line_once() {
        let children: Vec<_> = (0..2 * LINES_MAX + 1)
            .map(|index| child(format!("f{index:06}").as_bytes(), Some(1)))
            .collect();
        let pages: Vec<_> = (1..=3)
            .map(|page| folder(&RelPath::root(), &children, false, page))
            .collect();
        for line in &children {
            let name = std::str::from_utf8(&line.name).unwrap();
            let link = format!("\"/a/{name}\"");
            assert_eq!(
                pages.iter().filter(|page| page.contains(&link)).count(),
                1,
                "{name}"
            );
        }
        assert!(pages[0].contains("?page=2\">next") && !pages[0].contains("previous"));
        assert!(pages[1].contains("?page=1\">previous") && pages[1].contains("?page=3\">next"));
        assert!(pages[2].contains("?page=2\">previous") && !pages[2].contains("next"));
        assert_eq!(folder(&RelPath::root(), &children, false, 99), pages[2]);
        assert_eq!(folder(&RelPath::root(), &children, false, 0), pages[0]);
        let cut = folder(&RelPath::root(), &children, true, 1);
        assert!(cut.contains("No more than 100000 names") && !pages[0].contains("No more"));
    }

    #[test]
    fn queries_name_a_page() {
        let cases: &[(Option<&[u8]>, usize)] = &[
            (None, 1),
            (Some(b""), 1),
            (Some(b"page=3"), 3),
            (Some(b"x=1&page=2"), 2),
            (Some(b"page=-1"), 1),
            (Some(b"page=99999999999999999999999"), 1),
        ];
        for &(query, page) in cases {
            assert_eq!(page_of_query(query), page, "{query:?}");
        }
    }
}
