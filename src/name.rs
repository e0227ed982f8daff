//! Names that cannot be wrong: hosts, users, groups, and the ids of users and tenants.

use std::{fmt, sync::Arc};

/// A host name as we compare it: lower case, punycode, no port, no trailing dot, every label
/// 1 to 63 of `a-z 0-9 - _`, at most 253 bytes; or the text of an IP address (an IPv6 one
/// without its brackets).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why text is not a [`HostName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name")]
pub struct NotAHost;

impl HostName {
    /// Reads a host name without a port, in any case, with at most one trailing dot, perhaps
    /// in Unicode (then it is converted by IDNA).
    pub fn parse(text: &str) -> Result<Self, NotAHost> {
        if let Some(inner) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let address: std::net::Ipv6Addr = inner.parse().map_err(|_| NotAHost)?;
            return Ok(Self(address.to_string().into()));
        }
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(Self(address.to_string().into()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if is_plain(text) {
            return Ok(Self(text.into()));
        }
        if text.is_ascii() {
            let lower = text.to_ascii_lowercase();
            return if is_plain(&lower) {
                Ok(Self(lower.into()))
            } else {
                Err(NotAHost)
            };
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL)
            .map_err(|_| NotAHost)?;
        if is_plain(&ascii) {
            Ok(Self(ascii.as_ref().into()))
        } else {
            Err(NotAHost)
        }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This name with `label` in front: `root.child("auth")` is `auth.<root>`.
    pub fn child(&self, label: &str) -> Result<Self, NotAHost> {
        Self::parse(&format!("{label}.{}", self.0))
    }

    /// Whether this is a name below `root`, any number of labels down.
    pub fn is_under(&self, root: &Self) -> bool {
        self.0
            .strip_suffix(root.as_str())
            .is_some_and(|it| it.ends_with('.'))
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        })
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A user's or a group's name: `[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}`, kept as it was written,
/// compared without regard to case.
#[derive(Clone)]
pub struct UserName(Arc<str>);

/// Why text is not a [`UserName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 of A-Z a-z 0-9 . _ @ + - and begins with a letter or digit")]
pub struct NotAName;

impl UserName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let bytes = text.as_bytes();
        let good = (1..=64).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(b));
        if good {
            Ok(Self(text.into()))
        } else {
            Err(NotAName)
        }
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that is unique: lower case.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for UserName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for UserName {}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group's name follows the same rule as a user's.
pub type GroupName = UserName;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// A new one, never used before.
            pub fn fresh() -> Self {
                Self(crate::random::id().into())
            }

            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// A user's immutable id: the `sub` of every token. Random, never reused.
    UserId
}
opaque_id! {
    /// A tenant's id: the `tid` of every token. Random, never reused, kept by the claim on its host.
    TenantId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for text in ["A.Example.Net", "a.example.net.", "a.example.net"] {
            assert_eq!(HostName::parse(text).unwrap().as_str(), "a.example.net");
        }
        assert_eq!(
            HostName::parse("bücher.example").unwrap().as_str(),
            "xn--bcher-kva.example"
        );
        assert_eq!(HostName::parse("[::1]").unwrap().as_str(), "::1");
    }

    #[test]
    fn nonsense_is_no_host() {
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a.example.net..",
            "a:80",
            "a/b",
            "a@b",
            "a\0b",
            "[::1",
            "-_%",
        ] {
            assert_eq!(HostName::parse(text), Err(NotAHost), "{text:?}");
        }
        assert!(HostName::parse(&"a".repeat(64)).is_err());
        assert!(HostName::parse(&"a.".repeat(130)).is_err());
    }

    #[test]
    fn a_suffix_is_not_a_subdomain() {
        let root = HostName::parse("example.net").unwrap();
        assert!(HostName::parse("a.example.net").unwrap().is_under(&root));
        assert!(!HostName::parse("eviexample.net").unwrap().is_under(&root));
        assert!(!root.is_under(&root));
    }

    #[test]
    fn user_names_are_one_whatever_their_case() {
        assert_eq!(
            UserName::parse("Alice").unwrap(),
            UserName::parse("alice").unwrap()
        );
        for bad in ["", "-a", ".a", "a,b", "a b", "a\nb", "ä"] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
