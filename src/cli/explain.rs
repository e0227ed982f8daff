//! `portcullis explain`: what a gateway on this configuration would answer, and which rule says
//! so. It asks the rooms themselves, in the corridor's order: `intake`, `route`, `authz`.

use std::{fmt, path::Path, sync::Arc};

use http::{HeaderValue, Method, Request, Uri, header, request};
use serde_json::{Value, json};

use super::{ExplainArgs, Outcome, desk, inspect, print, stop};
use crate::{
    authz::{Ask, Fetch, Forbidden, Kind, Required, Source, Verdict, Who, judge},
    body::Body,
    clock::Clock,
    config::{Config, Policy},
    intake::{self, Arrival, Inbound, Malformed},
    name::{HostName, UserName},
    pipeline::house,
    reply::Refusal,
    route::{Destination, HostRoute, RouteTable},
    session::Profile,
    socket::engineio,
    tls::Certificates,
};

pub(super) fn run(file: &Path, json: bool, args: &ExplainArgs) -> anyhow::Result<Outcome> {
    let url = Url::parse(&args.url).ok_or_else(|| {
        stop(
            Outcome::BadUsage,
            "not a URL: https://host/path, or wss://host/path for a WebSocket",
        )
    })?;
    let method: Method = args
        .method
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| stop(Outcome::BadUsage, "not a method"))?;
    let who = match &args.user {
        None => None,
        Some(name) => known(file, name)?,
    };
    let config = desk::load(file)?;
    let (table, _) = inspect::survey(&config)?;
    let asker = who.as_ref().map(|profile| Who {
        profile,
        level: args.level,
        auth_time: Clock::system().now(),
    });
    let found = explain(&config, &table, &url, method, asker);
    if json {
        print::say_json(&found.json());
    } else {
        print::say(found.text(who.is_some()).trim_end());
    }
    Ok(Outcome::Done)
}

/// The user, as sessions know them. `None`: disabled, so never signed in.
fn known(file: &Path, name: &str) -> anyhow::Result<Option<Profile>> {
    let name = UserName::parse(name).map_err(|error| stop(Outcome::BadUsage, error.to_string()))?;
    let user = desk::Desk::open(file)?.user(&name)?;
    if user.disabled {
        print::complain(format_args!("{name} is disabled and cannot sign in"));
        return Ok(None);
    }
    Ok(Some(Profile::of(&user)))
}

/// What would be answered.
#[derive(Debug)]
enum Answer {
    /// Over TLS: no certificate is for that host.
    NoCertificate,
    /// Over plain HTTP: to the same address over TLS.
    ToTls,
    /// The request itself is refused.
    Malformed(Malformed),
    /// A page of the portal's.
    Portal,
    /// The gateway's own, below `/.portcullis/` of any host.
    Ours,
    /// A name below the root where nobody is.
    NobodyThere,
    /// A name outside it.
    Nowhere,
    /// Known, and may not.
    Forbidden(Forbidden),
    /// Nobody is known.
    SignIn,
    /// Known, and not well enough.
    StepUp,
    /// No container of this host serves the path.
    NoPath,
    /// All containers of this host are gone.
    Stopped,
    /// Its containers have no address that works.
    Starting,
    /// To the tenant, as nobody's.
    AsNobody,
    /// To the tenant.
    Forwarded,
}

