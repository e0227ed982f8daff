//! What a tenant is told about who is there, signed; and a core's memory of it, so that one is
//! signed at most once per half its life.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use http::HeaderValue;
use serde::Serialize;

use super::Tokens;
use crate::{
    clock::Timestamp,
    name::{GroupName, HostName, TenantId, UserId, UserName},
    store::Digest,
};

/// How long an assertion is good for.
pub const ASSERTION_LIFE: Duration = Duration::from_mins(1);

/// How many assertions a core remembers.
const REMEMBERED: usize = 4096;

/// Whom an assertion is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Immutable id.
    pub id: &'a UserId,
    /// User name.
    pub name: &'a UserName,
    /// E-mail; may be empty.
    pub email: &'a str,
    /// Name in full; may be empty.
    pub display_name: &'a str,
    /// Groups.
    pub groups: &'a [GroupName],
}

/// The claims of an assertion; never a `sid` or a `did`.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    tid: &'a str,
    sub: &'a str,
    preferred_username: &'a str,
    name: &'a str,
    email: &'a str,
    groups: Vec<&'a str>,
    amr: &'a [String],
    auth_time: i64,
    iat: i64,
    exp: i64,
}

impl<'a> Claims<'a> {
    pub(super) fn new(
        issuer: &'a str,
        subject: Subject<'a>,
        host: &'a HostName,
        tenant: &'a TenantId,
        amr: &'a [String],
        auth_time: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            iss: issuer,
            aud: host.as_str(),
            tid: tenant.as_str(),
            sub: subject.id.as_str(),
            preferred_username: subject.name.as_str(),
            name: subject.display_name,
            email: subject.email,
            groups: subject.groups.iter().map(GroupName::as_str).collect(),
            amr,
            auth_time: auth_time.secs(),
            iat: now.secs(),
            exp: now.plus(ASSERTION_LIFE).secs(),
        }
    }
}

/// Whose assertion, for whom, and as of which state of the session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AssertionKey {
    /// The session.
    pub sid: Digest,
    /// Grows with every change of the session's profile, level or factors.
    pub revision: u32,
    /// The token's generation: an older token keeps its own factors.
    pub generation: u32,
    /// The host.
    pub host: HostName,
    /// The tenant.
    pub tenant: TenantId,
}

/// One core's memory of assertions. Bounded; holds no token that is past half its life.
#[derive(Debug, Default)]
pub struct AssertionCache(RefCell<HashMap<AssertionKey, Remembered>>);

#[derive(Debug)]
struct Remembered {
    value: HeaderValue,
    kid: std::sync::Arc<str>,
    until: Timestamp,
}

impl AssertionCache {
    /// The assertion for `key`: the remembered one in the first half of its life, or a new one.
    /// `None` only if a token cannot be a header value, which base64url always can.
    pub fn get(
        &self,
        key: AssertionKey,
        tokens: &Tokens,
        subject: Subject<'_>,
        amr: &[String],
        auth_time: Timestamp,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let kid = tokens.assertion_kid();
        let mut remembered = self.0.borrow_mut();
        if let Some(it) = remembered.get(&key)
            && now < it.until
            && it.kid == kid
        {
            return Some(it.value.clone());
        }
        let token = tokens.assertion(subject, &key.host, &key.tenant, amr, auth_time, now);
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, it| now < it.until);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        let until = now.plus(ASSERTION_LIFE / 2);
        remembered.insert(
            key,
            Remembered {
                value: value.clone(),
                kid,
                until,
            },
        );
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secret::SealingKey, store::sqlite::SqliteStore};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn key(number: usize) -> AssertionKey {
        AssertionKey {
            sid: [1; 32],
            revision: u32::try_from(number).unwrap(),
            generation: 1,
            host: HostName::parse("a.example.net").unwrap(),
            tenant: "t1".into(),
        }
    }

    /// How many are remembered after one more was asked for, when the memory was full and
    /// `fresh` of it still in the first half of their lives.
    fn left(fresh: usize) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&folder.path().join("a.db"), NOW).unwrap();
        let tokens = Tokens::open(&mut store, &SealingKey::generate(), "x", NOW).unwrap();
        let cache = AssertionCache::default();
        cache.0.borrow_mut().extend((0..REMEMBERED).map(|number| {
            let until = if number < fresh {
                NOW.plus(ASSERTION_LIFE)
            } else {
                NOW
            };
            let kid = tokens.assertion_kid();
            let value = HeaderValue::from_static("x");
            (key(number), Remembered { value, kid, until })
        }));
        let (id, name) = (UserId::from("u1"), UserName::parse("alice").unwrap());
        let subject = Subject {
            id: &id,
            name: &name,
            email: "",
            display_name: "",
            groups: &[],
        };
        assert!(
            cache
                .get(key(REMEMBERED), &tokens, subject, &[], NOW, NOW)
                .is_some()
        );
        cache.0.borrow().len()
    }

    #[test]
    fn a_full_memory_forgets_what_is_past_half_its_life_or_all_of_it() {
        assert_eq!(left(100), 101);
        assert_eq!(left(REMEMBERED), 1);
    }
}
