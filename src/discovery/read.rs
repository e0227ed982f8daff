//! What one container asks for. A pure function of the container, so that one container's
//! nonsense never touches another's route.

use crate::{
    clock::Timestamp,
    docker::{Container, GatewayNetworks, Origin, Setting},
    route::{Asked, Discovered, PathMatch, RefusedRoute, Tighten, Upstream},
};

use super::{
    clean::{self, NGINX_PROXY},
    label::{Label, read_label},
    network::{address_of, port_of},
    owner::owner_of,
    rules::DockerRules,
};

/// What a container asks for, and what of it is refused.
#[derive(Debug, Default)]
pub struct Read {
    /// One for each host.
    pub wants: Vec<Discovered>,
    /// What it does not get.
    pub refused: Vec<RefusedRoute>,
}

/// Most hosts of one container.
const MOST_HOSTS: usize = 512;

/// The prefix of our own labels.
const OURS: &str = "portcullis.";

/// Settings that are understood, and have no effect yet.
const LATER: [&str; 4] = [
    "CERT_NAME",
    "EXTERNAL_HTTP_PORT",
    "EXTERNAL_HTTPS_PORT",
    "VIRTUAL_ROOT",
];

/// Settings that would run programs or hand us credentials.
const NEVER: [&str; 3] = ["ACME_PRE_HOOK", "ACME_POST_HOOK", "ACMESH_DNS_API_CONFIG"];

/// Reads what `container` asks for.
pub fn read(container: &Container, gateway: &GatewayNetworks, rules: &DockerRules) -> Read {
    let mut reader = Reader {
        container,
        rules,
        refused: Vec::new(),
    };
    let wants = match reader.wants(gateway) {
        Ok(wants) => wants,
        Err(Unfit { asked, reason }) => {
            reader.refuse(&asked, reason);
            Vec::new()
        }
    };
    Read {
        wants,
        refused: reader.refused,
    }
}

/// Why a container gets no route at all.
struct Unfit {
    asked: String,
    reason: String,
}

impl Unfit {
    fn new(asked: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            asked: asked.into(),
            reason: reason.into(),
        }
    }
}

struct Reader<'a> {
    container: &'a Container,
    rules: &'a DockerRules,
    refused: Vec<RefusedRoute>,
}

impl<'a> Reader<'a> {
    fn wants(&mut self, gateway: &GatewayNetworks) -> Result<Vec<Discovered>, Unfit> {
        self.refuse_what_never_counts();
        self.check_every_setting()?;
        if self.container.env.contains_key("VIRTUAL_HOST_MULTIPORTS")
            && self.env("VIRTUAL_HOST_MULTIPORTS").is_some()
        {
            // On such a container VIRTUAL_HOST does not count: better none than a wrong one.
            let why = "not supported yet; give each port a container or a VIRTUAL_PATH";
            return Err(Unfit::new("VIRTUAL_HOST_MULTIPORTS", why));
        }
        let hosts = self.hosts()?;
        // Read even for a container without hosts, so that it is told what it does not get.
        let tighten = self.tighten()?;
        if hosts.is_empty() {
            return Ok(Vec::new());
        }
        self.check_protocol()?;
        let (path, dest) = self.path()?;
        let port = port_of(self.container, self.env("VIRTUAL_PORT"))
            .map_err(|why| Unfit::new(self.shown("VIRTUAL_PORT"), why))?;
        let address = address_of(self.container, port, gateway, self.rules);
        match address {
            Some(it) if self.container.on_host && self.rules.own_ports.contains(&it.port()) => {
                return Err(Unfit::new(format!("port {port}"), "the gateway's own port"));
            }
            Some(_) => (),
            None => self.refuse(
                "an address",
                "it shares no network with the gateway: its hosts are known and answer 503",
            ),
        }
        let upstream = address
            .filter(|_| self.container.health.is_ready())
            .map(|address| Upstream {
                address,
                label: self.container.name.as_str().into(),
            });
        let internal = self.is_internal()?;
        let plain_http = self.plain_http();
        let owner = owner_of(self.container, self.rules.claims);
        let wants = hosts.into_iter().map(|host| Discovered {
            container: self.container.name.clone(),
            owner: owner.clone(),
            created: Timestamp(self.container.created.as_millisecond()),
            host,
            path: path.clone(),
            dest: dest.clone(),
            upstream: upstream.clone(),
            tighten: tighten.clone(),
            internal,
            plain_http,
        });
        Ok(wants.collect())
    }

