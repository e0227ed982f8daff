//! Tables of who may do what, and of what goes on being asked.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    authn::fixture::identity,
    clock::Clock,
    config::{HostPattern, PathPattern, Rule},
    name::UserName,
    route::{PathMatch, RouteTable, Routes, TenantSettings, Tighten, Upstream},
    session::{
        Cell, Ended,
        fixture::{START, cell, end, host, set_level, user},
    },
    store::UserRecord,
};

const HOST: &str = "a.example.net";

fn path_route() -> PathRoute {
    PathRoute {
        matches: PathMatch::everything(),
        upstreams: Arc::new([Upstream {
            address: "127.0.0.1:1880".parse().unwrap(),
            label: "a".into(),
        }]),
        dest: None,
        tighten: Tighten::default(),
        internal: false,
    }
}

fn route(rules: Vec<Rule>) -> HostRoute {
    HostRoute {
        pattern: HOST.into(),
        tenant: "t1".into(),
        changed_hands: false,
        owner: "file".into(),
        paths: vec![path_route()],
        settings: Arc::new(TenantSettings::default()),
        path_matters: rules.iter().any(|it| !it.paths.is_empty()),
        rules: Arc::new(rules),
        guarded: true,
        plain_http: false,
    }
}

fn ask(path: &str) -> Ask {
    Ask {
        host: host(HOST),
        path: Decided::Plain(path.to_owned()),
        method: Method::GET,
        client: "192.0.2.7".parse().unwrap(),
        kind: Kind::Navigation,
        fetch: fetch(&[
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ]),
        own_origin: format!("https://{HOST}"),
    }
}

