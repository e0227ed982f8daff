//! The real gateway on port 0, with two tenants and two users. There is no second wiring.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portcullis::{
    account::upkeep::{self, Particulars},
    clock::Clock,
    config::{Config, HostPattern, TenantConfig},
    gateway::Gateway,
    name::{HostName, UserName},
    route::{HostRoute, RouteTable},
    secret::Secret,
    store::{self, sqlite::SqliteStore},
    tls::authority::Authority,
};
use rustls::ClientConfig;
use tempfile::TempDir;

use super::{Instance, Wire, soon, wire};

/// The root of every test's house.
pub(crate) const ROOT: &str = "example.test";
/// The users' password.
pub(crate) const PASSWORD: &str = "seven quiet herons at dawn";

/// A gateway that runs, and the tenants `a` and `b` behind it.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) a: Instance,
    pub(crate) b: Instance,
    pub(crate) address: SocketAddr,
    pub(crate) trust: Arc<ClientConfig>,
    /// The CA that every certificate is from, as PEM.
    pub(crate) ca: String,
    /// TOTP secrets, base32, of `alice` and `bob`.
    secrets: Vec<(String, String)>,
    _dir: TempDir,
}

impl House {
    /// Opens one as it comes.
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// Opens one with its configuration changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        // Several tests may be the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Instance::start().await, Instance::start().await);
        let (ca, mut config) = configure(&dir, &a, &b);
        change(&mut config);
        let clock = Clock::system();
        let secrets = people(&config, &clock);
        let gateway = Gateway::open(config.clone(), clock.clone()).unwrap();
        let address = gateway.https()[0];
        let house = Self {
            gateway,
            config,
            clock,
            a,
            b,
            address,
            trust: wire::trusting(&ca, &[b"http/1.1"]),
            ca,
            secrets,
            _dir: dir,
        };
        house.settle().await;
        house
    }

    /// Waits until the routes stand.
    async fn settle(&self) {
        let mut changed = self.gateway.house.routes.watch();
        soon("routes", async {
            while self.gateway.house.routes.epoch() == 0 {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    /// A name below the root.
    #[expect(clippy::unused_self, reason = "every house has the same root, so far")]
    pub(crate) fn host(&self, label: &str) -> String {
        format!("{label}.{ROOT}")
    }

    /// What browsers write as this host's origin.
    pub(crate) fn origin(&self, label: &str) -> String {
        format!("https://{}:{}", self.host(label), self.address.port())
    }

    /// What browsers write into `Host`.
    pub(crate) fn authority(&self, label: &str) -> String {
        format!("{}:{}", self.host(label), self.address.port())
    }

    /// A connection made for that host.
    pub(crate) async fn wire(&self, label: &str) -> Wire {
        Wire::open(self.address, Arc::clone(&self.trust), &self.host(label))
            .await
            .unwrap()
    }

    /// A user's code, `steps` time steps from now (one step off is accepted).
    pub(crate) fn code(&self, user: &str, steps: i64) -> String {
        let (_, secret) = self.secrets.iter().find(|(name, _)| name == user).unwrap();
        let step = self.clock.now().secs() / 30 + steps;
        hotp(secret, u64::try_from(step).unwrap())
    }

    /// Puts a changed configuration in force and waits until the routes follow.
    pub(crate) async fn reload(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.clone();
        change(&mut config);
        let before = self.gateway.house.routes.epoch();
        let mut changed = self.gateway.house.routes.watch();
        self.gateway.reload(config);
        soon("routes", async {
            while self.gateway.house.routes.epoch() == before {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Puts a changed route of one host in force, as if its containers had changed.
    pub(crate) fn reroute(&self, label: &str, change: impl FnOnce(&mut HostRoute)) {
        self.swap_routes(|table| {
            let host = HostName::parse(&self.host(label)).unwrap();
            let mut route = HostRoute::clone(&table.exact[&host]);
            change(&mut route);
            table.exact.insert(host, Arc::new(route));
        });
    }

    fn swap_routes(&self, change: impl FnOnce(&mut RouteTable)) {
        let routes = &self.gateway.house.routes;
        let mut table = RouteTable::clone(&routes.load());
        change(&mut table);
        routes.swap(table);
    }

    /// Closes it. Part of every test.
    pub(crate) async fn close(self) {
        let gateway = self.gateway;
        soon(
            "closing",
            tokio::task::spawn_blocking(move || gateway.close()),
        )
        .await
        .unwrap();
    }
}

/// Puts tenant `a` somewhere else.
pub(crate) fn aim(config: &mut Config, address: SocketAddr) {
    Arc::make_mut(&mut config.tenants[0]).upstreams = vec![address];
}

fn configure(dir: &TempDir, a: &Instance, b: &Instance) -> (String, Config) {
    let root = HostName::parse(ROOT).unwrap();
    let certs = dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let authority = Authority::generate(ROOT).unwrap();
    let (chain, key) = authority.issue(&[ROOT, &format!("*.{ROOT}")]).unwrap();
    std::fs::write(certs.join(format!("{ROOT}.crt")), &chain).unwrap();
    std::fs::write(certs.join(format!("{ROOT}.key")), &key).unwrap();
    let mut config = Config {
        root_domain: Some(root.clone()),
        ..Config::default()
    };
    config.listen.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.listen.http = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.listen.admin = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.listen.workers = 1;
    config.portal.host = Some(root.child("auth").unwrap());
    config.manager.host = Some(root.child("manager").unwrap());
    config.certificates.dir = certs;
    config.docker.hosts = Vec::new();
    config.store.path = dir.path().join("portcullis.db");
    config.store.key_file = dir.path().join("portcullis.key");
    config.login.argon2_memory_kib = 64;
    config.login.argon2_passes = 1;
    config.login.floor = Duration::from_millis(1);
    config.limits.drain = Duration::from_secs(3);
    let tenant = |label: &str, instance: &Instance| {
        Arc::new(TenantConfig {
            hosts: vec![HostPattern::Exact(root.child(label).unwrap())],
            upstreams: vec![instance.address],
            ..TenantConfig::default()
        })
    };
    config.tenants = vec![tenant("a", a), tenant("b", b)];
    (authority.certificate_pem().to_owned(), config)
}

fn people(config: &Config, clock: &Clock) -> Vec<(String, String)> {
    let mut sqlite = SqliteStore::open(&config.store.path, clock.now()).unwrap();
    let key = store::key::open_sealing_key(&config.store, &mut sqlite).unwrap();
    ["alice", "bob"]
        .into_iter()
        .map(|name| {
            let name = UserName::parse(name).unwrap();
            let particulars = Particulars {
                email: format!("{name}@example.test"),
                display_name: format!("{name} of {ROOT}"),
                groups: vec![UserName::parse("staff").unwrap()],
            };
            let password = Secret::new(PASSWORD);
            let now = clock.now();
            let user = upkeep::add_with_password(
                &mut sqlite,
                &config.login,
                &name,
                particulars,
                &password,
                now,
            )
            .unwrap()
            .unwrap();
            let new = upkeep::enrol_totp(&mut sqlite, &key, ROOT, &user, now).unwrap();
            (name.as_str().to_owned(), new.secret.reveal().to_owned())
        })
        .collect()
}

/// RFC 4226, six digits, SHA-1.
fn hotp(base32: &str, counter: u64) -> String {
    let mut bits = 0_u64;
    let (mut count, mut key) = (0, Vec::new());
    for c in base32.bytes().filter(|it| *it != b'=') {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|it| *it == c)
            .unwrap();
        bits = bits << 5 | value as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            key.push((bits >> count & 0xff) as u8);
        }
    }
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = aws_lc_rs::hmac::sign(&key, &counter.to_be_bytes());
    let mac = tag.as_ref();
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}
