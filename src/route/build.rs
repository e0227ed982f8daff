//! Building: what the file and the containers ask for becomes a table.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use crate::{
    clock::Timestamp,
    config::{Claims, Config, HostPattern, Policy, Rule, TenantConfig},
    name::{HostName, TenantId},
    route::{
        Asked, Discovered, HostRoute, PathMatch, PathRoute, RefusedRoute, RouteTable,
        TenantSettings, Tighten, Upstream,
        ownership::{self, Verdict},
    },
    store::ClaimRecord,
};

/// Who owns which host, by its canonical text ([`Asked`]'s `Display`).
#[derive(Debug, Default, Clone)]
pub struct Claimed(pub HashMap<String, ClaimRecord>);

/// What a table is made from.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What the operator said.
    pub config: &'a Config,
    /// What the containers ask for.
    pub found: Vec<Discovered>,
    /// Whose hosts are whose: everything that `found` asks for was claimed before, and what the
    /// file has is claimed by `file`. (With `docker.claims = "off"` owners are not compared.)
    pub claims: &'a Claimed,
}

/// The owner of what the file has.
pub const FILE: &str = "file";

impl RouteTable {
    /// Makes the table. What cannot be routed is told in `refused`, and touches nothing else.
    pub fn build(plan: Plan<'_>) -> Self {
        let Plan {
            config,
            found,
            claims,
        } = plan;
        let mut table = Self {
            portal: config.portal.host.clone(),
            manager: config.manager.host.clone(),
            root: config.root_domain.clone(),
            ..Self::default()
        };
        let mut asked = from_file(config, &mut table.refused);
        asked.extend(found);
        // The oldest first: whoever comes later gives way.
        asked.sort_by(|a, b| {
            (a.owner != FILE, a.created, &a.container).cmp(&(
                b.owner != FILE,
                b.created,
                &b.container,
            ))
        });
        let mut hosts: BTreeMap<String, Draft> = BTreeMap::new();
        let strict = match config.docker.claims {
            Some(claims) => claims != Claims::Off,
            None => config.is_guarded(),
        };
        let wanted: HashSet<String> = asked.iter().map(|it| it.host.to_string()).collect();
        for one in asked {
            let name = one.host.to_string();
            let verdict = ownership::judge(&one, &name, config, claims, strict);
            let verdict = verdict.and_then(|verdict| match hosts.entry(name) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(Draft::new(&one, verdict));
                    Ok(())
                }
                std::collections::btree_map::Entry::Occupied(taken) => {
                    let owner = &taken.get().owner;
                    if !strict && *owner != one.owner {
                        let reason = format!("shared with {owner}: claims are off");
                        table.refused.push(refused(&one, reason));
                    }
                    taken.get().may_join(&one, strict)
                }
            });
            match verdict {
                Err(reason) => table.refused.push(refused(&one, reason)),
                Ok(()) => {
                    if let Some(draft) = hosts.get_mut(&one.host.to_string()) {
                        draft.add(one, &mut table.refused);
                    }
                }
            }
        }
        if config.is_guarded() && strict {
            let silent = claims.0.iter().filter(|(name, _)| !wanted.contains(*name));
            for (name, record) in silent {
                if let Some(draft) = Draft::stopped(name, record) {
                    hosts.insert(name.clone(), draft);
                }
            }
        }
        let settings = Settings::of(&config.tenants);
        for (name, draft) in hosts {
            let asked = draft.asked.clone();
            let route = Arc::new(draft.finish(&name, config, &settings));
            table.insert(asked, route);
        }
        table
    }

    fn insert(&mut self, asked: Asked, route: Arc<HostRoute>) {
        match asked {
            Asked::Exact(host) => drop(self.exact.insert(host, route)),
            Asked::Leading(below) => drop(self.leading.insert(below.as_str().into(), route)),
            Asked::Trailing(above) => drop(self.trailing.insert(above.as_str().into(), route)),
            // Drafts come in lexical order, as nginx's do.
            Asked::Regex(_, regex) => self.regexes.push((regex, route)),
        }
    }
}

