//! `docs/configuration.md` and `config/portcullis.example.toml`, from the table of keys.

use std::fmt::Write as _;

use super::{
    keys::{Key, Kind, ROOT, SECTIONS, Section},
    section::shown_section,
};

/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n## At the top\n\n");
    out.push_str(ROOT.about);
    out.push('\n');
    table(&mut out, &ROOT);
    for section in SECTIONS {
        let _ = write!(
            out,
            "\n## `{}`\n\n{}\n",
            shown_section(section.name),
            section.about.replace(". ", ".\n")
        );
        table(&mut out, section);
        if !section.later.is_empty() {
            let names: Vec<String> = section
                .later
                .iter()
                .map(|it| format!("`{}`", it.name))
                .collect();
            let _ = write!(out, "\nNot built yet: {}.\n", names.join(", "));
        }
    }
    out
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from src/config/keys/table.rs; a test compares. -->

The gateway reads one file, `config/portcullis.toml` unless `--config` says otherwise.
Every key has a default: an empty file with `root_domain` is a working gateway.
`config/portcullis.example.toml` has every key with its default; `config/portcullis.schema.json`, which `portcullis check --schema` prints too, is a JSON schema for editors.

- An unknown key, or a value that does not fit, stops the start; all faults are told at once, as `file:line:col: message`.
  `portcullis check` tells them without starting anything, and exits with 2.
- The file is read again when it changes and on SIGHUP.
  When the new one is wrong, the old one stays.
- Each value can come from a file instead: `key_file = \"/run/secrets/x\"` for `key`.
  A newline at its end does not count.
- The environment wins over the file: `PORTCULLIS__SECTION__KEY`, for instance `PORTCULLIS__SESSION__IDLE=15m`, and `PORTCULLIS__ROOT_DOMAIN` for the one key at the top.
  `_file` works there too.
  A list is written with commas, or as TOML.
  `[[tenant]]` and `[[rule]]` are for the file alone.
- Durations are written as `90s`, `30m`, `1h30m`, `250ms` or `7d`; sizes as bytes or as `64KiB`, `1MiB`, `100MB`.
- Paths are relative to the folder that the gateway is started in.
";

fn table(out: &mut String, section: &Section) {
    out.push_str("\n| Key | Kind | Default | |\n| --- | --- | --- | --- |\n");
    for key in section.keys {
        let default = key.default.map_or_else(String::new, |it| format!("`{it}`"));
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {} |",
            key.name,
            kind(&key.kind),
            key.about.replace('|', "\\|")
        );
    }
}

fn kind(of: &Kind) -> String {
    match of {
        Kind::Flag => "true or false".to_owned(),
        Kind::Count { least, most } => format!("{least} to {most}"),
        Kind::Duration { .. } => "duration".to_owned(),
        Kind::Size { .. } => "size".to_owned(),
        Kind::Choice(words) => words
            .iter()
            .map(|it| format!("`{it}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::One(form) => form.words().to_owned(),
        Kind::List(form) => format!("list: {}", form.words()),
        Kind::Group(_) => "table".to_owned(),
    }
}

/// `config/portcullis.example.toml`: loading it gives the defaults.
pub fn example() -> String {
    let mut out = String::from(
        "# Every key of Portcullis, its default, and what it is for; docs/configuration.md has the rules.\n\
         # A line that begins with # and a key has no default: the value is an example.\n",
    );
    settings(&mut out, &ROOT, "");
    for section in SECTIONS {
        let comment = if section.repeated { "#" } else { "" };
        let shown = shown_section(section.name);
        let _ = write!(out, "\n# {}\n{comment}{shown}\n", section.about);
        settings(&mut out, section, comment);
    }
    out
}

fn settings(out: &mut String, section: &Section, comment: &str) {
    for Key {
        name,
        default,
        example,
        about,
        ..
    } in section.keys
    {
        let comment = if default.is_some() { comment } else { "#" };
        let _ = write!(out, "\n# {about}\n{comment}{name} = {example}\n");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io, path::Path};

    use super::*;
    use crate::config::{Config, Loaded, parse};

    fn read(text: &str) -> Loaded {
        let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        parse(text, Path::new(""), &[], &nothing).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    /// When the two differ, what should stand there is written beside the build, to be copied.
    fn compare(file: &str, made: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        if fs::read_to_string(root.join(file)).unwrap_or_default() != made {
            let fresh = root.join("target/made").join(file);
            fs::create_dir_all(fresh.parent().unwrap()).unwrap();
            fs::write(&fresh, made).unwrap();
            panic!(
                "{file} is not what the table of keys makes of it: cp target/made/{file} {file}"
            );
        }
    }

    #[test]
    fn the_documentation_is_made_from_the_table() {
        compare("docs/configuration.md", &markdown());
    }

    #[test]
    fn the_example_is_made_from_the_table() {
        compare("config/portcullis.example.toml", &example());
    }

    #[test]
    fn the_schema_is_made_from_the_table() {
        let schema = format!("{:#}\n", crate::config::schema());
        compare("config/portcullis.schema.json", &schema);
    }

    #[test]
    fn the_example_is_the_defaults() {
        let loaded = read(&example());
        assert_eq!(
            format!("{:#?}", loaded.config),
            format!("{:#?}", Config::default())
        );
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn what_the_example_has_commented_out_may_be_written_too() {
        let uncomment = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        };
        let key = "BASE64-OF-32-RANDOM-BYTES";
        let text: String = example()
            .replace(key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
            .lines()
            .map(uncomment)
            .collect();
        let loaded = read(&text);
        assert_eq!(loaded.config.tenants.len(), 1);
        assert_eq!(loaded.config.rules.len(), 1);
    }
}