impl Answer {
    /// For programs.
    fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::ToTls => "to_tls",
            Self::Malformed(_) => "malformed",
            Self::Portal => "portal",
            Self::Ours => "gateway",
            Self::NobodyThere => "nobody_there",
            Self::Nowhere => "nowhere",
            Self::Forbidden(_) => "forbidden",
            Self::SignIn => "sign_in",
            Self::StepUp => "step_up",
            Self::NoPath => "no_path",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::AsNobody => "forwarded_as_nobody",
            Self::Forwarded => "forwarded",
        }
    }

    /// The status, where it does not hang on how the request is made.
    fn status(&self) -> Option<u16> {
        match self {
            Self::ToTls => Some(301),
            Self::Malformed(it) => Some(Refusal::from(*it).status().as_u16()),
            Self::Forbidden(_) => Some(403),
            Self::NoPath => Some(404),
            Self::Nowhere | Self::Stopped | Self::Starting => Some(503),
            Self::NoCertificate
            | Self::Portal
            | Self::Ours
            | Self::NobodyThere
            | Self::SignIn
            | Self::StepUp
            | Self::AsNobody
            | Self::Forwarded => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.status() {
            write!(f, "{status}: ")?;
        }
        match self {
            Self::NoCertificate => {
                f.write_str("no certificate is for this host: the TLS handshake is refused")
            }
            Self::ToTls => f.write_str("to the same address over https"),
            Self::Malformed(it) => it.fmt(f),
            Self::Portal => f.write_str("the portal's own pages"),
            Self::Ours => f.write_str("the gateway itself, as on every host below /.portcullis/"),
            Self::NobodyThere => f.write_str(
                "nobody is there; a stranger is sent to sign in as for any other name under the root, \
                 and is told 403 afterwards",
            ),
            Self::Nowhere => f.write_str("nobody has this host"),
            Self::Forbidden(it) => it.fmt(f),
            Self::SignIn => {
                f.write_str("302 to the portal for a navigation, 401 JSON for anything else")
            }
            Self::StepUp => {
                f.write_str("302 to a stronger sign-in for a navigation, 401 JSON for anything else")
            }
            Self::NoPath => f.write_str("no path of this host"),
            Self::Stopped => f.write_str("the tenant is stopped"),
            Self::Starting => f.write_str("the tenant has no address that answers"),
            Self::AsNobody => f.write_str("forwarded, as nobody's"),
            Self::Forwarded => f.write_str("forwarded"),
        }
    }
}

/// The answer and what led to it.
#[derive(Debug)]
struct Explanation {
    route: Option<Arc<HostRoute>>,
    upstream: Option<String>,
    needs: Option<Required>,
    answer: Answer,
}

impl Explanation {
    fn text(&self, known: bool) -> String {
        let mut lines = Vec::new();
        if let Some(route) = &self.route {
            lines.push(format!(
                "host     {} (tenant {}, {})",
                route.pattern, route.tenant, route.owner
            ));
            let upstream = self.upstream.as_deref().unwrap_or("none");
            lines.push(format!("upstream {upstream}"));
        }
        if let Some(needs) = &self.needs {
            let source = match needs.source {
                Source::Rule(line) => format!("the rule on line {line}"),
                Source::Default => "the default".to_owned(),
                Source::Tenant => "the tenant's settings in the file".to_owned(),
                Source::Label => "a label of the container".to_owned(),
            };
            lines.push(format!("policy   {} ({source})", needs.policy.as_str()));
            if let Some(age) = needs.max_age {
                lines.push(format!("max_age  {}s", age.as_secs()));
            }
            if !known && needs.policy != Policy::Open {
                lines.push("user     nobody is signed in".to_owned());
            }
        }
        lines.push(format!("answer   {}", self.answer));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let (source, line) = match self.needs.map(|it| it.source) {
            None => (None, None),
            Some(Source::Rule(line)) => (Some("rule"), Some(line)),
            Some(Source::Default) => (Some("default"), None),
            Some(Source::Tenant) => (Some("tenant"), None),
            Some(Source::Label) => (Some("label"), None),
        };
        json!({
            "host": self.route.as_ref().map(|it| &*it.pattern),
            "tenant": self.route.as_ref().map(|it| it.tenant.to_string()),
            "owner": self.route.as_ref().map(|it| &*it.owner),
            "upstream": self.upstream,
            "policy": self.needs.map(|it| it.policy.as_str()),
            "source": source,
            "line": line,
            "max_age": self.needs.and_then(|it| it.max_age).map(|it| it.as_secs()),
            "answer": self.answer.code(),
            "status": self.answer.status(),
            "message": self.answer.to_string(),
        })
    }
}

/// Walks the corridor as far as the answer.
fn explain(
    config: &Config,
    table: &RouteTable,
    url: &Url,
    method: Method,
    who: Option<Who<'_>>,
) -> Explanation {
    let alone = |answer| Explanation {
        route: None,
        upstream: None,
        needs: None,
        answer,
    };
    let covers = || Certificates::open(&config.certificates.dir).covers(url.host.as_str());
    if url.tls && !covers() {
        return alone(Answer::NoCertificate);
    }
    let inbound = match admit(config, url, method) {
        Ok(inbound) => inbound,
        Err(malformed) => return alone(Answer::Malformed(malformed)),
    };
    let destination = table.find(&inbound.host);
    if !inbound.https && !house::stays_plain(&destination, covers) {
        return alone(Answer::ToTls);
    }
    match destination {
        Destination::Portal => alone(Answer::Portal),
        Destination::Nowhere => alone(Answer::Nowhere),
        Destination::Manager | Destination::NowhereGuarded if inbound.is_ours() => {
            alone(Answer::Ours)
        }
        Destination::Manager | Destination::NowhereGuarded => alone(Answer::NobodyThere),
        Destination::Tenant(route) => at_tenant(route, &inbound, who),
    }
}

