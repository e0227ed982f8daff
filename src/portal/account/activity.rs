//! Recent sign-ins and changes, from the audit log.

use http::StatusCode;

use super::{
    super::{Answer, Visit, form_page, local, view},
    date,
};
use crate::{
    store::AuditFilter,
    telemetry::audit::{Event, What},
};

/// How many are shown.
const MOST: usize = 50;

pub(in super::super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let filter = AuditFilter {
        user: Some(identity.profile().id.clone()),
        most: MOST,
        ..AuditFilter::default()
    };
    let store = &visit.desk.store;
    let events = store.call(move |store| store.audit(&filter)).await?;
    Ok(form_page(
        StatusCode::OK,
        &view::AccountActivity {
            here: "/account/activity",
            events: events.iter().rev().map(line).collect(),
        },
    ))
}

fn line(event: &Event) -> view::ActivityLine {
    let from = match event.actor.by.as_str() {
        "visitor" => {
            let address = event.actor.address.map(|it| it.to_string());
            let parts = [event.actor.device.clone(), address.unwrap_or_default()];
            let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
            parts.join(" · ")
        }
        "operator" => "by the people who run this server".to_owned(),
        _ => String::new(),
    };
    view::ActivityLine {
        what: words(event),
        when: date(event.at),
        from,
    }
}

/// What happened, as a person would say it. What a newer version wrote keeps its own word.
fn words(event: &Event) -> String {
    const WORDS: [(What, &str); 20] = [
        (What::SignedIn, "Signed in"),
        (What::SteppedUp, "Confirmed with another factor"),
        (What::SignInFailed, "Sign-in failed"),
        (
            What::Banned,
            "Too many failed sign-ins: held off for a while",
        ),
        (What::BanLifted, "Held off no longer"),
        (What::FactorAdded, "Second step added"),
        (What::FactorRenamed, "Second step renamed"),
        (What::FactorRemoved, "Second step removed"),
        (What::FactorRefused, "Second step refused"),
        (What::FactorsReset, "Second step reset"),
        (What::PasswordChanged, "Password changed"),
        (What::ProfileChanged, "Name, e-mail or groups changed"),
        (What::RecoveryCodesMade, "New recovery codes made"),
        (What::RecoveryCodeUsed, "Recovery code used"),
        (What::SessionEnded, "Session ended"),
        (What::SessionsEnded, "Sessions ended"),
        (What::UserAdded, "Account made"),
        (What::UserDisabled, "Account barred"),
        (What::LinkMade, "Set-up link made"),
        (What::SetUp, "Account set up"),
    ];
    let known = WORDS.iter().find(|(what, _)| what.as_str() == event.what);
    let words = known.map_or(event.what.as_str(), |(_, words)| words);
    let more = match event.what.as_str() {
        "signed_in" | "stepped_up" => super::factors(event.detail("factors").split(' ')),
        "sign_in_failed" => {
            let factor = match event.detail("factor") {
                "password" => "wrong password",
                "totp" => "wrong code",
                other => other,
            };
            let count = event
                .details
                .get("count")
                .and_then(serde_json::Value::as_u64);
            match count {
                Some(2..) => format!("{factor}, {} times within the hour", count.unwrap_or(0)),
                _ => factor.to_owned(),
            }
        }
        "session_ended" if event.detail("why") == "logout" => "signed out".to_owned(),
        _ => String::new(),
    };
    if more.is_empty() {
        words.to_owned()
    } else {
        format!("{words}: {more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, telemetry::audit::Actor};

    #[test]
    fn events_are_told_as_people_do() {
        let event = |what| Event::new(what, Timestamp(0), Actor::operator());
        let signed_in = event(What::SignedIn).with("factors", "pwd otp mfa");
        assert_eq!(words(&signed_in), "Signed in: password, authenticator app");
        let failed = event(What::SignInFailed)
            .with("factor", "password")
            .with_count("count", 4u32);
        assert_eq!(
            words(&failed),
            "Sign-in failed: wrong password, 4 times within the hour"
        );
        let mut newer = event(What::SetUp);
        newer.what = "of_a_newer_version".to_owned();
        assert_eq!(words(&newer), "of_a_newer_version");
        assert!(line(&newer).from.contains("people who run"));
    }
}