fn refused(one: &Discovered, reason: impl Into<String>) -> RefusedRoute {
    RefusedRoute {
        container: one.container.clone(),
        asked: format!("{} {}", one.host, one.path.key()),
        reason: reason.into(),
    }
}

/// The tenants that the file itself has.
fn from_file(config: &Config, refused: &mut Vec<RefusedRoute>) -> Vec<Discovered> {
    let mut out = Vec::new();
    for tenant in config.tenants.iter().filter(|it| !it.upstreams.is_empty()) {
        let label = format!("line {}", tenant.line);
        for pattern in &tenant.hosts {
            let host = match pattern {
                HostPattern::Exact(host) => Asked::Exact(host.clone()),
                HostPattern::Under(root) => Asked::Leading(root.clone()),
                HostPattern::Any => {
                    refused.push(RefusedRoute {
                        container: label.clone(),
                        asked: "*".to_owned(),
                        reason: "a tenant with upstreams cannot have every host".to_owned(),
                    });
                    continue;
                }
            };
            out.extend(tenant.upstreams.iter().map(|address| Discovered {
                container: label.clone(),
                owner: FILE.to_owned(),
                created: Timestamp(i64::try_from(tenant.line).unwrap_or(i64::MAX)),
                host: host.clone(),
                path: PathMatch::everything(),
                dest: None,
                upstream: Some(Upstream {
                    address: *address,
                    label: label.as_str().into(),
                }),
                tighten: Tighten::default(),
                internal: false,
                plain_http: false,
            }));
        }
    }
    out
}

/// A host while it is put together.
struct Draft {
    asked: Asked,
    owner: String,
    tenant: TenantId,
    changed_hands: bool,
    plain_http: bool,
    paths: Vec<PathDraft>,
    by_path: HashMap<String, usize>,
}

struct PathDraft {
    route: PathRoute,
    upstreams: Vec<Upstream>,
}

impl Draft {
    fn new(one: &Discovered, verdict: Verdict) -> Self {
        Self {
            asked: one.host.clone(),
            owner: one.owner.clone(),
            tenant: verdict.tenant,
            changed_hands: verdict.changed_hands,
            plain_http: one.plain_http,
            paths: Vec::new(),
            by_path: HashMap::new(),
        }
    }

    /// A host that is somebody's whose containers do not run: it has no path.
    fn stopped(name: &str, record: &ClaimRecord) -> Option<Self> {
        let asked = Asked::parse(name).ok()?;
        let is_a_containers = record.owner != FILE && record.released.is_none();
        (is_a_containers && matches!(asked, Asked::Exact(_))).then(|| Self {
            asked,
            owner: record.owner.clone(),
            tenant: record.tenant.clone(),
            changed_hands: record.changed_hands,
            plain_http: false,
            paths: Vec::new(),
            by_path: HashMap::new(),
        })
    }

    fn may_join(&self, one: &Discovered, strict: bool) -> Result<(), String> {
        if strict && self.owner != one.owner {
            return Err(format!("the host belongs to {}", self.owner));
        }
        Ok(())
    }

    /// Adds what one container asks for. Those of a path are balanced; what they disagree on is
    /// as the oldest has it, but whoever asks for more protection gets it.
    fn add(&mut self, one: Discovered, refusals: &mut Vec<RefusedRoute>) {
        let mut warn = |what: &str| {
            refusals.push(refused(
                &one,
                format!("{what} differs from an older container's; theirs counts"),
            ));
        };
        if self.plain_http != one.plain_http {
            warn("whether plain HTTP is answered");
        }
        let at = match self.by_path.entry(one.path.key()) {
            Entry::Vacant(free) => {
                free.insert(self.paths.len());
                self.paths.push(PathDraft::new(one));
                return;
            }
            Entry::Occupied(taken) => *taken.get(),
        };
        let Some(path) = self.paths.get_mut(at) else {
            return;
        };
        if path.route.dest != one.dest {
            warn("the destination path");
        }
        path.route.internal |= one.internal;
        path.route.tighten = stricter(&path.route.tighten, &one.tighten);
        if let Some(upstream) = one.upstream
            && !path
                .upstreams
                .iter()
                .any(|it| it.address == upstream.address)
        {
            path.upstreams.push(upstream);
        }
    }

