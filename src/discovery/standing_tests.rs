//! The short way against the whole one: after every change both have made the same table.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Discovery, Memory, State, Step, samples};
use crate::{
    clock::{Clock, Timestamp},
    config::{Claims, Config, HostPattern, TenantConfig},
    docker::{Container, GatewayNetworks, Health, Origin, Running, Snapshot},
    name::HostName,
    route::{RouteTable, Routes},
    store::{StoreHandle, sqlite::SqliteStore},
    telemetry::Metrics,
};

/// A store, and two that keep a table from it.
struct Pair {
    config: Arc<Config>,
    short: (Discovery, State),
    whole: (Discovery, State),
    containers: Running,
    taken: usize,
    dice: u64,
    _folder: tempfile::TempDir,
    _told: watch::Sender<Arc<Config>>,
}

fn config(claims: Claims) -> Config {
    let host = |it| HostName::parse(it).unwrap();
    let mut config = Config {
        root_domain: (claims != Claims::Off).then(|| host("example.net")),
        ..Config::default()
    };
    config.portal.host = Some(host("auth.example.net"));
    config.docker.claims = Some(claims);
    config.tenants = vec![Arc::new(TenantConfig {
        line: 7,
        hosts: vec![HostPattern::Exact(host("fixed.example.net"))],
        upstreams: vec!["127.0.0.1:1880".parse().unwrap()],
        ..TenantConfig::default()
    })];
    config
}

impl Pair {
    fn new(claims: Claims, dice: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::held(Timestamp::from_secs(1_800_000_000));
        let store = SqliteStore::open(&folder.path().join("db"), clock.now()).unwrap();
        let store = StoreHandle::start(Box::new(store)).unwrap();
        let config = Arc::new(config(claims));
        let told = watch::Sender::new(config.clone());
        let one = || Discovery {
            config: told.subscribe(),
            store: store.clone(),
            clock: clock.clone(),
            routes: Arc::new(Routes::default()),
            metrics: Metrics::new(),
            claims_changed: Arc::new(Notify::new()),
            findings: Arc::default(),
            over: CancellationToken::new(),
        };
        Self {
            short: (one(), State::default()),
            whole: (one(), State::default()),
            config,
            containers: Running::new(),
            taken: 0,
            dice,
            _folder: folder,
            _told: told,
        }
    }

