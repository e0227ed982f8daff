//! What was judged before. A container that went away leaves the table at once, whatever the
//! store is doing; only what was never judged has to wait for it.

use std::{collections::HashMap, sync::Arc};

use super::claims::Verdict;
use crate::{
    config::Config,
    route::{Claimed, Discovered, RefusedRoute},
};

/// The last answer of the store.
#[derive(Debug)]
pub(super) struct Judged {
    /// With this configuration.
    pub(super) config: Arc<Config>,
    /// (container, owner, host): why not, if not.
    wants: HashMap<(String, String, String), Option<RefusedRoute>>,
    pub(super) claims: Claimed,
    warnings: Vec<String>,
}

fn key(want: &Discovered) -> (String, String, String) {
    (
        want.container.clone(),
        want.owner.clone(),
        want.host.to_string(),
    )
}

impl Judged {
    /// Keeps what came of judging.
    pub(super) fn new(config: Arc<Config>, verdict: &Verdict) -> Self {
        let granted = verdict.granted.iter().map(|it| (key(it), None));
        let refused = verdict.refused.iter();
        Self {
            config,
            wants: granted
                .chain(refused.map(|(want, no)| (key(want), Some(no.clone()))))
                .collect(),
            claims: verdict.claims.clone(),
            warnings: verdict.warnings.clone(),
        }
    }

    /// The same answers for what is wanted now; whether that is all of it.
    pub(super) fn recall(&self, found: Vec<Discovered>) -> (Verdict, Recalled) {
        // All of the claims: a host whose containers went away is still somebody's.
        let mut verdict = Verdict {
            warnings: self.warnings.clone(),
            claims: self.claims.clone(),
            ..Verdict::default()
        };
        let mut recalled = Recalled::All;
        for want in found {
            match self.wants.get(&key(&want)) {
                Some(None) => verdict.granted.push(want),
                Some(Some(no)) => verdict.refused.push((want, no.clone())),
                None => recalled = Recalled::Some,
            }
        }
        (verdict, recalled)
    }

    /// What is known of a few wants.
    pub(super) fn recall_few(&self, wants: &[Discovered]) -> Few {
        let mut known = Few::Granted;
        for want in wants {
            match self.wants.get(&key(want)) {
                Some(None) => (),
                Some(Some(_)) => return Few::Refused,
                None => known = Few::New,
            }
        }
        known
    }

    /// Takes in what was granted besides.
    pub(super) fn learn(&mut self, verdict: Verdict) {
        let granted = verdict.granted.iter().map(|it| (key(it), None));
        self.wants.extend(granted);
        self.claims.0.extend(verdict.claims.0);
    }
}

/// What is known of a few wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Few {
    /// Everything was granted before.
    Granted,
    /// Something was refused.
    Refused,
    /// Something was never asked for.
    New,
}

/// How much was judged before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recalled {
    /// Everything.
    All,
    /// Some of it; the rest is left out.
    Some,
}
