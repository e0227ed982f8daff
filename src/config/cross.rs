//! What no single key can tell: settings that contradict each other, and what is probably a
//! mistake.

mod policy;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{Config, HostPattern, Policy, TenantConfig, fault::Complaints};

/// Looks at the whole.
pub(super) fn check(config: &Config, complaints: &Complaints) {
    hosts(config, complaints);
    listeners(config, complaints);
    proxies(config, complaints);
    durations(config, complaints);
    secrets(config, complaints);
    docker(config, complaints);
    tenants(config, complaints);
    policy::check(config, complaints);
}

fn hosts(config: &Config, complaints: &Complaints) {
    let (portal, manager) = (&config.portal.host, &config.manager.host);
    if let Some(root) = &config.root_domain {
        let own = [("portal.host", portal), ("manager.host", manager)];
        for (path, host) in own {
            match host {
                Some(host) if host == root || host.is_under(root) => (),
                Some(host) => complaints.fault_on(
                    path,
                    format!("{path}: {host} is not under root_domain ({root})"),
                ),
                None => complaints.fault_on(
                    "root_domain",
                    format!("root_domain: {root} is too long to have hosts below it"),
                ),
            }
        }
    }
    if portal.is_some() && portal == manager {
        complaints.fault_on(
            "manager.host",
            "manager.host: the portal has this name already".to_owned(),
        );
    }
}

fn listeners(config: &Config, complaints: &Complaints) {
    let listen = &config.listen;
    let paths = |name: &'static str, list: &[SocketAddr]| {
        list.iter()
            .enumerate()
            .map(|(index, it)| (format!("listen.{name}[{index}]"), *it))
            .collect::<Vec<_>>()
    };
    let mut all = paths("https", &listen.https);
    all.extend(paths("http", &listen.http));
    if all.is_empty() {
        complaints.fault_on(
            "listen",
            "listen: neither https nor http has an address: nobody could reach the gateway"
                .to_owned(),
        );
    }
    all.extend(listen.admin.map(|it| ("listen.admin".to_owned(), it)));
    let mut seen: BTreeMap<SocketAddr, String> = BTreeMap::new();
    for (path, address) in all {
        let shown = path.split('[').next().unwrap_or_default().to_owned();
        match seen.get(&address) {
            Some(first) if address.port() != 0 => complaints.fault_on(
                &path,
                format!("{shown}: {address} is taken by {first} already"),
            ),
            _ => {
                seen.insert(address, shown);
            }
        }
    }
    if config.is_guarded() && listen.https.is_empty() {
        complaints.warn_on(
            "listen.https",
            "listen.https: without TLS nobody can sign in: browsers keep the session cookie on https only"
                .to_owned(),
        );
    }
    if let Some(admin) = listen.admin
        && !is_private(admin.ip())
    {
        complaints.warn_on(
            "listen.admin",
            format!("listen.admin: {admin} may be reached from outside, and metrics and health are for whoever reaches it"),
        );
    }
}

/// Whether only this machine or its own network can reach `address`.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
    }
}

fn proxies(config: &Config, complaints: &Complaints) {
    let listen = &config.listen;
    for (index, network) in listen.trusted_proxies.iter().enumerate() {
        if network.prefix_len() == 0 {
            complaints.warn_on(
                &format!("listen.trusted_proxies[{index}]"),
                format!("listen.trusted_proxies: {network} is everybody: any visitor can then say who they are and where they come from"),
            );
        }
    }
    if listen.proxy_protocol {
        complaints.fault_on(
            "listen.proxy_protocol",
            "listen.proxy_protocol: PROXY headers are not built yet".to_owned(),
        );
    }
}

fn durations(config: &Config, complaints: &Complaints) {
    let session = &config.session;
    if session.idle > session.absolute {
        complaints.warn_on(
            "session.idle",
            "session.idle: is longer than session.absolute, which comes first".to_owned(),
        );
    }
    if session.token > session.absolute {
        complaints.warn_on(
            "session.token",
            "session.token: is longer than session.absolute, which comes first".to_owned(),
        );
    }
    if config.limits.header > config.limits.head {
        complaints.fault_on(
            "limits.header",
            "limits.header: one line cannot be larger than the whole head (limits.head)".to_owned(),
        );
    }
}

/// What argon2id is asked for at the least elsewhere: 19 MiB and 2 passes, or as much work.
const ENOUGH_WORK: u64 = 35_840;

