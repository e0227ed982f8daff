//! Where to? The table is a snapshot, swapped whole.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    clock::Timestamp,
    config::{Policy, Rule, SocketIo},
    name::{HostName, TenantId},
};

mod build;
mod find;
mod ownership;
pub mod pattern;

pub use build::{Claimed, FILE, Plan};
pub use ownership::may_claim;
pub use pattern::Asked;

/// How a path is matched, as nginx does it (`=`, prefix, `^~`, `~`, `~*`).
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// `= /x`
    Exact(String),
    /// `/x`: by bytes, no segment boundary. `no_regex` is `^~`.
    Prefix {
        /// The prefix.
        text: String,
        /// Whether it wins over regexes.
        no_regex: bool,
    },
    /// `~ x` or `~* x`
    Regex(regex::Regex),
}

/// One place that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its address; only ever the container's own.
    pub address: SocketAddr,
    /// The container's name or the file's line, for people.
    pub label: Arc<str>,
}

/// One path of a host.
#[derive(Debug, Clone)]
pub struct PathRoute {
    /// Which paths.
    pub matches: PathMatch,
    /// Who answers; empty: nobody just now.
    pub upstreams: Arc<[Upstream]>,
    /// Replaces the matched prefix, if not `None` (`VIRTUAL_DEST`).
    pub dest: Option<String>,
    /// What the container's own labels ask at least.
    pub tighten: Tighten,
    /// Only for clients of private networks (`NETWORK_ACCESS=internal`); others get 403.
    pub internal: bool,
}

/// What a container's labels may do: ask for more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tighten {
    /// At least this.
    pub policy: Option<Policy>,
    /// At least this for sockets.
    pub sockets: Option<Policy>,
    /// At least this for pages.
    pub pages: Option<Policy>,
    /// At most so old.
    pub max_age: Option<Duration>,
    /// No other namespaces than these; empty: no word.
    pub namespaces: Vec<String>,
}

/// Settings of a tenant, from the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TenantSettings {
    /// Whether its pages may take passwords.
    pub login_api: bool,
    /// Origins that may call it with the user's cookies.
    pub allow_origins: Vec<String>,
    /// Whether it may have service workers. (Default: yes.)
    pub service_workers: Option<bool>,
    /// Stripped headers it is given back, lower case.
    pub keep_headers: Vec<String>,
    /// Socket.IO.
    pub socketio: SocketIo,
    /// Asked at least, whatever the rules say.
    pub policy: Option<Policy>,
}

/// One host and path that one container asks for: what a source of containers fills in, and
/// what [`RouteTable::build`] judges. A container with several hosts or paths gives several.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The container's name, for people.
    pub container: String,
    /// Who it belongs to, as claims write it: `project:<name>`, `service:<project>/<name>`,
    /// `container:<name>`.
    pub owner: String,
    /// When the container was made: among those who disagree the oldest wins, then the name.
    pub created: Timestamp,
    /// The host it asks for; [`Asked::parse`] reads what `VIRTUAL_HOST` says.
    pub host: Asked,
    /// The path; [`PathMatch::parse`] reads what `VIRTUAL_PATH` says.
    pub path: PathMatch,
    /// `VIRTUAL_DEST`, if not empty.
    pub dest: Option<String>,
    /// Where it answers: its own address only. `None`: nowhere that we reach, or not yet; the
    /// route exists and answers 502 or 503.
    pub upstream: Option<Upstream>,
    /// What its labels ask.
    pub tighten: Tighten,
    /// `NETWORK_ACCESS=internal`.
    pub internal: bool,
    /// Whether plain HTTP is answered (`HTTPS_METHOD` is `noredirect` or `nohttps`); without
    /// effect on a guarded host.
    pub plain_http: bool,
}

/// One host of one tenant.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts that have nothing to do with each other"
)]
#[derive(Debug, Clone)]
pub struct HostRoute {
    /// As it was asked for (`a.example.com`, `*.example.com`, `~regex`): for people.
    pub pattern: Arc<str>,
    /// Random, from the claim.
    pub tenant: TenantId,
    /// Whether the claim ever changed hands.
    pub changed_hands: bool,
    /// Who owns it, for people.
    pub owner: Arc<str>,
    /// Its paths; [`HostRoute::path`] picks as nginx does.
    pub paths: Vec<PathRoute>,
    /// Its settings.
    pub settings: Arc<TenantSettings>,
    /// The rules that can apply to this host, in order. For a wildcard or a regex some may be
    /// for part of its names only: whoever decides compares their hosts with the one asked for.
    pub rules: Arc<Vec<Rule>>,
    /// Whether anything but `open` can come out for this host.
    pub guarded: bool,
    /// Whether a decision can hang on the path: then an ambiguous one is refused.
    pub path_matters: bool,
    /// Whether plain HTTP is answered instead of redirected (open hosts only).
    pub plain_http: bool,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// The portal's own pages.
    Portal,
    /// The tenant manager's host.
    Manager,
    /// A tenant.
    Tenant(Arc<HostRoute>),
    /// Under a guarded root, and nobody is there: answered as a known one would be.
    NowhereGuarded,
    /// Nobody is there: nginx-proxy's answer table.
    Nowhere,
}

/// A container that was not (wholly) routed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRoute {
    /// The container's name.
    pub container: String,
    /// What it asked for.
    pub asked: String,
    /// Why not.
    pub reason: String,
}

/// Every route there is.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// The portal's host.
    pub portal: Option<HostName>,
    /// The manager's host (reserved even when it does not run).
    pub manager: Option<HostName>,
    /// The guarded root.
    pub root: Option<HostName>,
    /// Exact hosts. Shared by one table and the next as far as they agree: one route more or
    /// less among ten thousand costs what it costs among ten.
    pub exact: imbl::HashMap<HostName, Arc<HostRoute>>,
    /// `*.bar.com`: by `bar.com`.
    pub leading: HashMap<Box<str>, Arc<HostRoute>>,
    /// `foo.bar.*`: by `foo.bar`.
    pub trailing: HashMap<Box<str>, Arc<HostRoute>>,
    /// `~regex`, in lexical order of the text.
    pub regexes: Vec<(regex::Regex, Arc<HostRoute>)>,
    /// What was refused of which container.
    pub refused: Vec<RefusedRoute>,
}

/// The table in force, and a number that grows with every change of it: open connections
/// compare the number and look again when it moved.
#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<RouteTable>,
    epoch: AtomicU64,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            table: ArcSwap::from_pointee(RouteTable::default()),
            epoch: AtomicU64::new(0),
            changed: tokio::sync::watch::Sender::new(0),
        }
    }
}

impl Routes {
    /// The table now.
    pub fn load(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// The number of the table now.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Puts a new table in force.
    pub fn swap(&self, table: RouteTable) {
        self.table.store(Arc::new(table));
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.send_replace(epoch);
    }

    /// Tells when the table changes.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
