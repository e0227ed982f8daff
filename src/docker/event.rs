//! What the engine's events mean to us.

use std::collections::HashMap;

use bollard::models::{EventMessage, EventMessageTypeEnum};

use super::container::Health;

/// The actions asked for; `health_status` also brings its `: healthy` and `: unhealthy`.
pub(super) const ACTIONS: &[&str] = &[
    "start",
    "stop",
    "die",
    "pause",
    "unpause",
    "destroy",
    "rename",
    "update",
    "health_status",
    "connect",
    "disconnect",
    "remove",
];

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// When, by the engine's clock: nanoseconds since the epoch.
    pub(super) at_nanos: i64,
    /// What.
    pub(super) kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A container no longer answers: its address may be somebody else's in a moment.
    Down(String),
    /// Something about a container is different: look again.
    Changed(String),
    /// Its health check has a new opinion.
    Health(String, Health),
    /// A container lost its address on a network (container, network).
    Detached(String, String),
    /// A network is gone: look at everything.
    NetworkGone,
}

impl Event {
    /// Reads an engine's message; `None` for those that mean nothing to us.
    pub(super) fn read(message: EventMessage) -> Option<Self> {
        let at_nanos = message.time_nano.unwrap_or_default();
        let actor = message.actor?;
        let (id, attributes) = (actor.id?, actor.attributes.unwrap_or_default());
        let action = message.action?;
        let kind = if message.typ == Some(EventMessageTypeEnum::CONTAINER) {
            of_container(id, &action)
        } else if message.typ == Some(EventMessageTypeEnum::NETWORK) {
            of_network(id, &action, attributes)
        } else {
            None
        }?;
        Some(Self { at_nanos, kind })
    }
}

fn of_container(id: String, action: &str) -> Option<Kind> {
    match action {
        "die" | "stop" | "destroy" | "pause" => Some(Kind::Down(id)),
        "start" | "unpause" | "rename" | "update" => Some(Kind::Changed(id)),
        "health_status: healthy" => Some(Kind::Health(id, Health::Healthy)),
        "health_status: unhealthy" => Some(Kind::Health(id, Health::Unhealthy)),
        other if other.starts_with("health_status") => Some(Kind::Changed(id)),
        _ => None,
    }
}

fn of_network(
    network: String,
    action: &str,
    mut attributes: HashMap<String, String>,
) -> Option<Kind> {
    match action {
        "connect" => attributes.remove("container").map(Kind::Changed),
        "disconnect" => attributes
            .remove("container")
            .map(|container| Kind::Detached(container, network)),
        "destroy" | "remove" => Some(Kind::NetworkGone),
        _ => None,
    }
}
