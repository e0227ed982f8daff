//! What we know of a container: only what decides where requests go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, EndpointSettings, HealthStatusEnum, ImageInspect,
};
use jiff::Timestamp;

/// A running container, as its engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the engine's leading slash.
    pub name: String,
    /// When it was made: who is older wins where two disagree.
    pub created: Timestamp,
    /// When this run of it began.
    pub started: Timestamp,
    /// The environment, as far as it is any of our business (see `KEPT_ENV`).
    pub env: BTreeMap<String, Setting>,
    /// The labels, as far as they are any of our business (see `KEPT_LABELS`).
    pub labels: BTreeMap<String, Setting>,
    /// Its ports, `1880/tcp`: what is published or exposed.
    pub ports: BTreeSet<Port>,
    /// The networks it is on, by name.
    pub networks: Vec<Attached>,
    /// Whether it shares the host's own network.
    pub on_host: bool,
    /// What its health check says.
    pub health: Health,
}

/// One value of the environment or of the labels, and who put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value, unchecked.
    pub value: String,
    /// Who set it.
    pub origin: Origin,
}

/// Who put a setting there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Whoever ran the container.
    Run,
    /// Whoever built the image: it says so too, in the same words.
    Image,
    /// The image cannot be inspected, so nobody knows.
    Unknown,
}

/// A port that the container has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Whether the engine publishes it on an address of the host that is not loopback.
    pub published: bool,
}

/// A network that a container is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The network's name.
    pub name: String,
    /// The network's id.
    pub network: String,
    /// The container's address there.
    pub v4: Option<Ipv4Addr>,
    /// The container's IPv6 address there.
    pub v6: Option<Ipv6Addr>,
    /// The way out of the network; none in internal ones.
    pub gateway: Option<IpAddr>,
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// There is none: running is enough.
    Unchecked,
    /// Not yet.
    Starting,
    /// Ready.
    Healthy,
    /// Not any more.
    Unhealthy,
}

impl Health {
    /// Whether requests may go there.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Unchecked | Self::Healthy)
    }
}

/// The beginnings of environment names that are kept; the rest is the tenant's secret.
const KEPT_ENV: &[&str] = &[
    "VIRTUAL_",
    "ACME_",
    "ACMESH_",
    "LETSENCRYPT_",
    "HTTPS_METHOD",
    "HSTS",
    "CERT_NAME",
    "SSL_POLICY",
    "NETWORK_ACCESS",
    "SERVER_TOKENS",
    "EXTERNAL_HTTP_PORT",
    "EXTERNAL_HTTPS_PORT",
    "ENABLE_HTTP_ON_MISSING_CERT",
];

/// The beginnings of label names that are kept.
const KEPT_LABELS: &[&str] = &[
    "portcullis.",
    "com.github.nginx-proxy.",
    "com.docker.compose.",
    "com.docker.stack.",
    "com.docker.swarm.",
];

/// What an image gives every container that is made from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    env: BTreeSet<String>,
    labels: HashMap<String, String>,
}

impl Image {
    /// Reads the engine's answer.
    pub(super) fn read(image: ImageInspect) -> Self {
        let config = image.config.unwrap_or_default();
        Self {
            env: config.env.unwrap_or_default().into_iter().collect(),
            labels: config.labels.unwrap_or_default(),
        }
    }
}

/// Whether the engine's answer describes a container that runs.
pub(super) fn is_up(inspected: &ContainerInspectResponse) -> bool {
    inspected.state.as_ref().is_some_and(|state| {
        state.running == Some(true)
            && state.paused != Some(true)
            && state.restarting != Some(true)
            && state.dead != Some(true)
    })
}

impl Container {
    /// Reads the engine's answer; `image` is `None` where it could not be inspected. `None`
    /// when the answer lacks what every container has.
    pub(super) fn read(inspected: ContainerInspectResponse, image: Option<&Image>) -> Option<Self> {
        let config = inspected.config.unwrap_or_default();
        let state = inspected.state.unwrap_or_default();
        let settings = inspected.network_settings.unwrap_or_default();
        let mode = inspected.host_config.and_then(|it| it.network_mode);
        let mut networks: Vec<Attached> = settings
            .networks
            .unwrap_or_default()
            .into_iter()
            .map(|(name, endpoint)| Attached::read(name, &endpoint))
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Some(Self {
            id: inspected.id?,
            name: inspected.name?.trim_start_matches('/').to_owned(),
            created: inspected.created?.parse().ok()?,
            started: state.started_at?.parse().ok()?,
            env: read_env(&config, image),
            labels: read_labels(&config, image),
            ports: read_ports(settings.ports.unwrap_or_default(), &config),
            networks,
            on_host: mode.as_deref() == Some("host"),
            health: read_health(state.health.and_then(|it| it.status)),
        })
    }
}

impl Container {
    /// Whether it is known of every setting who put it there.
    pub fn is_certain(&self) -> bool {
        let settings = self.env.values().chain(self.labels.values());
        settings.into_iter().all(|it| it.origin != Origin::Unknown)
    }
}

