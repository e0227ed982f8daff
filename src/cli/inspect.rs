//! What asks a gateway or its configuration and changes nothing: `routes`, `explain`,
//! `healthcheck`.

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use tokio::task::LocalSet;

use super::{ExplainArgs, Outcome, desk, print, stop};
use crate::{
    authz::{Ask, Fetch, Kind, Source, Verdict, Who, judge},
    clock::Clock,
    config::Policy,
    discovery,
    intake::path,
    name::{HostName, UserName},
    route::{Destination, RouteTable},
    session::Profile,
    store::{StoreHandle, sqlite::SqliteStore},
};

/// How long a health check waits.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn routes(file: &Path, json: bool) -> anyhow::Result<Outcome> {
    let (table, findings) = survey(file)?;
    let listing = discovery::listing::listing(&table, &findings);
    if json {
        print::say(listing.json()?);
    } else {
        print::say(listing.text().trim_end());
    }
    Ok(Outcome::Done)
}

/// The table as a gateway on this configuration would have it now.
fn survey(file: &Path) -> anyhow::Result<(RouteTable, discovery::Findings)> {
    let config = desk::load(file)?;
    let clock = Clock::system();
    let store = StoreHandle::start(Box::new(SqliteStore::open(
        &config.store.path,
        clock.now(),
    )?))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new()
        .block_on(&runtime, discovery::survey(&config, &store, &clock))
        .context("the containers could not be listed")
}

pub(super) fn explain(file: &Path, args: &ExplainArgs) -> anyhow::Result<Outcome> {
    let url = Url::parse(&args.url)
        .ok_or_else(|| stop(Outcome::BadUsage, "not a URL: https://host/path"))?;
    let (table, _) = survey(file)?;
    let who = match &args.user {
        None => None,
        Some(name) => {
            let name = UserName::parse(name)
                .map_err(|error| stop(Outcome::BadUsage, error.to_string()))?;
            let user = desk::Desk::open(file)?.user(&name)?;
            if user.disabled {
                print::say(format_args!("{name} is disabled and cannot sign in"));
                None
            } else {
                Some(Profile::of(&user))
            }
        }
    };
    print::say(verdict(&table, &url, who.as_ref(), args));
    Ok(Outcome::Done)
}

fn verdict(table: &RouteTable, url: &Url, who: Option<&Profile>, args: &ExplainArgs) -> String {
    let decided = match path::decide(&url.path) {
        Ok(decided) => decided,
        Err(error) => return format!("400: {error}"),
    };
    let route = match table.find(&url.host) {
        Destination::Portal => return "the portal's own pages".to_owned(),
        Destination::Manager | Destination::NowhereGuarded => {
            return "nobody is there; a stranger is sent to sign in as for any other name under the root, \
                    and is told 403 afterwards"
                .to_owned();
        }
        Destination::Nowhere => return "503: nobody has this host".to_owned(),
        Destination::Tenant(route) => route,
    };
    let mut out = format!(
        "host     {} (tenant {}, {})\n",
        route.pattern, route.tenant, route.owner
    );
    let path = route.path(&decided, &url.path);
    let ask = Ask {
        host: url.host.clone(),
        path: decided,
        method: args.method.to_ascii_uppercase().parse().unwrap_or_default(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        kind: Kind::Navigation,
        fetch: Fetch::default(),
        own_origin: String::new(),
    };
    match path.and_then(|it| it.upstreams.first()) {
        Some(upstream) => say(
            &mut out,
            format_args!("upstream {} ({})\n", upstream.address, upstream.label),
        ),
        None => out.push_str("upstream none\n"),
    }
    let now = Clock::system().now();
    let who = who.map(|profile| Who {
        profile,
        level: args.level,
        auth_time: now,
    });
    let known = who.is_some();
    let (needs, answer) = match judge(&route, path, &ask, who, now) {
        Verdict::Ambiguous => {
            return format!(
                "{out}answer   400: the path could be read in two ways, and a rule depends on it"
            );
        }
        Verdict::Forbidden(forbidden) => return format!("{out}answer   403: {forbidden}"),
        Verdict::Open(needs) if path.is_none() => (needs, "404: no path of this host"),
        Verdict::Open(needs) => (needs, "forwarded, as nobody's"),
        Verdict::SignIn(needs) => (
            needs,
            "302 to the portal for a navigation, 401 JSON for anything else",
        ),
        Verdict::StepUp(needs) => (
            needs,
            "302 to a stronger sign-in for a navigation, 401 JSON for anything else",
        ),
        Verdict::Enough(needs) if path.is_none() => (needs, "404: no path of this host"),
        Verdict::Enough(needs) => (needs, "forwarded"),
    };
    let source = match needs.source {
        Source::Rule(line) => format!("the rule on line {line}"),
        Source::Default => "the default".to_owned(),
        Source::Tenant => "the tenant's settings in the file".to_owned(),
        Source::Label => "a label of the container".to_owned(),
    };
    say(
        &mut out,
        format_args!("policy   {} ({source})\n", needs.policy.as_str()),
    );
    if let Some(age) = needs.max_age {
        say(&mut out, format_args!("max_age  {}s\n", age.as_secs()));
    }
    if !known && needs.policy != Policy::Open {
        out.push_str("user     nobody is signed in\n");
    }
    say(&mut out, format_args!("answer   {answer}"));
    out
}

/// Appends. (Writing to a String cannot fail.)
fn say(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = fmt::Write::write_fmt(out, text);
}

/// As much of a URL as decides.
struct Url {
    host: HostName,
    path: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))?;
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let (host, _) = crate::intake::host::parse(authority).ok()?;
        Some(Self {
            host,
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
        })
    }
}

pub(super) fn healthcheck(file: &Path) -> anyhow::Result<Outcome> {
    let config = desk::load(file)?;
    let admin = config.listen.admin.ok_or_else(|| {
        stop(
            Outcome::Failed,
            "listen.admin is off: there is nothing to ask",
        )
    })?;
    let status =
        ask_ready(admin).with_context(|| format!("the gateway does not answer on {admin}"))?;
    if status == 200 {
        print::say("ready");
        Ok(Outcome::Done)
    } else {
        Err(stop(Outcome::Failed, "not ready"))
    }
}

fn ask_ready(admin: SocketAddr) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.context("not an HTTP answer")
}
