//! Proof for [`super`]: whole flows, through the real admission, tokens, sessions and store; a
//! browser that keeps cookies as browsers do.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;

use super::*;
use crate::{
    account::upkeep::{self, Particulars},
    authn::{self, Audience, Remembered},
    config::{BindAddress, LoginRules, Policy, Rule, SessionRules},
    intake::{self, Arrival, IntakeFacts},
    name::UserName,
    route::{PathMatch, PathRoute, RouteTable, TenantSettings, Tighten, Upstream},
    secret::{SealingKey, Secret},
    store::sqlite::SqliteStore,
};

mod account;
mod api;
mod in_page;
mod keys;
mod audit;
mod own_account;
mod recovery;
mod setting_up;
mod signing_in;
mod soft_key;
mod stepping_up;

const PORTAL: &str = "auth.example.com";
const R1: &str = "r1.example.com";
const R2: &str = "r2.example.com";
const PASSWORD: &str = "blue teapot on fire";

/// A portal, two tenants and a store.
struct Town {
    desk: Desk,
    key: SealingKey,
    _folder: tempfile::TempDir,
}

impl Town {
    fn new() -> Self {
        let login = LoginRules {
            argon2_memory_kib: 64,
            argon2_passes: 1,
            floor: Duration::ZERO,
            ..LoginRules::default()
        };
        Self::with(login, |table| {
            table.insert(R1, "tenant-1", |_| {});
            table.insert(R2, "tenant-2", |_| {});
        })
    }

    fn with(login: LoginRules, fill: impl FnOnce(&mut Table)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::held(Timestamp::from_secs(1_800_000_000));
        let key = SealingKey::generate();
        let mut store = SqliteStore::open(&folder.path().join("p.db"), clock.now()).unwrap();
        let issuer = format!("https://{PORTAL}");
        let tokens = Tokens::open(&mut store, &key, &issuer, clock.now()).unwrap();
        let store = StoreHandle::start(Box::new(store)).unwrap();
        let config = Config {
            root_domain: HostName::parse("example.com").ok(),
            portal: crate::config::Portal {
                host: HostName::parse(PORTAL).ok(),
            },
            login: login.clone(),
            ..Config::default()
        };
        let routes = Arc::new(Routes::default());
        let town = Self {
            desk: Desk {
                accounts: Accounts::new(
                    store.clone(),
                    key.clone(),
                    clock.clone(),
                    login,
                    "example.com".to_owned(),
                ),
                keys: Arc::new(Keys::new(
                    store.clone(),
                    key.clone(),
                    clock.clone(),
                    HostName::parse(PORTAL).ok().as_ref(),
                    std::slice::from_ref(&issuer),
                )),
                sessions: Sessions::open(store.clone(), clock.clone(), &SessionRules::default())
                    .unwrap(),
                tokens: Arc::new(tokens),
                signin: Signin::new(key.clone()),
                routes,
                clock,
                store,
                portal_origin: issuer,
                config: Arc::new(config),
            },
            key,
            _folder: folder,
        };
        town.route(fill);
        town
    }

    fn route(&self, fill: impl FnOnce(&mut Table)) {
        let mut table = Table(RouteTable {
            portal: HostName::parse(PORTAL).ok(),
            root: HostName::parse("example.com").ok(),
            ..RouteTable::default()
        });
        fill(&mut table);
        self.desk.routes.swap(table.0);
    }

