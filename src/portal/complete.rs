//! A login is complete: a new id, a new session, and the end of what was there before.

use std::sync::Arc;

use http::{HeaderValue, Response, header};

use super::{Answer, Visit, key, local, login::Wanted, login::with_state, told, with_cookies};
use crate::{
    account::Strength,
    authn::{Identity, NotSignedIn},
    body::Body,
    config::Policy,
    name::{HostName, TenantId},
    reply::Refusal,
    secret,
    session::{Cell, Ended, NewLogin},
    signin::{HalfLogin, cookie},
    store::{StoreError, UserRecord},
    token::Use,
};

/// A login that stands.
pub(super) struct Login {
    /// Its id, plain: for tokens.
    pub(super) sid: String,
    pub(super) cell: Arc<Cell>,
    /// The device's cookie, which now knows the user.
    pub(super) device: HeaderValue,
}

/// Where a login is made.
pub(super) struct At<'a> {
    pub(super) host: &'a HostName,
    pub(super) tenant: &'a TenantId,
    /// Whether it stays there.
    pub(super) confined: bool,
}

/// Completes a login on the portal's pages and goes on to what was wanted. `half` is what the
/// second factor was added to; `None` where there was no second.
pub(super) async fn on_portal(
    visit: &Visit<'_>,
    user: &UserRecord,
    half: Option<&HalfLogin>,
    wanted: Option<&Wanted>,
) -> Answer {
    on_portal_with(visit, user, half, given(half), wanted).await
}

/// The same, with what was given: the level and the factors (RFC 8176).
pub(super) async fn on_portal_with(
    visit: &Visit<'_>,
    user: &UserRecord,
    half: Option<&HalfLogin>,
    given: Given,
    wanted: Option<&Wanted>,
) -> Answer {
    let host = visit.inbound.host.clone();
    let at = At {
        host: &host,
        tenant: &super::tenant(),
        confined: false,
    };
    let login = begin_with(visit, user, half, given, &at).await?;
    let cookies = [
        session_cookie(visit, &login, &at),
        login.device,
        cookie::gone(cookie::HALF),
    ];
    let back = half.and_then(|it| it.back.clone());
    if back.is_none() && told::is_due(visit, &user.id).await? {
        return Ok(with_cookies(
            local(&with_state("/login/told", wanted)),
            cookies,
        ));
    }
    let next = match (wanted, back) {
        (Some(_), _) => with_state("/login", wanted),
        (None, Some(back)) => back,
        (None, None) => "/account".to_owned(),
    };
    Ok(with_cookies(local(&next), cookies))
}

/// Back to the page of ours that asked for a factor, with the next generation's token.
pub(super) fn back(visit: &Visit<'_>, login: &Login, half: &HalfLogin) -> Response<Body> {
    let host = visit.inbound.host.clone();
    let at = At {
        host: &host,
        tenant: &super::tenant(),
        confined: false,
    };
    let cookies = [
        session_cookie(visit, login, &at),
        cookie::gone(cookie::HALF),
    ];
    with_cookies(local(half.back.as_deref().unwrap_or("/account")), cookies)
}

/// The cookie for a login, on the host where it was made.
pub(super) fn session_cookie(visit: &Visit<'_>, login: &Login, at: &At<'_>) -> HeaderValue {
    let token = token(visit, login, at, Use::Cookie);
    cookie::session(&token, login.cell.login_exp, visit.now)
}

/// A token for a login, on the host where it was made.
pub(super) fn token(visit: &Visit<'_>, login: &Login, at: &At<'_>, usage: Use) -> String {
    let (tokens, life) = (&visit.desk.tokens, visit.desk.config.session.token);
    let (sid, now) = (&login.sid, visit.now);
    login
        .cell
        .issue(tokens, sid, at.host, at.tenant, usage, life, now)
}

