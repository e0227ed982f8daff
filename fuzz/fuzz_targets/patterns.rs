//! Host and path patterns of containers and of the file: a host, then on each line a pattern.
//! What is taken reads back the same; and the table finds for the host what a plain reading of
//! nginx's order finds.

#![no_main]

use std::{io, path::Path};

use libfuzzer_sys::fuzz_target;
use portcullis::{
    clock::Timestamp,
    config::{Claims, HostPattern, PathPattern, parse},
    name::HostName,
    route::{Asked, Claimed, Destination, Discovered, PathMatch, Plan, RouteTable, Tighten},
};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let host = HostName::parse(lines.next().unwrap_or_default());
    let mut asked: Vec<Asked> = Vec::new();
    for line in lines.take(32) {
        for it in [HostPattern::parse(line)].into_iter().flatten() {
            assert_eq!(HostPattern::parse(&it.show()).as_ref(), Ok(&it));
            assert!(it.covers(&it));
        }
        for it in [PathPattern::parse(line)].into_iter().flatten() {
            assert_eq!(PathPattern::parse(&it.show()).as_ref(), Ok(&it));
            assert!(it.covers(&it));
        }
        if let Ok(PathMatch::Regex(regex)) = PathMatch::parse(line) {
            let _ = regex.is_match("/a/b.c/d%20e");
        }
        if let Ok(it) = Asked::parse(line) {
            let shown = it.to_string();
            let again = Asked::parse(&shown).expect("it was taken before");
            assert_eq!(again.to_string(), shown);
            asked.push(it);
        }
    }
    let Ok(host) = host else { return };
    let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let mut config = parse("", Path::new("fuzz.toml"), &[], &nothing)
        .expect("an empty file")
        .config;
    config.docker.claims = Some(Claims::Off);
    let found = asked.iter().enumerate().map(|(at, it)| Discovered {
        container: format!("c{at}"),
        owner: format!("container:c{at}"),
        created: Timestamp(0),
        host: it.clone(),
        path: PathMatch::everything(),
        dest: None,
        upstream: None,
        tighten: Tighten::default(),
        internal: false,
        plain_http: false,
    });
    let plan = Plan {
        config: &config,
        found: found.collect(),
        claims: &Claimed::default(),
    };
    let table = RouteTable::build(plan);
    let found = match table.find(&host) {
        Destination::Tenant(route) => Some(route.pattern.to_string()),
        Destination::Nowhere => None,
        other => panic!("{other:?} without a root"),
    };
    assert_eq!(found, plainly(&asked, host.as_str()));
});

/// An exact name, the longest leading wildcard, the longest trailing one, the first regex.
fn plainly(asked: &[Asked], host: &str) -> Option<String> {
    let rank = |it: &Asked| match it {
        Asked::Exact(name) => (name.as_str() == host).then_some((0, 0)),
        Asked::Leading(name) => {
            let fits = host.ends_with(&format!(".{name}"));
            fits.then_some((1, usize::MAX - name.as_str().len()))
        }
        Asked::Trailing(name) => {
            let fits = host.starts_with(&format!("{name}."));
            fits.then_some((2, usize::MAX - name.as_str().len()))
        }
        Asked::Regex(_, regex) => regex.is_match(host).then_some((3, 0)),
    };
    let fitting = asked.iter().filter_map(|it| Some((rank(it)?, it.to_string())));
    fitting.min().map(|(_, shown)| shown)
}