    fn refuse(&mut self, asked: &str, reason: impl Into<String>) {
        self.refused.push(RefusedRoute {
            container: printable(&self.container.name),
            asked: printable(asked),
            reason: reason.into(),
        });
    }

    /// A setting of the environment that counts.
    fn env(&self, name: &str) -> Option<&'a str> {
        let setting = self.container.env.get(name)?;
        self.counts(setting).then_some(setting.value.as_str())
    }

    fn counts(&self, setting: &Setting) -> bool {
        setting.origin == Origin::Run || self.rules.trust_images
    }

    fn shown(&self, name: &str) -> String {
        format!("{name}={}", self.env(name).unwrap_or_default())
    }

    /// Lists what comes from the image, hooks, and what has no effect yet.
    fn refuse_what_never_counts(&mut self) {
        let container = self.container;
        for (name, setting) in &container.env {
            if NEVER.contains(&name.as_str()) {
                self.refuse(
                    name,
                    "hooks and credentials are never taken from containers",
                );
            } else if !is_ignored(name) {
                self.refuse_of_image(name, setting);
                if self.counts(setting) && LATER.contains(&name.as_str()) {
                    self.refuse(name, "not supported yet; the gateway's own setting holds");
                }
            }
        }
        for (name, setting) in &container.labels {
            if name.starts_with(OURS) || name.starts_with(NGINX_PROXY) {
                self.refuse_of_image(name, setting);
            }
        }
    }

    fn refuse_of_image(&mut self, name: &str, setting: &Setting) {
        let reason = match setting.origin {
            _ if self.rules.trust_images => return,
            Origin::Run => return,
            Origin::Image => "it comes from the image (docker.trust_images is off)",
            Origin::Unknown => "its image cannot be inspected, so it may come from there",
        };
        self.refuse(&format!("{name}={}", setting.value), reason);
    }

    fn check_every_setting(&self) -> Result<(), Unfit> {
        let env = self
            .container
            .env
            .iter()
            .filter(|(name, _)| !is_ignored(name));
        let labels = self
            .container
            .labels
            .iter()
            .filter(|(name, _)| name.starts_with(OURS) || name.starts_with(NGINX_PROXY));
        for (name, setting) in env.chain(labels) {
            if self.counts(setting)
                && let Some(fault) = clean::fault(name, &setting.value)
            {
                let why = format!("{fault}: the container is not routed");
                return Err(Unfit::new(format!("{name}={}", setting.value), why));
            }
        }
        Ok(())
    }

    fn hosts(&mut self) -> Result<Vec<Asked>, Unfit> {
        let text = self.env("VIRTUAL_HOST").unwrap_or_default();
        let items = || text.split(',').map(str::trim).filter(|it| !it.is_empty());
        if items().count() > MOST_HOSTS {
            let why = format!("more than {MOST_HOSTS} hosts: the container is not routed");
            return Err(Unfit::new("VIRTUAL_HOST", why));
        }
        let mut hosts: Vec<Asked> = Vec::new();
        for item in items() {
            match Asked::parse(item) {
                Ok(host) if hosts.iter().any(|it| it.to_string() == host.to_string()) => (),
                Ok(host) => hosts.push(host),
                Err(error) => self.refuse(item, error.to_string()),
            }
        }
        Ok(hosts)
    }

    fn tighten(&mut self) -> Result<Tighten, Unfit> {
        let mut tighten = Tighten::default();
        let container = self.container;
        for (full, setting) in &container.labels {
            let Some(name) = full.strip_prefix(OURS) else {
                continue;
            };
            if !self.counts(setting) {
                continue;
            }
            let asked = || format!("{full}={}", setting.value);
            match read_label(name, &setting.value, &mut tighten) {
                Label::Taken => (),
                Label::Refused(why) => self.refuse(&asked(), why),
                Label::Unclear(why) => {
                    let why = format!("{why}: the container is not routed");
                    return Err(Unfit::new(asked(), why));
                }
            }
        }
        Ok(tighten)
    }

    fn check_protocol(&self) -> Result<(), Unfit> {
        let why = match self.env("VIRTUAL_PROTO").map(str::trim) {
            None | Some("" | "http") => return Ok(()),
            Some("uwsgi" | "fastcgi") => "only HTTP is spoken: put a web server in front of it",
            Some("https" | "grpc" | "grpcs") => "not supported yet; http is",
            Some(_) => "no protocol that is known",
        };
        Err(Unfit::new(self.shown("VIRTUAL_PROTO"), why))
    }

    fn path(&self) -> Result<(PathMatch, Option<String>), Unfit> {
        let text = self.env("VIRTUAL_PATH").map(str::trim).unwrap_or_default();
        let path = if text.is_empty() {
            PathMatch::everything()
        } else {
            PathMatch::parse(text)
                .map_err(|error| Unfit::new(self.shown("VIRTUAL_PATH"), error.to_string()))?
        };
        let dest = self.env("VIRTUAL_DEST").map(str::trim).unwrap_or_default();
        if dest.is_empty() {
            return Ok((path, None));
        }
        if matches!(path, PathMatch::Regex(_)) {
            let why = "a path that is a regular expression has no prefix to replace";
            return Err(Unfit::new(self.shown("VIRTUAL_DEST"), why));
        }
        let odd = |c: char| matches!(c, '?' | '#' | '\\' | '%') || c.is_whitespace();
        let climbs = dest.split('/').any(|it| matches!(it, "." | ".."));
        if !dest.starts_with('/') || !dest.is_ascii() || dest.contains(odd) || climbs {
            return Err(Unfit::new(self.shown("VIRTUAL_DEST"), "not a plain path"));
        }
        Ok((path, Some(dest.to_owned())))
    }

    /// Nothing but the two words: a limit that is misspelt must not be none.
    fn is_internal(&self) -> Result<bool, Unfit> {
        match self.env("NETWORK_ACCESS").map(str::trim) {
            None | Some("" | "external") => Ok(false),
            Some("internal") => Ok(true),
            Some(_) => {
                let why = "neither internal nor external: the container is not routed";
                Err(Unfit::new(self.shown("NETWORK_ACCESS"), why))
            }
        }
    }

    fn plain_http(&mut self) -> bool {
        match self.env("HTTPS_METHOD").map(str::trim) {
            None | Some("" | "redirect") => false,
            Some("noredirect" | "nohttps") => true,
            Some("nohttp") => {
                self.refuse(
                    "HTTPS_METHOD=nohttp",
                    "not supported yet; HTTP is redirected",
                );
                false
            }
            Some(_) => {
                let asked = self.shown("HTTPS_METHOD");
                self.refuse(&asked, "no method that is known; HTTP is redirected");
                false
            }
        }
    }
}

