//! Containers, networks and rules for the tests of this room.

use crate::{
    config::Claims,
    docker::{Attached, Container, Health, Origin, Port, Setting},
    name::HostName,
};

use super::rules::DockerRules;

/// A container without any settings, on one network.
pub(super) fn container(name: &str) -> Container {
    Container {
        id: format!("{name:0>64}"),
        name: name.to_owned(),
        created: "2026-01-01T00:00:00Z".parse().unwrap(),
        started: "2026-01-01T00:00:01Z".parse().unwrap(),
        env: std::collections::BTreeMap::new(),
        labels: std::collections::BTreeMap::new(),
        ports: std::collections::BTreeSet::new(),
        networks: vec![attached("net-a", "172.20.0.2")],
        on_host: false,
        health: Health::Unchecked,
    }
}

/// A guarded gateway at `example.net`.
pub(super) fn rules() -> DockerRules {
    let host = |it| HostName::parse(it).unwrap();
    DockerRules {
        root: Some(host("example.net")),
        reserved: vec![host("auth.example.net"), host("manager.example.net")],
        claims: Claims::Project,
        trust_images: false,
        network: None,
        own_ports: vec![443, 80, 9090],
    }
}

pub(super) fn attached(name: &str, address: &str) -> Attached {
    Attached {
        name: name.to_owned(),
        network: format!("id-of-{name}"),
        v4: address.parse().ok(),
        v6: None,
        gateway: None,
    }
}

impl Container {
    pub(super) fn label(&mut self, name: &str, value: &str, origin: Origin) {
        let value = value.to_owned();
        self.labels
            .insert(name.to_owned(), Setting { value, origin });
    }

    pub(super) fn set(&mut self, name: &str, value: &str, origin: Origin) {
        let value = value.to_owned();
        self.env.insert(name.to_owned(), Setting { value, origin });
    }

    /// Sets its environment, as `-e` does.
    pub(super) fn with(mut self, env: &[(&str, &str)]) -> Self {
        for (name, value) in env {
            self.set(name, value, Origin::Run);
        }
        self
    }

    pub(super) fn expose(&mut self, number: u16, protocol: &str) {
        self.ports.insert(Port {
            number,
            protocol: protocol.to_owned(),
            published: false,
        });
    }
}
