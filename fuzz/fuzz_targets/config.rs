//! The configuration: any file, and after a NUL any variables (`NAME=value`, one a line).
//! Nothing is read from the disk. Neither may make it panic, and what is taken must be taken
//! again.

#![no_main]

use std::{io, path::Path};

use libfuzzer_sys::fuzz_target;
use portcullis::config::{parse, report};

fuzz_target!(|text: &str| {
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let env: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("PORTCULLIS__{name}"), value.to_owned()))
        .collect();
    let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let read = || parse(file, Path::new("fuzz.toml"), &env, &nothing);
    let first = report(&read());
    assert_eq!(first, report(&read()));
});
