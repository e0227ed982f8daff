//! Whose host is whose. A name that was once served stays its owner's until it is released;
//! who asks for another's is refused.

use std::collections::HashMap;

use crate::{
    clock::Timestamp,
    config::{Claims, Config, HostPattern},
    name::HostName,
    route::{Asked, Claimed, Discovered, FILE, RefusedRoute},
    store::{ClaimRecord, FREED_AT_ONCE, Store, StoreError},
};

use super::{read::printable, rules::DockerRules};

/// What came of asking the store.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Who may have what they want, the oldest first.
    pub granted: Vec<Discovered>,
    /// Who may not, and what they wanted.
    pub refused: Vec<(Discovered, RefusedRoute)>,
    /// Whose the granted hosts are.
    pub claims: Claimed,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// Whether everything was granted, without a word.
    pub(super) fn is_plain(&self) -> bool {
        let is_live = |it: &ClaimRecord| it.released.is_none();
        self.refused.is_empty() && self.warnings.is_empty() && self.claims.0.values().all(is_live)
    }
}

/// Whether what nobody owns yet is claimed, or only would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    /// In the store, for good.
    Claim,
    /// Only looked at: for listings of another process.
    Look,
}

/// The hosts that the file gives upstreams to, in the words of claims.
pub fn file_hosts(config: &Config) -> Vec<Asked> {
    let tenants = config.tenants.iter().filter(|it| !it.upstreams.is_empty());
    tenants
        .flat_map(|tenant| &tenant.hosts)
        .filter_map(|host| match host {
            HostPattern::Any => None,
            HostPattern::Exact(host) => Some(Asked::Exact(host.clone())),
            HostPattern::Under(below) => Some(Asked::Leading(below.clone())),
        })
        .collect()
}

/// Judges who gets what: the file first, then the containers, the oldest first.
pub fn judge(
    store: &mut dyn Store,
    file: &[Asked],
    found: Vec<Discovered>,
    rules: &DockerRules,
    claiming: Claiming,
    now: Timestamp,
) -> Result<Verdict, StoreError> {
    let records = store.claims()?;
    judge_among(store, records, file, found, rules, claiming, now)
}

/// The same where `records` are all the claims that have a word in it. A name that has none
/// among them is asked of the store.
pub(super) fn judge_among(
    store: &mut dyn Store,
    records: Vec<ClaimRecord>,
    file: &[Asked],
    found: Vec<Discovered>,
    rules: &DockerRules,
    claiming: Claiming,
    now: Timestamp,
) -> Result<Verdict, StoreError> {
    let mut judge = Judge {
        store,
        rules,
        claiming,
        now,
        patterns: records.iter().filter_map(pattern_of).collect(),
        records: records
            .into_iter()
            .map(|it| (it.host.clone(), it))
            .collect(),
        owners: HashMap::new(),
        verdict: Verdict::default(),
    };
    for host in file {
        judge.give_to_file(host)?;
    }
    for want in oldest_first(found) {
        judge.consider(want)?;
    }
    judge.keep_the_stopped();
    Ok(judge.verdict)
}

/// In the order in which they are judged.
pub fn oldest_first(mut found: Vec<Discovered>) -> Vec<Discovered> {
    found.sort_by(|a, b| (a.created, &a.container).cmp(&(b.created, &b.container)));
    found
}

/// A claim on more than one name.
fn pattern_of(record: &ClaimRecord) -> Option<(Asked, String)> {
    let is_pattern = record.host.contains(['*', '~']) && record.released.is_none();
    let asked = Asked::parse(&record.host).ok().filter(|_| is_pattern)?;
    Some((asked, record.owner.clone()))
}

struct Judge<'a> {
    store: &'a mut dyn Store,
    rules: &'a DockerRules,
    claiming: Claiming,
    now: Timestamp,
    records: HashMap<String, ClaimRecord>,
    /// Those of them that are for more than one name, and their owners.
    patterns: Vec<(Asked, String)>,
    /// Where claims are off: who got each host so far, the oldest first.
    owners: HashMap<String, Vec<String>>,
    verdict: Verdict,
}

/// Why a host is not given.
type No = String;