/// Begins a login, or raises the one that a step-up is for.
pub(super) async fn begin_with(
    visit: &Visit<'_>,
    user: &UserRecord,
    half: Option<&HalfLogin>,
    Given { level, amr }: Given,
    at: &At<'_>,
) -> Result<Login, Refusal> {
    let mut device = visit.desk.signin.device(visit.others());
    device.remember(&user.id);
    let device_cookie = visit.desk.signin.device_cookie(&device);
    if let Some(half) = half.filter(|it| it.raises.is_some()) {
        let raised = raise(visit, user, half, level, &amr).await?;
        return Ok(Login {
            device: device_cookie,
            ..raised
        });
    }
    let agent = visit.inbound.headers.get(header::USER_AGENT);
    let login = NewLogin {
        user: user.id.clone(),
        credentials: user.credentials(),
        device: device.digest(),
        amr,
        level,
        address: visit.inbound.client,
        agent: agent
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        host: at.host.clone(),
        tenant: at.tenant.clone(),
        confined_to: at.confined.then(|| at.host.clone()),
    };
    let begun = visit.desk.sessions.begin(login).await;
    let (sid, cell) = begun.map_err(|error| {
        if matches!(error, StoreError::NotFound) {
            // Barred, or given other credentials, since they were looked at.
            Refusal::NotSignedIn {
                why: NotSignedIn::Session(Ended::Credentials),
                login_url: Some("/login".to_owned()),
            }
        } else {
            error.into()
        }
    })?;
    end_what_was_before(visit, user, at).await?;
    tracing::info!(
        id = visit.inbound.id,
        user = %user.name,
        client = %visit.inbound.client,
        host = %at.host,
        level,
        "signed in"
    );
    Ok(Login {
        sid,
        cell,
        device: device_cookie,
    })
}

/// Nothing of a login that was in this browser goes on under the new one. On a tenant's own
/// log-in form, the same person's login elsewhere goes on; only this host's part of it ends.
async fn end_what_was_before(
    visit: &Visit<'_>,
    user: &UserRecord,
    at: &At<'_>,
) -> Result<(), Refusal> {
    let Ok(old) = visit.identity else {
        return Ok(());
    };
    let old = &old.lease().cell;
    if at.confined && old.user == user.id && old.confined_to.is_none() {
        visit.desk.sessions.end_grant(&old.sid, at.host).await?;
    } else {
        visit
            .desk
            .sessions
            .end_by(&old.sid, Ended::Replaced, visit.actor())
            .await?;
    }
    Ok(())
}

/// Raises the login that a step-up is for. It begins none: whoever carries the cookies of a login
/// that is over has one factor, and no password.
pub(super) async fn raise(
    visit: &Visit<'_>,
    user: &UserRecord,
    half: &HalfLogin,
    level: u8,
    amr: &[String],
) -> Result<Login, Refusal> {
    let over = || Refusal::NotSignedIn {
        why: NotSignedIn::Unknown,
        login_url: Some("/login".to_owned()),
    };
    let Ok(identity) = visit.identity else {
        return Err(over());
    };
    let cell = &identity.lease().cell;
    if half.raises != Some(cell.sid) || cell.user != user.id {
        return Err(over());
    }
    // Less than what the login has would keep that open for longer; and an older token of it
    // would get what the newer one was given for more.
    if level < cell.standing.load().level {
        let with_key = if user.keys > 0 {
            "/login/key"
        } else {
            "/logout"
        };
        return Err(Refusal::NotEnough {
            policy: Policy::HardwareKey,
            login_url: Some(with_key.to_owned()),
        });
    }
    let raised = visit
        .desk
        .sessions
        .raise_by(&cell.sid, level, amr.to_vec(), visit.actor())
        .await?;
    raised.map_or_else(
        || Err(over()),
        |cell| {
            Ok(Login {
                sid: identity.sid().to_owned(),
                cell,
                device: HeaderValue::from_static(""),
            })
        },
    )
}

