//! `portcullis audit`: who did what to which account, when and from where.

use std::{path::Path, time::Duration};

use clap::Args;
use serde_json::{Map, Value};

use super::{Outcome, desk::Desk, print, stop};
use crate::{
    account::upkeep,
    clock::Timestamp,
    name::{UserId, UserName},
    store::{AuditFilter, Store as _},
    telemetry::audit::Event,
};

/// `portcullis audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only what is about this user. (For one that was removed, give the id.)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// From then on: a moment (`2026-11-26T08:00:00Z`), a day, or how long ago (`90m`, `24h`, `7d`).
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    pub since: Option<Since>,
}

/// A moment, or a while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// That moment.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl Since {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(span) = ago(text) {
            return Ok(Self::Ago(span));
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(Timestamp(at.as_millisecond())));
        }
        text.parse::<jiff::civil::Date>()
            .ok()
            .and_then(|it| it.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .map(|it| Self::At(Timestamp(it.timestamp().as_millisecond())))
            .ok_or_else(|| "a moment like 2026-11-26T08:00:00Z, a day, or 90m, 24h, 7d".to_owned())
    }
}

fn ago(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let secs = number.parse::<u64>().ok()?.checked_mul(unit)?;
    Some(Duration::from_secs(secs))
}

pub(super) fn run(file: &Path, args: &AuditArgs) -> anyhow::Result<Outcome> {
    let mut desk = Desk::open(file)?;
    let user = match args.user.as_deref() {
        None => None,
        // Whoever was removed is known by the id alone.
        Some(given) => {
            Some(upkeep::find(&mut desk.store, given)?.map_or_else(|| given.into(), |it| it.id))
        }
    };
    let since = match args.since {
        None => Timestamp(0),
        Some(Since::At(at)) => at,
        Some(Since::Ago(span)) => desk.now().minus(span),
    };
    let events = desk.store.audit(&AuditFilter {
        user: user.clone(),
        since,
        ..AuditFilter::default()
    })?;
    if let Some(user) = user.filter(|it| events.is_empty() && !is_known(&mut desk, it)) {
        let message = format!("nothing is known of a user {user}");
        return Err(stop(Outcome::NotFound, message));
    }
    for event in &events {
        print::say(Value::Object(line(event)));
    }
    Ok(Outcome::Done)
}

fn is_known(desk: &mut Desk, user: &UserId) -> bool {
    let events = desk.store.audit(&AuditFilter {
        user: Some(user.clone()),
        most: 1,
        ..AuditFilter::default()
    });
    events.is_ok_and(|it| !it.is_empty()) || desk.store.user(user).is_ok_and(|it| it.is_some())
}

/// One line. What does not apply is left out.
fn line(event: &Event) -> Map<String, Value> {
    let mut line = Map::new();
    let mut put = |key: &str, value: String| {
        if !value.is_empty() {
            line.insert(key.to_owned(), value.into());
        }
    };
    put("time", print::moment(event.at));
    put("event", event.what.clone());
    let text = |it: &Option<UserName>| it.as_ref().map(ToString::to_string).unwrap_or_default();
    put("user", text(&event.name));
    put(
        "user_id",
        event
            .user
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    );
    put("by", event.actor.by.clone());
    let address = event.actor.address.map(|it| it.to_string());
    put("address", address.unwrap_or_default());
    put("device", event.actor.device.clone());
    for (key, value) in &event.details {
        line.entry(key.clone()).or_insert_with(|| value.clone());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::audit::{Actor, What};

    #[test]
    fn since_is_a_moment_a_day_or_a_while_ago() {
        let at = |secs| Ok(Since::At(Timestamp::from_secs(secs)));
        assert_eq!(Since::parse("2026-11-26T08:00:00Z"), at(1_795_680_000));
        assert_eq!(Since::parse("2026-11-26"), at(1_795_651_200));
        for (text, secs) in [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("5s", 5)] {
            assert_eq!(
                Since::parse(text),
                Ok(Since::Ago(Duration::from_secs(secs)))
            );
        }
        for nonsense in ["", "h", "yesterday", "-5h", "99999999999999999999d", "é"] {
            assert!(Since::parse(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_line_says_no_more_than_there_is() {
        let event = Event::new(
            What::SignedIn,
            Timestamp(1_795_680_000_250),
            Actor::operator(),
        )
        .with("factors", "pwd otp")
        .with("event", "never over our own");
        assert_eq!(
            Value::Object(line(&event)).to_string(),
            r#"{"by":"operator","event":"signed_in","factors":"pwd otp","time":"2026-11-26T08:00:00.25Z"}"#
        );
    }
}