    fn throw(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    fn snapshots(&self) -> [Option<Snapshot>; 1] {
        [Some(Snapshot {
            containers: self.containers.clone(),
            gateway: GatewayNetworks::Host,
            connected: true,
            growing: false,
        })]
    }

    /// Lets both follow.
    async fn follow(&mut self) -> Step {
        let snapshots = self.snapshots();
        let (discovery, state) = &mut self.short;
        let step = discovery.step(&self.config, &snapshots, state).await;
        let step = step.unwrap();
        if step == Step::Whole {
            let renewed = discovery.renew(&self.config, &snapshots, state, Memory::Holds);
            renewed.await.unwrap();
        }
        let (discovery, state) = &mut self.whole;
        let renewed = discovery.renew(&self.config, &snapshots, state, Memory::Holds);
        renewed.await.unwrap();
        self.taken += usize::from(step == Step::Taken);
        step
    }

    fn agree(&self, told: &str) {
        let (short, whole) = (self.short.0.routes.load(), self.whole.0.routes.load());
        assert_eq!(shown(&short), shown(&whole), "{told}");
    }

    fn put(&mut self, it: Container) {
        let key = (it.created, it.id.clone());
        self.containers.insert(key, Arc::new(it));
    }

    /// Something happens to some container.
    fn happen(&mut self) -> String {
        let number = self.throw(12);
        let name = format!("c{number}");
        let id = samples::container(&name).id;
        let there = self.containers.keys().find(|it| it.1 == id).cloned();
        if let Some(key) = there.clone()
            && self.throw(3) > 0
        {
            let gone = self.containers.remove(&key).unwrap();
            if self.throw(3) > 0 {
                return format!("{name} is gone");
            }
            let mut other = Container::clone(&gone);
            other.health = [Health::Healthy, Health::Unhealthy, Health::Starting]
                [usize::try_from(self.throw(3)).unwrap()];
            self.put(other);
            return format!("{name} is another's");
        }
        if let Some(key) = there {
            self.containers.remove(&key);
        }
        let hosts: Vec<String> = (0..=self.throw(2)).map(|_| self.host(number % 4)).collect();
        let hosts = hosts.join(",");
        let path = ["/", "/", "/", "/app", "= /x"][usize::try_from(self.throw(5)).unwrap()];
        let mut it =
            samples::container(&name).with(&[("VIRTUAL_HOST", &hosts), ("VIRTUAL_PATH", path)]);
        let address = format!("172.20.0.{}", 2 + self.throw(200));
        it.networks = vec![samples::attached(&format!("net-{name}"), &address)];
        it.created += jiff::SignedDuration::from_secs(i64::try_from(self.throw(4)).unwrap());
        // Mostly its own project's, and sometimes another's, or nobody's.
        if self.throw(12) > 0 {
            let project = match self.throw(12) {
                0 => format!("p{}", self.throw(4)),
                _ => format!("p{}", number % 4),
            };
            it.label("com.docker.compose.project", &project, Origin::Run);
            it.label("com.docker.compose.config-hash", "x", Origin::Run);
        }
        if self.throw(20) == 0 {
            it.set("CERT_NAME", "x", Origin::Run);
        }
        self.put(it);
        format!("{name} asks for {hosts} {path}")
    }

    fn host(&mut self, group: u64) -> String {
        match self.throw(60) {
            0 => "*.deep.example.net".to_owned(),
            1 => "fixed.example.net".to_owned(),
            2 => "auth.example.net".to_owned(),
            3 => "x.deep.example.net".to_owned(),
            4 => "not a host".to_owned(),
            5 => format!("h{}.example.net", self.throw(12)),
            _ => format!("h{}.example.net", group + 4 * self.throw(3)),
        }
    }
}

/// A table in an order of its own.
fn shown(table: &RouteTable) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(table.exact.iter().map(|it| format!("{it:?}")));
    lines.extend(table.leading.iter().map(|it| format!("{it:?}")));
    lines.extend(table.trailing.iter().map(|it| format!("{it:?}")));
    lines.extend(table.regexes.iter().map(|it| format!("{it:?}")));
    lines.extend(table.refused.iter().map(|it| format!("{it:?}")));
    lines.sort();
    lines.join("\n")
}

#[tokio::test]
async fn both_ways_make_the_same_table_whatever_happens() {
    for (claims, dice) in [Claims::Project, Claims::Strict, Claims::Off]
        .into_iter()
        .zip([
            0x9E37_79B9_7F4A_7C15,
            0xD1B5_4A32_D192_ED03,
            0x2545_F491_4F6C_DD1D,
        ])
    {
        let mut pair = Pair::new(claims, dice);
        let mut told = String::new();
        for _ in 0..400 {
            told = format!("{told}{}\n", pair.happen());
            pair.follow().await;
            pair.agree(&told);
        }
        assert!(
            pair.taken > 40,
            "{claims:?}: only {} went the short way",
            pair.taken
        );
    }
}

#[tokio::test]
async fn a_plain_container_beside_thousands_goes_the_short_way() {
    let mut pair = Pair::new(Claims::Project, 1);
    let plain = |name: &str| {
        samples::container(name).with(&[("VIRTUAL_HOST", &format!("{name}.example.net"))])
    };
    for n in 0..3000 {
        pair.put(plain(&format!("c{n}")));
    }
    assert_eq!(
        pair.follow().await,
        Step::Whole,
        "the first look is a whole one"
    );
    pair.put(plain("new"));
    assert_eq!(pair.follow().await, Step::Taken);
    pair.agree("new");
    let key = pair.containers.keys().next().unwrap().clone();
    pair.containers.remove(&key);
    assert_eq!(pair.follow().await, Step::Taken);
    pair.agree("gone");
    let mut database = samples::container("db");
    database.created += jiff::SignedDuration::from_secs(9);
    pair.put(database);
    let before = pair.short.0.routes.epoch();
    assert_eq!(pair.follow().await, Step::Taken);
    assert_eq!(pair.short.0.routes.epoch(), before, "no route hangs on it");
}
