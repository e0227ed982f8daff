//! What the operator asked for, checked once. `config/raw.rs` is the file as written; what
//! stands here is what the house runs on and cannot be wrong.

pub mod check;
mod cross;
pub mod docs;
mod fault;
mod keys;
mod load;
mod nearest;
mod pattern;
mod raw;
mod read;
mod reload;
mod schema;
mod section;
mod value;
pub mod watch;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;

pub use self::{
    check::report,
    fault::{Fault, Loaded},
    load::{environment, load, parse},
    reload::reload,
    schema::schema,
};
use crate::name::{GroupName, HostName, UserName};

pub mod failpoint;

/// Everything the operator decided, with defaults for the rest.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The root under which tenants live. `None` is open mode: nginx-proxy and nothing more,
    /// unless a rule says otherwise.
    pub root_domain: Option<HostName>,
    /// `[listen]`
    pub listen: Listen,
    /// `[portal]`
    pub portal: Portal,
    /// `[manager]`
    pub manager: Manager,
    /// `[certificates]`
    pub certificates: Certificates,
    /// `[docker]`
    pub docker: Docker,
    /// `[store]`
    pub store: StoreConfig,
    /// `[session]`
    pub session: SessionRules,
    /// `[login]`
    pub login: LoginRules,
    /// `[sockets]`
    pub sockets: SocketRules,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
    /// `[[tenant]]`, in the file's order.
    pub tenants: Vec<Arc<TenantConfig>>,
    /// `[[rule]]`, in the file's order: the first that matches decides.
    pub rules: Arc<Vec<Rule>>,
}

impl Config {
    /// Whether the gateway guards anything at all.
    pub fn is_guarded(&self) -> bool {
        self.root_domain.is_some()
    }
}

/// `[listen]`: where the gateway is to be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// TLS listeners.
    pub https: Vec<SocketAddr>,
    /// Plain listeners: redirects, ACME challenges, and the plain hosts of open mode.
    pub http: Vec<SocketAddr>,
    /// Metrics and health; `None` turns it off.
    pub admin: Option<SocketAddr>,
    /// Whose `X-Forwarded-*` and PROXY headers count. Empty: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Runtimes to start; 0 is one per core.
    pub workers: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: vec![SocketAddr::from(([0u16; 8], 443))],
            http: vec![SocketAddr::from(([0u16; 8], 80))],
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9090))),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            workers: 0,
        }
    }
}

/// `[portal]`: where people sign in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Portal {
    /// The portal's host; `auth.<root_domain>` unless the file says otherwise. `None` only in open mode.
    pub host: Option<HostName>,
}

/// `[manager]`: the tenant manager.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manager {
    /// Whether it runs.
    pub enabled: bool,
    /// Its host; `manager.<root_domain>` unless the file says otherwise. Reserved even when it does not run.
    pub host: Option<HostName>,
}

/// `[certificates]`
#[derive(Debug, Clone, PartialEq)]
pub struct Certificates {
    /// The folder with `<name>.crt` and `<name>.key`, in nginx-proxy's layout.
    pub dir: PathBuf,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            dir: "certs".into(),
        }
    }
}

/// Who owns a host name (`docker.claims`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims {
    /// The compose project or stack that first served it.
    Project,
    /// Project and service.
    Strict,
    /// Whoever asks, the oldest first.
    Off,
}

/// `[docker]`: where tenants are found.
#[derive(Debug, Clone, PartialEq)]
pub struct Docker {
    /// `unix:///...`; empty: no Docker.
    pub hosts: Vec<String>,
    /// As `docker ps --filter`: `(key, value)`.
    pub filters: Vec<(String, String)>,
    /// The network to reach containers by, where several would do.
    pub network: Option<String>,
    /// Who owns a host name. `None`: `Project` when guarded, `Off` when open.
    pub claims: Option<Claims>,
    /// Whether what an image carries (`ENV VIRTUAL_HOST`, labels) counts.
    pub trust_images: bool,
    /// How often the whole list is read again, events or not.
    pub resync: Duration,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            hosts: vec!["unix:///var/run/docker.sock".to_owned()],
            filters: Vec::new(),
            network: None,
            claims: None,
            trust_images: false,
            resync: Duration::from_secs(30),
        }
    }
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// The database's file: `sqlite:<path>` in the file.
    pub path: PathBuf,
    /// The file with the 32-byte sealing key; beside the database (`<path>.key`) by default.
    pub key_file: PathBuf,
    /// The sealing key itself (base64), given by file or environment; wins over `key_file`.
    pub key: Option<crate::secret::Secret>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: "data/portcullis.db".into(),
            key_file: "data/portcullis.key".into(),
            key: None,
        }
    }
}