impl Judge<'_> {
    /// Hosts whose containers are stopped are still somebody's: they are answered as such.
    fn keep_the_stopped(&mut self) {
        if self.rules.claims == Claims::Off {
            return;
        }
        for (host, record) in &self.records {
            if record.released.is_none()
                && record.owner != FILE
                && !self.verdict.claims.0.contains_key(host)
            {
                self.verdict.claims.0.insert(host.clone(), record.clone());
            }
        }
    }

    /// The operator's own word: another owner's claim ends.
    fn give_to_file(&mut self, host: &Asked) -> Result<(), StoreError> {
        let text = host.to_string();
        if let Some(held) = self.records.get(&text).filter(|it| it.owner != FILE) {
            let warning = format!("{text} was {}'s, and is now the file's", held.owner);
            self.verdict.warnings.push(warning);
            if self.claiming == Claiming::Claim {
                self.store.release_claim(&text, FREED_AT_ONCE)?;
            }
        }
        self.claim(host, FILE).map(|_| ())
    }

    fn consider(&mut self, want: Discovered) -> Result<(), StoreError> {
        match self.admit(&want)? {
            Ok(()) => self.verdict.granted.push(want),
            Err(reason) => {
                let no = RefusedRoute {
                    container: printable(&want.container),
                    asked: printable(&want.host.to_string()),
                    reason,
                };
                self.verdict.refused.push((want, no));
            }
        }
        Ok(())
    }

    fn admit(&mut self, want: &Discovered) -> Result<Result<(), No>, StoreError> {
        if let Asked::Exact(host) = &want.host
            && self.rules.reserved.contains(host)
        {
            return Ok(Err("a host of the gateway's own".to_owned()));
        }
        let text = want.host.to_string();
        if self
            .verdict
            .claims
            .0
            .get(&text)
            .is_some_and(|it| it.owner == FILE)
        {
            return Ok(Err("the file gives it to somebody else".to_owned()));
        }
        if self.rules.claims == Claims::Off {
            return self.share(want, &text).map(Ok);
        }
        if let Some(root) = &self.rules.root
            && covers(&want.host, root)
        {
            let why = format!("it covers names directly under {root}; only the file may");
            return Ok(Err(why));
        }
        match self.records.get(&text) {
            Some(held) if held.owner == want.owner => (),
            Some(held) => {
                if let Some(no) = self.held_by_another(held, &want.host) {
                    return Ok(Err(no));
                }
                if self.claiming == Claiming::Claim {
                    // It has rested, or need not: the store is told so in its own words.
                    self.store.release_claim(&text, FREED_AT_ONCE)?;
                }
            }
            None => {
                if let Some(no) = self.overlap(want) {
                    return Ok(Err(no));
                }
            }
        }
        let record = self.claim(&want.host, &want.owner)?;
        if record.owner != want.owner {
            // Another process was faster.
            return Ok(Err(belongs_to(&record)));
        }
        Ok(Ok(()))
    }

    /// nginx-proxy's way: everybody who asks, with a word about it.
    fn share(&mut self, want: &Discovered, text: &str) -> Result<(), StoreError> {
        let before = self.owners.entry(text.to_owned()).or_default();
        let other = before.iter().find(|it| **it != want.owner).cloned();
        if !before.contains(&want.owner) {
            before.push(want.owner.clone());
        }
        if let Some(other) = other {
            let warning = format!(
                "{text} is asked for by {other} and by {}, and docker.claims is off: both get it",
                want.owner
            );
            if !self.verdict.warnings.contains(&warning) {
                self.verdict.warnings.push(warning);
            }
        }
        if !self.verdict.claims.0.contains_key(text) {
            let held = self.records.get(text);
            if held.is_some_and(|it| it.released.is_some()) && self.claiming == Claiming::Claim {
                self.store.release_claim(text, FREED_AT_ONCE)?;
            }
            self.claim(&want.host, &want.owner)?;
        }
        Ok(())
    }

    fn held_by_another(&self, held: &ClaimRecord, host: &Asked) -> Option<No> {
        if held.released.is_none() {
            return Some(belongs_to(held));
        }
        let until = rests_until(held, host, self.rules.root.as_ref(), self.now)?;
        let until = jiff::Timestamp::from_millisecond(until.0).unwrap_or_default();
        Some(format!(
            "it was {}'s and rests until {}; `portcullis claim release {}` frees it at once",
            held.owner,
            until.strftime("%F"),
            printable(&held.host)
        ))
    }

    /// Whether a name is in reach of a claim of another's, or the other way round. The file's
    /// own patterns leave room for exact names.
    fn overlap(&self, want: &Discovered) -> Option<No> {
        if let Asked::Exact(host) = &want.host {
            let (pattern, owner) = self.patterns.iter().find(|(pattern, owner)| {
                *owner != want.owner && owner != FILE && matches(pattern, host)
            })?;
            return Some(format!("{pattern} covers it, and belongs to {owner}"));
        }
        let other = self.records.values().find(|held| {
            held.owner != want.owner
                && held.released.is_none()
                && Asked::parse(&held.host).is_ok_and(|it| may_meet(&want.host, &it))
        })?;
        Some(format!(
            "it may cover {}, which belongs to {}",
            other.host, other.owner
        ))
    }

    fn claim(&mut self, host: &Asked, owner: &str) -> Result<ClaimRecord, StoreError> {
        let text = host.to_string();
        let live = self
            .records
            .get(&text)
            .filter(|it| it.released.is_none() && (it.owner == owner || self.is_shared()));
        let record = match (live, self.claiming) {
            (Some(live), _) => live.clone(),
            (None, Claiming::Claim) => self.store.claim(&text, owner, self.now)?,
            (None, Claiming::Look) => ClaimRecord {
                host: text.clone(),
                tenant: crate::name::TenantId::from("unclaimed"),
                owner: owner.to_owned(),
                since: self.now,
                changed_hands: false,
                released: None,
            },
        };
        self.patterns.extend(pattern_of(&record));
        self.records.insert(text.clone(), record.clone());
        self.verdict.claims.0.insert(text, record.clone());
        Ok(record)
    }

    fn is_shared(&self) -> bool {
        self.rules.claims == Claims::Off
    }
}