    fn finish(self, name: &str, config: &Config, settings: &Settings<'_>) -> HostRoute {
        let settings = settings.find(&self.asked);
        let rules: Vec<Rule> = config
            .rules
            .iter()
            .filter(|rule| reach(&rule.hosts, &self.asked) != Reach::None)
            .cloned()
            .collect();
        let paths: Vec<PathRoute> = self
            .paths
            .into_iter()
            .map(|it| PathRoute {
                upstreams: it.upstreams.into(),
                ..it.route
            })
            .collect();
        let asks_more = |it: &PathRoute| it.tighten != Tighten::default();
        let default = if config.is_guarded() {
            Policy::TwoFactor
        } else {
            Policy::Open
        };
        let guarded = settings.policy.is_some_and(|it| it > Policy::Open)
            || paths.iter().any(|it| can_tighten(&it.tighten))
            || can_come_out(&rules, &self.asked, default);
        let path_matters = rules.iter().any(|it| !it.paths.is_empty())
            || paths.iter().any(|it| it.dest.is_some())
            || (paths.iter().any(|it| it.internal || asks_more(it))
                && paths.iter().any(|it| !it.matches.is_everything()));
        HostRoute {
            pattern: name.into(),
            tenant: self.tenant,
            changed_hands: self.changed_hands,
            owner: self.owner.into(),
            paths,
            settings: Arc::new(settings),
            rules: Arc::new(rules),
            guarded,
            path_matters,
            plain_http: self.plain_http && !guarded,
        }
    }
}

impl PathDraft {
    fn new(one: Discovered) -> Self {
        Self {
            upstreams: one.upstream.into_iter().collect(),
            route: PathRoute {
                matches: one.path,
                upstreams: Arc::default(),
                dest: one.dest,
                tighten: one.tighten,
                internal: one.internal,
            },
        }
    }
}

/// The stricter of both, point by point.
fn stricter(a: &Tighten, b: &Tighten) -> Tighten {
    let namespaces = match (a.namespaces.as_slice(), b.namespaces.as_slice()) {
        ([], only) | (only, []) => only.to_vec(),
        (a, b) => {
            let both: Vec<String> = a.iter().filter(|it| b.contains(it)).cloned().collect();
            // None in common: the older one's, rather than none, which would mean all.
            if both.is_empty() { a.to_vec() } else { both }
        }
    };
    Tighten {
        policy: a.policy.max(b.policy),
        sockets: a.sockets.max(b.sockets),
        pages: a.pages.max(b.pages),
        max_age: match (a.max_age, b.max_age) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        },
        namespaces,
    }
}

fn can_tighten(tighten: &Tighten) -> bool {
    [tighten.policy, tighten.sockets, tighten.pages]
        .into_iter()
        .flatten()
        .any(|it| it > Policy::Open)
}

/// Whether anything but `open` can come out of the rules.
fn can_come_out(rules: &[Rule], asked: &Asked, default: Policy) -> bool {
    for rule in rules {
        let policies = [Some(rule.policy), rule.sockets, rule.pages];
        if policies.into_iter().flatten().any(|it| it > Policy::Open) {
            return true;
        }
        let is_last = rule.paths.is_empty()
            && rule.methods.is_empty()
            && rule.users.is_empty()
            && rule.groups.is_empty()
            && rule.networks.is_empty()
            && reach(&rule.hosts, asked) == Reach::All;
        if is_last {
            return false;
        }
    }
    default > Policy::Open
}

/// How many of a host's names some patterns mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    None,
    Some,
    All,
}

