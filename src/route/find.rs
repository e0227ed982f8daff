//! Finding: hosts and paths in nginx's order of precedence.

use crate::{
    intake::path::Decided,
    name::HostName,
    route::{Destination, HostRoute, PathMatch, PathRoute, RouteTable},
};

impl RouteTable {
    /// Where requests for `host` go: the portal, the manager, an exact name, the longest leading
    /// wildcard, the longest trailing one, the first regex; else nowhere.
    pub fn find(&self, host: &HostName) -> Destination {
        if self.portal.as_ref() == Some(host) {
            return Destination::Portal;
        }
        if self.manager.as_ref() == Some(host) {
            return Destination::Manager;
        }
        let name = host.as_str();
        let found = self.exact.get(host).or_else(|| {
            below(name)
                .find_map(|it| self.leading.get(it))
                .or_else(|| above(name).find_map(|it| self.trailing.get(it)))
                .or_else(|| {
                    self.regexes
                        .iter()
                        .find_map(|(regex, route)| regex.is_match(name).then_some(route))
                })
        });
        match found {
            Some(route) => Destination::Tenant(route.clone()),
            None if self.root.as_ref().is_some_and(|root| host.is_under(root)) => {
                Destination::NowhereGuarded
            }
            None => Destination::Nowhere,
        }
    }
}

impl HostRoute {
    /// The path route for a request, as nginx picks a location: exact, else the longest prefix
    /// if it is `^~`, else the first regex, else the longest prefix. Matched on the decided
    /// path; on one that can be read in two ways (which gets here only where nothing hangs on
    /// the path) on the raw one, `target` up to its `?`.
    pub fn path(&self, decided: &Decided, target: &str) -> Option<&PathRoute> {
        if let [only] = self.paths.as_slice()
            && only.matches.is_everything()
        {
            return Some(only);
        }
        let path = match decided {
            Decided::Plain(path) => path.as_str(),
            Decided::Ambiguous => target.split('?').next().unwrap_or(target),
        };
        let exact = |it: &&PathRoute| matches!(&it.matches, PathMatch::Exact(at) if at == path);
        if let Some(found) = self.paths.iter().find(exact) {
            return Some(found);
        }
        let prefix = self
            .paths
            .iter()
            .filter_map(|it| match &it.matches {
                PathMatch::Prefix { text, no_regex } if path.starts_with(text.as_str()) => {
                    Some((text.len(), *no_regex, it))
                }
                PathMatch::Prefix { .. } | PathMatch::Exact(_) | PathMatch::Regex(_) => None,
            })
            .max_by_key(|(length, ..)| *length);
        if let Some((_, true, found)) = prefix {
            return Some(found);
        }
        let regex = self
            .paths
            .iter()
            .find(|it| matches!(&it.matches, PathMatch::Regex(regex) if regex.is_match(path)));
        regex.or_else(|| prefix.map(|(.., found)| found))
    }
}

/// `a.b.c` -> `b.c`, `c`.
fn below(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |it| it.split_once('.').map(|(_, rest)| rest)).skip(1)
}

/// `a.b.c` -> `a.b`, `a`.
fn above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |it| it.rsplit_once('.').map(|(rest, _)| rest)).skip(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::route::Tighten;

    fn host(patterns: &[&str]) -> HostRoute {
        HostRoute {
            pattern: "a".into(),
            tenant: "t".into(),
            changed_hands: false,
            owner: "o".into(),
            paths: patterns
                .iter()
                .map(|it| PathRoute {
                    matches: PathMatch::parse(it).unwrap(),
                    upstreams: Arc::default(),
                    dest: Some((*it).to_owned()),
                    tighten: Tighten::default(),
                    internal: false,
                })
                .collect(),
            settings: Arc::default(),
            rules: Arc::default(),
            guarded: true,
            path_matters: true,
            plain_http: false,
        }
    }

    fn picked(route: &HostRoute, path: &str) -> Option<String> {
        let decided = Decided::Plain(path.to_owned());
        route.path(&decided, path).and_then(|it| it.dest.clone())
    }

    #[test]
    fn a_path_is_picked_as_nginx_picks_a_location() {
        let route = host(&[
            "/",
            "/app",
            "/app/deep",
            "= /app/x",
            "^~ /static",
            "~ \\.js$",
            "~* ^/API",
        ]);
        for (path, expected) in [
            ("/", "/"),
            ("/other", "/"),
            ("/app", "/app"),
            ("/apple", "/app"),
            ("/app/deep/1", "/app/deep"),
            ("/app/x", "= /app/x"),
            ("/app/y.js", "~ \\.js$"),
            ("/static/y.js", "^~ /static"),
            ("/api/1", "~* ^/API"),
        ] {
            assert_eq!(picked(&route, path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(picked(&host(&["/app"]), "/"), None);
    }

    #[test]
    fn an_ambiguous_path_is_looked_up_as_it_came() {
        let route = host(&["/", "/app"]);
        let found = route.path(&Decided::Ambiguous, "/app/a%2Fb?/x").unwrap();
        assert_eq!(found.dest.as_deref(), Some("/app"));
    }
}
