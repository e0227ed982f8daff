//! From a file and the environment to a [`Config`], or to everything that is wrong with it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::{
    cross,
    fault::{Complaints, Fault, Loaded, Place},
    keys, nearest,
    raw::{self, Table},
    read,
};

/// No file of ours is larger; one that is, is not meant.
const LARGEST: u64 = 4 << 20;

/// The environment's `PORTCULLIS__SECTION__KEY` variables, sorted: the one place that reads it.
pub fn environment() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| name.starts_with(raw::PREFIX))
        .collect();
    found.sort();
    found
}

/// Reads `file`, lays `env` over it (see [`environment`]) and judges the whole. Every fault is
/// told at once; a file that cannot be read is one too.
pub fn load(file: &Path, env: &[(String, String)]) -> Result<Loaded, Vec<Fault>> {
    let unreadable = |message: String| {
        vec![Fault {
            file: file.to_path_buf(),
            line: 0,
            column: 0,
            message,
        }]
    };
    let bytes = read_bytes(file).map_err(|it| unreadable(format!("cannot be read: {it}")))?;
    let text = String::from_utf8(bytes).map_err(|it| {
        let good = it.utf8_error().valid_up_to();
        let lines = it.as_bytes().get(..good).unwrap_or_default();
        let line = lines.iter().filter(|it| **it == b'\n').count() + 1;
        unreadable(format!("is not UTF-8 (line {line})"))
    })?;
    parse(&text, file, env, &|path| {
        String::from_utf8(read_bytes(path)?)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
    })
}

/// As [`load`], for `text` that is already here; `files` reads what a `..._file` key names.
/// Nothing else is touched.
pub fn parse(
    text: &str,
    file: &Path,
    env: &[(String, String)],
    files: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Loaded, Vec<Fault>> {
    let complaints = Complaints::default();
    let mut config = None;
    if let Some(mut table) = raw::parse(text, file, &complaints) {
        lay_environment_over(&mut table, env, &complaints);
        let read = read::config(table, file, &complaints, files);
        cross::check(&read, &complaints);
        config = Some(read);
    }
    let (faults, warnings) = complaints.into_lists();
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(faults),
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 4 MiB",
        ));
    }
    Ok(bytes)
}

fn lay_environment_over(table: &mut Table, env: &[(String, String)], complaints: &Complaints) {
    for (variable, value) in env {
        let Some(rest) = variable.strip_prefix(raw::PREFIX) else {
            continue;
        };
        let rest = rest.to_lowercase();
        let (section, key) = rest.split_once("__").unwrap_or(("", &rest));
        match known(section, key) {
            Ok(()) => raw::lay_over(table, section, key, variable, value),
            Err(message) => complaints.fault(&Place::whole(variable), message),
        }
    }
}

/// Whether a variable may set this key.
fn known(section: &str, key: &str) -> Result<(), String> {
    let spec = if section.is_empty() {
        Some(&keys::ROOT)
    } else {
        keys::section(section)
    };
    if let Some(spec) = spec {
        if spec.repeated {
            return Err(format!(
                "[[{section}]] cannot be written as a variable; write it in the file"
            ));
        }
        let plain = key.strip_suffix("_file").unwrap_or(key);
        let is_later = spec.later.iter().any(|it| it.name == key);
        if spec.key(key).is_some() || spec.key(plain).is_some() || is_later {
            return Ok(());
        }
    }
    let spell = |section: &str, key: &str| match section {
        "" => key.to_owned(),
        section => format!("{section}__{key}"),
    };
    let names: Vec<String> = keys::SECTIONS
        .iter()
        .filter(|it| !it.repeated)
        .chain([&keys::ROOT])
        .flat_map(|it| it.names().map(|name| spell(it.name, name)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Err(match nearest::nearest(&spell(section, key), &names) {
        Some(name) => format!(
            "unknown variable; did you mean {}{}?",
            raw::PREFIX,
            name.to_uppercase()
        ),
        None => "unknown variable; docs/configuration.md lists the keys".to_owned(),
    })
}