fn reach(patterns: &[HostPattern], asked: &Asked) -> Reach {
    if patterns.is_empty() {
        return Reach::All;
    }
    let one = |pattern: &HostPattern| match (pattern, asked) {
        (HostPattern::Any, _) => Reach::All,
        (pattern, Asked::Exact(host)) if pattern.matches(host) => Reach::All,
        (HostPattern::Under(root), Asked::Leading(below)) => {
            if below == root || below.is_under(root) {
                Reach::All
            } else if root.is_under(below) {
                Reach::Some
            } else {
                Reach::None
            }
        }
        (HostPattern::Exact(host), Asked::Leading(below)) if host.is_under(below) => Reach::Some,
        (_, Asked::Trailing(_) | Asked::Regex(..)) => Reach::Some,
        (HostPattern::Exact(_), Asked::Exact(_) | Asked::Leading(_))
        | (HostPattern::Under(_), Asked::Exact(_)) => Reach::None,
    };
    patterns.iter().map(one).max().unwrap_or(Reach::None)
}

/// Which `[[tenant]]` of the file has the settings of a host, without a walk through all of them
/// for each host.
struct Settings<'a> {
    tenants: &'a [Arc<TenantConfig>],
    /// The first tenant that names a host.
    exact: HashMap<&'a HostName, usize>,
    /// The tenants with patterns, in order.
    wide: Vec<usize>,
}

impl<'a> Settings<'a> {
    fn of(tenants: &'a [Arc<TenantConfig>]) -> Self {
        let (mut exact, mut wide) = (HashMap::new(), Vec::new());
        for (at, tenant) in tenants.iter().enumerate() {
            for pattern in &tenant.hosts {
                if let HostPattern::Exact(host) = pattern {
                    exact.entry(host).or_insert(at);
                } else if wide.last() != Some(&at) {
                    wide.push(at);
                }
            }
        }
        Self {
            tenants,
            exact,
            wide,
        }
    }

    /// The first that means all of a host's names gives its settings.
    fn find(&self, asked: &Asked) -> TenantSettings {
        let named = match asked {
            Asked::Exact(host) => self.exact.get(host).copied(),
            Asked::Leading(_) | Asked::Trailing(_) | Asked::Regex(..) => None,
        };
        let covers = |at: &usize| {
            let tenant = self.tenants.get(*at);
            tenant.is_some_and(|it| reach(&it.hosts, asked) == Reach::All)
        };
        let wide = self.wide.iter().copied().find(covers);
        named
            .into_iter()
            .chain(wide)
            .min()
            .and_then(|at| self.tenants.get(at))
            .map(|it| TenantSettings {
                login_api: it.login_api,
                allow_origins: it.allow_origins.clone(),
                service_workers: it.service_workers,
                keep_headers: it.keep_headers.clone(),
                socketio: it.socketio.clone(),
                policy: it.policy,
            })
            .unwrap_or_default()
    }
}

