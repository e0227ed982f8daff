//! The short way for a small change: a container that comes or goes is put into the table that
//! stands, at a price that hardly grows with the containers beside it. What is not plain (a
//! wildcard, a refusal, a warning, another engine) goes the whole way, and so does everything
//! a moment later: this way is only the quicker one, and never the last word.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use imbl::ordmap::DiffItem;

use super::{claims, read::read, rules::DockerRules};
use crate::{
    config::{Config, HostPattern},
    docker::{Container, Snapshot},
    name::HostName,
    route::{Asked, Claimed, Discovered, Plan, RefusedRoute, RouteTable},
    store::ClaimRecord,
};

/// More containers or names than this at once are no small change.
const FEW: usize = 16;
/// More containers than this behind one name are not looked through here.
const REPLICAS: usize = 64;

/// A container, and the number of the engine that runs it.
pub(super) type Placed = (usize, Arc<Container>);

/// Who asks for each name that is one name.
pub(super) type Asking = HashMap<HostName, Vec<Placed>>;

/// What the table in force was made from.
#[derive(Debug)]
pub(super) struct Standing {
    config: Arc<Config>,
    rules: DockerRules,
    snapshots: Vec<Snapshot>,
    asking: Asking,
    /// Names of which something was refused to somebody.
    odd: HashSet<String>,
    /// Names that the file gives to upstreams.
    of_file: HashSet<HostName>,
    /// Claims on more than one name.
    patterns: Vec<ClaimRecord>,
}

/// A small change, read.
#[derive(Debug)]
pub(super) struct Change {
    /// The names that may be another's now, or nobody's.
    hosts: BTreeSet<HostName>,
    /// Everything that is asked of them now, the oldest first.
    pub(super) wants: Vec<Discovered>,
    /// Whether somebody who was asked for went away: that waits for no store.
    pub(super) takes: bool,
    gone: Vec<Placed>,
    come: Vec<Placed>,
    snapshots: Vec<Snapshot>,
}

impl Change {
    /// Whether no route hangs on it: a database came, say.
    pub(super) fn is_nothing(&self) -> bool {
        self.hosts.is_empty()
    }
}

impl Standing {
    /// What there is to remember of a whole pass.
    pub(super) fn new(
        config: &Arc<Config>,
        snapshots: &[Option<Snapshot>],
        asking: Asking,
        refused: &[RefusedRoute],
        claims: &Claimed,
    ) -> Option<Self> {
        let is_pattern = |it: &&ClaimRecord| it.host.contains(['*', '~']);
        let first_word = |it: &RefusedRoute| it.asked.split(' ').next().map(str::to_owned);
        Some(Self {
            config: config.clone(),
            rules: DockerRules::of(config),
            snapshots: snapshots.iter().cloned().collect::<Option<_>>()?,
            asking,
            odd: refused.iter().filter_map(first_word).collect(),
            of_file: file_names(config).collect(),
            patterns: claims.0.values().filter(is_pattern).cloned().collect(),
        })
    }

    /// What is different now; `None`: too much of it, or not of the plain kind.
    pub(super) fn change(
        &self,
        config: &Arc<Config>,
        snapshots: &[Option<Snapshot>],
    ) -> Option<Change> {
        if !Arc::ptr_eq(config, &self.config) || snapshots.len() != self.snapshots.len() {
            return None;
        }
        let now: Vec<Snapshot> = snapshots.iter().cloned().collect::<Option<_>>()?;
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for (engine, (before, now)) in self.snapshots.iter().zip(&now).enumerate() {
            if before.connected != now.connected || before.gateway != now.gateway {
                return None;
            }
            difference(engine, before, now, &mut gone, &mut come)?;
        }
        let (lost, gained) = (self.read(&gone)?, self.read(&come)?);
        let takes = !lost.is_empty();
        let mut hosts = BTreeSet::new();
        for want in lost.iter().chain(&gained) {
            let Asked::Exact(host) = &want.host else {
                return None;
            };
            let is_plain = !self.of_file.contains(host) && !self.odd.contains(host.as_str());
            hosts.insert(is_plain.then(|| host.clone())?);
        }
        let mut wants = gained;
        for host in &hosts {
            wants.extend(self.others(host, &gone)?);
        }
        (hosts.len() <= FEW).then(|| Change {
            hosts,
            wants: claims::oldest_first(wants),
            takes,
            gone,
            come,
            snapshots: now,
        })
    }

