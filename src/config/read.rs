//! From the tree to the [`Config`]: one function per section, each key by its kind.

mod rows;

use std::{path::Path, sync::Arc};

use super::{
    BindAddress, Certificates, Claims, Config, Docker, Limits, Listen, Log, LogFormat, LoginRules,
    Manager, Portal, SessionRules, SocketIdle, SocketRules, StoreConfig,
    fault::Complaints,
    keys, nearest,
    raw::{Entry, Table, Value},
    section::{Files, Section},
    value,
};

/// Reads everything, with defaults for what was not written or was wrong.
pub(super) fn config(
    mut table: Table,
    file: &Path,
    complaints: &Complaints,
    files: Files<'_>,
) -> Config {
    let mut take = |name: &str| table.remove(name);
    let open = |name: &str, entry: Option<Entry>| {
        let spec = keys::section(name).unwrap_or(&keys::ROOT);
        Section::open(spec, name, entry, complaints, files)
    };
    let mut config = Config {
        file: file.to_path_buf(),
        root_domain: None,
        listen: listen(&mut open("listen", take("listen"))),
        portal: Portal {
            host: open("portal", take("portal")).text("host", value::domain),
        },
        manager: Manager {
            enabled: false,
            host: open("manager", take("manager")).text("host", value::domain),
        },
        certificates: certificates(&mut open("certificates", take("certificates"))),
        docker: docker(&mut open("docker", take("docker"))),
        store: store(&mut open("store", take("store"))),
        session: session(&mut open("session", take("session"))),
        login: login(&mut open("login", take("login"))),
        sockets: sockets(&mut open("sockets", take("sockets"))),
        limits: limits(&mut open("limits", take("limits"))),
        log: log(&mut open("log", take("log"))),
        tenants: rows::tenants(take("tenant"), complaints, files),
        rules: Arc::new(rows::rules(take("rule"), complaints, files)),
    };
    refuse_unknown_sections(&mut table, complaints);
    config.root_domain = top(table, complaints, files);
    if let Some(root) = &config.root_domain {
        let under = |label: &str, host: Option<_>| host.or_else(|| root.child(label).ok());
        config.portal.host = under("auth", config.portal.host.take());
        config.manager.host = under("manager", config.manager.host.take());
    }
    config
}

/// A table that stands at the top and is no section.
fn refuse_unknown_sections(table: &mut Table, complaints: &Complaints) {
    let is_section = |_: &String, entry: &mut Entry| match &entry.node.value {
        Value::Table(_) => true,
        Value::List(nodes) => nodes
            .first()
            .is_some_and(|it| matches!(it.value, Value::Table(_))),
        Value::Text(_) | Value::Bare(_) | Value::Number(_) | Value::Flag(_) | Value::Other(_) => {
            false
        }
    };
    for (name, entry) in table.extract_if(.., is_section) {
        let known: Vec<&str> = keys::SECTIONS.iter().map(|it| it.name).collect();
        let hint = nearest::hint(&name, known);
        let name = name.escape_debug();
        complaints.fault(&entry.key, format!("unknown section [{name}]; {hint}"));
    }
}

fn top(table: Table, complaints: &Complaints, files: Files<'_>) -> Option<crate::name::HostName> {
    let mut section = Section::top(table, complaints, files);
    section.text("root_domain", value::domain)
}

fn listen(it: &mut Section<'_>) -> Listen {
    let usual = Listen::default();
    Listen {
        https: it.list("https", value::address).unwrap_or(usual.https),
        http: it.list("http", value::address).unwrap_or(usual.http),
        admin: it
            .text("admin", |text| match text {
                "off" => Ok(None),
                text => value::address(text).map(Some),
            })
            .unwrap_or(usual.admin),
        trusted_proxies: it
            .list("trusted_proxies", value::network)
            .unwrap_or(usual.trusted_proxies),
        proxy_protocol: it.flag("proxy_protocol").unwrap_or(usual.proxy_protocol),
        workers: it.count("workers").unwrap_or(usual.workers),
    }
}

fn certificates(it: &mut Section<'_>) -> Certificates {
    let usual = Certificates::default();
    Certificates {
        dir: it.text("dir", value::path).unwrap_or(usual.dir),
    }
}

fn docker(it: &mut Section<'_>) -> Docker {
    let usual = Docker::default();
    Docker {
        hosts: it.list("hosts", value::docker_host).unwrap_or(usual.hosts),
        filters: it
            .list("filters", value::docker_filter)
            .unwrap_or(usual.filters),
        network: it.text("network", value::word).or(usual.network),
        claims: it
            .choice("claims", |word| match word {
                "project" => Some(Claims::Project),
                "strict" => Some(Claims::Strict),
                "off" => Some(Claims::Off),
                _ => None,
            })
            .or(usual.claims),
        trust_images: it.flag("trust_images").unwrap_or(usual.trust_images),
        resync: it.duration("resync").unwrap_or(usual.resync),
    }
}