/// Whether two patterns of different owners would take names from each other.
pub(super) fn is_within(host: &HostName, below: &str) -> bool {
    host.as_str()
        .strip_suffix(below)
        .is_some_and(|it| it.is_empty() || it.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Destination;

    fn config(root: Option<&str>) -> Config {
        let root = root.map(|it| HostName::parse(it).unwrap());
        Config {
            portal: crate::config::Portal {
                host: root.as_ref().map(|it| it.child("auth").unwrap()),
            },
            manager: crate::config::Manager {
                enabled: false,
                host: root.as_ref().map(|it| it.child("manager").unwrap()),
            },
            root_domain: root,
            ..Config::default()
        }
    }

    fn one(owner: &str, host: &str, created: i64) -> Discovered {
        let address = ([172, 17, 0, u8::try_from(created % 250).unwrap()], 1880).into();
        Discovered {
            container: format!("c{created}"),
            owner: owner.to_owned(),
            created: Timestamp(created),
            host: Asked::parse(host).unwrap(),
            path: PathMatch::everything(),
            dest: None,
            upstream: Some(Upstream {
                address,
                label: "c".into(),
            }),
            tighten: Tighten::default(),
            internal: false,
            plain_http: false,
        }
    }

    /// Claims, the oldest first.
    fn claims(rows: &[(&str, &str)]) -> Claimed {
        let record = |(at, (host, owner)): (i64, &(&str, &str))| ClaimRecord {
            host: (*host).to_owned(),
            tenant: format!("t-{host}").as_str().into(),
            owner: (*owner).to_owned(),
            since: Timestamp(at),
            changed_hands: false,
            released: None,
        };
        Claimed(
            (0..)
                .zip(rows)
                .map(|it| (it.1.0.to_owned(), record(it)))
                .collect(),
        )
    }

    fn build(config: &Config, found: Vec<Discovered>, claimed: &[(&str, &str)]) -> RouteTable {
        let claims = claims(claimed);
        RouteTable::build(Plan {
            config,
            found,
            claims: &claims,
        })
    }

    fn found(table: &RouteTable, host: &str) -> String {
        match table.find(&HostName::parse(host).unwrap()) {
            Destination::Tenant(route) => route.pattern.to_string(),
            Destination::Portal => "portal".to_owned(),
            Destination::Manager => "manager".to_owned(),
            Destination::NowhereGuarded => "nowhere, guarded".to_owned(),
            Destination::Nowhere => "nowhere".to_owned(),
        }
    }

    #[test]
    fn hosts_are_found_in_nginx_order() {
        let hosts = [
            "a.net",
            "*.a.net",
            "*.b.a.net",
            "www.*",
            "www.x.*",
            "~^z",
            "~^za",
        ];
        let asked = (1..)
            .zip(hosts)
            .map(|(at, it)| one("project:p", it, at))
            .collect();
        let table = build(&config(None), asked, &[]);
        for (host, expected) in [
            ("a.net", "a.net"),
            ("x.a.net", "*.a.net"),
            ("x.y.b.a.net", "*.b.a.net"),
            ("b.a.net", "*.a.net"),
            ("www.a.net", "*.a.net"),
            ("www.c.org", "www.*"),
            ("www.x.org", "www.x.*"),
            ("zab.org", "~^z"),
            ("q.org", "nowhere"),
            ("xa.net", "nowhere"),
        ] {
            assert_eq!(found(&table, host), expected, "{host}");
        }
    }

    #[test]
    fn under_a_guarded_root_nobody_is_a_place_too() {
        let table = build(&config(Some("example.net")), Vec::new(), &[]);
        assert_eq!(found(&table, "auth.example.net"), "portal");
        assert_eq!(found(&table, "manager.example.net"), "manager");
        assert_eq!(found(&table, "x.y.example.net"), "nowhere, guarded");
        assert_eq!(found(&table, "example.net"), "nowhere");
    }

    #[test]
    fn p11_nobody_takes_what_is_anothers() {
        let config = config(Some("example.net"));
        let claimed = [
            ("a.example.net", "project:a"),
            ("*.w.example.net", "project:a"),
            ("b.example.net", "project:b"),
            ("*.a.example.net", "project:b"),
            ("x.w.example.net", "project:b"),
            ("*.example.net", "project:b"),
            ("~.*", "project:b"),
            ("a.example.*", "project:b"),
            ("auth.example.net", "project:b"),
            ("manager.example.net", "project:b"),
        ];
        let mut asked = vec![
            one("project:a", "a.example.net", 9),
            one("project:a", "*.w.example.net", 9),
        ];
        asked.extend(claimed.iter().map(|it| one("project:b", it.0, 1)));
        asked.push(one("project:b", "unclaimed.example.net", 2));
        let table = build(&config, asked, &claimed);
        for (host, expected) in [
            ("a.example.net", "a.example.net"),
            ("x.w.example.net", "*.w.example.net"),
            ("b.example.net", "b.example.net"),
            ("x.a.example.net", "nowhere, guarded"),
            ("auth.example.net", "portal"),
            ("unclaimed.example.net", "nowhere, guarded"),
        ] {
            assert_eq!(found(&table, host), expected, "{host}");
        }
        assert_eq!(table.refused.len(), 10, "{:#?}", table.refused);
        let Destination::Tenant(route) = table.find(&HostName::parse("a.example.net").unwrap())
        else {
            panic!("not routed");
        };
        assert_eq!(
            (&*route.owner, route.tenant.as_str()),
            ("project:a", "t-a.example.net")
        );
    }

    #[test]
    fn containers_of_one_owner_are_balanced_and_the_oldest_decides() {
        let old = Discovered {
            dest: Some("/old".to_owned()),
            ..one("project:p", "a.example.net", 1)
        };
        let new = Discovered {
            dest: Some("/new".to_owned()),
            tighten: Tighten {
                policy: Some(Policy::HardwareKey),
                ..Tighten::default()
            },
            internal: true,
            ..one("project:p", "a.example.net", 2)
        };
        let claimed = [("a.example.net", "project:p")];
        let table = build(&config(Some("example.net")), vec![new, old], &claimed);
        let route = &table.exact[&HostName::parse("a.example.net").unwrap()];
        let [path] = route.paths.as_slice() else {
            panic!("one path");
        };
        assert_eq!(
            (path.upstreams.len(), path.dest.as_deref()),
            (2, Some("/old"))
        );
        assert_eq!(path.tighten.policy, Some(Policy::HardwareKey));
        assert!(path.internal && route.path_matters);
        assert!(
            table.refused[0].reason.contains("older"),
            "{:?}",
            table.refused
        );
    }

    #[test]
    fn a_container_that_is_not_reached_still_has_its_route() {
        let away = Discovered {
            upstream: None,
            ..one("container:c", "a.example.net", 1)
        };
        let table = build(&config(None), vec![away], &[]);
        let route = &table.exact[&HostName::parse("a.example.net").unwrap()];
        assert!(route.paths[0].upstreams.is_empty());
    }

    fn rule(hosts: &[HostPattern], policy: Policy) -> Rule {
        Rule {
            hosts: hosts.to_vec(),
            policy,
            ..Rule::default()
        }
    }

    fn is_guarded(config: &Config, host: &str) -> (bool, bool) {
        let claimed = [(host, "project:p")];
        let table = build(config, vec![one("project:p", host, 1)], &claimed);
        let route = table
            .exact
            .values()
            .chain(table.leading.values())
            .next()
            .unwrap();
        (route.guarded, route.path_matters)
    }

    #[test]
    fn a_host_is_open_only_if_nothing_else_can_come_out() {
        let open = HostPattern::Exact(HostName::parse("a.example.net").unwrap());
        let mut config = config(Some("example.net"));
        assert_eq!(is_guarded(&config, "a.example.net"), (true, false));
        config.rules = Arc::new(vec![rule(std::slice::from_ref(&open), Policy::Open)]);
        assert_eq!(is_guarded(&config, "a.example.net"), (false, false));
        assert_eq!(is_guarded(&config, "b.example.net"), (true, false));
        assert_eq!(is_guarded(&config, "*.x.example.net"), (true, false));
        let mut narrow = rule(&[open], Policy::Open);
        narrow.paths = vec![crate::config::PathPattern::Under("/public".to_owned())];
        config.rules = Arc::new(vec![narrow]);
        assert_eq!(is_guarded(&config, "a.example.net"), (true, true));
        assert_eq!(is_guarded(&config, "b.example.net"), (true, false));
        config.root_domain = None;
        config.rules = Arc::default();
        assert_eq!(is_guarded(&config, "a.example.net"), (false, false));
        config.rules = Arc::new(vec![rule(&[HostPattern::Any], Policy::OneFactor)]);
        assert_eq!(is_guarded(&config, "a.example.net"), (true, false));
    }

    #[test]
    fn tenants_of_the_file_come_first_and_need_no_claim() {
        let mut config = config(Some("example.net"));
        let host = HostName::parse("a.example.net").unwrap();
        config.tenants = vec![Arc::new(TenantConfig {
            line: 7,
            hosts: vec![HostPattern::Exact(host.clone()), HostPattern::Any],
            upstreams: vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()],
            login_api: true,
            ..TenantConfig::default()
        })];
        let rival = one("project:p", "a.example.net", 1);
        let table = build(&config, vec![rival], &[("a.example.net", "project:p")]);
        let route = &table.exact[&host];
        assert_eq!((&*route.owner, route.paths[0].upstreams.len()), (FILE, 2));
        assert!(route.settings.login_api);
        assert_eq!(table.refused.len(), 2);
    }
}
