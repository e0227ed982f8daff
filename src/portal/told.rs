//! What people are told before they go on: what happened to their account since they were last
//! here.

use std::time::Duration;

use http::StatusCode;

use super::{
    Answer, Visit, form_page, local,
    login::{wanted, with_state},
    view,
};
use crate::{
    account::notice,
    clock::Timestamp,
    name::UserId,
    store::{StoreError, together},
};

/// Whether there is something to tell.
pub(super) async fn is_due(visit: &Visit<'_>, user: &UserId) -> Result<bool, StoreError> {
    let id = user.clone();
    let notices = visit
        .desk
        .store
        .call(move |store| store.notices(&id))
        .await?;
    Ok(!notices.is_empty())
}

/// Tells it.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    let Ok(identity) = visit.identity else {
        return Ok(local(&with_state("/login", wanted.as_ref())));
    };
    let id = identity.profile().id.clone();
    let (notices, left) = visit
        .desk
        .store
        .call(move |store| Ok((store.notices(&id)?, store.recovery_codes_left(&id)?)))
        .await?;
    let notices: Vec<String> = notices
        .iter()
        .map(|(what, at)| words(what, &super::account::date(*at), left))
        .collect();
    if notices.is_empty() {
        return Ok(local(&with_state("/login", wanted.as_ref())));
    }
    Ok(form_page(
        StatusCode::OK,
        &view::Told {
            action: with_state("/login/told", wanted.as_ref()),
            host: wanted.as_ref().map(|it| it.state.host.as_str()),
            notices,
        },
    ))
}

/// A sign-in with a recovery code begins this soon after the code was used up.
const ITS_OWN: Duration = Duration::from_mins(1);

/// They have read it. That a recovery code was used is told at the next sign-in too: whoever used
/// it, and may be a thief, does not clear it away before its owner has seen it.
pub(super) async fn seen(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    if let Ok(identity) = visit.identity {
        let id = identity.profile().id.clone();
        let began = identity.lease().cell.created;
        let is_its_own = move |(what, at): &(String, Timestamp)| {
            what == notice::RECOVERY_USED && at.until(began) < ITS_OWN
        };
        visit
            .desk
            .store
            .call(move |store| {
                together(store, "seen_notices", |store| {
                    let mut kept = store.notices(&id)?;
                    kept.retain(is_its_own);
                    store.clear_notices(&id)?;
                    kept.iter()
                        .try_for_each(|(what, at)| store.put_notice(&id, what, *at))
                })
            })
            .await?;
    }
    Ok(local(&with_state("/login", wanted.as_ref())))
}

fn words(what: &str, when: &str, left: u32) -> String {
    match what {
        notice::RECOVERY_USED => format!(
            "A recovery code was used on {when}. {} If your authenticator app is lost for good, \
             ask the people who run this server for a new set-up link. If it was not you, change \
             your password and make new recovery codes.",
            match left {
                0 => "None is left.".to_owned(),
                1 => "One is left.".to_owned(),
                _ => format!("{left} are left."),
            }
        ),
        notice::FACTORS_RESET => format!(
            "The people who run this server took your second step away on {when}, and you have \
             set it up anew since. If you did not ask them to, tell them."
        ),
        notice::PASSWORD_SET => format!(
            "The people who run this server set a new password for you on {when}. If you did not \
             ask them to, tell them."
        ),
        notice::CODES_WRONG => format!(
            "On {when} somebody typed your password, and then wrong codes until they were held \
             off. If it was not you, your password is known to somebody: change it."
        ),
        notice::CLOCK_OFF => "The clock of the phone or computer that shows your codes is about \
             half a minute off. Let it set its time by itself, before the codes stop to work."
            .to_owned(),
        other => format!("Something happened to your account on {when}: {other}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_is_told_in_words() {
        for what in [
            notice::RECOVERY_USED,
            notice::FACTORS_RESET,
            notice::PASSWORD_SET,
            notice::CODES_WRONG,
            notice::CLOCK_OFF,
        ] {
            assert!(!words(what, "24 Nov", 3).contains(what), "{what}");
        }
        assert!(words(notice::RECOVERY_USED, "24 Nov", 0).contains("None is left"));
    }
}
