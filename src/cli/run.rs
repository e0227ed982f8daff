//! The gateway itself, and what asks it or its configuration.

use std::path::Path;

use super::{DemoArgs, ExplainArgs, Outcome};

pub(super) fn gateway(_file: &Path) -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}

pub(super) fn demo(_args: DemoArgs) -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}

pub(super) fn check(_file: &Path) -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}

pub(super) fn schema() -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}

pub(super) fn explain(_file: &Path, _args: &ExplainArgs) -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}

pub(super) fn routes(_file: &Path, _json: bool) -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}

pub(super) fn healthcheck(_file: &Path) -> anyhow::Result<Outcome> {
    anyhow::bail!("not yet")
}