/// What a login rests on.
pub(super) struct Given {
    /// 1 one factor, 2 two, 3 a piece of hardware among them.
    pub(super) level: u8,
    /// The factors (RFC 8176).
    pub(super) amr: Vec<String>,
}

/// A password, and where there is a half-done login a code.
pub(super) fn given(half: Option<&HalfLogin>) -> Given {
    match half {
        None => Given {
            level: 1,
            amr: vec!["pwd".to_owned()],
        },
        Some(half) => {
            // A code does not repeat what a key said.
            let keys = ["hwk", "swk", "user"];
            let before = half.amr.iter().filter(|it| !keys.contains(&it.as_str()));
            let before: Vec<String> = before.cloned().collect();
            Given {
                level: 2,
                amr: with(&before, &["otp", "mfa"]),
            }
        }
    }
}

/// A key after what was given before.
pub(super) fn with_key(before: &[String], strength: Strength) -> Given {
    let (level, word) = of(strength);
    Given {
        level,
        amr: with(before, &[word, "mfa"]),
    }
}

/// A passkey, which has verified its user.
pub(super) fn with_passkey(strength: Strength) -> Given {
    let (level, word) = of(strength);
    Given {
        level,
        amr: with(&[], &[word, "user", "mfa"]),
    }
}

/// What a synced passkey proves is in no one piece of hardware.
fn of(strength: Strength) -> (u8, &'static str) {
    match strength {
        Strength::Hardware => (3, "hwk"),
        Strength::Synced => (2, "swk"),
    }
}

fn with(before: &[String], more: &[&str]) -> Vec<String> {
    let mut amr = before.to_vec();
    for &factor in more {
        if !amr.iter().any(|it| it == factor) {
            amr.push(factor.to_owned());
        }
    }
    amr
}

/// Asks for another factor on top of a login that stands: for a host that wants more, or fresher.
pub(super) async fn step_up(
    visit: &Visit<'_>,
    wanted: &Wanted,
    policy: Policy,
) -> Result<Response<Body>, Refusal> {
    let identity = visit.identity.map_err(|why| Refusal::NotSignedIn {
        why,
        login_url: None,
    })?;
    let user = user_of(visit, identity).await?;
    let hardware = policy == Policy::HardwareKey;
    let lacks = || Refusal::NotEnough {
        policy,
        login_url: None,
    };
    let second = key::place(&user).ok_or_else(lacks)?;
    if hardware && !key::has_hardware(visit, &user).await? {
        return Err(lacks());
    }
    let mut half = half_on_top(visit, identity, &user, None);
    half.hardware = hardware;
    let sealed = visit.desk.signin.half_login(&half, &visit.inbound.host);
    Ok(with_cookies(
        local(&with_state(second, Some(wanted))),
        [cookie::half(&sealed)],
    ))
}

/// The account of who is signed in, as it is now.
pub(super) async fn user_of(visit: &Visit<'_>, identity: &Identity) -> Result<UserRecord, Refusal> {
    let id = identity.profile().id.clone();
    let user = visit.desk.store.call(move |store| store.user(&id)).await?;
    user.filter(|it| !it.disabled).ok_or(Refusal::NotSignedIn {
        why: NotSignedIn::Session(Ended::Disabled),
        login_url: None,
    })
}

/// A half-done login that raises the one that stands, and leads back to a page of ours.
pub(super) fn half_on_top(
    visit: &Visit<'_>,
    identity: &Identity,
    user: &UserRecord,
    back: Option<&'static str>,
) -> HalfLogin {
    HalfLogin {
        user: user.id.clone(),
        password_time: visit.now,
        device: identity.lease().cell.device,
        amr: identity.amr().to_vec(),
        back: back.map(str::to_owned),
        password: secret::digest(user.password_hash.as_deref().unwrap_or_default()),
        raises: Some(identity.lease().cell.sid),
        hardware: false,
    }
}