fn store(it: &mut Section<'_>) -> StoreConfig {
    let path = it
        .text("url", value::store_path)
        .unwrap_or_else(|| StoreConfig::default().path);
    StoreConfig {
        key_file: it
            .text("key_file", value::path)
            .unwrap_or_else(|| path.with_extension("key")),
        key: it.text("key", value::sealing_key),
        path,
    }
}

fn session(it: &mut Section<'_>) -> SessionRules {
    let usual = SessionRules::default();
    SessionRules {
        idle: it.duration("idle").unwrap_or(usual.idle),
        absolute: it.duration("absolute").unwrap_or(usual.absolute),
        token: it.duration("token").unwrap_or(usual.token),
        bind_address: it
            .choice("bind_address", |word| match word {
                "off" => Some(BindAddress::Off),
                "prefix" => Some(BindAddress::Prefix),
                "exact" => Some(BindAddress::Exact),
                _ => None,
            })
            .unwrap_or(usual.bind_address),
    }
}

fn login(it: &mut Section<'_>) -> LoginRules {
    let usual = LoginRules::default();
    LoginRules {
        password_min: it.count("password_min").unwrap_or(usual.password_min),
        max_failures: it.count("max_failures").unwrap_or(usual.max_failures),
        lock: it.duration("lock").unwrap_or(usual.lock),
        argon2_memory_kib: it
            .count("argon2_memory_kib")
            .unwrap_or(usual.argon2_memory_kib),
        argon2_passes: it.count("argon2_passes").unwrap_or(usual.argon2_passes),
        hash_workers: it.count("hash_workers").unwrap_or(usual.hash_workers),
        hash_queue: it.count("hash_queue").unwrap_or(usual.hash_queue),
        floor: it.duration("floor").unwrap_or(usual.floor),
        invite: it.duration("invite").unwrap_or(usual.invite),
        breached_passwords: it.text("breached_passwords", value::path),
    }
}

fn sockets(it: &mut Section<'_>) -> SocketRules {
    let usual = SocketRules::default();
    SocketRules {
        idle: it
            .choice("idle", |word| match word {
                "absolute" => Some(SocketIdle::Absolute),
                "session" => Some(SocketIdle::Session),
                _ => None,
            })
            .unwrap_or(usual.idle),
        grace: it.duration("grace").unwrap_or(usual.grace),
        control_event: it
            .text("control_event", value::word)
            .unwrap_or(usual.control_event),
        max_message: it.size("max_message").unwrap_or(usual.max_message),
        max_frame: it.size("max_frame").unwrap_or(usual.max_frame),
        per_session: it.count("per_session").unwrap_or(usual.per_session),
        per_tenant: it.count("per_tenant").unwrap_or(usual.per_tenant),
        stall_timeout: it.duration("stall_timeout").unwrap_or(usual.stall_timeout),
        messages_per_second: it
            .count("messages_per_second")
            .unwrap_or(usual.messages_per_second),
        message_burst: it.count("message_burst").unwrap_or(usual.message_burst),
        max_polling_packets: it
            .count("max_polling_packets")
            .unwrap_or(usual.max_polling_packets),
        max_polling_answer: it
            .size("max_polling_answer")
            .unwrap_or(usual.max_polling_answer),
    }
}

fn limits(it: &mut Section<'_>) -> Limits {
    let usual = Limits::default();
    Limits {
        body: it.size("body").unwrap_or(usual.body),
        head: it.size("head").unwrap_or(usual.head),
        header: it.size("header").unwrap_or(usual.header),
        headers: it.count("headers").unwrap_or(usual.headers),
        handshake_timeout: it
            .duration("handshake_timeout")
            .unwrap_or(usual.handshake_timeout),
        head_timeout: it.duration("head_timeout").unwrap_or(usual.head_timeout),
        body_timeout: it.duration("body_timeout").unwrap_or(usual.body_timeout),
        connect_timeout: it
            .duration("connect_timeout")
            .unwrap_or(usual.connect_timeout),
        response_timeout: it
            .duration("response_timeout")
            .unwrap_or(usual.response_timeout),
        stream_timeout: it
            .duration("stream_timeout")
            .unwrap_or(usual.stream_timeout),
        keep_alive: it.duration("keep_alive").unwrap_or(usual.keep_alive),
        connections: it.count("connections").unwrap_or(usual.connections),
        requests_per_address: it
            .count("requests_per_address")
            .unwrap_or(usual.requests_per_address),
        drain: it.duration("drain").unwrap_or(usual.drain),
    }
}

fn log(it: &mut Section<'_>) -> Log {
    let usual = Log::default();
    Log {
        level: it.text("level", value::log_level).unwrap_or(usual.level),
        format: it
            .choice("format", |word| match word {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })
            .unwrap_or(usual.format),
        access: it.flag("access").unwrap_or(usual.access),
    }
}
