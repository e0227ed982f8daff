//! Ways around the gateway: networks that tenants share, and ports published on the host.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{network::port_of, owner::owner_of, rules::DockerRules};
use crate::{docker::Snapshot, route::Discovered};

/// One sentence for each way around the gateway.
pub fn warnings(
    snapshots: &[Option<Snapshot>],
    found: &[Discovered],
    rules: &DockerRules,
) -> Vec<String> {
    let routed: HashSet<&str> = found.iter().map(|it| it.container.as_str()).collect();
    let mut networks: BTreeMap<&str, (&str, BTreeSet<String>)> = BTreeMap::new();
    let mut warnings = Vec::new();
    let running = snapshots
        .iter()
        .flatten()
        .flat_map(|it| it.containers.values());
    for container in running.filter(|it| routed.contains(it.name.as_str())) {
        for network in &container.networks {
            let (_, owners) = networks
                .entry(&network.network)
                .or_insert_with(|| (&network.name, BTreeSet::new()));
            owners.insert(owner_of(container, rules.claims));
        }
        let asked = container
            .env
            .get("VIRTUAL_PORT")
            .map(|it| it.value.as_str());
        let served = port_of(container, asked).ok();
        if let Some(port) = container
            .ports
            .iter()
            .find(|it| it.published && Some(it.number) == served)
        {
            warnings.push(format!(
                "port {} of {} is published on the host: whoever reaches it there needs no login",
                port.number, container.name
            ));
        }
    }
    for (name, owners) in networks
        .into_values()
        .filter(|(_, owners)| owners.len() > 1)
    {
        let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
        warnings.push(format!(
            "network {name} joins {}: they reach each other around the gateway",
            owners.join(", ")
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        discovery::{
            read,
            samples::{container, rules},
        },
        docker::{Container, GatewayNetworks, Port},
    };

    fn warn_of(containers: Vec<Container>) -> Vec<String> {
        let read = |it: &Container| read(it, &GatewayNetworks::Host, &rules()).wants;
        let found: Vec<Discovered> = containers.iter().flat_map(read).collect();
        let snapshot = Snapshot {
            containers: containers
                .into_iter()
                .map(|it| ((it.created, it.id.clone()), Arc::new(it)))
                .collect(),
            ..Snapshot::default()
        };
        warnings(&[Some(snapshot)], &found, &rules())
    }

    #[test]
    fn tenants_that_share_a_network_are_told() {
        let one = container("r1").with(&[("VIRTUAL_HOST", "r1.example.net")]);
        let two = container("r2").with(&[("VIRTUAL_HOST", "r2.example.net")]);
        let database = container("db");
        assert_eq!(warn_of(vec![one.clone(), database]), Vec::<String>::new());
        let told = warn_of(vec![one, two]);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("net-a joins container:r1, container:r2"),
            "{told:?}"
        );
    }

    #[test]
    fn a_published_port_leads_around_the_gateway() {
        let mut one = container("r1").with(&[("VIRTUAL_HOST", "r1.example.net")]);
        one.ports.insert(Port {
            number: 1880,
            protocol: "tcp".to_owned(),
            published: true,
        });
        assert!(warn_of(vec![one])[0].contains("port 1880 of r1 is published"));
    }
}
