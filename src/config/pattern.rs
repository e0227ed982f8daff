//! Patterns for hosts and paths, and what covers what.

use super::{HostPattern, PathPattern, value};

impl HostPattern {
    /// Reads `a.example.com`, `*.example.com` or `*`. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if name.contains('*') || name.starts_with('~') {
            return Err(format!(
                "{text:?} is not a host pattern; write it as \"a.example.com\", \"*.example.com\" or \"*\""
            ));
        }
        if below {
            return value::domain(name).map(Self::Under);
        }
        value::host(name).map(Self::Exact)
    }

    /// As the file writes it.
    pub fn show(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exact(it) => it.to_string(),
            Self::Under(it) => format!("*.{it}"),
        }
    }

    /// Whether every host that `other` means is meant by this too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) | (Self::Exact(_), Self::Under(_)) => false,
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Under(wide), Self::Under(narrow)) => wide == narrow || narrow.is_under(wide),
        }
    }
}

impl PathPattern {
    /// Reads `/admin`, `/admin/` or `/admin/*`. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{text:?} is not a path pattern: {why}; write it as \"/admin\" (that very path) or \"/admin/*\" (it and all below)"
            ))
        };
        if !text.starts_with('/') {
            return wrong("it begins with /");
        }
        let (under, path) = match text.strip_suffix('*').unwrap_or(text).strip_suffix('/') {
            Some(it) => (true, it),
            None => (false, text),
        };
        if path.contains('*') {
            return wrong("a * is only for the end, after a /");
        }
        if path.contains(['%', '\\', '?', '#']) || path.chars().any(char::is_control) {
            return wrong("it is compared with the decoded path, and has no % \\ ? # in it");
        }
        let unclear = |it: &str| it.is_empty() || it == "." || it == "..";
        if path.split('/').skip(1).any(unclear) {
            return wrong("it has an empty or a dot segment");
        }
        let path = path.to_owned();
        Ok(if under {
            Self::Under(path)
        } else {
            Self::Exact(path)
        })
    }

    /// As the file writes it.
    pub fn show(&self) -> String {
        match self {
            Self::Exact(it) => it.clone(),
            Self::Under(it) => format!("{it}/*"),
        }
    }

    /// Whether every path that `other` means is meant by this too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Exact(_), Self::Under(_)) => false,
            (Self::Under(_), Self::Exact(it) | Self::Under(it)) => self.matches(it),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_are_a_name_or_all_below_it() {
        for text in ["*", "a.example.com", "*.example.com"] {
            assert_eq!(HostPattern::parse(text).unwrap().show(), text);
        }
        for bad in [
            "",
            "a.*",
            "*a.com",
            "*.*.com",
            "~^a$",
            "*.",
            "*.127.0.0.1",
            "a:80",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad:?}");
        }
        let parse = |it| HostPattern::parse(it).unwrap();
        for (wide, narrow, covers) in [
            ("*", "*.a.b", true),
            ("*.b", "*.a.b", true),
            ("*.b", "x.a.b", true),
            ("*.b", "*.b", true),
            ("*.b", "b", false),
            ("*.b", "*", false),
            ("a.b", "a.b", true),
            ("a.b", "*.a.b", false),
        ] {
            assert_eq!(
                parse(wide).covers(&parse(narrow)),
                covers,
                "{wide} {narrow}"
            );
        }
    }

    #[test]
    fn path_patterns_can_be_read_in_one_way_only() {
        let parse = |it| PathPattern::parse(it).unwrap();
        assert_eq!(parse("/admin"), PathPattern::Exact("/admin".to_owned()));
        assert_eq!(parse("/admin/"), PathPattern::Under("/admin".to_owned()));
        assert_eq!(parse("/admin/*"), PathPattern::Under("/admin".to_owned()));
        assert_eq!(parse("/"), PathPattern::Under(String::new()));
        assert_eq!(parse("/*"), PathPattern::Under(String::new()));
        for bad in [
            "", "admin", "*", "/a*", "/*/b", "//", "/a//b", "/a/../b", "/./a", "/a%2Fb", "/a\\b",
            "/a?b", "/..", "/a/**", "/a\0",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad:?}");
        }
        for (wide, narrow, covers) in [
            ("/", "/a", true),
            ("/a/", "/a", true),
            ("/a/", "/a/b/", true),
            ("/a/", "/ab", false),
            ("/a", "/a/", false),
            ("/a", "/a", true),
        ] {
            assert_eq!(
                parse(wide).covers(&parse(narrow)),
                covers,
                "{wide} {narrow}"
            );
        }
    }
}
