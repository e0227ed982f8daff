//! How often somebody may be wrong: first slower, then not at all for a while.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    clock::Timestamp,
    config::LoginRules,
    name::UserId,
    secret,
    store::{Store, StoreError, UserRecord, together},
    telemetry::audit::{Actor, Event, What},
};

use super::notice;

/// How many failures an hour are written into the audit log before it gets tight-lipped.
const TOLD: u32 = 200;

const HOUR: i64 = 3600;

/// Whether a guess is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Yes, and it already counts as a failure: whoever was right clears the count.
    Yes {
        /// Whether it is the last one for a while, if it fails.
        last: bool,
    },
    /// Not until then.
    NotBefore(Duration),
}

/// Counts a guess under `key` before it is looked at, so that a thousand at once are no more
/// than one after another. `most` may fail within `lock` of each other; then there is no other
/// for `lock`. From half of `most` on each has to wait: 1 s, 2 s, 4 s and so on, up to 30 s.
pub(super) fn admit(
    store: &mut dyn Store,
    key: &str,
    most: u32,
    lock: Duration,
    now: Timestamp,
) -> Result<Admitted, StoreError> {
    let window = i64::try_from(lock.as_secs()).unwrap_or(i64::MAX);
    let (count, ends) = store.failures(key, now, window)?;
    let wait = if count >= most {
        now.until(ends)
    } else {
        now.until(ends.minus(lock).plus(pause(count, most)))
    };
    if !wait.is_zero() {
        return Ok(Admitted::NotBefore(whole_seconds(wait)));
    }
    let count = store.count_failure(key, now, window)?;
    if count > most {
        // Another process was faster.
        return Ok(Admitted::NotBefore(lock));
    }
    Ok(Admitted::Yes {
        last: count == most,
    })
}

/// What failed, for the audit log.
pub(super) struct Failed<'a> {
    /// Whose sign-in it would have been; nobody's name is not written down, for it may be a
    /// password in the wrong field.
    pub(super) user: Option<&'a UserRecord>,
    /// `password`, `totp`, `recovery`.
    pub(super) factor: &'static str,
    /// Whether it was the last one for a while.
    pub(super) last: bool,
}

/// Writes a failure down. A flood does not fill the log: of one account from one neighbourhood
/// only the 1st, 2nd, 4th, 8th and so on of an hour is written, with its number; of everybody
/// together [`TOLD`] an hour, and from there on the powers of two too.
pub(super) fn tell(
    store: &mut dyn Store,
    failed: &Failed<'_>,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    let hour = now.secs().div_euclid(HOUR);
    let whose = failed.user.map_or_else(
        || "nobody".to_owned(),
        |it| format!("{}:{}", it.id, prefix(actor.address)),
    );
    let event = |what| {
        let event = Event::new(what, now, actor.clone()).with("factor", failed.factor);
        match failed.user {
            Some(user) => event.about(&user.id, &user.name),
            None => event,
        }
    };
    together(store, "tell_failure", |store| {
        if let Some(user) = failed
            .user
            .filter(|_| failed.last && failed.factor != "password")
        {
            store.put_notice(&user.id, notice::CODES_WRONG, now)?;
        }
        let count = store.count_failure(&format!("audit:{whose}:{hour}"), now, 2 * HOUR)?;
        let all = store.count_failure(&format!("audit:{hour}"), now, 2 * HOUR)?;
        if all > TOLD && !all.is_power_of_two() {
            return Ok(());
        }
        if count.is_power_of_two() {
            store.append_audit(&event(What::SignInFailed).with_count("count", count))?;
        }
        if failed.last {
            store.append_audit(&event(What::Banned))?;
        }
        Ok(())
    })
}

/// The wait after the `count`th failure of `most`.
fn pause(count: u32, most: u32) -> Duration {
    let half = most / 2;
    if count == 0 || count < half {
        return Duration::ZERO;
    }
    Duration::from_secs(1u64.checked_shl(count - half).unwrap_or(30).min(30))
}

/// Rounded up: `Retry-After` has no fractions.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// Wrong passwords for a name, which may be anything, from a neighbourhood.
pub(super) fn password_key(typed: &str, from: Option<IpAddr>) -> String {
    format!("password:{}:{}", name_word(typed), prefix(from))
}

/// Wrong passwords of a neighbourhood in this hour, whatever the names: who tries one password on
/// everybody is wrong only once a name. And when the hour is over.
pub(super) fn neighbours_key(from: Option<IpAddr>, now: Timestamp) -> (String, Timestamp) {
    let hour = now.secs().div_euclid(HOUR);
    let ends = Timestamp::from_secs((hour + 1) * HOUR);
    (format!("neighbours:{}:{hour}", prefix(from)), ends)
}

/// How many those may be: there are many people behind some addresses.
pub(super) fn neighbours_most(rules: &LoginRules) -> u32 {
    rules.max_failures.saturating_mul(20)
}

/// Whether no more is looked at from this neighbourhood in this hour; if so, for how long.
pub(super) fn neighbours_wait(
    store: &mut dyn Store,
    from: Option<IpAddr>,
    most: u32,
    now: Timestamp,
) -> Result<Option<Duration>, StoreError> {
    let (key, ends) = neighbours_key(from, now);
    let (count, _) = store.failures(&key, now, HOUR)?;
    Ok((count >= most).then(|| whole_seconds(now.until(ends))))
}

/// Whatever was typed as a name, of any length, as a word of one length.
pub(super) fn name_word(typed: &str) -> String {
    URL_SAFE_NO_PAD.encode(secret::digest(&typed.to_ascii_lowercase()))
}

/// Wrong passwords from a device on which the user has signed in before.
pub(super) fn device_key(user: &UserId) -> String {
    format!("device:{user}")
}

/// Wrong codes of a user.
pub(super) fn totp_key(user: &UserId) -> String {
    format!("totp:{user}")
}

/// Wrong recovery codes of a user.
pub(super) fn recovery_key(user: &UserId) -> String {
    format!("recovery:{user}")
}

/// How often in a row the codes of a user's app came a step early (`1`) or late (`-1`).
pub(super) fn drift_key(user: &UserId, way: i64) -> String {
    format!("drift:{user}:{way}")
}

/// A code has six digits: half as many guesses as for a password.
pub(super) fn second_factor_most(rules: &LoginRules) -> u32 {
    (rules.max_failures / 2).max(3)
}

/// The neighbourhood of an address: /24 or /48.
pub(super) fn prefix(address: Option<IpAddr>) -> String {
    match address
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        .to_canonical()
    {
        IpAddr::V4(it) => {
            let [a, b, c, _] = it.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(it) => {
            let [a, b, c, ..] = it.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h5_failures_count_by_the_address_given_and_its_neighbours() {
        let key = |text: &str| password_key("Alice", text.parse().ok());
        assert_eq!(key("192.0.2.1"), key("192.0.2.254"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.9"));
        assert_ne!(key("192.0.2.1"), key("192.0.3.1"));
        assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:ffff::"));
        assert_ne!(key("2001:db8:1::1"), key("2001:db8:2::1"));
        assert_eq!(
            key("192.0.2.1"),
            password_key("aLICE", "192.0.2.1".parse().ok())
        );
    }

    #[test]
    fn answers_slow_down_from_half_of_what_may_fail() {
        let pauses: Vec<u64> = (0..10).map(|it| pause(it, 10).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16]);
        assert_eq!(pause(900, 1000).as_secs(), 30);
        assert_eq!(pause(0, 1).as_secs(), 0);
    }
}
