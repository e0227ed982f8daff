//! Holds the shape of the house: what a compiler will not check.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by falling over"
)]

use std::{
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
    let dumb: Vec<PathBuf> = sources()
        .into_iter()
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
