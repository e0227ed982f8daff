//! The login API: JSON, for scripts of our own pages and of tenants that may take passwords.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Visit, code,
    complete::{self, At, Given, Login},
    form, key, place, recovery, with_cookies,
};
use crate::{
    account::PasswordCheck,
    authn::{Identity, Shown},
    body::Body,
    name::{TenantId, UserName},
    reply::{Refusal, json},
    route::HostRoute,
    secret::{self, Secret},
    session::{Ended, Profile},
    signin::{HalfLogin, cookie},
    store::UserRecord,
    token::Use,
};

#[derive(Deserialize)]
struct Credentials {
    username: Option<String>,
    password: Option<String>,
    #[serde(default)]
    token: bool,
}

#[derive(Deserialize)]
struct SecondFactor {
    ticket: Option<String>,
    code: Option<String>,
    #[serde(default)]
    token: bool,
}

#[derive(Deserialize)]
struct Key {
    ticket: Option<String>,
    credential: Option<serde_json::Value>,
    #[serde(default)]
    token: bool,
}

/// Who somebody is.
#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    name: &'a str,
    display_name: &'a str,
    email: &'a str,
    groups: Vec<&'a str>,
}

impl<'a> User<'a> {
    fn of(profile: &'a Profile) -> Self {
        Self {
            id: profile.id.as_str(),
            name: profile.name.as_str(),
            display_name: &profile.display_name,
            email: &profile.email,
            groups: profile.groups.iter().map(UserName::as_str).collect(),
        }
    }
}

/// A login that stands. Times are seconds since the epoch.
#[derive(Serialize)]
struct Authenticated<'a> {
    state: &'static str,
    user: User<'a>,
    amr: &'a [String],
    level: u8,
    expires_at: i64,
    login_expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Serialize)]
struct NeedsMore<'a> {
    state: &'static str,
    methods: &'a [&'static str],
    ticket: String,
}

#[derive(Serialize)]
struct SignedOut {
    state: &'static str,
}

/// Answers a call; `call` is what follows `/.portcullis/api/v1/`.
pub(super) async fn answer(
    visit: &mut Visit<'_>,
    call: &str,
    route: Option<&Arc<HostRoute>>,
) -> Answer {
    let post = match call {
        "session" => false,
        "login" | "login/totp" | "login/recovery" | "session/refresh" | "logout" => true,
        "login/webauthn/start" | "login/webauthn/finish" if visit.asker.at_portal => true,
        _ => return Err(Refusal::NotFound),
    };
    let takes_passwords = visit.asker.at_portal || route.is_some_and(|it| it.settings.login_api);
    if call.starts_with("login") && !takes_passwords {
        return Err(Refusal::NotFound);
    }
    let get = matches!(visit.inbound.method, Method::GET | Method::HEAD);
    match (post, get, visit.inbound.method == Method::POST) {
        (false, true, _) | (true, _, true) => {}
        (false, ..) => return Err(Refusal::Method { allow: "GET, HEAD" }),
        (true, ..) => return Err(Refusal::Method { allow: "POST" }),
    }
    // Whoever can put a token into a header holds it; a browser does so for nobody.
    let by_token = visit.identity.is_ok_and(|it| it.shown() == Shown::Bearer);
    if post && !by_token {
        place::must_be_our_own_page(&visit.inbound)?;
    }
    if post {
        form::must_be(visit, "application/json")?;
    }
    match call {
        "session" => session(visit),
        "session/refresh" => refresh(visit),
        "logout" => logout(visit).await,
        "login" => login(visit, route).await,
        "login/recovery" => recovery(visit, route).await,
        "login/webauthn/start" => key::start(visit).await,
        "login/webauthn/finish" => webauthn(visit).await,
        _ => totp(visit, route).await,
    }
}

fn signed_in<'a>(visit: &Visit<'a>) -> Result<&'a Identity, Refusal> {
    visit.identity.map_err(|why| Refusal::NotSignedIn {
        why,
        login_url: Some(format!("{}/login", visit.asker.portal)),
    })
}

fn session(visit: &Visit<'_>) -> Answer {
    let identity = signed_in(visit)?;
    Ok(authenticated(identity, identity.token_exp, None))
}

fn authenticated(identity: &Identity, expires_at: i64, token: Option<String>) -> Response<Body> {
    let answer = Authenticated {
        state: "authenticated",
        user: User::of(identity.profile()),
        amr: identity.amr(),
        level: identity.level(),
        expires_at,
        login_expires_at: identity.lease().cell.login_exp.secs(),
        token,
    };
    json::answer(StatusCode::OK, &answer)
}

