//! From a file and the environment to a [`super::Config`], or to everything that is wrong with it.

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
        let before = it.as_bytes().get(..good).unwrap_or_default();
        let line = before.split(|it| *it == b'\n').count();
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

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::config::{docs, report};

    fn pairs(env: &[(&str, &str)]) -> Vec<(String, String)> {
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<Fault>> {
        let files = |path: &Path| match path.to_str() {
            Some("/run/root") => Ok("example.net\n".to_owned()),
            Some("/run/idle") => Ok("soon\n".to_owned()),
            Some("/run/hosts") => Ok("[::]:1\n[::]:2\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        parse(text, Path::new("p.toml"), &pairs(env), &files)
    }

    fn faults(text: &str, env: &[(&str, &str)]) -> Vec<String> {
        read(text, env)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Every `tests/configs/<kind>/*.toml`, with what is said of it.
    fn cases(kind: &str) -> Vec<(PathBuf, Result<Loaded, Vec<Fault>>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/configs")
            .join(kind);
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "toml") {
                let text = fs::read_to_string(&path).unwrap();
                let name = Path::new(path.file_name().unwrap());
                let nothing = |_: &Path| Err(io::Error::other("not there"));
                found.push((path.clone(), parse(&text, name, &[], &nothing)));
            }
        }
        assert!(found.len() > 3);
        found
    }

    /// When the two differ, what was said is written beside the build, to be read and copied.
    fn compare(case: &Path, said: &str) -> Option<String> {
        let file = case.with_extension("txt");
        if fs::read_to_string(&file).unwrap_or_default() == said {
            return None;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fresh = root
            .join("target/made")
            .join(file.strip_prefix(root).unwrap());
        fs::create_dir_all(fresh.parent().unwrap()).unwrap();
        fs::write(&fresh, said).unwrap();
        Some(format!("{}:\n{said}", file.display()))
    }

    #[test]
    fn every_wrong_file_gets_exactly_its_complaints() {
        let wrong: Vec<String> = cases("invalid")
            .iter()
            .filter_map(|(path, outcome)| {
                assert!(outcome.is_err(), "{} is taken", path.display());
                compare(path, &report(outcome))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_right_file_is_taken_with_exactly_its_warnings() {
        let wrong: Vec<String> = cases("valid")
            .iter()
            .filter_map(|(path, outcome)| compare(path, &report(outcome)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn an_empty_file_with_a_root_domain_is_a_working_gateway() {
        let config = read("root_domain = \"example.com\"", &[]).unwrap().config;
        assert!(config.is_guarded());
        assert_eq!(config.portal.host.unwrap().as_str(), "auth.example.com");
        assert_eq!(config.manager.host.unwrap().as_str(), "manager.example.com");
    }

    #[test]
    fn one_variable_turns_the_guard_on() {
        let loaded = read("", &[("PORTCULLIS__ROOT_DOMAIN", "example.com")]).unwrap();
        assert!(loaded.config.is_guarded());
        let loaded = read("", &[("PORTCULLIS__ROOT_DOMAIN_FILE", "/run/root")]).unwrap();
        assert_eq!(loaded.config.root_domain.unwrap().as_str(), "example.net");
    }

    #[test]
    fn an_empty_root_domain_does_not_open_the_gate() {
        let said = faults("", &[("PORTCULLIS__ROOT_DOMAIN", "")]);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("PORTCULLIS__ROOT_DOMAIN: root_domain: "));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let text = "[session]\nidle = \"1h\"\nabsolute_file = \"/run/idle\"\n[docker]\nhosts_file = \"/none\"";
        let env = [
            ("PORTCULLIS__SESSION__IDLE", "15m"),
            ("PORTCULLIS__SESSION__ABSOLUTE", "2h"),
            ("PORTCULLIS__LISTEN__HTTPS", "[::]:8443, 127.0.0.1:8443"),
            ("PORTCULLIS__LISTEN__WORKERS", "3"),
            ("PORTCULLIS__LOG__ACCESS", "false"),
            ("PORTCULLIS__DOCKER__HOSTS", ""),
            ("PORTCULLIS__LIMITS__BODY", "1MiB"),
            ("PORTCULLIS__DOCKER__CLAIMS", "strict"),
            ("PORTCULLIS__DOCKER__SWARM", "false"),
        ];
        let config = read(text, &env).unwrap().config;
        assert_eq!(config.session.idle, Duration::from_mins(15));
        assert_eq!(config.session.absolute, Duration::from_hours(2));
        assert_eq!(config.listen.https.len(), 2);
        assert_eq!(config.listen.workers, 3);
        assert!(!config.log.access);
        assert!(config.docker.hosts.is_empty());
        assert_eq!(config.limits.body, 1 << 20);
    }

    #[test]
    fn a_fault_in_the_environment_names_the_variable() {
        let env = [
            ("PORTCULLIS__SESSION__IDLE", "soon"),
            ("PORTCULLIS__SESSION__IDEL", "1m"),
            ("PORTCULLIS__RULE__POLICY", "open"),
            ("PORTCULLIS__LISTEN__HTTPS", "[\"[::]:1\", \"x\"]"),
            ("PORTCULLIS__LISTEN__HTTP", "[\"[::]:1"),
            ("PORTCULLIS__LISTEN__WORKERS", "-1"),
            ("PORTCULLIS__STORE__KEY", "hunter2"),
            ("PORTCULLIS__", "1"),
            ("PORTCULLIS__A__B__C", "1"),
        ];
        let said = faults("", &env);
        for (variable, _) in env {
            let named = said
                .iter()
                .filter(|it| it.starts_with(&format!("{variable}: ")));
            assert!(named.count() >= 1, "{variable} in {said:#?}");
        }
        let said = said.join("\n");
        assert!(said.contains("did you mean PORTCULLIS__SESSION__IDLE?"));
        assert!(!said.contains("hunter2"));
    }

    #[test]
    fn any_value_can_come_from_a_file() {
        let text = "root_domain_file = \"/run/root\"\n[listen]\nhttp_file = \"/run/hosts\"";
        let config = read(text, &[]).unwrap().config;
        assert_eq!(config.root_domain.unwrap().as_str(), "example.net");
        assert_eq!(config.listen.http.len(), 2);
        assert_eq!(
            faults("[session]\nidle_file = \"/run/idle\"", &[]),
            [
                "/run/idle: session.idle: \"soon\" is not a duration; write it as \"30m\", \"12h\", \"1h30m\" or \"250ms\""
            ]
        );
    }

    #[test]
    fn the_sealing_keys_file_lies_beside_the_database() {
        let text = "[store]\nurl = \"sqlite:/srv/gate.db\"";
        let store = read(text, &[]).unwrap().config.store;
        assert_eq!(store.path, PathBuf::from("/srv/gate.db"));
        assert_eq!(store.key_file, PathBuf::from("/srv/gate.key"));
        let text = "[store]\nkey_file = \"/run/secrets/key\"";
        let store = read(text, &[]).unwrap().config.store;
        assert_eq!(store.key_file, PathBuf::from("/run/secrets/key"));
        assert_eq!(store.key, None);
    }

    #[test]
    fn every_key_of_the_table_is_read() {
        for section in keys::SECTIONS.iter().chain([&keys::ROOT]) {
            for key in section.keys {
                let header = match (section.name, section.repeated) {
                    ("", _) => String::new(),
                    (name, true) => format!("[[{name}]]\n"),
                    (name, false) => format!("[{name}]\n"),
                };
                let said = faults(&format!("{header}{} = 1979-05-27", key.name), &[]);
                let complains = said
                    .iter()
                    .any(|it| it.contains("found a date") || it.contains("expected a table"));
                assert!(complains, "{}.{}: {said:?}", section.name, key.name);
            }
        }
    }

    #[test]
    fn the_file_to_start_from_is_taken_without_a_word() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/portcullis.toml");
        assert_eq!(load(&file, &[]).unwrap().warnings, []);
    }

    #[test]
    fn d9_a_file_that_cannot_be_read_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path(), &[]).unwrap_err().len(), 1);
        let file = folder.path().join("p.toml");
        assert_eq!(load(&file, &[]).unwrap_err().len(), 1);
        fs::write(&file, b"# a\n# \xff\xfe\n").unwrap();
        let said = load(&file, &[]).unwrap_err().remove(0).to_string();
        assert!(said.ends_with("is not UTF-8 (line 2)"), "{said}");
        fs::write(&file, vec![b'#'; 5 << 20]).unwrap();
        assert_eq!(load(&file, &[]).unwrap_err().len(), 1);
    }

    #[test]
    fn d9_a_half_written_file_is_never_a_panic() {
        let text = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/valid/everyday.toml"),
        )
        .unwrap();
        let mut refused = 0;
        for end in (0..text.len()).filter(|it| text.is_char_boundary(*it)) {
            refused += usize::from(read(&text[..end], &[]).is_err());
        }
        assert!(refused > text.len() / 2, "{refused} of {}", text.len());
    }

    proptest! {
        #[test]
        fn d9_no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = read(&text, &[]);
        }

        #[test]
        fn d9_no_mutation_of_the_example_makes_it_panic(
            at in any::<prop::sample::Index>(),
            length in 0usize..40,
            new in "[\\[\\]{}=\"'#.,\\n\\\\a-z0-9ü*/:-]{0,20}",
        ) {
            let mut text: Vec<char> = docs::example().replace("\n#", "\n").chars().collect();
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
            let text: String = text.into_iter().collect();
            let _ = read(&text, &[]);
        }

        #[test]
        fn d9_no_variable_makes_it_panic(
            name in "(|[A-Z_]{0,20}|SESSION__IDLE|LISTEN__HTTPS|STORE__URL|LOG__LEVEL)",
            value in "\\PC{0,60}",
        ) {
            let _ = read("", &[(&format!("{}{name}", raw::PREFIX), &value)]);
        }
    }
}