    /// A user with a password and, unless `secret` is `None`, an authenticator app.
    async fn user(&self, name: &str, secret: Option<&Secret>) {
        let user_name = UserName::parse(name).unwrap();
        let now = self.desk.clock.now();
        let rules = self.desk.config.login.clone();
        let (key, secret) = (self.key.clone(), secret.cloned());
        self.desk
            .store
            .call(move |store| {
                let user = upkeep::add_with_password(
                    store,
                    &rules,
                    &user_name,
                    Particulars::default(),
                    &Secret::new(PASSWORD),
                    now,
                )?
                .unwrap();
                if let Some(secret) = secret {
                    let sealed = key.seal(
                        "totp",
                        user.id.as_str().as_bytes(),
                        secret.reveal().as_bytes(),
                    );
                    let change = crate::store::UserChange::Totp(Some(sealed), 0);
                    store.change_user(&user.id, &change)?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }

    fn code(&self, secret: &Secret) -> String {
        let now = self.desk.clock.now().secs().unsigned_abs();
        totp_rs::Builder::new()
            .with_secret(totp_rs::Secret::try_from_base32(secret.reveal()).unwrap())
            .build_noncompliant()
            .generate(now)
            .to_string()
    }

    /// Lets the next code be another one.
    fn next_code(&self) {
        self.desk.clock.advance(Duration::from_secs(30));
    }
}

struct Table(RouteTable);

impl Table {
    fn insert(&mut self, host: &str, tenant: &str, change: impl FnOnce(&mut HostRoute)) {
        let mut route = HostRoute {
            pattern: host.into(),
            tenant: TenantId::from(tenant),
            changed_hands: false,
            owner: "file".into(),
            paths: vec![PathRoute {
                matches: PathMatch::everything(),
                upstreams: Arc::from([Upstream {
                    address: ([127, 0, 0, 1], 1880).into(),
                    label: "x".into(),
                }]),
                dest: None,
                tighten: Tighten::default(),
                internal: false,
            }],
            settings: Arc::new(TenantSettings::default()),
            rules: Arc::default(),
            guarded: true,
            path_matters: false,
            plain_http: false,
        };
        change(&mut route);
        let host = HostName::parse(host).unwrap();
        self.0.exact.insert(host, Arc::new(route));
    }
}

fn alices_secret() -> Secret {
    Secret::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn cookies(&self) -> Vec<&str> {
        let all = self.headers.get_all(header::SET_COOKIE);
        all.iter().map(|it| it.to_str().unwrap()).collect()
    }

    /// Where a page that refreshes leads.
    fn refresh(&self) -> String {
        let after = self.text.split("content=\"0; url=").nth(1).unwrap();
        let href = after.split('"').next().unwrap();
        href.replace("&amp;", "&").replace("&#38;", "&")
    }
}

/// A browser: it keeps cookies by host and says what Fetch Metadata says.
struct Browser<'a> {
    town: &'a Town,
    jar: RefCell<BTreeMap<(String, String), String>>,
    /// Another address of the client.
    address: std::net::Ipv4Addr,
}

/// Lines of a request beside those that the browser itself writes.
type Lines<'a> = &'a [(&'static str, &'a str)];

const TYPED: Lines<'static> = &[
    ("accept", "text/html"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
const FOLLOWED: Lines<'static> = &[
    ("accept", "text/html"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
const OWN_PAGE: Lines<'static> = &[
    ("accept", "text/html"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("content-type", "application/x-www-form-urlencoded"),
];
const OWN_SCRIPT: Lines<'static> = &[
    ("accept", "application/json"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("content-type", "application/json"),
];

impl<'a> Browser<'a> {
    fn new(town: &'a Town) -> Self {
        Self {
            town,
            jar: RefCell::default(),
            address: [192, 0, 2, 7].into(),
        }
    }

    fn cookie(&self, host: &str, name: &str) -> Option<String> {
        let key = (host.to_owned(), name.to_owned());
        self.jar.borrow().get(&key).cloned()
    }

    fn set_cookie(&self, host: &str, name: &str, value: &str) {
        let key = (host.to_owned(), name.to_owned());
        self.jar.borrow_mut().insert(key, value.to_owned());
    }

    /// Takes the cookies of a host away.
    fn forget(&self, host: &str) {
        self.jar.borrow_mut().retain(|(of, _), _| of != host);
    }

    async fn send(&self, method: &str, url: &str, lines: Lines<'_>, body: &str) -> Reply {
        let rest = url.strip_prefix("https://").unwrap();
        let at = rest.find('/').unwrap();
        let (host, target) = rest.split_at(at);
        let mut raw = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, host);
        for (name, value) in lines {
            raw = raw.header(*name, *value);
        }
        let cookies: Vec<String> = {
            let jar = self.jar.borrow();
            let of_host = jar.iter().filter(|((of, _), _)| of == host);
            of_host
                .map(|((_, name), value)| format!("{name}={value}"))
                .collect()
        };
        if !cookies.is_empty() {
            raw = raw.header(header::COOKIE, cookies.join("; "));
        }
        if !body.is_empty() {
            raw = raw.header(header::CONTENT_LENGTH, body.len());
        }
        let raw = raw.body(Body::full(body.to_owned())).unwrap();
        let response = self.answer(host, raw).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let reply = Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        };
        self.keep(host, &reply);
        reply
    }

    /// What the pipeline does.
    async fn answer(&self, host: &str, raw: Request<Body>) -> Response<Body> {
        let desk = &self.town.desk;
        let name = HostName::parse(host).unwrap();
        let arrival = Arrival {
            peer: (self.address, 50_000).into(),
            local: ([127, 0, 0, 1], 443).into(),
            tls: Some(Some(name.clone())),
        };
        let facts = IntakeFacts {
            trusted_proxies: Vec::new(),
            body: 0,
            header: 8 << 10,
            headers: 100,
            guarded: true,
            is_ours: |it| crate::token::is_ours(it),
        };
        let inbound = intake::admit(raw, &arrival, &facts).unwrap();
        let destination = desk.routes.load().find(&name);
        let route = if let crate::route::Destination::Tenant(route) = destination {
            Some(route)
        } else {
            None
        };
        let tenant = match (&route, host == PORTAL) {
            (_, true) => tenant(),
            (Some(route), _) => route.tenant.clone(),
            (None, _) => nowhere(),
        };
        let identity = authn::identify(
            &inbound,
            Audience {
                host: &name,
                tenant: &tenant,
            },
            &desk.tokens,
            &desk.sessions,
            &mut Remembered::default(),
            BindAddress::Off,
            desk.clock.now(),
        );
        if host == PORTAL {
            return page(desk, *inbound, identity).await;
        }
        if is_gate(&inbound) {
            return gate(desk, *inbound, route.as_ref(), identity).await;
        }
        match identity {
            Ok(identity) => {
                let name = identity.profile().name.as_str().to_owned();
                Response::new(Body::full(format!(
                    "{target}: {name}",
                    target = inbound.target
                )))
            }
            Err(why) => {
                let asked = Asked::SignIn(why, Policy::TwoFactor);
                challenge(desk, &inbound, route.as_deref(), asked)
            }
        }
    }

    fn keep(&self, host: &str, reply: &Reply) {
        for line in reply.cookies() {
            assert!(line.contains("; Path=/") && line.contains("; Secure"));
            assert!(line.contains("; HttpOnly") && line.contains("; SameSite=Lax"));
            assert!(!line.to_ascii_lowercase().contains("domain"));
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            let key = (host.to_owned(), name.to_owned());
            if line.contains("Max-Age=0") {
                self.jar.borrow_mut().remove(&key);
            } else {
                self.jar.borrow_mut().insert(key, value.to_owned());
            }
        }
    }

    async fn get(&self, url: &str, lines: Lines<'_>) -> Reply {
        self.send("GET", url, lines, "").await
    }

    /// Sends a form as our own page does.
    async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Reply {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.send("POST", url, OWN_PAGE, &body.finish()).await
    }

    /// Calls the API as our own script does.
    async fn call(&self, url: &str, body: &serde_json::Value) -> Reply {
        self.send("POST", url, OWN_SCRIPT, &body.to_string()).await
    }

    /// Goes somewhere as a person does, through redirects and pages that refresh.
    async fn visit(&self, url: &str) -> Reply {
        let mut url = url.to_owned();
        let mut lines = TYPED;
        for _ in 0..10 {
            let reply = self.get(&url, lines).await;
            match reply.status {
                302 | 303 => url = absolute_to(&url, reply.location()),
                200 if reply.text.contains("http-equiv=\"refresh\"") => url = reply.refresh(),
                _ => return reply,
            }
            lines = FOLLOWED;
        }
        panic!("too many redirects, the last to {url}");
    }

    /// From a log-in page's address to the end of the form, by its forms.
    async fn sign_in(&self, login: &str, name: &str, secret: &Secret) -> Reply {
        let first = self
            .post(login, &[("username", name), ("password", PASSWORD)])
            .await;
        assert_eq!(first.status, 303, "{}", first.text);
        let code = absolute_to(login, first.location());
        assert_eq!(self.get(&code, OWN_PAGE).await.status, 200);
        self.post(&code, &[("code", &self.town.code(secret))]).await
    }

    /// Signs in on the portal alone.
    async fn sign_in_at_portal(&self, name: &str, secret: &Secret) {
        let reply = self.sign_in(&at(PORTAL, "/login"), name, secret).await;
        assert_eq!(reply.status, 303, "{}", reply.text);
        assert_eq!(reply.location(), "/account");
    }
}

fn at(host: &str, target: &str) -> String {
    format!("https://{host}{target}")
}

fn absolute_to(base: &str, location: &str) -> String {
    if location.starts_with('/') {
        let host = base.split('/').nth(2).unwrap();
        at(host, location)
    } else {
        location.to_owned()
    }
}
