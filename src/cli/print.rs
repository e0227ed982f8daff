//! Words for people on standard output, complaints on standard error.

use std::{
    fmt,
    io::{self, Write as _},
};

use crate::clock::Timestamp;

/// One line on standard output. A reader that went away is no failure of ours.
pub(super) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// One line on standard error.
pub(super) fn complain(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// JSON, for other programs.
pub(super) fn say_json(value: &serde_json::Value) {
    say(format_args!("{value:#}"));
}

/// Columns as wide as they have to be.
pub(super) fn say_table(head: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|it| printable(it)).collect())
        .collect();
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(at, head)| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|it| it.chars().count())
                .fold(head.len(), usize::max)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        say(padded.join("  ").trim_end());
    };
    line(&mut head.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}

/// Text that came from a browser, made harmless for a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|it| if it.is_control() { '?' } else { it })
        .collect()
}

/// A moment as RFC 3339, in UTC and to the second.
pub(super) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.secs()).map_or_else(|_| "?".to_owned(), |it| it.to_string())
}

/// A moment as RFC 3339, in UTC, to the millisecond.
pub(super) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |it| it.to_string())
}