/// What acme-companion reads and we do not.
fn is_ignored(name: &str) -> bool {
    ["ACME_", "ACMESH_", "LETSENCRYPT_"]
        .iter()
        .any(|it| name.starts_with(it))
}

/// Text of a container, fit for a log line.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Policy,
        discovery::samples::{attached, container, rules},
        docker::Health,
    };

    fn reads(container: &Container) -> Read {
        read(container, &GatewayNetworks::Host, &rules())
    }

    fn hosts(read: &Read) -> Vec<String> {
        read.wants.iter().map(|it| it.host.to_string()).collect()
    }

    fn only_want(container: &Container) -> Discovered {
        let mut read = reads(container);
        assert_eq!(read.wants.len(), 1, "{:?}", read.refused);
        read.wants.remove(0)
    }

    #[test]
    fn a_list_of_hosts_is_trimmed_and_empty_items_are_ignored() {
        let read = reads(&container("r1").with(&[(
            "VIRTUAL_HOST",
            " A.example.com. ,,*.b.example.com, c.example.* ,~^d\\d+\\.example\\.com$,a.example.com,",
        )]));
        assert_eq!(
            hosts(&read),
            [
                "a.example.com",
                "*.b.example.com",
                "c.example.*",
                "~^d\\d+\\.example\\.com$"
            ]
        );
        assert_eq!(read.refused, []);
    }

    #[test]
    fn who_asks_for_nothing_gets_nothing() {
        for asked in ["", " ", ","] {
            let read = reads(&container("db").with(&[("VIRTUAL_HOST", asked)]));
            assert!(read.wants.is_empty() && read.refused.is_empty());
        }
        assert!(reads(&container("db")).wants.is_empty());
    }

    #[test]
    fn an_upstream_is_the_containers_own_address() {
        let mut it = container("r1").with(&[("VIRTUAL_HOST", "r1.example.net")]);
        it.expose(1880, "tcp");
        let upstream = only_want(&it).upstream.unwrap();
        assert_eq!(upstream.address.to_string(), "172.20.0.2:1880");
        assert_eq!(&*upstream.label, "r1");
    }

    #[test]
    fn who_is_not_ready_gets_no_requests_but_keeps_the_host() {
        let mut it = container("r1").with(&[("VIRTUAL_HOST", "r1.example.net")]);
        for (health, is_ready) in [
            (Health::Unchecked, true),
            (Health::Starting, false),
            (Health::Healthy, true),
            (Health::Unhealthy, false),
        ] {
            it.health = health;
            assert_eq!(only_want(&it).upstream.is_some(), is_ready, "{health:?}");
        }
    }

    #[test]
    fn who_cannot_be_reached_is_told_so() {
        let it = container("r1").with(&[("VIRTUAL_HOST", "r1.example.net")]);
        let inside = GatewayNetworks::Container(vec![attached("other", "172.30.0.2")]);
        let read = read(&it, &inside, &rules());
        assert_eq!(read.wants[0].upstream, None);
        assert!(read.refused[0].reason.contains("shares no network"));
    }

    #[test]
    fn paths_are_nginxs() {
        let path = |path, dest| {
            let env = [
                ("VIRTUAL_HOST", "r1.example.net"),
                ("VIRTUAL_PATH", path),
                ("VIRTUAL_DEST", dest),
            ];
            let mut read = reads(&container("r1").with(&env));
            (!read.wants.is_empty()).then(|| read.wants.remove(0))
        };
        assert!(path("", "").unwrap().path.is_everything());
        let app = path("/app", "/").unwrap();
        assert!(matches!(app.path, PathMatch::Prefix { text, .. } if text == "/app"));
        assert_eq!(app.dest.as_deref(), Some("/"));
        assert!(matches!(
            path("= /x", "").unwrap().path,
            PathMatch::Exact(_)
        ));
        assert!(matches!(
            path("~* ^/x", "").unwrap().path,
            PathMatch::Regex(_)
        ));
        for (at, dest) in [
            ("app", ""),
            ("~ ^/x", "/"),
            ("~ (", ""),
            ("/app", "x"),
            ("/app", "/../x"),
            ("/app", "/?x=1"),
        ] {
            assert!(path(at, dest).is_none(), "{at} {dest}");
        }
    }

    #[test]
    fn only_http_is_spoken() {
        let with = |proto| {
            let env = [("VIRTUAL_HOST", "r1.example.net"), ("VIRTUAL_PROTO", proto)];
            reads(&container("r1").with(&env))
        };
        assert_eq!(with("http").wants.len(), 1);
        for proto in ["https", "uwsgi", "fastcgi", "grpc", "ftp"] {
            let read = with(proto);
            assert!(read.wants.is_empty(), "{proto}");
            assert_eq!(read.refused.len(), 1, "{proto}");
        }
    }

    #[test]
    fn an_internal_container_is_never_opened_by_a_typing_error() {
        let with = |access| {
            let env = [
                ("VIRTUAL_HOST", "r1.example.net"),
                ("NETWORK_ACCESS", access),
            ];
            reads(&container("r1").with(&env))
        };
        assert!(with("internal").wants[0].internal);
        assert!(!with("external").wants[0].internal);
        assert!(with("Internal").wants.is_empty());
    }

    #[test]
    fn the_gateways_own_ports_are_not_a_containers() {
        let mut it =
            container("r1").with(&[("VIRTUAL_HOST", "r1.example.net"), ("VIRTUAL_PORT", "9090")]);
        assert_eq!(reads(&it).wants.len(), 1);
        it.on_host = true;
        assert!(reads(&it).wants.is_empty());
    }

    #[test]
    fn labels_tighten() {
        let mut it = container("r1").with(&[("VIRTUAL_HOST", "r1.example.net")]);
        it.label("portcullis.policy", "hardware-key", Origin::Run);
        it.label("portcullis.allow_origins", "https://x.example", Origin::Run);
        let read = reads(&it);
        assert_eq!(read.wants[0].tighten.policy, Some(Policy::HardwareKey));
        assert_eq!(
            read.refused[0].asked,
            "portcullis.allow_origins=https://x.example"
        );
        it.label("portcullis.policy", "two factors", Origin::Run);
        assert!(
            reads(&it).wants.is_empty(),
            "asked for more, so it must not get less"
        );
    }

    #[test]
    fn n1_what_an_image_carries_is_refused_and_listed() {
        let mut it = container("evil");
        it.set("VIRTUAL_HOST", "a.example.net", Origin::Image);
        it.label("portcullis.upstreams", "http://10.0.0.1", Origin::Image);
        it.label("portcullis.login_api", "true", Origin::Image);
        it.label("portcullis.policy", "one-factor", Origin::Image);
        let read_it = reads(&it);
        assert!(read_it.wants.is_empty());
        let asked: Vec<&str> = read_it.refused.iter().map(|it| it.asked.as_str()).collect();
        assert_eq!(
            asked,
            [
                "VIRTUAL_HOST=a.example.net",
                "portcullis.login_api=true",
                "portcullis.policy=one-factor",
                "portcullis.upstreams=http://10.0.0.1"
            ]
        );
        // What whoever runs it says still counts, and only that.
        it.set("VIRTUAL_HOST", "b.example.net", Origin::Run);
        let read_it = reads(&it);
        assert_eq!(hosts(&read_it), ["b.example.net"]);
        assert_eq!(read_it.wants[0].tighten, Tighten::default());
        // Trusting images does not make a label more than a label.
        let trusting = DockerRules {
            trust_images: true,
            ..rules()
        };
        let trusted = read(&it, &GatewayNetworks::Host, &trusting);
        assert_eq!(trusted.wants[0].tighten.policy, Some(Policy::OneFactor));
        assert_eq!(trusted.refused.len(), 2, "{:?}", trusted.refused);
    }

    #[test]
    fn an_image_that_is_gone_may_have_carried_anything() {
        let mut it = container("r1");
        it.set("VIRTUAL_HOST", "a.example.net", Origin::Unknown);
        let read = reads(&it);
        assert!(read.wants.is_empty());
        assert!(read.refused[0].reason.contains("cannot be inspected"));
    }

    #[test]
    fn p12_nonsense_harms_only_its_own_container() {
        let many: Vec<String> = (0..5000).map(|it| format!("h{it}.a")).collect();
        let many = many.join(",");
        let long = "x".repeat(10_000);
        let http2 = "com.github.nginx-proxy.nginx-proxy.http2.enable";
        let env = |name: &str, value: &str| {
            container("bad").with(&[("VIRTUAL_HOST", "bad.example.net"), (name, value)])
        };
        let label = |name: &str, value: &str| {
            let mut it = env("VIRTUAL_PORT", "80");
            it.label(name, value, Origin::Run);
            it
        };
        for bad in [
            env("HSTS", "x\";} server {listen 81;"),
            env("VIRTUAL_HOST", "bad.example.net\nr1.example.net"),
            env("VIRTUAL_HOST", &many),
            env("VIRTUAL_HOST", &long),
            env("VIRTUAL_HOST_MULTIPORTS", "a: &a [*a,*a]\nb: &b [*a,*a]"),
            env("VIRTUAL_HOST_MULTIPORTS", ""),
            env("VIRTUAL_PATH", "/} location / {"),
            env("VIRTUAL_PORT", "80;"),
            label(http2, "maybe"),
            label("portcullis.policy", &long),
            label("portcullis.anything", "a\r\nb"),
        ] {
            let read = reads(&bad);
            assert!(read.wants.is_empty(), "{:?} {:?}", bad.env, bad.labels);
            let told = &read.refused[0];
            assert_eq!(told.container, "bad");
            assert!(told.asked.len() < 400 && !told.asked.contains(char::is_control));
        }
        // One host too many is not a container too many.
        let some = env("VIRTUAL_HOST", "good.example.net,not a host,*,~(");
        assert_eq!(hosts(&reads(&some)), ["good.example.net"]);
        assert_eq!(reads(&some).refused.len(), 3);
    }

    #[test]
    fn d1_hooks_are_never_taken() {
        let read = reads(&container("r1").with(&[
            ("VIRTUAL_HOST", "r1.example.net"),
            ("ACME_PRE_HOOK", "docker run --privileged x"),
            ("ACME_EMAIL", "$(id)"),
            ("LETSENCRYPT_HOST", "r1.example.net;{"),
        ]));
        assert_eq!(hosts(&read), ["r1.example.net"]);
        let asked: Vec<&str> = read.refused.iter().map(|it| it.asked.as_str()).collect();
        assert_eq!(asked, ["ACME_PRE_HOOK"], "and its text is not repeated");
    }
}
