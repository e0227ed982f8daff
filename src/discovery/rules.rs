//! What the operator said about containers, as far as reading them goes.

use crate::{
    config::{Claims, Config},
    name::HostName,
};

/// What the operator said about containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerRules {
    /// The guarded root.
    pub root: Option<HostName>,
    /// Hosts of our own, which nobody else gets.
    pub reserved: Vec<HostName>,
    /// Who owns a host name.
    pub claims: Claims,
    /// Whether what an image carries counts.
    pub trust_images: bool,
    /// The network to reach containers by, where several would do.
    pub network: Option<String>,
    /// Ports we listen on ourselves: on the host's own network no container has them.
    pub own_ports: Vec<u16>,
}

impl DockerRules {
    /// Reads them. In open mode images count and names are nobody's, as in nginx-proxy.
    pub fn of(config: &Config) -> Self {
        let guarded = config.is_guarded();
        let own = |label| config.root_domain.as_ref()?.child(label).ok();
        let reserved = [
            config.portal.host.clone(),
            config.manager.host.clone(),
            own("auth"),
            own("manager"),
        ];
        let listen = &config.listen;
        let addresses = listen.https.iter().chain(&listen.http).chain(&listen.admin);
        Self {
            root: config.root_domain.clone(),
            reserved: reserved.into_iter().flatten().collect(),
            claims: config.docker.claims.unwrap_or(if guarded {
                Claims::Project
            } else {
                Claims::Off
            }),
            trust_images: config.docker.trust_images || !guarded,
            network: config.docker.network.clone(),
            own_ports: addresses.map(std::net::SocketAddr::port).collect(),
        }
    }
}
