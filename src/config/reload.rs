//! Loading again while the gateway runs: what a running gateway may not become, and what it
//! becomes only at its next start.

use std::path::Path;

use super::{Config, Fault, Loaded, load};

/// As [`super::load()`], for a gateway that runs on `running`. One that guards never stops guarding by a
/// change of its file: a file that an editor has just emptied is a valid one, and opens
/// everything. What waits for the next start is among the warnings.
pub fn reload(
    file: &Path,
    env: &[(String, String)],
    running: &Config,
) -> Result<Loaded, Vec<Fault>> {
    let mut loaded = load(file, env)?;
    let tell = |message: String| Fault {
        file: file.to_path_buf(),
        line: 0,
        column: 0,
        message,
    };
    if let (Some(before), None) = (&running.root_domain, &loaded.config.root_domain) {
        return Err(vec![tell(format!(
            "root_domain: was {before} and is gone; to open the gate, restart the gateway"
        ))]);
    }
    for key in waiting(running, &loaded.config) {
        let message = format!("{key}: the change takes effect at the next start");
        loaded.warnings.push(tell(message));
    }
    Ok(loaded)
}

/// What was changed and is only looked at when the gateway starts.
fn waiting(running: &Config, new: &Config) -> Vec<&'static str> {
    let changes = [
        ("root_domain", running.root_domain != new.root_domain),
        ("portal.host", running.portal != new.portal),
        ("listen", {
            let trusted_proxies = running.listen.trusted_proxies.clone();
            let listen = super::Listen {
                trusted_proxies,
                ..new.listen.clone()
            };
            running.listen != listen
        }),
        ("store", running.store != new.store),
        ("login", running.login != new.login),
        (
            "limits.handshake_timeout",
            running.limits.handshake_timeout != new.limits.handshake_timeout,
        ),
        (
            "limits.requests_per_address",
            running.limits.requests_per_address != new.limits.requests_per_address,
        ),
        ("log.format", running.log.format != new.log.format),
    ];
    changes
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn d9_an_emptied_file_does_not_open_a_gate_that_guards() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        fs::write(&file, "root_domain = \"example.com\"\n").unwrap();
        let running = load(&file, &[]).unwrap().config;
        assert!(reload(&file, &[], &running).unwrap().warnings.is_empty());
        fs::write(&file, "").unwrap();
        let faults = reload(&file, &[], &running).unwrap_err();
        assert!(
            faults[0]
                .message
                .starts_with("root_domain: was example.com")
        );
    }

    #[test]
    fn what_waits_for_the_next_start_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        fs::write(&file, "root_domain = \"example.com\"\n").unwrap();
        let running = load(&file, &[]).unwrap().config;
        let changed = "root_domain = \"example.com\"\n[listen]\nworkers = 2\ntrusted_proxies = [\"10.0.0.1\"]\n[session]\nidle = \"1h\"\n";
        fs::write(&file, changed).unwrap();
        let loaded = reload(&file, &[], &running).unwrap();
        let said: Vec<&str> = loaded
            .warnings
            .iter()
            .map(|it| it.message.as_str())
            .collect();
        assert_eq!(said, ["listen: the change takes effect at the next start"]);
    }
}