/// A new token for who showed a good one: as a cookie to a cookie, in the body to a Bearer.
fn refresh(visit: &Visit<'_>) -> Answer {
    let identity = signed_in(visit)?;
    let desk = visit.desk;
    if !desk.sessions.is_authoritative() {
        return Err(Refusal::StoreAway {
            retry_after: std::time::Duration::from_secs(5),
        });
    }
    let cell = &identity.lease().cell;
    desk.sessions
        .renew(cell, visit.now)
        .map_err(|ended| Refusal::NotSignedIn {
            why: ended.into(),
            login_url: Some(format!("{}/login", visit.asker.portal)),
        })?;
    let life = desk.config.session.token;
    let token = desk
        .tokens
        .renew_session(identity.claims(), life, visit.now);
    let expires_at = visit.now.plus(life).min(cell.login_exp).secs();
    match identity.shown() {
        Shown::Cookie => Ok(with_cookies(
            authenticated(identity, expires_at, None),
            [cookie::session(&token, cell.login_exp, visit.now)],
        )),
        Shown::Bearer | Shown::Subprotocol | Shown::Message => {
            Ok(authenticated(identity, expires_at, Some(token)))
        }
    }
}

/// On the portal: the end of the login. On a tenant's host: of that host's part of it.
async fn logout(visit: &Visit<'_>) -> Answer {
    if let Ok(identity) = visit.identity {
        let cell = &identity.lease().cell;
        let sessions = &visit.desk.sessions;
        if visit.asker.at_portal || cell.confined_to.is_some() {
            sessions
                .end_by(&cell.sid, Ended::Logout, visit.actor())
                .await?;
        } else {
            sessions.end_grant(&cell.sid, &visit.inbound.host).await?;
        }
        tracing::info!(id = visit.inbound.id, user = %identity.profile().name, host = %visit.inbound.host, "signed out");
    }
    let answer = json::answer(
        StatusCode::OK,
        &SignedOut {
            state: "signed_out",
        },
    );
    Ok(with_cookies(answer, [cookie::session_gone()]))
}

async fn login(visit: &mut Visit<'_>, route: Option<&Arc<HostRoute>>) -> Answer {
    let sent: Credentials = form::json(visit).await?;
    let (Some(username), Some(password)) = (sent.username, sent.password.map(Secret::new)) else {
        return Ok(missing("Both username and password are needed."));
    };
    let device = visit.desk.signin.device(visit.others());
    let checked = visit
        .desk
        .accounts
        .check_password(&username, &password, &visit.actor(), device.users().first())
        .await?;
    let user = match checked {
        PasswordCheck::Right(user) => user,
        PasswordCheck::Wrong => {
            visit.hold_back().await;
            let message = "The user name or the password is wrong.";
            return Ok(fault(StatusCode::UNAUTHORIZED, "credentials", message));
        }
        PasswordCheck::TooOften { retry_after } => {
            visit.hold_back().await;
            return Err(Refusal::TooOften { retry_after });
        }
        PasswordCheck::Busy { retry_after } => return Err(Refusal::Busy { retry_after }),
    };
    if !user.has_second_factor() {
        return finish(visit, &user, None, route, sent.token).await;
    }
    let half = HalfLogin {
        user: user.id.clone(),
        password_time: visit.now,
        device: device.digest(),
        amr: vec!["pwd".to_owned()],
        back: None,
        password: secret::digest(user.password_hash.as_deref().unwrap_or_default()),
        raises: None,
        hardware: false,
    };
    let mut methods = Vec::new();
    if user.keys > 0 && visit.asker.at_portal {
        methods.push("webauthn");
    }
    if user.totp_sealed.is_some() {
        methods.push("totp");
    }
    if visit.desk.accounts.recovery_codes_left(&user.id).await? > 0 {
        methods.push("recovery");
    }
    let answer = NeedsMore {
        state: "second_factor",
        methods: &methods,
        ticket: visit.desk.signin.half_login(&half, &visit.inbound.host),
    };
    Ok(with_cookies(
        json::answer(StatusCode::OK, &answer),
        [visit.desk.signin.device_cookie(&device)],
    ))
}

async fn totp(visit: &mut Visit<'_>, route: Option<&Arc<HostRoute>>) -> Answer {
    let sent: SecondFactor = form::json(visit).await?;
    let (Some(ticket), Some(typed)) = (sent.ticket, sent.code.map(Secret::new)) else {
        return Ok(missing("Both ticket and code are needed."));
    };
    let Some((half, user)) = code::open(visit, &ticket, code::Binding::IfThere).await? else {
        visit.hold_back().await;
        let message = "The ticket is not good here, or no longer. Begin again with the password.";
        return Ok(fault(StatusCode::UNAUTHORIZED, "ticket", message));
    };
    match code::judge(visit, &user, typed.reveal()).await? {
        code::Judged::Right => finish(visit, &user, Some(&half), route, sent.token).await,
        code::Judged::Refused(words) => Ok(fault(StatusCode::UNAUTHORIZED, "code", words)),
        code::Judged::NotEnrolled => Ok(fault(
            StatusCode::CONFLICT,
            "not_enrolled",
            "This account has no authenticator app.",
        )),
    }
}

