//! Which address of a container requests go to: nginx-proxy's choice of network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::rules::DockerRules;
use crate::docker::{Attached, Container, GatewayNetworks};

/// Swarm's own network: nobody answers there.
const INGRESS: &str = "ingress";

/// Where a container answers on `port`; `None` when the gateway shares no network with it.
///
/// Networks are tried by name (the operator's choice first); of each the IPv4 address, else
/// the IPv6 one. A container on the host's network answers on loopback, or, when the gateway
/// is in a container, on the way out of the gateway's first network that has one.
pub(super) fn address_of(
    container: &Container,
    port: u16,
    gateway: &GatewayNetworks,
    rules: &DockerRules,
) -> Option<SocketAddr> {
    if container.on_host {
        let address = match gateway {
            GatewayNetworks::Host => IpAddr::V4(Ipv4Addr::LOCALHOST),
            GatewayNetworks::Container(ours) => ours.iter().find_map(|it| it.gateway)?,
        };
        return Some(SocketAddr::new(address, port));
    }
    let shared = |it: &&Attached| match gateway {
        GatewayNetworks::Host => true,
        GatewayNetworks::Container(ours) => ours.iter().any(|own| own.network == it.network),
    };
    let usable: Vec<&Attached> = container
        .networks
        .iter()
        .filter(|it| it.name != INGRESS)
        .filter(shared)
        .collect();
    let chosen = usable
        .iter()
        .filter(|it| rules.network.as_deref() == Some(it.name.as_str()));
    chosen
        .chain(&usable)
        .find_map(|it| address_on(it))
        .map(|address| SocketAddr::new(address, port))
}

/// An address that can only be the container's own.
fn address_on(network: &Attached) -> Option<IpAddr> {
    let v4 = network.v4.map(IpAddr::V4);
    let v6 = network.v6.map(IpAddr::V6);
    v4.or(v6)
        .filter(|it| !it.is_loopback() && !it.is_unspecified() && !it.is_multicast())
}

/// `VIRTUAL_PORT`, else the only port there is, else 80.
pub(super) fn port_of(container: &Container, asked: Option<&str>) -> Result<u16, &'static str> {
    if let Some(text) = asked.map(str::trim).filter(|it| !it.is_empty()) {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        return match text.parse::<u16>() {
            Ok(port) if digits && port > 0 => Ok(port),
            _ => Err("VIRTUAL_PORT is one port number"),
        };
    }
    let mut ports = container.ports.iter();
    match (ports.next(), ports.next()) {
        (Some(only), None) => Ok(only.number),
        _ => Ok(80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::samples::{attached, container, rules};

    fn find(of: &Container, gateway: &GatewayNetworks) -> Option<String> {
        address_of(of, 80, gateway, &rules()).map(|it| it.ip().to_string())
    }

    #[test]
    fn networks_are_tried_by_name_and_swarms_own_is_skipped() {
        let mut it = container("r1");
        it.networks = vec![
            attached("ingress", "10.0.0.2"),
            attached("net-a", "172.20.0.2"),
            attached("net-b", "172.21.0.2"),
        ];
        assert_eq!(
            find(&it, &GatewayNetworks::Host).as_deref(),
            Some("172.20.0.2")
        );
        let preferring = DockerRules {
            network: Some("net-b".to_owned()),
            ..rules()
        };
        let chosen = address_of(&it, 80, &GatewayNetworks::Host, &preferring).unwrap();
        assert_eq!(chosen.to_string(), "172.21.0.2:80");
    }

    #[test]
    fn from_a_container_only_shared_networks_count() {
        let mut it = container("r1");
        it.networks = vec![
            attached("net-a", "172.20.0.2"),
            attached("net-b", "172.21.0.2"),
        ];
        let ours = |name| GatewayNetworks::Container(vec![attached(name, "172.21.0.9")]);
        assert_eq!(find(&it, &ours("net-b")).as_deref(), Some("172.21.0.2"));
        assert_eq!(find(&it, &ours("net-c")), None);
    }

    #[test]
    fn a_container_on_the_hosts_network_answers_on_loopback() {
        let mut it = container("r1");
        it.on_host = true;
        it.networks = vec![attached("host", "")];
        assert_eq!(
            find(&it, &GatewayNetworks::Host).as_deref(),
            Some("127.0.0.1")
        );
        let mut own = attached("net-b", "172.21.0.9");
        own.gateway = Some("172.21.0.1".parse().unwrap());
        let inside = GatewayNetworks::Container(vec![attached("internal", "10.1.1.1"), own]);
        assert_eq!(find(&it, &inside).as_deref(), Some("172.21.0.1"));
    }

    #[test]
    fn a_container_without_an_address_is_nowhere() {
        let mut it = container("r1");
        it.networks = vec![attached("net-a", "")];
        assert_eq!(find(&it, &GatewayNetworks::Host), None);
    }

    #[test]
    fn the_port_is_the_asked_one_or_the_only_one_or_80() {
        let mut it = container("r1");
        assert_eq!(port_of(&it, None), Ok(80));
        it.expose(1880, "tcp");
        assert_eq!(port_of(&it, None), Ok(1880));
        assert_eq!(port_of(&it, Some("")), Ok(1880));
        it.expose(1881, "tcp");
        assert_eq!(port_of(&it, None), Ok(80));
        assert_eq!(port_of(&it, Some(" 1881 ")), Ok(1881));
        for bad in ["0", "65536", "+80", "80,81", "http", "8 0"] {
            assert!(port_of(&it, Some(bad)).is_err(), "{bad}");
        }
    }
}
