//! `[[tenant]]` and `[[rule]]`.

use std::sync::Arc;

use crate::config::{
    HostPattern, PathPattern, Policy, Rule, SocketIo, SocketMode, TenantConfig,
    fault::Complaints,
    keys,
    raw::Entry,
    section::{self, Files, Section},
    value,
};

/// `[[tenant]]`
pub(super) fn tenants(
    entry: Option<Entry>,
    complaints: &Complaints,
    files: Files<'_>,
) -> Vec<Arc<TenantConfig>> {
    rows("tenant", entry, complaints, files, |it, line| {
        Arc::new(tenant(it, line))
    })
}

/// `[[rule]]`
pub(super) fn rules(entry: Option<Entry>, complaints: &Complaints, files: Files<'_>) -> Vec<Rule> {
    rows("rule", entry, complaints, files, rule)
}

/// Reads each table of `[[name]]` with `row`, which gets its line too.
fn rows<T>(
    name: &str,
    entry: Option<Entry>,
    complaints: &Complaints,
    files: Files<'_>,
    row: impl Fn(&mut Section<'_>, usize) -> T,
) -> Vec<T> {
    let Some(spec) = keys::section(name) else {
        return Vec::new();
    };
    section::repeated(name, entry, complaints)
        .into_iter()
        .map(|(path, line, entry)| {
            let mut section = Section::open(spec, &path, Some(entry), complaints, files);
            row(&mut section, line)
        })
        .collect()
}

fn tenant(it: &mut Section<'_>, line: usize) -> TenantConfig {
    TenantConfig {
        line,
        hosts: it.list("hosts", HostPattern::parse).unwrap_or_default(),
        upstreams: it.list("upstreams", value::upstream).unwrap_or_default(),
        policy: it.choice("policy", Policy::parse),
        login_api: it.flag("login_api").unwrap_or_default(),
        allow_origins: it.list("allow_origins", value::origin).unwrap_or_default(),
        service_workers: it.flag("service_workers"),
        keep_headers: it
            .list("keep_headers", value::kept_header)
            .unwrap_or_default(),
        socketio: it
            .group("socketio")
            .map(|mut it| SocketIo {
                eio3: it.flag("eio3").unwrap_or_default(),
                namespaces: it.list("namespaces", value::namespace).unwrap_or_default(),
                annotate: it.flag("annotate").unwrap_or_default(),
                mode: it.choice("mode", SocketMode::parse).unwrap_or_default(),
            })
            .unwrap_or_default(),
    }
}

fn rule(it: &mut Section<'_>, line: usize) -> Rule {
    Rule {
        line,
        hosts: it.list("hosts", HostPattern::parse).unwrap_or_default(),
        paths: it.list("paths", PathPattern::parse).unwrap_or_default(),
        methods: it.list("methods", value::method).unwrap_or_default(),
        users: it.list("users", value::name).unwrap_or_default(),
        groups: it.list("groups", value::name).unwrap_or_default(),
        networks: it.list("networks", value::network).unwrap_or_default(),
        policy: it.choice("policy", Policy::parse).unwrap_or_default(),
        sockets: it.choice("sockets", Policy::parse),
        pages: it.choice("pages", Policy::parse),
        max_age: it.duration("max_age"),
    }
}
