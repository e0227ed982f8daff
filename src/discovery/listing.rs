//! The routing table for people and programs: `portcullis routes`.

use std::fmt::Write as _;

use serde::Serialize;

use super::Findings;
use crate::{
    config::Policy,
    route::{HostRoute, PathMatch, PathRoute, RefusedRoute, RouteTable},
};

/// The table, what was refused, and what an operator should know.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// One row for each host and path, by host.
    pub routes: Vec<Row>,
    /// What containers asked for in vain.
    pub refused: Vec<RefusedRow>,
    /// Ways around the gateway, and what else is probably a mistake.
    pub warnings: Vec<String>,
}

/// One host and path.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The host, as it was asked for.
    pub host: String,
    /// The path, in nginx's notation.
    pub path: String,
    /// The tenant's id.
    pub tenant: String,
    /// Who owns the host.
    pub owner: String,
    /// Who answers: `name address`; empty: nobody just now.
    pub upstreams: Vec<String>,
    /// What may be asked of who comes, in the order of the rules.
    pub policy: String,
}

/// What a container asked for in vain.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedRow {
    /// The container.
    pub container: String,
    /// What it asked for.
    pub asked: String,
    /// Why it does not get it.
    pub reason: String,
}

/// Lists `table`.
pub fn listing(table: &RouteTable, findings: &Findings) -> Listing {
    let hosts = table
        .exact
        .values()
        .chain(table.leading.values())
        .chain(table.trailing.values())
        .chain(table.regexes.iter().map(|(_, it)| it));
    let mut routes: Vec<Row> = hosts
        .flat_map(|host| host.paths.iter().map(|path| row(host, path)))
        .collect();
    routes.sort_by(|a, b| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
    Listing {
        routes,
        refused: table.refused.iter().map(refused_row).collect(),
        warnings: findings.warnings.clone(),
    }
}

fn row(host: &HostRoute, path: &PathRoute) -> Row {
    let upstreams = path.upstreams.iter();
    Row {
        host: host.pattern.to_string(),
        path: match &path.matches {
            PathMatch::Exact(text) => format!("= {text}"),
            PathMatch::Prefix { text, no_regex } if *no_regex => format!("^~ {text}"),
            PathMatch::Prefix { text, .. } => text.clone(),
            PathMatch::Regex(regex) => format!("~ {regex}"),
        },
        tenant: host.tenant.to_string(),
        owner: host.owner.to_string(),
        upstreams: upstreams
            .map(|it| format!("{} {}", it.label, it.address))
            .collect(),
        policy: policy(host, path),
    }
}

fn refused_row(refused: &RefusedRoute) -> RefusedRow {
    RefusedRow {
        container: refused.container.clone(),
        asked: refused.asked.clone(),
        reason: refused.reason.clone(),
    }
}

/// What the rules may come to on this path; `explain` says which it is for whom.
fn policy(host: &HostRoute, path: &PathRoute) -> String {
    if !host.guarded {
        return Policy::Open.as_str().to_owned();
    }
    let floor = host
        .settings
        .policy
        .max(path.tighten.policy)
        .unwrap_or(Policy::Open);
    let mut found: Vec<&str> = Vec::new();
    let by_rule = host.rules.iter().map(|it| it.policy);
    for policy in by_rule.chain([Policy::default()]) {
        let text = policy.max(floor).as_str();
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found.join(" | ")
}

impl Listing {
    /// As JSON, indented.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// As text: a table, then what was refused, then the warnings.
    pub fn text(&self) -> String {
        let head = ["HOST", "PATH", "POLICY", "OWNER", "TENANT", "UPSTREAMS"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.routes.iter().map(|it| {
            [
                it.host.clone(),
                it.path.clone(),
                it.policy.clone(),
                it.owner.clone(),
                it.tenant.clone(),
                match it.upstreams.as_slice() {
                    [] => "(nobody just now)".to_owned(),
                    all => all.join(", "),
                },
            ]
        }));
        let mut out = columns(&rows);
        if !self.refused.is_empty() {
            out.push_str("\nrefused:\n");
            for it in &self.refused {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "  {}: {}: {}", it.container, it.asked, it.reason);
            }
        }
        if !self.warnings.is_empty() {
            out.push_str("\nwarnings:\n");
            for it in &self.warnings {
                let _ = writeln!(out, "  {it}");
            }
        }
        out
    }
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
