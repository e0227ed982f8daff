//! Building: what the file and the containers ask for becomes a table.

use std::collections::HashMap;

use crate::{
    config::Config,
    route::{Discovered, RouteTable},
    store::ClaimRecord,
};

/// Who owns which host, by its canonical text ([`crate::route::Asked`]'s `Display`).
#[derive(Debug, Default, Clone)]
pub struct Claimed(pub HashMap<String, ClaimRecord>);

/// What a table is made from.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What the operator said.
    pub config: &'a Config,
    /// What the containers ask for.
    pub found: Vec<Discovered>,
    /// Whose hosts are whose.
    pub claims: &'a Claimed,
}

impl RouteTable {
    /// Makes the table. What cannot be routed is told in `refused`, and touches nothing else.
    pub fn build(plan: Plan<'_>) -> Self {
        let Plan { config, .. } = plan;
        Self {
            portal: config.portal.host.clone(),
            manager: config.manager.host.clone(),
            root: config.root_domain.clone(),
            ..Self::default()
        }
    }
}
