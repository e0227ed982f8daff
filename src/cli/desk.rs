//! What a command that looks into the store needs, and the waiting for who runs on it.

use std::{path::Path, time::Duration};

use anyhow::Context as _;

use super::{Outcome, print, stop};
use crate::{
    account::upkeep,
    clock::{Clock, Timestamp},
    config::{self, Config, Loaded},
    name::UserName,
    store::{
        Store as _, UserRecord,
        poke::{self, Confirmed},
        sqlite::SqliteStore,
    },
};

/// A gateway that has not applied a change by then is stuck or overloaded.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the configuration, or says all that is wrong with it.
pub(super) fn load(file: &Path) -> anyhow::Result<Config> {
    load_all(file).map(|it| it.config)
}

/// The configuration with what is probably a mistake in it.
pub(super) fn load_all(file: &Path) -> anyhow::Result<Loaded> {
    match config::load(file, &config::environment()) {
        Ok(loaded) => Ok(loaded),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(stop(Outcome::BadUsage, faults.join("\n")))
        }
    }
}

/// The configuration and the store.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) store: SqliteStore,
    clock: Clock,
    /// How long running gateways may take to apply a change.
    patience: Duration,
}

impl Desk {
    pub(super) fn open(file: &Path) -> anyhow::Result<Self> {
        let config = load(file)?;
        let clock = Clock::system();
        let store = SqliteStore::open(&config.store.path, clock.now())?;
        Ok(Self {
            config,
            store,
            clock,
            patience: PATIENCE,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The user, or exit 3.
    pub(super) fn user(&mut self, name: &UserName) -> anyhow::Result<UserRecord> {
        upkeep::find(&mut self.store, name.as_str())?
            .ok_or_else(|| stop(Outcome::NotFound, format!("there is no user {name}")))
    }

    /// As [`Desk::confirm`], but only complaints are printed: standard output is spoken for.
    pub(super) fn confirm_quietly(&mut self, done: &str) -> anyhow::Result<Outcome> {
        self.wait(done).map(|_| Outcome::Done)
    }

    /// Says `done`, once every running gateway has applied what was changed; or that it is
    /// stored and who has not said so.
    pub(super) fn confirm(&mut self, done: &str) -> anyhow::Result<Outcome> {
        let confirmed = self.wait(done)?;
        if confirmed == Confirmed::NobodyRuns {
            print::say(format_args!("{done} (no gateway is running)"));
        } else {
            print::say(done);
        }
        Ok(Outcome::Done)
    }

    /// Waits for every running gateway; exit 1 when one has not confirmed.
    fn wait(&mut self, done: &str) -> anyhow::Result<Confirmed> {
        let seq = self.store.last_change()?;
        let confirmed =
            poke::confirm(&self.config.store.path, seq, self.patience).with_context(|| {
                format!("{done}: stored, but the running gateways could not be asked")
            })?;
        if let Confirmed::NotBy(pids) = &confirmed {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            return Err(stop(
                Outcome::Failed,
                format!(
                    "{done}: stored, but not confirmed by the gateway with process id {}",
                    pids.join(", ")
                ),
            ));
        }
        Ok(confirmed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{cli::Stop, store::poke::Poke};

    pub(in crate::cli) fn desk(folder: &Path) -> Desk {
        let file = folder.join("portcullis.toml");
        let database = folder.join("p.db");
        let text = format!(
            "root_domain = \"example.net\"\n[store]\nurl = \"sqlite:{}\"\n",
            database.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut desk = Desk::open(&file).unwrap();
        desk.patience = Duration::from_millis(50);
        desk
    }

    #[test]
    fn a_change_without_a_gateway_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = desk(folder.path()).confirm("changed").unwrap();
        assert_eq!(outcome, Outcome::Done);
    }

    #[tokio::test]
    async fn a_change_that_a_running_gateway_has_not_applied_is_a_failure_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = desk(folder.path());
        let _stuck = Poke::listen(&desk.config.store.path).unwrap();
        let error = desk.confirm("changed").unwrap_err();
        let stop = error.downcast_ref::<Stop>().unwrap();
        assert_eq!(stop.outcome, Outcome::Failed);
        let pid = std::process::id().to_string();
        assert!(stop.message.contains("not confirmed") && stop.message.contains(&pid));
    }

    #[test]
    fn a_bad_file_is_bad_usage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, "root_domian = \"example.net\"\n").unwrap();
        let error = Desk::open(&file).err().unwrap();
        let stop = error.downcast_ref::<Stop>().unwrap();
        assert_eq!(stop.outcome, Outcome::BadUsage);
        assert!(stop.message.contains("root_domain"), "{}", stop.message);
    }
}