async fn recovery(visit: &mut Visit<'_>, route: Option<&Arc<HostRoute>>) -> Answer {
    let sent: SecondFactor = form::json(visit).await?;
    let (Some(ticket), Some(typed)) = (sent.ticket, sent.code.map(Secret::new)) else {
        return Ok(missing("Both ticket and code are needed."));
    };
    let half = code::open(visit, &ticket, code::Binding::IfThere).await?;
    let Some((half, user)) = half.filter(|(half, _)| half.raises.is_none()) else {
        visit.hold_back().await;
        let message = "The ticket is not good here, or no longer. Begin again with the password.";
        return Ok(fault(StatusCode::UNAUTHORIZED, "ticket", message));
    };
    match recovery::judge(visit, &user, &typed).await? {
        None => finish(visit, &user, Some(&half), route, sent.token).await,
        Some(words) => Ok(fault(StatusCode::UNAUTHORIZED, "code", words)),
    }
}

/// A key's answer, on the portal: to a ticket's challenge, or a passkey's to its own.
async fn webauthn(visit: &mut Visit<'_>) -> Answer {
    let sent: Key = form::json(visit).await?;
    let Some(credential) = sent.credential.map(|it| it.to_string()) else {
        return Ok(missing("The credential is needed."));
    };
    let (half, judged) = match &sent.ticket {
        None => (None, key::judge_passkey(visit, &credential).await?),
        Some(ticket) => {
            let Some((half, _)) = code::open(visit, ticket, code::Binding::IfThere).await? else {
                visit.hold_back().await;
                let message =
                    "The ticket is not good here, or no longer. Begin again with the password.";
                return Ok(fault(StatusCode::UNAUTHORIZED, "ticket", message));
            };
            let judged = key::judge(visit, &half, &credential).await?;
            (Some(half), judged)
        }
    };
    match judged {
        Ok((user, strength)) => {
            let given = match &half {
                Some(half) => complete::with_key(&half.amr, strength),
                None => complete::with_passkey(strength),
            };
            finish_with(visit, &user, half.as_ref(), given, None, sent.token).await
        }
        Err(words) => {
            visit.hold_back().await;
            Ok(fault(StatusCode::UNAUTHORIZED, "credential", &words))
        }
    }
}

async fn finish(
    visit: &Visit<'_>,
    user: &UserRecord,
    half: Option<&HalfLogin>,
    route: Option<&Arc<HostRoute>>,
    wants_token: bool,
) -> Answer {
    let given = complete::given(half);
    finish_with(visit, user, half, given, route, wants_token).await
}

async fn finish_with(
    visit: &Visit<'_>,
    user: &UserRecord,
    half: Option<&HalfLogin>,
    given: Given,
    route: Option<&Arc<HostRoute>>,
    wants_token: bool,
) -> Answer {
    let host = visit.inbound.host.clone();
    let tenant: TenantId = match route {
        Some(route) if !visit.asker.at_portal => route.tenant.clone(),
        _ => super::tenant(),
    };
    let at = At {
        host: &host,
        tenant: &tenant,
        confined: !visit.asker.at_portal,
    };
    let login = complete::begin_with(visit, user, half, given, &at).await?;
    let cookie = (!wants_token).then(|| complete::session_cookie(visit, &login, &at));
    let token = wants_token.then(|| complete::token(visit, &login, &at, Use::Bearer));
    let answer = begun(visit, &login, token);
    Ok(with_cookies(
        answer,
        cookie.into_iter().chain([login.device]),
    ))
}

fn begun(visit: &Visit<'_>, login: &Login, token: Option<String>) -> Response<Body> {
    let standing = login.cell.standing.load();
    let life = visit.desk.config.session.token;
    json::answer(
        StatusCode::OK,
        &Authenticated {
            state: "authenticated",
            user: User::of(&standing.profile),
            amr: &standing.amr,
            level: standing.level,
            expires_at: visit.now.plus(life).min(login.cell.login_exp).secs(),
            login_expires_at: login.cell.login_exp.secs(),
            token,
        },
    )
}

fn missing(message: &str) -> Response<Body> {
    fault(StatusCode::UNPROCESSABLE_ENTITY, "missing", message)
}

pub(super) fn fault(status: StatusCode, error: &str, message: &str) -> Response<Body> {
    json::answer(
        status,
        &json::Fault {
            error,
            message,
            ..json::Fault::default()
        },
    )
}