/// On a tenant's host.
fn at_tenant(route: Arc<HostRoute>, inbound: &Inbound, who: Option<Who<'_>>) -> Explanation {
    let path = route.path(&inbound.path, inbound.target.as_str());
    let upstream = path
        .and_then(|it| it.upstreams.first())
        .map(|it| format!("{} ({})", it.address, it.label));
    let (needs, answer) = judged(&route, inbound, who);
    Explanation {
        route: Some(route),
        upstream,
        needs,
        answer,
    }
}

fn judged(
    route: &HostRoute,
    inbound: &Inbound,
    who: Option<Who<'_>>,
) -> (Option<Required>, Answer) {
    if route.guarded && inbound.is_ours() {
        return (None, Answer::Ours);
    }
    let engine = if route.guarded {
        let eio3 = route.settings.socketio.eio3;
        match engineio::recognise(
            &inbound.method,
            inbound.target.as_str(),
            inbound.websocket,
            eio3,
        ) {
            Ok(engine) => engine,
            Err(refused) => return (None, Answer::Malformed(refused.into())),
        }
    } else {
        None
    };
    let ask = Ask {
        host: inbound.host.clone(),
        path: inbound.path.clone(),
        method: inbound.method.clone(),
        client: inbound.client,
        kind: match (inbound.websocket, engine.is_some()) {
            (true, _) => Kind::Socket,
            (false, true) => Kind::Polling,
            (false, false) => Kind::Navigation,
        },
        fetch: Fetch::default(),
        own_origin: String::new(),
    };
    let path = route.path(&inbound.path, inbound.target.as_str());
    // On an open host nobody is ever known.
    let who = who.filter(|_| route.guarded);
    let there = |answer| match path {
        None if route.paths.is_empty() => Answer::Stopped,
        None => Answer::NoPath,
        Some(path) if path.upstreams.is_empty() => Answer::Starting,
        Some(_) => answer,
    };
    match judge(route, path, &ask, who, Clock::system().now()) {
        Verdict::Ambiguous => (None, Answer::Malformed(Malformed::Ambiguous)),
        Verdict::Forbidden(forbidden) => (None, Answer::Forbidden(forbidden)),
        Verdict::SignIn(needs) => (Some(needs), Answer::SignIn),
        Verdict::StepUp(needs) => (Some(needs), Answer::StepUp),
        Verdict::Open(needs) => (Some(needs), there(Answer::AsNobody)),
        Verdict::Enough(needs) => (Some(needs), there(Answer::Forwarded)),
    }
}

/// The request as `intake` would let it in, from this machine.
fn admit(config: &Config, url: &Url, method: Method) -> Result<Box<Inbound>, Malformed> {
    let uri: Uri = url.target.parse().map_err(|_| Malformed::Target)?;
    let mut head: request::Builder = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::HOST, &url.authority);
    if url.socket {
        head = head
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(
                header::SEC_WEBSOCKET_KEY,
                HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="),
            );
    }
    let raw = head.body(Body::Empty).map_err(|_| Malformed::Host)?;
    let here = ([127, 0, 0, 1], 0).into();
    let arrival = Arrival {
        peer: here,
        local: here,
        tls: url.tls.then_some(None),
    };
    intake::admit(raw, &arrival, &house::facts(config))
}

/// As much of a URL as is sent.
#[derive(Debug)]
struct Url {
    tls: bool,
    socket: bool,
    host: HostName,
    authority: String,
    /// Path and query.
    target: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, socket) = match scheme {
            "https" => (true, false),
            "http" => (false, false),
            "wss" => (true, true),
            "ws" => (false, true),
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, _) = intake::host::parse(authority).ok()?;
        Some(Self {
            tls,
            socket,
            host,
            authority: authority.to_owned(),
            target: if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("/{target}")
            },
        })
    }
}