fn fetch(headers: &[(&'static str, &str)]) -> Fetch {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    Fetch::read(&map)
}

fn alice(level: u8) -> Arc<Cell> {
    cell(&user("alice"), level, HOST, "t1")
}

#[expect(clippy::unnecessary_wraps, reason = "stands where `nobody` may stand")]
fn shown(level: u8, shown: Shown) -> Result<Identity, NotSignedIn> {
    Ok(identity(&alice(level), HOST, "t1", shown))
}

/// What is decided, in one word.
fn word(
    route: &HostRoute,
    ask: Ask,
    identity: Result<Identity, NotSignedIn>,
    now: Timestamp,
) -> String {
    let route = Arc::new(route.clone());
    let path = route.path(&ask.path, "/").cloned();
    match decide(&route, path.as_ref(), ask, identity, now) {
        Decision::Admit(permit) => match permit.identity() {
            Some(it) => format!("admit {}", it.profile().name),
            None => "open".to_owned(),
        },
        Decision::SignIn(_, policy) => format!("sign in {}", policy.as_str()),
        Decision::StepUp(policy) => format!("step up {}", policy.as_str()),
        Decision::Forbidden(_) => "forbidden".to_owned(),
        Decision::CrossSite => "cross-site".to_owned(),
        Decision::Ambiguous => "ambiguous".to_owned(),
    }
}

fn nobody() -> Result<Identity, NotSignedIn> {
    Err(NotSignedIn::Missing)
}

fn rule(policy: Policy) -> Rule {
    Rule {
        policy,
        ..Rule::default()
    }
}

fn names(names: &[&str]) -> Vec<UserName> {
    names
        .iter()
        .map(|it| UserName::parse(it).unwrap())
        .collect()
}

#[test]
fn without_a_rule_two_factors_are_asked() {
    let plain = route(Vec::new());
    for (who, expected) in [
        (nobody(), "sign in two-factor"),
        (shown(1, Shown::Cookie), "step up two-factor"),
        (shown(2, Shown::Cookie), "admit alice"),
        (shown(3, Shown::Bearer), "admit alice"),
    ] {
        assert_eq!(word(&plain, ask("/"), who, START), expected);
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let table = route(vec![
        Rule {
            paths: vec![PathPattern::Under("/public".to_owned())],
            ..rule(Policy::Open)
        },
        Rule {
            methods: vec!["DELETE".to_owned()],
            ..rule(Policy::HardwareKey)
        },
        Rule {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..rule(Policy::OneFactor)
        },
        Rule {
            hosts: vec![HostPattern::Exact(host("other.example.net"))],
            ..rule(Policy::Open)
        },
    ]);
    let with = |path: &str, change: fn(&mut Ask)| {
        let mut it = ask(path);
        change(&mut it);
        it
    };
    let delete: fn(&mut Ask) = |it| it.method = Method::DELETE;
    let inside: fn(&mut Ask) = |it| it.client = "10.1.2.3".parse().unwrap();
    let mapped: fn(&mut Ask) = |it| it.client = "::ffff:10.1.2.3".parse().unwrap();
    for (ask, level, expected) in [
        (with("/public", |_| ()), 2, "open"),
        (with("/public/x", delete), 2, "open"),
        (with("/publicity", |_| ()), 1, "step up two-factor"),
        (with("/x", delete), 2, "step up hardware-key"),
        (with("/x", delete), 3, "admit alice"),
        (with("/x", inside), 1, "admit alice"),
        (with("/x", mapped), 1, "admit alice"),
        (with("/x", |_| ()), 1, "step up two-factor"),
    ] {
        assert_eq!(
            word(&table, ask, shown(level, Shown::Cookie), START),
            expected
        );
    }
}

#[test]
fn p3_the_query_and_a_longer_segment_open_nothing() {
    let table = route(vec![Rule {
        paths: vec![PathPattern::Under("/public".to_owned())],
        ..rule(Policy::Open)
    }]);
    for path in ["/admin", "/publicx", "/x/public", "/PUBLIC", "/"] {
        assert_eq!(
            word(&table, ask(path), nobody(), START),
            "sign in two-factor",
            "{path}"
        );
    }
    let mut two_ways = ask("/");
    two_ways.path = Decided::Ambiguous;
    assert_eq!(word(&table, two_ways.clone(), nobody(), START), "ambiguous");
    // Where nothing hangs on the path, it goes through as it came.
    let plain = route(Vec::new());
    assert_eq!(
        word(&plain, two_ways, shown(2, Shown::Cookie), START),
        "admit alice"
    );
}

#[test]
fn a_rule_with_people_admits_them_alone() {
    let only = |users: &[&str], groups: &[&str]| Rule {
        users: names(users),
        groups: names(groups),
        ..rule(Policy::OneFactor)
    };
    let judged = |rules: Vec<Rule>, who| word(&route(rules), ask("/"), who, START);
    let signed = || shown(1, Shown::Cookie);
    assert_eq!(judged(vec![only(&["bob"], &[])], signed()), "forbidden");
    assert_eq!(judged(vec![only(&["ALICE"], &[])], signed()), "admit alice");
    assert_eq!(
        judged(vec![only(&["bob"], &["ops"])], signed()),
        "admit alice"
    );
    assert_eq!(judged(vec![only(&[], &["dev"])], signed()), "forbidden");
    let then = vec![only(&["bob"], &[]), rule(Policy::TwoFactor)];
    assert_eq!(judged(then.clone(), signed()), "step up two-factor");
    assert_eq!(judged(then, nobody()), "sign in one-factor");
    // An open rule for some is no way in for nobody, who is told no more than elsewhere.
    let open = Rule {
        users: names(&["alice"]),
        ..rule(Policy::Open)
    };
    assert_eq!(judged(vec![open.clone()], nobody()), "sign in two-factor");
    assert_eq!(judged(vec![open], signed()), "open");
}

#[test]
fn an_open_path_is_forwarded_as_nobodys_even_with_a_cookie() {
    let table = route(vec![rule(Policy::Open)]);
    assert_eq!(
        word(&table, ask("/"), shown(2, Shown::Cookie), START),
        "open"
    );
    assert_eq!(word(&table, ask("/"), nobody(), START), "open");
    // Nor is it judged by who made it ask.
    let mut sibling = ask("/");
    sibling.fetch = fetch(&[("sec-fetch-site", "same-site")]);
    assert_eq!(
        word(&table, sibling, shown(2, Shown::Cookie), START),
        "open"
    );
}

#[test]
fn pages_and_sockets_are_asked_apart() {
    let table = route(vec![Rule {
        pages: Some(Policy::Open),
        sockets: Some(Policy::HardwareKey),
        ..rule(Policy::TwoFactor)
    }]);
    for (kind, expected) in [
        (Kind::Navigation, "open"),
        (Kind::Request, "open"),
        (Kind::Polling, "sign in hardware-key"),
        (Kind::Socket, "sign in hardware-key"),
    ] {
        let it = Ask { kind, ..ask("/") };
        assert_eq!(word(&table, it, nobody(), START), expected);
    }
}

#[test]
fn settings_and_labels_only_tighten() {
    let tight = |policy, tighten: Tighten, rules| {
        let mut it = route(rules);
        it.settings = Arc::new(TenantSettings {
            policy,
            ..TenantSettings::default()
        });
        it.paths[0].tighten = tighten;
        it
    };
    let label = |policy| Tighten {
        policy: Some(policy),
        ..Tighten::default()
    };
    let open = || vec![rule(Policy::Open)];
    for (table, expected) in [
        (
            tight(Some(Policy::TwoFactor), Tighten::default(), open()),
            "sign in two-factor",
        ),
        (
            tight(None, label(Policy::OneFactor), open()),
            "sign in one-factor",
        ),
        (
            tight(Some(Policy::Open), label(Policy::Open), Vec::new()),
            "sign in two-factor",
        ),
        (
            tight(Some(Policy::OneFactor), label(Policy::HardwareKey), open()),
            "sign in hardware-key",
        ),
    ] {
        assert_eq!(word(&table, ask("/"), nobody(), START), expected);
    }
    let sockets = Tighten {
        sockets: Some(Policy::HardwareKey),
        ..Tighten::default()
    };
    let table = tight(None, sockets, Vec::new());
    let socket = Ask {
        kind: Kind::Polling,
        ..ask("/")
    };
    assert_eq!(
        word(&table, socket, nobody(), START),
        "sign in hardware-key"
    );
    assert_eq!(
        word(&table, ask("/"), nobody(), START),
        "sign in two-factor"
    );
}

#[test]
fn factors_grow_old() {
    let table = route(vec![Rule {
        max_age: Some(Duration::from_mins(10)),
        ..rule(Policy::TwoFactor)
    }]);
    let after = |secs| START.plus(Duration::from_secs(secs));
    let signed = || shown(2, Shown::Cookie);
    assert_eq!(word(&table, ask("/"), signed(), after(600)), "admit alice");
    assert_eq!(
        word(&table, ask("/"), signed(), after(601)),
        "step up two-factor"
    );
    let mut labelled = route(Vec::new());
    labelled.paths[0].tighten.max_age = Some(Duration::from_mins(1));
    assert_eq!(
        word(&labelled, ask("/"), signed(), after(61)),
        "step up two-factor"
    );
}

#[test]
fn an_internal_path_is_for_private_networks() {
    let mut table = route(Vec::new());
    table.paths[0].internal = true;
    for (client, expected) in [
        ("192.0.2.7", "forbidden"),
        ("10.1.1.1", "admit alice"),
        ("::ffff:10.1.1.1", "admit alice"),
        ("fd00::1", "admit alice"),
        ("2001:db8::1", "forbidden"),
    ] {
        let it = Ask {
            client: client.parse().unwrap(),
            ..ask("/")
        };
        assert_eq!(
            word(&table, it, shown(2, Shown::Cookie), START),
            expected,
            "{client}"
        );
    }
}

#[test]
fn w1_a_socket_needs_this_very_origin() {
    let table = route(Vec::new());
    let mut allowing = route(Vec::new());
    allowing.settings = Arc::new(TenantSettings {
        allow_origins: vec!["https://app.example.org".to_owned()],
        ..TenantSettings::default()
    });
    let socket = |headers: &[(&'static str, &str)]| Ask {
        kind: Kind::Socket,
        fetch: fetch(headers),
        ..ask("/")
    };
    for wrong in [
        "https://b.example.net",
        "https://a.example.net.evil",
        "https://a.example.net:8443",
        "http://a.example.net",
        "https://A.example.net",
        "https://example.net",
        "https://app.example.org",
        "null",
        "",
    ] {
        let headers = [("origin", wrong), ("sec-fetch-site", "same-origin")];
        for how in [Shown::Cookie, Shown::Bearer, Shown::Subprotocol] {
            assert_eq!(
                word(&table, socket(&headers), shown(2, how), START),
                "cross-site",
                "{wrong}"
            );
        }
    }
    let own = [("origin", "https://a.example.net")];
    let twice = [own[0], own[0]];
    let app = [
        ("origin", "https://app.example.org"),
        ("sec-fetch-site", "cross-site"),
    ];
    for (table, headers, how, expected) in [
        (&table, &own[..], Shown::Cookie, "admit alice"),
        (&table, &twice[..], Shown::Cookie, "cross-site"),
        (&table, &[][..], Shown::Cookie, "cross-site"),
        (&table, &[][..], Shown::Bearer, "admit alice"),
        (&table, &[][..], Shown::Subprotocol, "admit alice"),
        (&allowing, &app[..], Shown::Cookie, "admit alice"),
    ] {
        assert_eq!(word(table, socket(headers), shown(2, how), START), expected);
    }
}

#[test]
fn b1_a_siblings_page_cannot_ask_in_the_users_name() {
    let table = route(Vec::new());
    let (get, post) = (Method::GET, Method::POST);
    let navigate = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let frame = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
    let image = [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    for (site, method, rest, expected) in [
        ("same-site", &get, &image, "cross-site"),
        ("same-site", &get, &frame, "cross-site"),
        ("same-site", &post, &navigate, "cross-site"),
        ("same-site", &post, &image, "cross-site"),
        ("same-site", &get, &navigate, "admit alice"),
        ("same-site", &Method::HEAD, &navigate, "admit alice"),
        ("cross-site", &get, &image, "cross-site"),
        ("cross-site", &get, &frame, "cross-site"),
        ("cross-site", &get, &navigate, "admit alice"),
        ("cross-site", &post, &navigate, "cross-site"),
        ("same-origin", &post, &image, "admit alice"),
        ("same-origin", &get, &frame, "admit alice"),
        ("none", &get, &navigate, "admit alice"),
        ("what", &get, &navigate, "cross-site"),
        ("Same-Origin", &get, &image, "cross-site"),
    ] {
        let headers: Vec<_> = [("sec-fetch-site", site)]
            .into_iter()
            .chain(*rest)
            .collect();
        let it = Ask {
            method: method.clone(),
            kind: Kind::Request,
            fetch: fetch(&headers),
            ..ask("/")
        };
        let found = word(&table, it.clone(), shown(2, Shown::Cookie), START);
        assert_eq!(found, expected, "{site} {method} {rest:?}");
        // A token that somebody put there themselves is not sent by the browser for others.
        assert_eq!(
            word(&table, it, shown(2, Shown::Bearer), START),
            "admit alice"
        );
    }
    let twice = [
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "same-origin"),
    ];
    let it = Ask {
        fetch: fetch(&twice),
        ..ask("/")
    };
    assert_eq!(
        word(&table, it, shown(2, Shown::Cookie), START),
        "cross-site"
    );
    // Before it is told to step up, too.
    let it = Ask {
        fetch: fetch(&twice[..1]),
        ..ask("/")
    };
    assert_eq!(
        word(&table, it, shown(1, Shown::Cookie), START),
        "cross-site"
    );
}

#[test]
fn b1_a_browser_without_fetch_metadata_is_judged_by_its_origin() {
    let table = route(Vec::new());
    let own = ("origin", "https://a.example.net");
    let other = ("origin", "https://b.example.net");
    for (kind, method, origin, expected) in [
        (Kind::Request, Method::POST, Some(own), "admit alice"),
        (Kind::Request, Method::POST, Some(other), "cross-site"),
        (
            Kind::Request,
            Method::POST,
            Some(("origin", "null")),
            "cross-site",
        ),
        (Kind::Request, Method::POST, None, "cross-site"),
        (Kind::Request, Method::DELETE, None, "cross-site"),
        (Kind::Request, Method::GET, None, "admit alice"),
        (Kind::Polling, Method::GET, None, "admit alice"),
        (Kind::Polling, Method::GET, Some(own), "admit alice"),
        (Kind::Polling, Method::GET, Some(other), "cross-site"),
        (Kind::Polling, Method::POST, None, "cross-site"),
    ] {
        let headers: Vec<_> = origin.into_iter().collect();
        let it = Ask {
            kind,
            method: method.clone(),
            fetch: fetch(&headers),
            ..ask("/")
        };
        let found = word(&table, it, shown(2, Shown::Cookie), START);
        assert_eq!(found, expected, "{kind:?} {method} {origin:?}");
    }
}

#[test]
fn a_tenant_of_open_mode_is_open_until_a_rule_speaks_of_its_people() {
    let mut plain = route(Vec::new());
    plain.guarded = false;
    assert_eq!(word(&plain, ask("/"), nobody(), START), "open");
    let only_bob = Rule {
        users: names(&["bob"]),
        paths: vec![PathPattern::Under("/admin".to_owned())],
        policy: Policy::OneFactor,
        ..Rule::default()
    };
    let mut apart = route(vec![only_bob.clone()]);
    apart.guarded = false;
    assert_eq!(word(&apart, ask("/other"), nobody(), START), "open");
    assert_eq!(
        word(&apart, ask("/admin"), nobody(), START),
        "sign in one-factor"
    );
    // An open rule for some people passes nobody by: then it is not open to nobody.
    let open_to_bob = Rule {
        policy: Policy::Open,
        ..only_bob
    };
    let mut passed = route(vec![open_to_bob]);
    passed.guarded = false;
    assert_eq!(
        word(&passed, ask("/admin"), nobody(), START),
        "sign in two-factor"
    );
}

#[test]
fn what_asks_the_same_is_told_by_the_first_who_asked() {
    let mut house = route(vec![rule(Policy::TwoFactor)]);
    house.settings = Arc::new(TenantSettings {
        policy: Some(Policy::TwoFactor),
        ..TenantSettings::default()
    });
    let mut path = path_route();
    path.tighten.policy = Some(Policy::TwoFactor);
    let needs = required(&house, Some(&path), &ask("/"), None).unwrap();
    assert_eq!(needs.source, Source::Rule(0));
}

#[test]
fn the_shortest_age_counts() {
    let hours = |it| Some(Duration::from_hours(it));
    for (of_rule, of_label, expected) in [
        (hours(2), hours(1), hours(1)),
        (hours(1), hours(2), hours(1)),
        (None, hours(2), hours(2)),
        (hours(2), None, hours(2)),
    ] {
        let mut aged = rule(Policy::TwoFactor);
        aged.max_age = of_rule;
        let mut path = path_route();
        path.tighten.max_age = of_label;
        let needs = required(&route(vec![aged]), Some(&path), &ask("/"), None).unwrap();
        assert_eq!(needs.max_age, expected, "{of_rule:?} {of_label:?}");
    }
}

#[test]
fn without_fetch_metadata_reading_and_polling_are_told_apart() {
    let bare = |method: Method, kind: Kind, origin: &str| {
        let mut it = ask("/");
        (it.method, it.kind) = (method, kind);
        it.fetch = fetch(&[("origin", origin)]);
        sibling::is_own(&it, Shown::Cookie, &[])
    };
    let (own, other) = (format!("https://{HOST}"), "https://b.example.net");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert!(bare(method.clone(), Kind::Request, other), "{method} reads");
        assert!(!bare(method.clone(), Kind::Polling, other), "{method}");
    }
    assert!(!bare(Method::POST, Kind::Request, other));
    assert!(bare(Method::POST, Kind::Request, &own));
    assert!(bare(Method::GET, Kind::Polling, &own));
}

#[test]
fn the_portal_asks_the_same_question() {
    let table = Arc::new(route(vec![Rule {
        users: names(&["alice"]),
        max_age: Some(Duration::from_mins(1)),
        ..rule(Policy::TwoFactor)
    }]));
    let profile = |name| Profile::of(&user(name));
    let enter =
        |name, level, now| entry(&table, None, &ask("/"), &profile(name), level, START, now);
    assert_eq!(enter("alice", 2, START), Entry::Welcome);
    assert_eq!(enter("alice", 1, START), Entry::StepUp(Policy::TwoFactor));
    let later = START.plus(Duration::from_secs(61));
    assert_eq!(enter("alice", 2, later), Entry::StepUp(Policy::TwoFactor));
    assert_eq!(
        enter("bob", 2, START),
        Entry::Refused(Forbidden::NotAdmitted)
    );
}

/// A vigil over alice on [`HOST`], and what it hangs on.
struct Watch {
    cell: Arc<Cell>,
    routes: Arc<Routes>,
    draining: CancellationToken,
    vigil: Vigil,
}

fn table(route: Option<HostRoute>) -> RouteTable {
    let mut table = RouteTable::default();
    if let Some(route) = route {
        table.exact.insert(host(HOST), Arc::new(route));
    }
    table
}

fn watch(rules: Vec<Rule>, level: u8) -> Watch {
    let (cell, routes) = (alice(level), Arc::new(Routes::default()));
    routes.swap(table(Some(route(rules.clone()))));
    let epoch = routes.epoch();
    let route = Arc::new(route(rules));
    let who = Ok(identity(&cell, HOST, "t1", Shown::Bearer));
    let Decision::Admit(permit) = decide(&route, route.paths.first(), ask("/"), who, START) else {
        panic!("not admitted");
    };
    let draining = CancellationToken::new();
    let sight = Sight {
        routes: Arc::clone(&routes),
        clock: Clock::held(START),
        draining: draining.clone(),
    };
    let upstream = "127.0.0.1:1880".parse().unwrap();
    let vigil = Vigil::new(permit, upstream, sight.into(), epoch);
    Watch {
        cell,
        routes,
        draining,
        vigil,
    }
}

#[tokio::test]
async fn a_silent_stream_is_woken_by_the_end_of_its_session() {
    let mut watch = watch(Vec::new(), 2);
    assert_eq!(watch.vigil.check(START), Ok(()));
    let mut over = Box::pin(watch.vigil.over());
    assert!(futures_util::poll!(&mut over).is_pending());
    end(&watch.cell, Ended::Logout);
    assert_eq!(over.await, Over::Session(Ended::Logout));
    assert_eq!(watch.vigil.check(START), Err(Over::Session(Ended::Logout)));
}

#[tokio::test]
async fn an_idle_session_is_borne_with_until_then_and_no_other_end_is() {
    let mut idle = watch(Vec::new(), 2);
    let away = START.plus(Duration::from_hours(1));
    assert_eq!(idle.vigil.check(away), Err(Over::Session(Ended::Idle)));
    idle.vigil.bear(away.plus(Duration::from_secs(10)));
    assert_eq!(idle.vigil.check(away), Ok(()));
    let last = away.plus(Duration::from_millis(9_999));
    assert_eq!(idle.vigil.check(last), Ok(()));
    let over = away.plus(Duration::from_secs(10));
    assert_eq!(idle.vigil.check(over), Err(Over::Session(Ended::Idle)));
    let mut ended = watch(Vec::new(), 2);
    ended.vigil.bear(START.plus(Duration::from_secs(10)));
    end(&ended.cell, Ended::Revoked);
    assert_eq!(ended.vigil.check(START), Err(Over::Session(Ended::Revoked)));
    assert_eq!(ended.vigil.now(), START);
}

#[tokio::test]
async fn w22_a_stream_goes_on_under_another_login_of_its_own_user_only() {
    let mut stream = watch(Vec::new(), 2);
    let mut her = user("alice");
    her.id = stream.cell.user.clone();
    let login = |who: &UserRecord, host: &str, tenant: &str| {
        identity(&cell(who, 2, host, tenant), host, tenant, Shown::Bearer)
    };
    for other in [
        login(&user("bob"), HOST, "t1"),
        login(&her, HOST, "t2"),
        login(&her, "b.example.net", "t1"),
    ] {
        let refused = stream.vigil.adopt(other);
        assert_eq!(refused, Err(Over::Session(Ended::Replaced)));
    }
    stream.vigil.bear(START.plus(Duration::from_secs(10)));
    assert!(stream.vigil.is_bearing());
    let again = cell(&her, 2, HOST, "t1");
    let own = identity(&again, HOST, "t1", Shown::Bearer);
    assert_eq!(stream.vigil.adopt(own), Ok(()));
    assert!(!stream.vigil.is_bearing());
    end(&stream.cell, Ended::Revoked);
    assert_eq!(
        stream.vigil.check(START),
        Ok(()),
        "the former login is nothing to it now"
    );
    end(&again, Ended::Logout);
    assert_eq!(stream.vigil.check(START), Err(Over::Session(Ended::Logout)));
}

#[tokio::test]
async fn k3_a_policy_that_changed_is_asked_at_the_next_frame() {
    let mut watch = watch(Vec::new(), 2);
    let again = |watch: &Watch, change: fn(&mut HostRoute)| {
        let mut it = route(Vec::new());
        change(&mut it);
        watch.routes.swap(table(Some(it)));
    };
    again(&watch, |_| ());
    assert_eq!(
        watch.vigil.check(START),
        Ok(()),
        "nothing that matters changed"
    );
    again(&watch, |it| {
        it.rules = Arc::new(vec![rule(Policy::HardwareKey)]);
    });
    assert_eq!(watch.vigil.check(START), Err(Over::Policy));
    again(&watch, |it| it.tenant = "t2".into());
    assert_eq!(watch.vigil.check(START), Err(Over::TenantChanged));
    again(&watch, |it| it.paths[0].upstreams = Arc::new([]));
    assert_eq!(watch.vigil.check(START), Err(Over::TenantGone));
    watch.routes.swap(table(None));
    assert_eq!(watch.vigil.check(START), Err(Over::TenantGone));
    again(&watch, |it| {
        it.rules = Arc::new(vec![Rule {
            users: names(&["bob"]),
            ..rule(Policy::OneFactor)
        }]);
    });
    assert_eq!(watch.vigil.check(START), Err(Over::Policy));
    again(&watch, |_| ());
    assert_eq!(watch.vigil.check(START), Ok(()));
}

#[tokio::test]
async fn k3_a_login_that_was_lowered_is_asked_at_the_next_frame() {
    let mut watch = watch(Vec::new(), 2);
    assert_eq!(watch.vigil.check(START), Ok(()));
    set_level(&watch.cell, 1, HOST, "t1");
    assert_eq!(watch.vigil.check(START), Err(Over::Policy));
    set_level(&watch.cell, 2, HOST, "t1");
    assert_eq!(watch.vigil.check(START), Ok(()));
    set_level(&watch.cell, 1, HOST, "t1");
    assert_eq!(watch.vigil.check(START), Err(Over::Policy));
}

#[tokio::test]
async fn a_silent_stream_outlives_every_change_that_leaves_it_alone() {
    let mut watch = watch(Vec::new(), 2);
    let routes = Arc::clone(&watch.routes);
    let mut over = Box::pin(watch.vigil.over());
    for _ in 0..3 {
        routes.swap(table(Some(route(Vec::new()))));
        assert!(futures_util::poll!(&mut over).is_pending());
    }
    routes.swap(table(None));
    assert_eq!(over.await, Over::TenantGone);
}

#[tokio::test]
async fn a_drain_wakes_and_does_not_stop_what_is_in_hand() {
    let mut watch = watch(Vec::new(), 2);
    watch.draining.cancel();
    assert_eq!(watch.vigil.check(START), Ok(()));
    assert!(watch.vigil.is_draining());
    assert_eq!(watch.vigil.over().await, Over::Draining);
}

#[tokio::test]
async fn what_went_through_an_open_path_stays_only_while_it_is_open() {
    let mut watch = watch(vec![rule(Policy::Open)], 2);
    assert!(watch.vigil.permit().identity().is_none());
    // Nobody's: no session ends it.
    end(&watch.cell, Ended::Logout);
    assert_eq!(watch.vigil.check(START), Ok(()));
    let still_open = route(vec![rule(Policy::Open)]);
    watch.routes.swap(table(Some(still_open)));
    assert_eq!(watch.vigil.check(START), Ok(()));
    watch.routes.swap(table(Some(route(Vec::new()))));
    assert_eq!(watch.vigil.check(START), Err(Over::Policy));
}

#[test]
fn time_alone_is_known_at_once() {
    let mut watch = watch(Vec::new(), 2);
    let idle = START.plus(Duration::from_mins(30));
    assert_eq!(watch.vigil.check(idle), Err(Over::Session(Ended::Idle)));
    let hard = START.plus(Duration::from_hours(12));
    assert_eq!(
        watch.vigil.check(hard),
        Err(Over::Session(Ended::LoginExpired))
    );
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Open),
        Just(Policy::OneFactor),
        Just(Policy::TwoFactor),
        Just(Policy::HardwareKey)
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let one = (
        policies(),
        prop::option::of(policies()),
        prop::option::of(policies()),
        prop::sample::subsequence(vec!["alice", "bob"], 0..=2),
        prop::bool::ANY,
        prop::bool::ANY,
    );
    let one = one.prop_map(|(policy, pages, sockets, users, path, method)| Rule {
        policy,
        pages,
        sockets,
        users: names(&users),
        paths: if path {
            vec![PathPattern::Under("/x".to_owned())]
        } else {
            Vec::new()
        },
        methods: if method {
            vec!["GET".to_owned()]
        } else {
            Vec::new()
        },
        ..Rule::default()
    });
    prop::collection::vec(one, 0..5)
}

proptest! {
    #[test]
    fn nobody_is_admitted_below_what_is_asked(
        rules in rules(), floor in prop::option::of(policies()), level in 0u8..4, socket: bool, on_x: bool,
    ) {
        let mut table = route(rules);
        table.settings = Arc::new(TenantSettings { policy: floor, ..TenantSettings::default() });
        let mut it = ask(if on_x { "/x/y" } else { "/z" });
        it.kind = if socket { Kind::Socket } else { Kind::Request };
        let profile = Profile::of(&user("alice"));
        let who = Who { profile: &profile, level, auth_time: START };
        let path = path_route();
        match judge(&table, Some(&path), &it, Some(who), START) {
            Verdict::Enough(needs) => prop_assert!(level >= strength(needs.policy) && needs.policy != Policy::Open),
            Verdict::Open(needs) => prop_assert!(floor.is_none_or(|it| it == Policy::Open) && needs.policy == Policy::Open),
            Verdict::StepUp(needs) => prop_assert!(level < strength(needs.policy)),
            Verdict::Forbidden(_) => prop_assert!(table.rules.iter().any(|it| !it.users.is_empty())),
            Verdict::SignIn(_) | Verdict::Ambiguous => prop_assert!(false),
        }
        // A stranger is never admitted: at most let through where it is open.
        let stranger = judge(&table, Some(&path), &it, None, START);
        prop_assert!(!matches!(stranger, Verdict::Enough(_) | Verdict::StepUp(_)));
        // A floor never makes it easier.
        table.settings = Arc::new(TenantSettings::default());
        let without = judge(&table, Some(&path), &it, Some(who), START);
        if let (Verdict::Enough(needs), true) = (without, floor.is_some()) {
            let with = required(&table, Some(&path), &it, Some(&profile)).unwrap();
            prop_assert!(strength(with.policy) >= strength(needs.policy));
        }
    }
}

#[test]
fn b1_an_origin_that_the_file_allows_is_that_one_and_no_other() {
    let allowed = ["https://app.example.org".to_owned()];
    for (origin, own) in [
        ("https://app.example.org", true),
        ("https://app.example.org:8443", false),
        ("https://evil.example", false),
    ] {
        let mut it = ask("/");
        it.method = Method::POST;
        it.fetch.present = true;
        it.fetch.site = Some(Site::CrossSite);
        it.fetch.origin = Some(origin.to_owned());
        let found = sibling::is_own(&it, Shown::Cookie, &allowed);
        assert_eq!(found, own, "{origin}");
    }
}