fn belongs_to(held: &ClaimRecord) -> No {
    format!(
        "it belongs to {}; `portcullis claim release {}` frees it",
        held.owner,
        printable(&held.host)
    )
}

/// Until when a freed host still rests for other owners than its last: those under the root do.
pub fn rests_until(
    held: &ClaimRecord,
    host: &Asked,
    root: Option<&HostName>,
    now: Timestamp,
) -> Option<Timestamp> {
    let rested = held.rested().filter(|it| *it > now)?;
    root.is_some_and(|it| is_in(host, it)).then_some(rested)
}

fn is_in(host: &Asked, root: &HostName) -> bool {
    match host {
        Asked::Exact(host) => host == root || host.is_under(root),
        Asked::Leading(below) => below == root || below.is_under(root),
        Asked::Trailing(_) | Asked::Regex(..) => true,
    }
}

fn matches(pattern: &Asked, host: &HostName) -> bool {
    match pattern {
        Asked::Exact(it) => it == host,
        Asked::Leading(below) => host.is_under(below),
        Asked::Trailing(above) => host
            .as_str()
            .strip_prefix(above.as_str())
            .is_some_and(|it| it.starts_with('.')),
        Asked::Regex(_, regex) => regex.is_match(host.as_str()),
    }
}

/// Whether names that nobody named may be meant, under a guarded root: those are everybody's
/// to ask for, one by one. What a regex or a trailing wildcard means there is not ours to
/// guess. A wildcard below one name (`*.a.<root>`) is as good as that name.
fn covers(asked: &Asked, root: &HostName) -> bool {
    match asked {
        Asked::Exact(_) => false,
        Asked::Leading(below) => below == root || root.is_under(below),
        Asked::Trailing(_) | Asked::Regex(..) => true,
    }
}