impl Attached {
    fn read(name: String, endpoint: &EndpointSettings) -> Self {
        fn parse<T: std::str::FromStr>(text: Option<&String>) -> Option<T> {
            text?.parse().ok()
        }
        Self {
            name,
            network: endpoint.network_id.clone().unwrap_or_default(),
            v4: parse(endpoint.ip_address.as_ref()),
            v6: parse(endpoint.global_ipv6_address.as_ref()),
            gateway: parse(endpoint.gateway.as_ref()),
        }
    }
}

fn read_health(status: Option<HealthStatusEnum>) -> Health {
    match status {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::Unchecked,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

fn origin(carried: Option<bool>) -> Origin {
    match carried {
        Some(true) => Origin::Image,
        Some(false) => Origin::Run,
        None => Origin::Unknown,
    }
}

fn is_kept(name: &str, kept: &[&str]) -> bool {
    kept.iter().any(|it| name.starts_with(it))
}

/// Of a name that stands twice the last counts, as in nginx-proxy.
fn read_env(config: &ContainerConfig, image: Option<&Image>) -> BTreeMap<String, Setting> {
    let mut found = BTreeMap::new();
    for line in config.env.iter().flatten() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if is_kept(name, KEPT_ENV) {
            let setting = Setting {
                value: value.to_owned(),
                origin: origin(image.map(|it| it.env.contains(line))),
            };
            found.insert(name.to_owned(), setting);
        }
    }
    found
}

fn read_labels(config: &ContainerConfig, image: Option<&Image>) -> BTreeMap<String, Setting> {
    let labels = config.labels.iter().flatten();
    labels
        .filter(|(name, _)| is_kept(name, KEPT_LABELS))
        .map(|(name, value)| {
            let carried = image.map(|it| it.labels.get(name) == Some(value));
            let setting = Setting {
                value: value.clone(),
                origin: origin(carried),
            };
            (name.clone(), setting)
        })
        .collect()
}

/// What the engine set up, or else what the configuration says (host networking).
fn read_ports(set_up: bollard::models::PortMap, config: &ContainerConfig) -> BTreeSet<Port> {
    fn read(text: &str, published: bool) -> Option<Port> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some(Port {
            number: number.parse().ok()?,
            protocol: protocol.to_owned(),
            published,
        })
    }
    if set_up.is_empty() {
        let exposed = config.exposed_ports.iter().flatten();
        return exposed.filter_map(|it| read(it, false)).collect();
    }
    set_up
        .into_iter()
        .filter_map(|(text, bindings)| {
            let open = bindings.iter().flatten().any(|binding| {
                let address = binding.host_ip.as_deref().unwrap_or_default();
                !address
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
            });
            read(&text, open)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inspected: &str, image: Option<&str>) -> Container {
        let image = image.map(|it| Image::read(serde_json::from_str(it).unwrap()));
        Container::read(serde_json::from_str(inspected).unwrap(), image.as_ref()).unwrap()
    }

    fn read_r1() -> Container {
        read(
            include_str!("../../tests/fixtures/docker/r1.json"),
            Some(r#"{"Id": "x", "Config": {"ExposedPorts": {"1880/tcp": {}}}}"#),
        )
    }

    #[test]
    fn an_engines_answer_is_understood() {
        let r1 = read_r1();
        assert_eq!(r1.name, "r1");
        assert_eq!(r1.health, Health::Healthy);
        assert_eq!(r1.env["VIRTUAL_HOST"].value, "r1.example.com");
        assert_eq!(r1.env["VIRTUAL_HOST"].origin, Origin::Run);
        assert_eq!(r1.labels["com.docker.compose.project"].value, "alpha");
        let networks: Vec<&str> = r1.networks.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(networks, ["net-a", "net-b"]);
        assert_eq!(r1.networks[0].v4.unwrap().to_string(), "172.17.0.2");
        assert!(r1.started > r1.created);
    }

    #[test]
    fn a_tenants_other_environment_is_not_kept() {
        assert!(!read_r1().env.contains_key("PATH"));
    }

    #[test]
    fn what_an_image_carries_is_told_apart() {
        let evil = include_str!("../../tests/fixtures/docker/evil.json");
        let image = include_str!("../../tests/fixtures/docker/image-evil.json");
        let told = read(evil, Some(image));
        assert!(told.is_certain());
        let settings = told.env.values().chain(told.labels.values());
        assert!(settings.into_iter().all(|it| it.origin == Origin::Image));
        assert!(!read(evil, None).is_certain());
    }

    #[test]
    fn only_a_port_on_a_public_address_is_published() {
        let plain = include_str!("../../tests/fixtures/docker/plain.json");
        let port = |told: Container| told.ports.into_iter().next().unwrap();
        assert!(
            !port(read(plain, None)).published,
            "127.0.0.1 is nobody else's"
        );
        let wide = plain.replace("127.0.0.1", "0.0.0.0");
        assert!(port(read(&wide, None)).published);
    }

    #[test]
    fn on_the_hosts_network_the_exposed_ports_are_known_from_the_configuration() {
        let hostnet = include_str!("../../tests/fixtures/docker/hostnet.json");
        let told = read(hostnet, None);
        assert!(told.on_host);
        assert_eq!(told.ports.first().unwrap().number, 1880);
        assert_eq!(told.networks[0].v4, None);
    }
}
