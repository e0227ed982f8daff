//! What containers and the file may ask for: hosts and paths in nginx's notation.

use std::{fmt, sync::Arc};

use crate::{name::HostName, route::PathMatch};

/// A host, or many, as `VIRTUAL_HOST` writes them.
#[derive(Debug, Clone)]
pub enum Asked {
    /// `a.example.com`
    Exact(HostName),
    /// `*.example.com`: every name below, any number of labels down. Kept without `*.`.
    Leading(HostName),
    /// `foo.bar.*`: kept without `.*`.
    Trailing(HostName),
    /// `~regex`: the text as it was written (with `~`), and what it means.
    Regex(Arc<str>, regex::Regex),
}

/// Why text asks for no host or path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// Not a host name.
    #[error("not a host name")]
    Host,
    /// Not a regular expression that is understood, or one that is too large.
    #[error("not a regular expression that is understood here")]
    Regex,
    /// Not a path: it must begin with `/`, and may not hold control characters or spaces.
    #[error("not a path")]
    Path,
}

/// What a compiled regex may weigh, in bytes: it comes from a container.
const REGEX_SIZE: usize = 256 << 10;

/// The longest text that is looked at, in bytes.
const LONGEST: usize = 1024;

impl Asked {
    /// Reads one item of a `VIRTUAL_HOST`: a name, `*.name`, `name.*` or `~regex`.
    pub fn parse(text: &str) -> Result<Self, NotAsked> {
        if let Some(source) = text.strip_prefix('~') {
            return Ok(Self::Regex(text.into(), compile(source, false)?));
        }
        let host = |it: &str| HostName::parse(it).map_err(|_| NotAsked::Host);
        if let Some(below) = text.strip_prefix("*.") {
            return host(below).map(Self::Leading);
        }
        if let Some(above) = text.strip_suffix(".*") {
            return host(above).map(Self::Trailing);
        }
        host(text).map(Self::Exact)
    }
}

impl fmt::Display for Asked {
    /// The canonical text: what a claim is made on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Leading(below) => write!(f, "*.{below}"),
            Self::Trailing(above) => write!(f, "{above}.*"),
            Self::Regex(text, _) => f.write_str(text),
        }
    }
}

impl PathMatch {
    /// Reads nginx's location text: `/x`, `= /x`, `^~ /x`, `~ x`, `~* x`.
    pub fn parse(text: &str) -> Result<Self, NotAsked> {
        let text = text.trim();
        if let Some(source) = text.strip_prefix("~*") {
            return compile(source.trim_start(), true).map(Self::Regex);
        }
        if let Some(source) = text.strip_prefix('~') {
            return compile(source.trim_start(), false).map(Self::Regex);
        }
        if let Some(rest) = text.strip_prefix('=') {
            return plain(rest).map(Self::Exact);
        }
        let (rest, no_regex) = match text.strip_prefix("^~") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        plain(rest).map(|text| Self::Prefix { text, no_regex })
    }

    /// The whole host: `/`.
    pub fn everything() -> Self {
        Self::Prefix {
            text: "/".to_owned(),
            no_regex: false,
        }
    }

    /// Whether this is `/`: every path.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Prefix { text, .. } if text == "/")
    }

    /// One text for each different match.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Exact(text) => format!("= {text}"),
            // nginx refuses `/x` beside `^~ /x`; here they are one.
            Self::Prefix { text, .. } => text.clone(),
            Self::Regex(regex) => format!("~ {}", regex.as_str()),
        }
    }
}

fn plain(text: &str) -> Result<String, NotAsked> {
    let text = text.trim_start();
    let good = text.starts_with('/')
        && text.len() <= LONGEST
        && !text.chars().any(|c| c.is_control() || c == ' ');
    if good {
        Ok(text.to_owned())
    } else {
        Err(NotAsked::Path)
    }
}

fn compile(source: &str, any_case: bool) -> Result<regex::Regex, NotAsked> {
    if source.is_empty() || source.len() > LONGEST {
        return Err(NotAsked::Regex);
    }
    regex::RegexBuilder::new(source)
        .case_insensitive(any_case)
        .size_limit(REGEX_SIZE)
        .dfa_size_limit(REGEX_SIZE)
        .build()
        .map_err(|_| NotAsked::Regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_asked_for_in_nginx_notation() {
        for (text, canonical) in [
            ("A.Example.com.", "a.example.com"),
            ("*.Bar.com", "*.bar.com"),
            ("foo.bar.*", "foo.bar.*"),
            ("~^x\\d+\\.net$", "~^x\\d+\\.net$"),
        ] {
            assert_eq!(Asked::parse(text).unwrap().to_string(), canonical);
        }
        for text in ["", "*", "*.", "a b", "~", "~(", "a.*.b", "x\";}"] {
            assert!(Asked::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_is_asked_for_in_nginx_notation() {
        assert!(matches!(PathMatch::parse("= /x"), Ok(PathMatch::Exact(it)) if it == "/x"));
        assert!(matches!(
            PathMatch::parse("^~ /x"),
            Ok(PathMatch::Prefix { no_regex: true, .. })
        ));
        assert!(
            matches!(PathMatch::parse("~* ^/X"), Ok(PathMatch::Regex(it)) if it.is_match("/x"))
        );
        for text in ["", "x", "= x", "/a b", "/a\nb", "~", "~ ("] {
            assert!(PathMatch::parse(text).is_err(), "{text:?}");
        }
    }
}