/// Whether some name may be meant by both.
fn may_meet(one: &Asked, other: &Asked) -> bool {
    match (one, other) {
        (Asked::Exact(host), pattern) | (pattern, Asked::Exact(host)) => matches(pattern, host),
        (Asked::Leading(a), Asked::Leading(b)) => a == b || a.is_under(b) || b.is_under(a),
        (Asked::Trailing(a), Asked::Trailing(b)) => {
            let (a, b) = (format!("{a}."), format!("{b}."));
            a.starts_with(&b) || b.starts_with(&a)
        }
        (Asked::Trailing(_) | Asked::Leading(_) | Asked::Regex(..), _) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        discovery::{
            read,
            samples::{container, rules},
        },
        docker::GatewayNetworks,
        store::{CLAIM_REST, sqlite::SqliteStore},
    };

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A store, and the rules of a gateway.
    struct Town {
        _folder: tempfile::TempDir,
        store: SqliteStore,
        rules: DockerRules,
        now: Timestamp,
    }

    impl Town {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&folder.path().join("db"), NOW).unwrap();
            Self {
                _folder: folder,
                store,
                rules: rules(),
                now: NOW,
            }
        }

        /// Lets containers `(name, VIRTUAL_HOST)`, the oldest first, ask for hosts.
        fn ask(&mut self, containers: &[(&str, &str)]) -> Verdict {
            self.ask_beside(&[], containers)
        }

        fn ask_beside(&mut self, file: &[&str], containers: &[(&str, &str)]) -> Verdict {
            let found = containers.iter().zip(0..).flat_map(|((name, hosts), age)| {
                let mut it = container(name).with(&[("VIRTUAL_HOST", hosts)]);
                it.created += jiff::SignedDuration::from_secs(age);
                read(&it, &GatewayNetworks::Host, &self.rules).wants
            });
            let found = found.collect();
            let file: Vec<Asked> = file.iter().map(|it| Asked::parse(it).unwrap()).collect();
            let (rules, how) = (self.rules.clone(), Claiming::Claim);
            judge(&mut self.store, &file, found, &rules, how, self.now).unwrap()
        }

        fn release(&mut self, host: &str) {
            self.store.release_claim(host, self.now).unwrap();
        }
    }

    fn granted(verdict: &Verdict) -> Vec<String> {
        let granted = verdict.granted.iter();
        granted
            .map(|it| format!("{} {}", it.container, it.host))
            .collect()
    }

    fn tenant(verdict: &Verdict, host: &str) -> crate::name::TenantId {
        verdict.claims.0[host].tenant.clone()
    }

    #[test]
    fn a_host_stays_its_owners_when_the_container_is_gone() {
        let mut town = Town::new();
        let first = town.ask(&[("a", "a.example.net")]);
        assert_eq!(granted(&first), ["a a.example.net"]);
        assert!(town.ask(&[("b", "a.example.net")]).granted.is_empty());
        let again = town.ask(&[("b", "a.example.net"), ("a", "a.example.net")]);
        assert_eq!(granted(&again), ["a a.example.net"]);
        assert_eq!(
            tenant(&first, "a.example.net"),
            tenant(&again, "a.example.net")
        );
    }

    #[test]
    fn p11_nobody_gets_a_host_of_anothers() {
        let mut town = Town::new();
        let before = town.ask(&[("a", "a.example.net,x.deep.example.net")]);
        for host in [
            "a.example.net",
            "A.EXAMPLE.NET.",
            "auth.example.net",
            "manager.example.net",
            "*.example.net",
            "*.net",
            "*.deep.example.net",
            "a.*",
            "a.example.*",
            "~.*",
            "~^a\\.example\\.net$",
            "~^.*\\.example\\.net$",
            "~^b|a\\.example\\.net$",
            "~^(b|a)-web\\.example\\.net$",
            "~^.\\x2eexample\\.net$",
            "~^a\\pl?.example.net$",
            "~^x\\.deep\\.example\\.net$",
        ] {
            let verdict = town.ask(&[("b", host), ("a", "a.example.net,x.deep.example.net")]);
            assert_eq!(
                granted(&verdict),
                ["a a.example.net", "a x.deep.example.net"],
                "{host}"
            );
            assert_eq!(verdict.refused.len(), 1, "{host}");
            let now = tenant(&verdict, "a.example.net");
            assert_eq!(now, tenant(&before, "a.example.net"));
        }
        let left: Vec<String> = town
            .store
            .claims()
            .unwrap()
            .into_iter()
            .map(|it| it.host)
            .collect();
        assert_eq!(left, ["a.example.net", "x.deep.example.net"]);
    }

    #[test]
    fn p11_a_wildcard_that_came_first_keeps_what_it_covers() {
        let mut town = Town::new();
        assert_eq!(town.ask(&[("b", "*.b.example.net")]).granted.len(), 1);
        for host in ["x.b.example.net", "*.y.b.example.net"] {
            assert!(town.ask(&[("a", host)]).granted.is_empty(), "{host}");
        }
        let own = town.ask(&[("b", "x.b.example.net")]);
        assert_eq!(own.granted.len(), 1, "its own names are its own");
        let beside = town.ask(&[("a", "b.example.net,*.c.example.net,*.example.com")]);
        assert_eq!(beside.granted.len(), 3);
    }

    #[test]
    fn p11_without_a_root_patterns_still_meet_nobody_elses() {
        let mut town = Town::new();
        town.rules.root = None;
        assert_eq!(
            town.ask(&[("b", "~^[a-c]\\.example\\.org$")]).granted.len(),
            1
        );
        for host in ["a.example.org", "*.example.org", "a.*", "~x"] {
            assert!(town.ask(&[("a", host)]).granted.is_empty(), "{host}");
        }
        assert_eq!(town.ask(&[("a", "d.example.org")]).granted.len(), 1);
        assert!(
            town.ask(&[("b", "~^[d-f]\\.example\\.org$")])
                .granted
                .is_empty()
        );
    }

    #[test]
    fn a_freed_name_rests_under_the_root_and_then_is_another_tenants() {
        let mut town = Town::new();
        let first = town.ask(&[("a", "a.example.net,a.example.com")]);
        town.release("a.example.net");
        town.release("a.example.com");
        let verdict = town.ask(&[("b", "a.example.net,a.example.com")]);
        assert_eq!(
            granted(&verdict),
            ["b a.example.com"],
            "outside the root nothing rests"
        );
        assert!(
            verdict.refused[0]
                .1
                .reason
                .contains("rests until 2027-02-14")
        );
        town.now = NOW.plus(CLAIM_REST).plus(Duration::from_secs(1));
        let verdict = town.ask(&[("b", "a.example.net")]);
        assert_eq!(granted(&verdict), ["b a.example.net"]);
        assert!(verdict.claims.0["a.example.net"].changed_hands);
        assert_ne!(
            tenant(&first, "a.example.net"),
            tenant(&verdict, "a.example.net")
        );
    }

    #[test]
    fn an_admin_may_free_a_name_without_rest() {
        let mut town = Town::new();
        town.ask(&[("a", "a.example.net")]);
        town.store
            .release_claim("a.example.net", FREED_AT_ONCE)
            .unwrap();
        // Whatever this gateway's clock says beside the other's.
        town.now = NOW.minus(CLAIM_REST);
        assert_eq!(
            granted(&town.ask(&[("b", "a.example.net")])),
            ["b a.example.net"]
        );
    }

    #[test]
    fn the_files_word_is_the_last() {
        let mut town = Town::new();
        let first = town.ask(&[("a", "a.example.net,b.example.net")]);
        let file = ["a.example.net", "*.example.net"];
        let verdict = town.ask_beside(&file, &[("a", "a.example.net,b.example.net")]);
        assert_eq!(
            granted(&verdict),
            ["a b.example.net"],
            "a catch-all of the file leaves room"
        );
        assert_eq!(verdict.claims.0["a.example.net"].owner, FILE);
        assert_ne!(
            tenant(&first, "a.example.net"),
            tenant(&verdict, "a.example.net")
        );
        assert_eq!(verdict.warnings.len(), 1);
        let again = town.ask_beside(&file, &[]);
        assert_eq!(
            tenant(&again, "a.example.net"),
            tenant(&verdict, "a.example.net")
        );
        assert!(town.ask(&[("a", "a.example.net")]).granted.is_empty());
    }

    #[test]
    fn with_claims_off_everybody_gets_what_they_ask_for() {
        let mut town = Town::new();
        town.rules.claims = Claims::Off;
        let verdict = town.ask(&[("a", "a.example.com"), ("b", "a.example.com,~.*")]);
        assert_eq!(verdict.granted.len(), 3);
        assert_eq!(verdict.warnings.len(), 1);
        let own = town.ask(&[("a", "auth.example.net")]);
        assert!(own.granted.is_empty(), "but never the gateway's own");
    }

    #[test]
    fn a_listing_claims_nothing() {
        let mut town = Town::new();
        let it = container("a").with(&[("VIRTUAL_HOST", "a.example.net")]);
        let found = read(&it, &GatewayNetworks::Host, &town.rules).wants;
        let verdict = judge(
            &mut town.store,
            &[],
            found,
            &town.rules,
            Claiming::Look,
            NOW,
        )
        .unwrap();
        assert_eq!(granted(&verdict), ["a a.example.net"]);
        assert!(town.store.claims().unwrap().is_empty());
    }
}