/// Whether a session is tied to the address it began at (`session.bind_address`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindAddress {
    /// Not at all.
    #[default]
    Off,
    /// To its /24 or /48.
    Prefix,
    /// To exactly it.
    Exact,
}

/// `[session]`
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRules {
    /// Ends a session that nobody used for so long.
    pub idle: Duration,
    /// Ends every session so long after its login.
    pub absolute: Duration,
    /// How long a session token says it is good for; renewed in passing.
    pub token: Duration,
    /// Tied to an address?
    pub bind_address: BindAddress,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(30),
            absolute: Duration::from_hours(12),
            token: Duration::from_mins(5),
            bind_address: BindAddress::Off,
        }
    }
}

/// `[login]`
#[derive(Debug, Clone, PartialEq)]
pub struct LoginRules {
    /// Shortest password that may be set.
    pub password_min: usize,
    /// Wrong passwords per user and address prefix before answers slow down and then stop.
    pub max_failures: u32,
    /// The window in which failures are counted, and how long a lock lasts.
    pub lock: Duration,
    /// argon2id memory, in KiB.
    pub argon2_memory_kib: u32,
    /// argon2id passes.
    pub argon2_passes: u32,
    /// How many passwords may be hashed at once; the rest waits, up to `hash_queue`, then 503.
    pub hash_workers: usize,
    /// How many may wait to be hashed.
    pub hash_queue: usize,
    /// Least time a failed login takes.
    pub floor: Duration,
    /// How long a set-up link works.
    pub invite: Duration,
    /// A sorted list of SHA-1 hashes of passwords that leaked ([`crate::breached`]).
    pub breached_passwords: Option<PathBuf>,
}

impl Default for LoginRules {
    fn default() -> Self {
        Self {
            password_min: 10,
            max_failures: 10,
            lock: Duration::from_mins(15),
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            hash_workers: 1,
            hash_queue: 32,
            floor: Duration::from_millis(250),
            invite: Duration::from_hours(24),
            breached_passwords: None,
        }
    }
}

/// What keeps a session from going idle while a page's socket is open (`sockets.idle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SocketIdle {
    /// An open socket counts as use, up to the absolute limit.
    #[default]
    Absolute,
    /// Only what the user sends counts.
    Session,
}

/// `[sockets]`
#[derive(Debug, Clone, PartialEq)]
pub struct SocketRules {
    /// Does an open socket count as use?
    pub idle: SocketIdle,
    /// How long a socket whose session went idle may wait for a new token.
    pub grace: Duration,
    /// The Socket.IO event that carries our control messages.
    pub control_event: String,
    /// Largest Engine.IO message, in bytes, either way.
    pub max_message: usize,
    /// Largest frame of a plain WebSocket, in bytes, either way.
    pub max_frame: usize,
    /// Most sockets of one login on one tenant; 0: any number.
    pub per_session: u32,
    /// Most sockets of one tenant; 0: any number.
    pub per_tenant: u32,
    /// How long a side may read nothing of what waits for it.
    pub stall_timeout: Duration,
    /// Most Socket.IO messages per second of one login to one tenant; 0: any number.
    pub messages_per_second: u32,
    /// Most of them at once.
    pub message_burst: u32,
    /// Most packets in one polling body of a client's.
    pub max_polling_packets: usize,
    /// Largest answer of a tenant to a poll, in bytes.
    pub max_polling_answer: usize,
}

impl Default for SocketRules {
    fn default() -> Self {
        Self {
            idle: SocketIdle::Absolute,
            grace: Duration::from_mins(1),
            control_event: "uiBuilderControl".to_owned(),
            max_message: 1 << 20,
            max_frame: 16 << 20,
            per_session: 256,
            per_tenant: 5000,
            stall_timeout: Duration::from_mins(1),
            messages_per_second: 1000,
            message_burst: 20_000,
            max_polling_packets: 20_000,
            max_polling_answer: 16 << 20,
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Largest request body, in bytes; 0: any. (nginx's own default is 1 MiB.)
    pub body: u64,
    /// Largest request head, in bytes.
    pub head: usize,
    /// Largest single header line, in bytes.
    pub header: usize,
    /// Most header lines.
    pub headers: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a request head may take to arrive.
    pub head_timeout: Duration,
    /// How long a request body may stall between two pieces.
    pub body_timeout: Duration,
    /// How long connecting to an upstream may take.
    pub connect_timeout: Duration,
    /// How long an upstream may take to begin its answer.
    pub response_timeout: Duration,
    /// How long an answer's body may stall between two pieces (server-sent events: no limit).
    pub stream_timeout: Duration,
    /// How long a client connection may be idle between requests.
    pub keep_alive: Duration,
    /// Client connections at once, per worker.
    pub connections: usize,
    /// Requests per second from one address; 0: any number.
    pub requests_per_address: u32,
    /// How long a drain waits for work in hand.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 100 << 20,
            head: 96 << 10,
            header: 8 << 10,
            headers: 100,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            stream_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(75),
            connections: 10_000,
            requests_per_address: 0,
            drain: Duration::from_secs(20),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// As `tracing`'s filters: `info`, `portcullis=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
    /// One line per request?
    pub access: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            access: true,
        }
    }
}

/// What a route asks of who comes: in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Policy {
    /// Nothing.
    Open,
    /// A password (or any one factor).
    OneFactor,
    /// A password and a second factor. The default.
    #[default]
    TwoFactor,
    /// A hardware key in this login.
    HardwareKey,
}

