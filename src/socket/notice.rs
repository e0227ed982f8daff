//! What the gateway says itself on a Socket.IO connection: who somebody is (`_auth`), the control
//! messages of the contract, and the packets that carry them.

use crate::{
    authn::{Identity, NotSignedIn, Shown},
    authz::Over,
    clock::Timestamp,
    config::SocketMode,
    session::Ended,
    socket::json,
};

/// Until when somebody's word is good, where connections are judged by `mode`.
pub fn expiry(identity: &Identity, mode: SocketMode) -> Timestamp {
    match (mode, identity.shown()) {
        (SocketMode::InBand, Shown::Bearer | Shown::Subprotocol | Shown::Message) => {
            Timestamp::from_secs(identity.claims().exp)
        }
        (SocketMode::InBand, Shown::Cookie) | (SocketMode::Session, _) => {
            identity.lease().cell.login_exp
        }
    }
}

/// Who somebody is, as flows and pages read it: uibuilder's `_auth`, its times in milliseconds.
/// `jwt` goes to who presented one, and never to a flow.
pub fn auth(identity: &Identity, mode: SocketMode, jwt: Option<&str>) -> String {
    use std::io::Write as _;
    let standing = identity.lease().cell.standing.load();
    let profile = &standing.profile;
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"id":"#);
    json::write_string(&mut out, profile.name.as_str());
    let expiry = expiry(identity, mode).0;
    // Writing to a Vec cannot fail.
    let _ = write!(out, r#","userValidated":true,"sessionExpiry":{expiry}"#);
    if let Some(jwt) = jwt {
        out.extend_from_slice(br#","jwt":"#);
        json::write_string(&mut out, jwt);
    }
    out.extend_from_slice(br#","info":{"name":"#);
    json::write_string(&mut out, &profile.display_name);
    out.extend_from_slice(br#","email":"#);
    json::write_string(&mut out, &profile.email);
    out.extend_from_slice(br#","groups":"#);
    list(
        &mut out,
        profile
            .groups
            .iter()
            .map(super::super::name::UserName::as_str),
    );
    out.extend_from_slice(br#","amr":"#);
    list(&mut out, identity.amr().iter().map(String::as_str));
    out.extend_from_slice(b"}}");
    String::from_utf8_lossy(&out).into_owned()
}

fn list<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (at, word) in words.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_string(out, word);
    }
    out.push(b']');
}

/// `T` of the contract's control messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A message was dropped.
    JwtAuthFail,
    /// A token was accepted, or the connection goes on.
    Authorised,
    /// The hard limit is near.
    SessionExpiry,
    /// It is over; the socket is about to close.
    SessionInvalid,
    /// Its owner logged out; the socket is about to close.
    Logoff,
}

impl Topic {
    fn as_str(self) -> &'static str {
        match self {
            Self::JwtAuthFail => "jwt_auth_fail",
            Self::Authorised => "authorised",
            Self::SessionExpiry => "session expiry",
            Self::SessionInvalid => "session invalid",
            Self::Logoff => "logoff",
        }
    }
}

/// One control message.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// The event that carries it (`sockets.control_event`).
    pub event: &'a str,
    /// What it is.
    pub topic: Topic,
    /// `R` of the contract, where there is one to give.
    pub reason: Option<&'a str>,
    /// Where to sign in again.
    pub login_url: &'a str,
    /// Who the receiver is, from [`auth`]; `None`: nobody.
    pub auth: Option<&'a str>,
}

impl Notice<'_> {
    /// The Engine.IO message for `namespace`.
    pub fn packet(&self, namespace: &str) -> String {
        let mut payload = Vec::with_capacity(192);
        payload.push(b'[');
        json::write_string(&mut payload, self.event);
        payload.extend_from_slice(br#",{"uibuilderCtrl":"#);
        json::write_string(&mut payload, self.topic.as_str());
        payload.extend_from_slice(br#","from":"server""#);
        if let Some(reason) = self.reason {
            payload.extend_from_slice(br#","reason":"#);
            json::write_string(&mut payload, reason);
        }
        payload.extend_from_slice(br#","login_url":"#);
        json::write_string(&mut payload, self.login_url);
        payload.extend_from_slice(br#","_auth":"#);
        let nobody = r#"{"userValidated":false}"#;
        payload.extend_from_slice(self.auth.unwrap_or(nobody).as_bytes());
        payload.extend_from_slice(b"}]");
        packet('2', namespace, &String::from_utf8_lossy(&payload))
    }
}

/// An Engine.IO message with a packet of ours.
pub fn packet(kind: char, namespace: &str, payload: &str) -> String {
    if namespace == "/" {
        format!("4{kind}{payload}")
    } else {
        format!("4{kind}{namespace},{payload}")
    }
}

/// `44` for a namespace that is not opened.
pub fn refusal(namespace: &str) -> String {
    packet(
        '4',
        namespace,
        r#"{"message":"this namespace is not open to you"}"#,
    )
}

/// `R` of the contract for a token that is not good.
pub fn reason(why: NotSignedIn) -> &'static str {
    match why {
        NotSignedIn::Missing => "missing",
        NotSignedIn::Repeated | NotSignedIn::Malformed => "malformed",
        NotSignedIn::Signature => "signature",
        NotSignedIn::Audience => "audience",
        NotSignedIn::Expired | NotSignedIn::Session(Ended::Idle | Ended::LoginExpired) => "expired",
        NotSignedIn::Address => "address",
        NotSignedIn::Session(_) | NotSignedIn::Unknown => "revoked",
    }
}

/// How an end is told to the client, if it is one that clients are not meant to come back from:
/// the topic and `R` of the contract. `None`: only the transport is closed.
pub fn last_words(over: Over) -> Option<(Topic, &'static str)> {
    Some(match over {
        Over::Session(Ended::Logout | Ended::Grant) => (Topic::Logoff, "revoked"),
        Over::Session(Ended::Idle | Ended::LoginExpired) | Over::Token => {
            (Topic::SessionInvalid, "expired")
        }
        Over::Session(Ended::Revoked | Ended::Disabled | Ended::Credentials | Ended::Replaced) => {
            (Topic::SessionInvalid, "revoked")
        }
        Over::Policy => (Topic::SessionInvalid, "policy"),
        Over::TenantChanged => (Topic::SessionInvalid, "audience"),
        Over::TenantGone | Over::Draining => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_that_a_client_may_not_come_back_from_has_a_word_of_the_contract() {
        for (over, told) in [
            (Over::Session(Ended::Logout), Some("logoff: revoked")),
            (Over::Session(Ended::Grant), Some("logoff: revoked")),
            (Over::Session(Ended::Idle), Some("session invalid: expired")),
            (
                Over::Session(Ended::LoginExpired),
                Some("session invalid: expired"),
            ),
            (
                Over::Session(Ended::Revoked),
                Some("session invalid: revoked"),
            ),
            (
                Over::Session(Ended::Disabled),
                Some("session invalid: revoked"),
            ),
            (
                Over::Session(Ended::Credentials),
                Some("session invalid: revoked"),
            ),
            (
                Over::Session(Ended::Replaced),
                Some("session invalid: revoked"),
            ),
            (Over::Token, Some("session invalid: expired")),
            (Over::Policy, Some("session invalid: policy")),
            (Over::TenantChanged, Some("session invalid: audience")),
            (Over::TenantGone, None),
            (Over::Draining, None),
        ] {
            let found = last_words(over);
            let found = found.map(|(topic, reason)| format!("{}: {reason}", topic.as_str()));
            assert_eq!(found.as_deref(), told, "{over}");
        }
    }

    #[test]
    fn a_control_message_is_the_contracts() {
        let notice = Notice {
            event: "uiBuilderControl",
            topic: Topic::JwtAuthFail,
            reason: Some("missing"),
            login_url: "https://auth.example.com/login",
            auth: None,
        };
        assert_eq!(
            notice.packet("/app"),
            r#"42/app,["uiBuilderControl",{"uibuilderCtrl":"jwt_auth_fail","from":"server","reason":"missing","login_url":"https://auth.example.com/login","_auth":{"userValidated":false}}]"#
        );
    }
}
