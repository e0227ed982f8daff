//! A container's environment and labels: lines `e NAME=value` and `l name=value` of whoever ran
//! it, `E` and `L` of its image, `p 1880/tcp` for a port. A label may only tighten, and what an
//! image carries counts for nothing.

#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use portcullis::{
    config::{Claims, Policy},
    discovery::{DockerRules, Read, read},
    docker::{Attached, Container, GatewayNetworks, Health, Origin, Port, Setting},
    route::{Asked, PathMatch},
};
use portcullis_fuzz::host;

fuzz_target!(|text: &str| {
    let mut container = Container {
        id: "0".repeat(64),
        name: "tenant".to_owned(),
        created: Timestamp::UNIX_EPOCH,
        started: Timestamp::UNIX_EPOCH,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        ports: BTreeSet::new(),
        networks: vec![Attached {
            name: "proxy".to_owned(),
            network: "n1".to_owned(),
            v4: Some([172, 20, 0, 2].into()),
            v6: None,
            gateway: None,
        }],
        on_host: false,
        health: Health::Unchecked,
    };
    for line in text.split('\n') {
        let Some((kind, rest)) = line.split_at_checked(2) else {
            continue;
        };
        let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
        let setting = |origin| Setting {
            value: value.to_owned(),
            origin,
        };
        let name = name.to_owned();
        match kind {
            "e " => drop(container.env.insert(name, setting(Origin::Run))),
            "E " => drop(container.env.insert(name, setting(Origin::Image))),
            "l " => drop(container.labels.insert(name, setting(Origin::Run))),
            "L " => drop(container.labels.insert(name, setting(Origin::Unknown))),
            "p " => {
                let (number, protocol) = name.split_once('/').unwrap_or((&name, "tcp"));
                let Ok(number) = number.parse() else { continue };
                container.ports.insert(Port {
                    number,
                    protocol: protocol.to_owned(),
                    published: false,
                });
            }
            _ => return,
        }
    }
    let rules = DockerRules {
        root: Some(host("example.net")),
        reserved: vec![host("auth.example.net")],
        claims: Claims::Project,
        trust_images: false,
        network: None,
        own_ports: vec![443],
    };
    let found = read(&container, &GatewayNetworks::Host, &rules);
    check(&found);
    // Twice the same; and what did not come from who ran it might as well not be there.
    let again = read(&container, &GatewayNetworks::Host, &rules);
    assert_eq!(format!("{found:?}"), format!("{again:?}"));
    container.env.retain(|_, it| it.origin == Origin::Run);
    container.labels.retain(|_, it| it.origin == Origin::Run);
    let own = read(&container, &GatewayNetworks::Host, &rules);
    assert_eq!(
        format!("{:?}", found.wants),
        format!("{:?}", own.wants),
        "an image was believed"
    );
});

fn check(found: &Read) {
    for want in &found.wants {
        for policy in [want.tighten.policy, want.tighten.pages, want.tighten.sockets] {
            assert!(policy.is_none_or(|it| it > Policy::Open), "a label opens");
        }
        let asked = Asked::parse(&want.host.to_string()).expect("what was asked can be asked");
        assert_eq!(asked.to_string(), want.host.to_string());
        if let Some(dest) = &want.dest {
            assert!(dest.starts_with('/') && !dest.contains(['?', '#', '%', '\\']));
            assert!(!dest.split('/').any(|it| it == ".."), "a way out of the destination");
        }
        if let PathMatch::Exact(path) | PathMatch::Prefix { text: path, .. } = &want.path {
            assert!(path.starts_with('/') && Path::new(path).has_root());
        }
        assert!(want.upstream.as_ref().is_none_or(|it| it.address.ip().is_ipv4()));
    }
    for refused in &found.refused {
        let shown = [&refused.container, &refused.asked];
        assert!(
            !shown.iter().any(|it| it.chars().any(char::is_control)),
            "control characters for a log"
        );
    }
}
