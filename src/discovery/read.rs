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
