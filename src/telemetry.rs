//! Log format, metric names, audit events; what may never be printed.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub mod agent;
pub mod audit;

/// What a number is about.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Kind {
    /// The one label.
    pub kind: String,
}

/// An answer's labels.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Answered {
    /// The core that gave it.
    pub core: usize,
    /// `2xx` and so on.
    pub class: String,
}

/// A decision's labels.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Decided {
    /// The core that took it.
    pub core: usize,
    /// What came out.
    pub outcome: String,
}

/// Every number the gateway keeps. What is counted on every request's way has handles per
/// core: [`CoreMetrics`].
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests answered, by core and class of status (`2xx`).
    pub requests: Family<Answered, Counter>,
    /// Decisions, by core and outcome: `admitted`, `sign_in`, `step_up`, or a refusal's code.
    pub decisions: Family<Decided, Counter>,
    /// Client connections open now.
    pub connections: Gauge,
    /// WebSockets open now.
    pub sockets: Gauge,
    /// Socket messages, by verdict (`passed`, `changed`, `dropped`, `refused`).
    pub frames: Family<Kind, Counter>,
    /// Sockets ended by us, by reason.
    pub socket_ends: Family<Kind, Counter>,
    /// What was dropped, refused or closed because a limit of `[sockets]` was reached, by limit.
    pub socket_limits: Family<Kind, Counter>,
    /// Live sessions.
    pub sessions: Gauge,
    /// Routes served now.
    pub routes: Gauge,
    /// Containers refused now.
    pub refused_containers: Gauge,
    /// 1 while the Docker event stream is connected.
    pub discovery_connected: Gauge,
    /// 1 while the store answers.
    pub store_up: Gauge,
    /// Reloads of the configuration, by outcome.
    pub reloads: Family<Kind, Counter>,
    /// Seconds from a change in the store to all its sockets told.
    pub revocation_seconds: Histogram,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh set, all zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let requests = Family::default();
        let decisions = Family::default();
        let connections = Gauge::default();
        let sockets = Gauge::default();
        let frames = Family::default();
        let socket_ends = Family::default();
        let socket_limits = Family::default();
        let sessions = Gauge::default();
        let routes = Gauge::default();
        let refused_containers = Gauge::default();
        let discovery_connected = Gauge::default();
        let store_up = Gauge::default();
        let reloads = Family::default();
        let revocation_seconds = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0]);
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("decisions", "Decisions by outcome", decisions.clone());
        registry.register(
            "connections",
            "Client connections open",
            connections.clone(),
        );
        registry.register("sockets", "WebSockets open", sockets.clone());
        registry.register("frames", "Socket messages by verdict", frames.clone());
        registry.register(
            "socket_ends",
            "Sockets ended by the gateway, by reason",
            socket_ends.clone(),
        );
        registry.register(
            "socket_limits",
            "Limits of sockets that were reached, by limit",
            socket_limits.clone(),
        );
        registry.register("sessions", "Live sessions", sessions.clone());
        registry.register("routes", "Routes served", routes.clone());
        registry.register(
            "refused_containers",
            "Containers refused",
            refused_containers.clone(),
        );
        registry.register(
            "discovery_connected",
            "Whether the Docker event stream is connected",
            discovery_connected.clone(),
        );
        registry.register("store_up", "Whether the store answers", store_up.clone());
        registry.register(
            "reloads",
            "Configuration reloads by outcome",
            reloads.clone(),
        );
        registry.register(
            "revocation_seconds",
            "From a change to all sockets told",
            revocation_seconds.clone(),
        );
        Self {
            requests,
            decisions,
            connections,
            sockets,
            frames,
            socket_ends,
            socket_limits,
            sessions,
            routes,
            refused_containers,
            discovery_connected,
            store_up,
            reloads,
            revocation_seconds,
            registry: Arc::new(registry),
        }
    }

    /// All of it, as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail; an empty page is the honest answer if it did.
        if prometheus_client::encoding::text::encode(&mut out, &self.registry).is_err() {
            out.clear();
        }
        out
    }
}

/// One core's own counters: handles into the families, so that counting on a request's way is
/// one atomic addition on a line of memory that no other core writes.
#[derive(Clone, Debug)]
pub struct CoreMetrics {
    /// Answers by class: index 1 to 5 for 1xx to 5xx.
    classes: [Counter; 6],
    /// Requests that were let through to a tenant.
    pub admitted: Counter,
    /// Everything else, shared.
    pub all: Metrics,
    core: usize,
}

impl CoreMetrics {
    /// Counts a decision that lets nobody through.
    pub fn decided(&self, outcome: &str) {
        let labels = Decided {
            core: self.core,
            outcome: outcome.to_owned(),
        };
        self.all.decisions.get_or_create(&labels).inc();
    }

    /// Counts a connection for as long as what is given back is held.
    pub fn connected(&self) -> Counted {
        self.all.connections.inc();
        Counted(self.all.connections.clone())
    }

    /// Counts an answer.
    pub fn answered(&self, status: http::StatusCode) {
        if let Some(counter) = self.classes.get(usize::from(status.as_u16() / 100)) {
            counter.inc();
        }
    }
}

impl Metrics {
    /// The counters of core number `core`.
    pub fn for_core(&self, core: usize) -> CoreMetrics {
        let class = |n: usize| {
            let labels = Answered {
                core,
                class: format!("{n}xx"),
            };
            self.requests.get_or_create(&labels).clone()
        };
        CoreMetrics {
            classes: std::array::from_fn(class),
            admitted: self
                .decisions
                .get_or_create(&Decided {
                    core,
                    outcome: "admitted".to_owned(),
                })
                .clone(),
            all: self.clone(),
            core,
        }
    }
}

/// One of what a gauge counts; no more when it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts one more of `kind`.
pub fn count(family: &Family<Kind, Counter>, kind: &str) {
    family
        .get_or_create(&Kind {
            kind: kind.to_owned(),
        })
        .inc();
}
