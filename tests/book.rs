//! The book under `docs/` and the pages at the root: links lead somewhere, the summary lists every page, and every
//! block of Rust is compiled.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What these tests ask of a page.
#[derive(Default)]
struct Page {
    /// Where links and images lead.
    links: Vec<String>,
    /// Anchors of its headings.
    anchors: BTreeSet<String>,
    /// The words after the opening fence of each block of code; empty for indented blocks.
    fences: Vec<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let (mut page, mut heading) = (Self::default(), None::<String>);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(words))) => {
                    page.fences.push(words.into_string());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                    page.fences.push("indented".to_owned());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap_or_default()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// As mdBook and GitHub name a heading: lower case, spaces as hyphens, no punctuation, repeated names numbered.
    fn add_anchor(&mut self, heading: &str) {
        let kept = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
        let name = heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
        let repeated = (1..).map(|count| format!("{name}-{count}"));
        let free = std::iter::once(name.clone()).chain(repeated).find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }

    fn holds_rust(&self) -> bool {
        self.fences.iter().any(|words| words.is_empty() || words.split(',').any(|word| word.trim() == "rust"))
    }
}

/// Pages by their path, relative to the root of the project.
type Pages = BTreeMap<PathBuf, Page>;

fn read_pages(root: &Path, paths: impl IntoIterator<Item = PathBuf>) -> Pages {
    let read = |path: &PathBuf| Page::read(&std::fs::read_to_string(root.join(path)).unwrap());
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files right in a folder below the root.
fn markdown_in(root: &Path, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let paths = entries.map(|name| Path::new(folder).join(name));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// A path without `.` and `..`; none where it leaves the root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// Why a link of the page at `path` leads nowhere.
fn fault(root: &Path, pages: &Pages, path: &Path, link: &str) -> Option<String> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (target, anchor) =
        link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let folder = path.parent().unwrap_or(Path::new(""));
    let target = if target.is_empty() { Some(path.to_owned()) } else { normal(&folder.join(target)) };
    let Some(target) = target.filter(|target| root.join(target).exists()) else {
        return Some("there is no such file".to_owned());
    };
    if path.starts_with("docs") && !target.starts_with("docs") {
        return Some("the book holds nothing outside docs/".to_owned());
    }
    let anchor = anchor?;
    match pages.get(&target) {
        Some(page) if page.anchors.contains(anchor) => None,
        _ => Some("there is no such heading".to_owned()),
    }
}

fn faults(root: &Path, pages: &Pages) -> Vec<String> {
    let links = pages.iter().flat_map(|(path, page)| page.links.iter().map(move |link| (path, link)));
    let faults = links.filter_map(|(path, link)| {
        fault(root, pages, path, link).map(|fault| format!("{}: ({link}): {fault}", path.display()))
    });
    faults.collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = read_pages(root(), [markdown_in(root(), ""), markdown_in(root(), "docs")].concat());
    assert!(pages.values().map(|page| page.links.len()).sum::<usize>() > 50, "links were found at all");
    assert_eq!(faults(root(), &pages), Vec::<String>::new());
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    let page = "# A `b`: c's\n# A `b`: c's\n[1](#a-b-cs) [2](#a-b-cs-1) [3](other.md#d_ω) [4](https://example.org/#x)\n\
                [5](#a-b-cs-2) [6](none.md) ![7](none.svg) [8](../README.md) [9](../../README.md) [10](other.md#d)\n";
    let files =
        [("README.md", "[1](docs/page.md#a-b-cs)"), ("docs/page.md", page), ("docs/other.md", "## D_Ω")];
    for (path, text) in files {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    let pages = read_pages(folder.path(), files.map(|(path, _)| PathBuf::from(path)));
    let expected = [
        "docs/page.md: (#a-b-cs-2): there is no such heading",
        "docs/page.md: (none.md): there is no such file",
        "docs/page.md: (none.svg): there is no such file",
        "docs/page.md: (../README.md): the book holds nothing outside docs/",
        "docs/page.md: (../../README.md): there is no such file",
        "docs/page.md: (other.md#d): there is no such heading",
    ];
    assert_eq!(faults(folder.path(), &pages), expected);
}

#[test]
fn the_summary_lists_every_page() {
    let summary = Path::new("docs/SUMMARY.md");
    let pages = read_pages(root(), [summary.to_owned()]);
    let listed: Vec<PathBuf> = pages[summary].links.iter().map(|link| Path::new("docs").join(link)).collect();
    let once: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice: {listed:?}");
    let written = markdown_in(root(), "docs").into_iter().filter(|path| path != summary);
    assert_eq!(once, written.collect());
}

#[test]
fn every_block_of_rust_is_compiled() {
    let compiled =
        ["src/book.rs", "src/lib.rs"].map(|path| std::fs::read_to_string(root().join(path)).unwrap());
    let pages = read_pages(root(), [markdown_in(root(), ""), markdown_in(root(), "docs")].concat());
    let mut holding_rust = 0;
    for (path, page) in &pages {
        let line = format!("include_str!(\"../{}\")", path.display());
        if page.holds_rust() {
            holding_rust += 1;
            assert!(compiled.iter().any(|text| text.contains(&line)), "src/book.rs lacks {line}");
        }
        let ignored = page.fences.iter().find(|words| words.contains("ignore"));
        assert!(ignored.is_none(), "{}: a block that is not compiled: {ignored:?}", path.display());
    }
    assert!(holding_rust >= 5, "pages with Rust were found: {holding_rust}");
}

#[test]
fn blocks_without_a_language_count_as_rust() {
    for (text, holds_rust) in [
        ("```\nlet x = 1;\n```", true),
        ("```rust,no_run\nlet x = 1;\n```", true),
        ("```sh\nls\n```", false),
        ("    indented\n", false),
    ] {
        assert_eq!(Page::read(text).holds_rust(), holds_rust, "{text}");
    }
}