    /// What containers ask for; `None` where one is refused something.
    fn read(&self, placed: &[Placed]) -> Option<Vec<Discovered>> {
        let mut wants = Vec::new();
        for (engine, container) in placed {
            let read = read(
                container,
                &self.snapshots.get(*engine)?.gateway,
                &self.rules,
            );
            if !read.refused.is_empty() {
                return None;
            }
            wants.extend(read.wants);
        }
        Some(wants)
    }

    /// What those who stay ask of `host`.
    fn others(&self, host: &HostName, gone: &[Placed]) -> Option<Vec<Discovered>> {
        let Some(asking) = self.asking.get(host) else {
            return Some(Vec::new());
        };
        if asking.len() > REPLICAS {
            return None;
        }
        let mut wants = Vec::new();
        for (engine, container) in asking.iter().filter(|it| !holds(gone, it)) {
            let gateway = &self.snapshots.get(*engine)?.gateway;
            wants.extend(read(container, gateway, &self.rules).wants);
        }
        wants.retain(|it| matches!(&it.host, Asked::Exact(asked) if asked == host));
        Some(wants)
    }

    /// The claims that have a word in it: those of its names, and those on many names.
    pub(super) fn claims_near(&self, change: &Change, claims: &Claimed) -> Vec<ClaimRecord> {
        let own = change
            .hosts
            .iter()
            .filter_map(|it| claims.0.get(it.as_str()));
        own.chain(&self.patterns).cloned().collect()
    }

    /// The table with the change in it; `None` where something of it is refused.
    pub(super) fn amended(
        &self,
        table: &RouteTable,
        change: &Change,
        claims: &Claimed,
    ) -> Option<RouteTable> {
        let near = self.claims_near(change, claims).into_iter();
        let mut part = RouteTable::build(Plan {
            config: &self.config,
            found: change.wants.clone(),
            claims: &Claimed(near.map(|it| (it.host.clone(), it)).collect()),
        });
        let of_change =
            |no: &RefusedRoute| change.wants.iter().any(|it| it.container == no.container);
        if part.refused.iter().any(of_change) {
            return None;
        }
        let mut table = table.clone();
        for host in &change.hosts {
            match part.exact.remove(host) {
                Some(route) => table.exact.insert(host.clone(), route),
                None => table.exact.remove(host),
            };
        }
        Some(table)
    }

    /// The change is in force.
    pub(super) fn took(&mut self, change: Change) {
        for host in &change.hosts {
            if let Some(asking) = self.asking.get_mut(host) {
                asking.retain(|it| !holds(&change.gone, it));
                if asking.is_empty() {
                    self.asking.remove(host);
                }
            }
        }
        for (engine, container) in change.come {
            let Some(snapshot) = self.snapshots.get(engine) else {
                continue;
            };
            for want in read(&container, &snapshot.gateway, &self.rules).wants {
                note(&mut self.asking, &want, engine, &container);
            }
        }
        self.snapshots = change.snapshots;
    }
}

/// Writes down who asks: a container once, also where it names a host twice.
pub(super) fn note(asking: &mut Asking, want: &Discovered, engine: usize, it: &Arc<Container>) {
    if let Asked::Exact(host) = &want.host {
        let all = asking.entry(host.clone()).or_default();
        if !all.last().is_some_and(|last| Arc::ptr_eq(&last.1, it)) {
            all.push((engine, it.clone()));
        }
    }
}

fn holds(all: &[Placed], one: &Placed) -> bool {
    all.iter()
        .any(|it| it.0 == one.0 && Arc::ptr_eq(&it.1, &one.1))
}

fn file_names(config: &Config) -> impl Iterator<Item = HostName> {
    let tenants = config.tenants.iter().filter(|it| !it.upstreams.is_empty());
    tenants.flat_map(|it| &it.hosts).filter_map(|it| match it {
        HostPattern::Exact(host) => Some(host.clone()),
        HostPattern::Any | HostPattern::Under(_) => None,
    })
}

/// What is in one snapshot and not in the other. `None` when it is more than a few.
fn difference(
    engine: usize,
    before: &Snapshot,
    now: &Snapshot,
    gone: &mut Vec<Placed>,
    come: &mut Vec<Placed>,
) -> Option<()> {
    for item in before.containers.diff(&now.containers) {
        let (old, new) = match item {
            DiffItem::Add(_, new) => (None, Some(new)),
            DiffItem::Remove(_, old) => (Some(old), None),
            DiffItem::Update { old, new } => (Some(old.1), Some(new.1)),
        };
        gone.extend(old.map(|it| (engine, Arc::clone(it))));
        come.extend(new.map(|it| (engine, Arc::clone(it))));
        if gone.len() + come.len() > FEW {
            return None;
        }
    }
    Some(())
}