impl Policy {
    /// As the file writes it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "one-factor" => Some(Self::OneFactor),
            "two-factor" => Some(Self::TwoFactor),
            "hardware-key" => Some(Self::HardwareKey),
            _ => None,
        }
    }

    /// As the file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::OneFactor => "one-factor",
            Self::TwoFactor => "two-factor",
            Self::HardwareKey => "hardware-key",
        }
    }
}

/// A pattern for host names: `a.example.com`, `*.example.com`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// This one.
    Exact(HostName),
    /// Every name below, any number of labels down.
    Under(HostName),
}

impl HostPattern {
    /// Whether `host` is meant.
    pub fn matches(&self, host: &HostName) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(it) => it == host,
            Self::Under(root) => host.is_under(root),
        }
    }
}

/// A pattern for paths: `/admin` (that very path), `/admin/` or `/admin/*` (it and all below).
/// Always compared whole segments at a time with the decided path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// This path (kept without its trailing slash) and everything below it.
    Under(String),
}

impl PathPattern {
    /// Whether the decided path is meant.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(it) => it == path,
            Self::Under(it) => path
                .strip_prefix(it.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

/// One row of the policy table. An empty list matches everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rule {
    /// Its line in the file, for `explain`.
    pub line: usize,
    /// Hosts.
    pub hosts: Vec<HostPattern>,
    /// Paths.
    pub paths: Vec<PathPattern>,
    /// Methods, upper case.
    pub methods: Vec<String>,
    /// Users; together with `groups`: either is enough. A rule with users or groups and a
    /// policy other than `open` *admits* them alone; others fall to the next rule, and, when
    /// none is left, are refused.
    pub users: Vec<UserName>,
    /// Groups.
    pub groups: Vec<GroupName>,
    /// Client networks.
    pub networks: Vec<IpNet>,
    /// What is asked.
    pub policy: Policy,
    /// What sockets are asked instead, if not the same.
    pub sockets: Option<Policy>,
    /// What pages are asked instead, if not the same.
    pub pages: Option<Policy>,
    /// How fresh the factors must be.
    pub max_age: Option<Duration>,
}

/// What client messages of a Socket.IO connection have to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SocketMode {
    /// Nothing: the connection's session speaks for them.
    #[default]
    Session,
    /// A token each, or the connection itself showed one that is still good.
    InBand,
}

impl SocketMode {
    /// Reads the word of the file.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "session" => Some(Self::Session),
            "in-band" => Some(Self::InBand),
            _ => None,
        }
    }
}

/// How Socket.IO of a tenant is judged (`[[tenant]] socketio`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketIo {
    /// Whether Engine.IO 3 is let through too.
    pub eio3: bool,
    /// Namespaces that may be opened; empty: all.
    pub namespaces: Vec<String>,
    /// Whether each message to uibuilder is told who sent it, in `_auth`.
    pub annotate: bool,
    /// What client messages have to show.
    pub mode: SocketMode,
}

/// `[[tenant]]`: a tenant without Docker, or settings for one with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TenantConfig {
    /// Its line in the file.
    pub line: usize,
    /// The hosts it has or the settings are for.
    pub hosts: Vec<HostPattern>,
    /// `http://address:port`; empty: settings only.
    pub upstreams: Vec<SocketAddr>,
    /// What is asked at least, whatever the rules say.
    pub policy: Option<Policy>,
    /// Whether its own pages may take passwords.
    pub login_api: bool,
    /// Origins that may call it with the user's cookies.
    pub allow_origins: Vec<String>,
    /// Whether it may have service workers.
    pub service_workers: Option<bool>,
    /// Stripped headers that it is given back, lower case.
    pub keep_headers: Vec<String>,
    /// Socket.IO.
    pub socketio: SocketIo,
}
