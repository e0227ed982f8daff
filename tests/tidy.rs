//! Holds the shape of the house: what a compiler will not check.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by falling over"
)]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn a_module_uses_only_modules_above_it() {
    let order = modules();
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(own) = room(&file).and_then(|it| order.iter().position(|m| *m == it)) else {
            continue; // main.rs and lib.rs may use everything
        };
        for used in uses(&code(&file)) {
            if order
                .iter()
                .position(|m| *m == used)
                .is_some_and(|it| own < it)
            {
                wrong.push(format!(
                    "{} uses crate::{used}, which stands below it",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let dumb: Vec<PathBuf> = everything()
        .into_iter()
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .filter(|it| !read(it).starts_with("//!"))
        .collect();
    assert!(dumb.is_empty(), "no `//!` in {dumb:?}");
}

#[test]
fn the_map_names_every_module() {
    let map = read(Path::new("ARCHITECTURE.md"));
    let missing: Vec<String> = modules()
        .into_iter()
        .filter(|it| !map.contains(&format!("`{it}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md says nothing of {missing:?}"
    );
}

#[test]
fn the_map_says_of_each_module_what_its_file_says() {
    let map = read(Path::new("ARCHITECTURE.md"));
    let words = |text: &str| -> String {
        let keep = |c: char| if c.is_alphanumeric() { c } else { ' ' };
        let text: String = text.to_lowercase().chars().map(keep).collect();
        text.split_whitespace().collect::<Vec<&str>>().join(" ")
    };
    let mut wrong = Vec::new();
    for module in modules() {
        let head = read(&PathBuf::from(format!("src/{module}.rs")));
        let head: Vec<&str> = head
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .collect();
        let head = words(&head.join(" "));
        let row = format!("| `{module}` | ");
        let said = map.lines().find_map(|line| line.strip_prefix(&row));
        let said = words(said.unwrap_or_default());
        if said.is_empty() || !head.starts_with(&said) {
            wrong.push(format!(
                "{module}: the map says \"{said}\", the file \"{head}\""
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut wrong = Vec::new();
    for file in everything() {
        // What is no text has no lines.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if places.iter().any(|it| line.contains(it)) {
                wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_decision_is_listed() {
    let folder = Path::new("docs/decisions");
    let list = read(&folder.join("README.md"));
    let missing: Vec<PathBuf> = everything()
        .into_iter()
        .filter(|it| it.starts_with(folder) && !it.ends_with("README.md"))
        .filter(|it| {
            let name = it.file_name().unwrap().to_string_lossy();
            !list.contains(&format!("]({name})"))
        })
        .collect();
    assert!(missing.is_empty(), "not in the list: {missing:?}");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    for file in everything().into_iter().filter(|it| is_markdown(it)) {
        let folder = file.parent().unwrap();
        for link in links(&read(&file)) {
            let path = link.split(['#', '?']).next().unwrap_or_default();
            let is_elsewhere = path.is_empty() || path.contains(':');
            if !is_elsewhere && !folder.join(path).exists() {
                wrong.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut wrong = Vec::new();
    for file in everything().into_iter().filter(|it| is_markdown(it)) {
        for name in in_backticks(&read(&file)) {
            let is_ours = ["src/", "tests/", "docs/", "benches/", "fuzz/", "examples/"]
                .iter()
                .any(|it| name.starts_with(it));
            let is_plain = name
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"/._-".contains(&it));
            if is_ours && is_plain && !Path::new(&name).exists() && !is_left_behind(&name) {
                wrong.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_test_that_the_security_document_names_is_there() {
    let mut there = HashSet::new();
    for file in everything() {
        if file.extension().is_some_and(|it| it == "rs") {
            for after in read(&file).split("fn ").skip(1) {
                there.insert(first_word(after));
            }
        }
    }
    let missing: Vec<String> = in_backticks(&read(Path::new("docs/security.md")))
        .into_iter()
        .filter(|it| is_row_test(it) && !there.contains(it))
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

#[test]
fn every_test_that_the_uibuilder_document_names_is_there() {
    let tests: String = everything()
        .iter()
        .filter(|it| {
            it.extension()
                .is_some_and(|it| it == "rs" || it == "mjs" || it == "js")
        })
        .map(|it| read(it).replace("\\'", "'"))
        .collect();
    let document = read(Path::new("docs/uibuilder.md"));
    let (_, table) = document.split_once("| Shown by |").unwrap_or_default();
    let rows: Vec<&str> = table.lines().filter(|it| it.contains("` |")).collect();
    assert!(rows.len() > 15, "the table is gone");
    let missing: Vec<String> = rows
        .iter()
        .filter_map(|it| it.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(in_backticks)
        .filter(|it| {
            !tests.contains(&format!("fn {it}(")) && !tests.contains(&format!("test('{it}'"))
        })
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

/// Top-level modules, in the order `lib.rs` lists them.
fn modules() -> Vec<String> {
    read(Path::new("src/lib.rs"))
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .map(str::to_owned)
        .collect()
}

/// The top-level module `file` belongs to.
fn room(file: &Path) -> Option<String> {
    let first = file.strip_prefix("src").ok()?.components().next()?;
    Some(
        first
            .as_os_str()
            .to_str()?
            .trim_end_matches(".rs")
            .to_owned(),
    )
}

/// Every `x` in `crate::x` and `use crate::{x, ...}`.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        let list = match after.strip_prefix('{') {
            Some(_) => top_level_names(after),
            None => vec![first_word(after)],
        };
        found.extend(list);
    }
    found
}

fn top_level_names(braced: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), false);
    for (at, c) in braced.char_indices() {
        match c {
            '{' => (depth, fresh) = (depth + 1, depth == 0),
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && depth == 1 && !c.is_whitespace() => {
                names.push(first_word(&braced[at..]));
                fresh = false;
            }
            _ => (),
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// `file` without comments, blank lines and its test module.
fn code(file: &Path) -> String {
    let text = read(file);
    let before_tests = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let keep = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    before_tests
        .lines()
        .filter(keep)
        .collect::<Vec<&str>>()
        .join("\n")
}

fn sources() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A test's name that begins with a row of the attack checklist: `h1_...`, `w18b_...`.
fn is_row_test(name: &str) -> bool {
    let Some((row, _)) = name.split_once('_') else {
        return false;
    };
    let mut row = row.chars();
    row.next().is_some_and(|it| it.is_ascii_lowercase())
        && row.next().is_some_and(|it| it.is_ascii_digit())
        && name
            .chars()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
}

/// What runs make and nobody commits.
fn is_left_behind(name: &str) -> bool {
    [
        "fuzz/corpus",
        "fuzz/artifacts",
        "fuzz/coverage",
        "tests/live/out",
        "tests/live/node_modules",
    ]
    .iter()
    .any(|it| name.starts_with(it))
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|it| it == "md")
}

/// Where `[text](there)` and `src="there"` lead, outside code.
fn links(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in markdown.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for (mark, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
            for after in line.split(mark).skip(1) {
                found.extend(after.split(end).next().map(str::to_owned));
            }
        }
    }
    found
}

/// Every `word` in single backticks.
fn in_backticks(markdown: &str) -> Vec<String> {
    markdown
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Every file that is ours: not what is fetched, built or left behind by runs.
fn everything() -> Vec<PathBuf> {
    let others = [
        ".git",
        ".work",
        "target",
        "data",
        "node_modules",
        "vendor",
        "out",
        "corpus",
        "artifacts",
        "coverage",
    ];
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(".")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let path = path.strip_prefix(".").unwrap().to_path_buf();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type().unwrap().is_dir() {
                if !others.contains(&&*name) {
                    folders.push(Path::new(".").join(path));
                }
            } else if entry.file_type().unwrap().is_file() && name != ".git" {
                found.push(path);
            }
        }
    }
    found
}
