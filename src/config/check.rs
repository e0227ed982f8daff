//! What `portcullis check` says.

use std::{fmt::Write as _, path::Path};

use super::{Config, Fault, Loaded, environment, load, schema};
use crate::breached::{List, NoList};

/// What `portcullis check` prints, and its exit code: 0, or 2 when the configuration would
/// not be run on. With `with_schema`, the JSON schema instead.
pub fn check_command(file: &Path, with_schema: bool) -> (String, i32) {
    if with_schema {
        return (format!("{:#}\n", schema()), 0);
    }
    let outcome = load(file, &environment()).map(|mut loaded| {
        loaded.warnings.extend(missing_files(&loaded.config));
        loaded
    });
    (report(&outcome), if outcome.is_ok() { 0 } else { 2 })
}

/// One line per fault or warning, and one that says what the gateway would be.
pub fn report(outcome: &Result<Loaded, Vec<Fault>>) -> String {
    let mut out = String::new();
    match outcome {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(out, "{}", as_warning(warning));
            }
            let _ = writeln!(out, "{}", summary(&loaded.config));
        }
        Err(faults) => {
            for fault in faults {
                let _ = writeln!(out, "{fault}");
            }
        }
    }
    out
}

fn as_warning(fault: &Fault) -> Fault {
    Fault {
        message: format!("warning: {}", fault.message),
        ..fault.clone()
    }
}

fn summary(config: &Config) -> String {
    let file = config.file.display();
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    };
    let tables = format!(
        "{}, {}",
        count(config.tenants.len(), "tenant"),
        count(config.rules.len(), "rule")
    );
    match (&config.root_domain, &config.portal.host) {
        (Some(root), Some(portal)) => {
            format!(
                "{file}: good: everything under {root} is guarded, people sign in at {portal}; {tables}"
            )
        }
        (None, _) | (_, None) => {
            format!(
                "{file}: good: NOTHING IS GUARDED: no root_domain is set, and only rules ask for a login; {tables}"
            )
        }
    }
}

/// What the file names and the disk does not have. Only told, never refused: it may be there
/// when the gateway starts.
fn missing_files(config: &Config) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut warn = |message: String| {
        found.push(Fault {
            file: config.file.clone(),
            line: 0,
            column: 0,
            message,
        });
    };
    let dir = &config.certificates.dir;
    if !config.listen.https.is_empty() && !dir.is_dir() {
        warn(format!(
            "certificates.dir: {} is not a folder: there are no certificates",
            dir.display()
        ));
    }
    if let Some(parent) = config.store.path.parent()
        && config.store.key.is_none()
        && config.store.key_file.parent() == Some(parent)
    {
        warn(format!(
            "store.key_file: {} lies beside the database: a backup of that disk holds both; \
             keep the key elsewhere, or leave it out of the backup",
            config.store.key_file.display()
        ));
    }
    if let Some(path) = &config.login.breached_passwords
        && let Err(error) = breached_list(path)
    {
        warn(format!(
            "login.breached_passwords: {} {error}; the gateway does not start like this",
            path.display()
        ));
    }
    for host in &config.docker.hosts {
        let socket = host.strip_prefix("unix://").unwrap_or(host);
        if !Path::new(socket).exists() {
            warn(format!("docker.hosts: there is no {socket}"));
        }
    }
    found
}

/// Whether the list of leaked passwords can be asked.
pub fn breached_list(path: &Path) -> Result<(), NoList> {
    List::open(path)?.inspect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d9_a_file_that_is_not_there_is_a_fault_and_exits_with_2() {
        let (said, exit) = check_command(Path::new("/nowhere/portcullis.toml"), false);
        assert_eq!(exit, 2);
        assert!(said.starts_with("/nowhere/portcullis.toml: cannot be read"));
    }

    #[test]
    fn a_list_of_leaked_passwords_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        let config = Config {
            login: crate::config::LoginRules {
                breached_passwords: Some(list.clone()),
                ..Default::default()
            },
            ..Config::default()
        };
        let told = || {
            let all = missing_files(&config).into_iter().map(|it| it.message);
            all.filter(|it| it.contains("breached_passwords"))
                .collect::<Vec<_>>()
        };
        assert!(told()[0].contains("cannot be read"), "{:?}", told());
        std::fs::write(&list, "hello\n").unwrap();
        assert!(told()[0].contains("SHA-1"), "{:?}", told());
        std::fs::write(&list, format!("{:040X}:3\n", 5)).unwrap();
        assert!(told().is_empty());
    }

    #[test]
    fn the_schema_is_json() {
        let (said, exit) = check_command(Path::new("x"), true);
        assert_eq!(exit, 0);
        assert!(serde_json::from_str::<serde_json::Value>(&said).is_ok());
    }
}
