//! Who is held off at the moment, for the command line.

use super::attempts;
use crate::{
    clock::Timestamp,
    config::LoginRules,
    name::{UserId, UserName},
    store::{Store, StoreError, UserRecord, together},
    telemetry::audit::{Actor, Event, What},
};

/// Somebody whose guesses are not looked at for a while.
#[derive(Debug, Clone)]
pub struct Ban {
    /// Under which it is counted.
    key: String,
    /// Whose sign-in; `None`: of a name that is nobody's.
    pub user: Option<UserRecord>,
    /// `password` (from a neighbourhood), `neighbours` (any name from there), `device` (from a browser that knows the user), `totp`,
    /// `recovery` or another second factor.
    pub factor: String,
    /// The neighbourhood; empty where it is held off wherever it comes from.
    pub from: String,
    /// How many failed.
    pub failures: u32,
    /// Until when.
    pub until: Timestamp,
}

/// All that are held off now.
pub fn list(
    store: &mut dyn Store,
    rules: &LoginRules,
    now: Timestamp,
) -> Result<Vec<Ban>, StoreError> {
    let users = store.users()?;
    let by_id = |id: &str| {
        let id = UserId::from(id);
        users.iter().find(|it| it.id == id).cloned()
    };
    let mut bans = Vec::new();
    for (key, failures, until) in store.all_failures(now)? {
        let Some((factor, rest)) = key.split_once(':') else {
            continue;
        };
        let second = attempts::second_factor_most(rules);
        let (user, from, most) = match factor {
            "password" => {
                let Some((name, from)) = rest.split_once(':') else {
                    continue;
                };
                let named = |it: &&UserRecord| attempts::name_word(it.name.as_str()) == name;
                let user = users.iter().find(named).cloned();
                (user, from.to_owned(), rules.max_failures)
            }
            "neighbours" => {
                let from = rest.rsplit_once(':').map_or(rest, |(from, _)| from);
                (None, from.to_owned(), attempts::neighbours_most(rules))
            }
            "device" => (by_id(rest), String::new(), rules.max_failures),
            // What is only counted for the audit log, and clocks.
            "audit" | "drift" => continue,
            _ => (by_id(rest), String::new(), second),
        };
        if failures >= most {
            bans.push(Ban {
                factor: factor.to_owned(),
                key,
                user,
                from,
                failures,
                until,
            });
        }
    }
    Ok(bans)
}

/// Lifts the bans of one user, or all there are. How many.
pub fn lift(
    store: &mut dyn Store,
    rules: &LoginRules,
    user: Option<&UserName>,
    now: Timestamp,
) -> Result<usize, StoreError> {
    together(store, "lift_bans", |store| {
        let mut lifted = 0;
        for ban in list(store, rules, now)? {
            let theirs = |user: &UserName| {
                let owner = ban.user.as_ref();
                owner.is_some_and(|it| it.name.key() == user.key())
            };
            if user.is_some_and(|it| !theirs(it)) {
                continue;
            }
            store.clear_failures(&ban.key)?;
            let event = Event::new(What::BanLifted, now, Actor::operator())
                .with("factor", &ban.factor)
                .with("from", &ban.from);
            let event = match &ban.user {
                Some(user) => event.about(&user.id, &user.name),
                None => event,
            };
            store.append_audit(&event)?;
            lifted += 1;
        }
        Ok(lifted)
    })
}