fn secrets(config: &Config, complaints: &Complaints) {
    let login = &config.login;
    let work = u64::from(login.argon2_memory_kib) * u64::from(login.argon2_passes);
    if work < ENOUGH_WORK {
        complaints.warn_on(
            "login.argon2_memory_kib",
            "login.argon2_memory_kib: with so little memory and so few passes, stolen password hashes are soon guessed"
                .to_owned(),
        );
    }
    if config.store.key.is_some() && complaints.is_in_the_file("store.key") {
        complaints.warn_on(
            "store.key",
            "store.key: a key in this file is in every copy of it; use key_file or PORTCULLIS__STORE__KEY"
                .to_owned(),
        );
    }
}

fn docker(config: &Config, complaints: &Complaints) {
    let docker = &config.docker;
    for (index, host) in docker.hosts.iter().enumerate() {
        if docker.hosts.iter().take(index).any(|it| it == host) {
            complaints.fault_on(
                &format!("docker.hosts[{index}]"),
                format!("docker.hosts: {host} is there twice"),
            );
        }
    }
    if config.is_guarded() && docker.claims == Some(super::Claims::Off) {
        complaints.warn_on(
            "docker.claims",
            "docker.claims: off: any container can take any host name, and the logins of its users"
                .to_owned(),
        );
    }
    if config.is_guarded() && docker.trust_images {
        complaints.warn_on(
            "docker.trust_images",
            "docker.trust_images: whoever builds an image decides which host it takes".to_owned(),
        );
    }
    let serves = config.tenants.iter().any(|it| !it.upstreams.is_empty());
    if docker.hosts.is_empty() && !serves {
        complaints.warn_on(
            "docker.hosts",
            "docker.hosts: no Docker and no [[tenant]] with upstreams: there is nothing to serve"
                .to_owned(),
        );
    }
}

fn tenants(config: &Config, complaints: &Complaints) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, tenant) in config.tenants.iter().enumerate() {
        let path = format!("tenant[{index}]");
        if tenant.hosts.is_empty() && !complaints.has_elements(&format!("{path}.hosts")) {
            complaints.fault_on(&path, "tenant.hosts: needed".to_owned());
        }
        for (at, host) in tenant.hosts.iter().enumerate() {
            let path = format!("{path}.hosts[{at}]");
            if let Some(line) = seen.get(&host.show()) {
                complaints.fault_on(
                    &path,
                    format!(
                        "tenant.hosts: {} is in the [[tenant]] at line {line} already",
                        host.show()
                    ),
                );
            }
            seen.entry(host.show()).or_insert(tenant.line);
            let own = [&config.portal.host, &config.manager.host];
            if let HostPattern::Exact(name) = host
                && own.contains(&&Some(name.clone()))
            {
                complaints.fault_on(&path, format!("tenant.hosts: {name} is the gateway's own"));
            }
        }
        without_tls(config, tenant, &path, complaints);
        upstreams(config, tenant, &path, complaints);
    }
}

/// Passwords and tokens that anybody on the way could read.
fn without_tls(config: &Config, tenant: &TenantConfig, path: &str, complaints: &Complaints) {
    if !config.listen.https.is_empty() || !config.listen.trusted_proxies.is_empty() {
        return;
    }
    if tenant.login_api {
        complaints.warn_on(
            &format!("{path}.login_api"),
            "tenant.login_api: tokens are processed without TLS, and whoever is on the way can read and use them; set listen.https"
                .to_owned(),
        );
    }
}

fn upstreams(config: &Config, tenant: &TenantConfig, path: &str, complaints: &Complaints) {
    let listen = &config.listen;
    for (index, upstream) in tenant.upstreams.iter().enumerate() {
        let is_ours = listen
            .https
            .iter()
            .chain(&listen.http)
            .chain(&listen.admin)
            .any(|it| {
                it.port() == upstream.port()
                    && (it.ip() == upstream.ip()
                        || (it.ip().is_unspecified() && upstream.ip().is_loopback()))
            });
        if is_ours {
            complaints.warn_on(
                &format!("{path}.upstreams[{index}]"),
                format!("tenant.upstreams: {upstream} is the gateway itself"),
            );
        }
    }
    let names_hosts = tenant
        .hosts
        .iter()
        .any(|it| matches!(it, HostPattern::Exact(_)));
    if tenant.upstreams.is_empty() && config.docker.hosts.is_empty() && names_hosts {
        complaints.warn_on(
            path,
            "tenant: has no upstreams, and there is no Docker to find its containers".to_owned(),
        );
    }
    let written = format!("{path}.policy");
    if tenant.policy == Some(Policy::Open) {
        complaints.warn_on(
            &written,
            "tenant.policy: open asks for nothing, and a tenant can only ask for more; a [[rule]] opens"
                .to_owned(),
        );
    }
}
