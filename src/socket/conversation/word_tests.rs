//! Tokens in messages: what they let through, adopt, revive and end.

use std::sync::Arc;

use super::{tests::terms_of, *};
use crate::{
    authn::{self, Shown},
    config::BindAddress,
    name::TenantId,
    session::{Cell, fixture},
    socket::{guard::Guard, lane::Mode},
    token::Use,
};

const HOST: &str = "r1.example.net";
const LOGIN_URL: &str = "https://auth.example.org/login";
const OPEN: [(Way, &str); 2] = [(Way::Up, "40/app,"), (Way::Down, r#"40/app,{"sid":"me"}"#)];

/// Alice's connection to a tenant, and logins that could speak on it.
struct Stage {
    house: fixture::House,
    sid: String,
    cell: Arc<Cell>,
    terms: Terms,
    it: Conversation,
}

impl Stage {
    async fn set(mode: SocketMode, shown: Shown) -> Self {
        let house = fixture::House::open();
        let (sid, cell) = sign_in(&house, house.user.clone()).await;
        let owner = authn::fixture::identity(&cell, HOST, "t1", shown);
        let reception = authn::fixture::reception(&house, &house.clock, HOST, "t1");
        let terms = Terms {
            mode,
            owner: Some(owner),
            ..terms_of("alice", 1)
        };
        let terms = terms.with_reception(Some(reception), LOGIN_URL.to_owned());
        let mut stage = Self {
            house,
            sid,
            cell,
            terms,
            it: Conversation::default(),
        };
        for (way, text) in OPEN {
            assert_eq!(stage.judge(way, text).0, Verdict::Pass);
        }
        stage
    }

    fn judge(&mut self, way: Way, text: &str) -> (Verdict, String) {
        let mut out = Vec::new();
        let verdict = self.it.message(way, text, &self.terms, &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    /// A Bearer of hers, good for five minutes from now.
    fn token(&self) -> String {
        self.token_for(HOST, "t1", Use::Bearer)
    }

    fn token_for(&self, host: &str, tenant: &str, usage: Use) -> String {
        self.house.token(&self.sid, &self.cell, host, tenant, usage)
    }

    fn later(&self, secs: u64) {
        self.house.clock.advance(Duration::from_secs(secs));
    }

    /// What the client was told: topics and reasons.
    fn told(&mut self) -> Vec<String> {
        let packets = self.it.take_replies();
        let read = |packet: &String| {
            let at = packet.find('[').unwrap();
            let json: serde_json::Value = serde_json::from_str(&packet[at..]).unwrap();
            assert_eq!(
                (json[0].as_str(), json[1]["from"].as_str()),
                (Some("uiBuilderControl"), Some("server"))
            );
            assert_eq!(json[1]["login_url"], LOGIN_URL);
            let reason = json[1]["reason"].as_str().unwrap_or_default();
            format!("{} {reason}", json[1]["uibuilderCtrl"].as_str().unwrap())
                .trim()
                .to_owned()
        };
        packets.iter().map(read).collect()
    }
}

async fn sign_in(house: &fixture::House, user: crate::store::UserRecord) -> (String, Arc<Cell>) {
    sign_in_at(house, user, 2).await
}

async fn sign_in_at(
    house: &fixture::House,
    user: crate::store::UserRecord,
    level: u8,
) -> (String, Arc<Cell>) {
    let login = crate::session::NewLogin {
        credentials: user.credentials(),
        user: user.id,
        host: fixture::host(HOST),
        tenant: TenantId::from("t1"),
        level,
        ..house.login()
    };
    house.sessions.begin(login).await.unwrap()
}

fn says(token: &str) -> String {
    format!(r#"42/app,["uiBuilderClient",{{"payload":1,"_auth":{{"id":"x","jwt":"{token}"}}}}]"#)
}

const BARE: &str = r#"42/app,["uiBuilderClient",{"payload":1}]"#;
const CLEANED: &str = r#"42/app,["uiBuilderClient",{"payload":1,"_auth":{"id":"x"}}]"#;
const EVENT: &str = r#"42/app,["uiBuilder",{"payload":2}]"#;

#[tokio::test]
async fn w18_in_band_a_message_needs_its_own_token_and_the_token_goes_no_further() {
    let mut stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
    assert_eq!(stage.judge(Way::Down, EVENT).0, Verdict::Pass);
    let good = says(&stage.token());
    assert_eq!(
        stage.judge(Way::Up, &good),
        (Verdict::Changed, CLEANED.to_owned())
    );
    assert_eq!(stage.told(), ["authorised"]);
    assert_eq!(
        stage.judge(Way::Up, &good),
        (Verdict::Changed, CLEANED.to_owned())
    );
    assert!(stage.told().is_empty(), "the same again is nothing new");
    // The tenant's own events carry one, too.
    let own = good.replace("uiBuilderClient", "other");
    assert_eq!(
        stage.judge(Way::Up, &own),
        (
            Verdict::Changed,
            CLEANED.replace("uiBuilderClient", "other")
        )
    );
    assert_eq!(stage.judge(Way::Up, BARE).0, Verdict::Drop);
    assert_eq!(stage.told(), ["jwt_auth_fail missing"]);
    // In the grace nothing passes either way, attachments included, but a good token revives.
    assert_eq!(
        stage
            .judge(
                Way::Down,
                r#"451-/app,["uiBuilder",{"_placeholder":true,"num":0}]"#
            )
            .0,
        Verdict::Drop
    );
    assert_eq!(stage.it.binary(Way::Down), Ok(Verdict::Drop));
    assert_eq!(stage.judge(Way::Down, "43/app,1[]").0, Verdict::Drop);
    assert_eq!(stage.judge(Way::Up, "43/app,1[]").0, Verdict::Drop);
    assert_eq!(stage.judge(Way::Up, &good).0, Verdict::Changed);
    assert_eq!(stage.told(), ["authorised"]);
    assert_eq!(stage.judge(Way::Down, EVENT).0, Verdict::Pass);
}

#[tokio::test]
async fn k1_no_other_token_passes_in_a_message() {
    let mut stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
    let good = stage.token();
    let broken = format!("{}AAAA", &good[..good.len() - 4]);
    let assertion = stage.house.tokens.assertion(
        stage.terms.owner.as_ref().unwrap().profile().subject(),
        &fixture::host(HOST),
        &TenantId::from("t1"),
        &[],
        stage.house.now(),
        stage.house.now(),
    );
    for (token, reason) in [
        (stage.token_for(HOST, "t1", Use::Cookie), "malformed"),
        (
            stage.token_for("r2.example.net", "t1", Use::Bearer),
            "audience",
        ),
        (stage.token_for(HOST, "t2", Use::Bearer), "audience"),
        (assertion, "malformed"),
        (broken, "signature"),
        ("x.y.z".to_owned(), "malformed"),
        (String::new(), "malformed"),
    ] {
        assert_eq!(
            stage.judge(Way::Up, &says(&token)).0,
            Verdict::Drop,
            "{reason}"
        );
        assert_eq!(stage.told(), [format!("jwt_auth_fail {reason}")]);
    }
    let binary = says("x.y.z").replace("42/app", "452-/app");
    assert_eq!(stage.judge(Way::Up, &binary).0, Verdict::Drop);
    assert_eq!(stage.it.binary(Way::Up), Ok(Verdict::Drop));
    assert_eq!(stage.it.binary(Way::Up), Ok(Verdict::Drop));
    assert_eq!(stage.judge(Way::Up, &says(&good)).0, Verdict::Changed);
}

#[tokio::test]
async fn k3_a_remembered_token_is_judged_anew_with_each_message() {
    let mut stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
    let token = says(&stage.token());
    assert_eq!(stage.judge(Way::Up, &token).0, Verdict::Changed);
    let right = stage.terms.reception.clone();
    stage.terms.reception.as_mut().unwrap().tenant = TenantId::from("t2");
    assert_eq!(stage.judge(Way::Up, &token).0, Verdict::Drop, "tid");
    stage.terms.reception.clone_from(&right);
    stage.terms.reception.as_mut().unwrap().host = fixture::host("r2.example.net");
    assert_eq!(stage.judge(Way::Up, &token).0, Verdict::Drop, "aud");
    stage.terms.reception.clone_from(&right);
    stage.terms.reception.as_mut().unwrap().bind = BindAddress::Exact;
    stage.terms.reception.as_mut().unwrap().client = "192.0.2.8".parse().unwrap();
    assert_eq!(stage.judge(Way::Up, &token).0, Verdict::Drop, "address");
    stage.terms.reception.clone_from(&right);
    assert_eq!(stage.judge(Way::Up, &token).0, Verdict::Changed);
    stage.told();
    stage.later(300);
    assert_eq!(
        stage.judge(Way::Down, EVENT).0,
        Verdict::Drop,
        "exp, strictly"
    );
    assert_eq!(stage.judge(Way::Up, &token).0, Verdict::Drop, "exp");
    assert_eq!(
        stage.told(),
        ["jwt_auth_fail expired", "jwt_auth_fail expired"]
    );
    let fresh = says(&stage.token());
    assert_eq!(stage.judge(Way::Up, &fresh).0, Verdict::Changed);
    fixture::end(&stage.cell, Ended::Revoked);
    assert_eq!(stage.judge(Way::Up, &fresh).0, Verdict::Drop, "session");
    assert_eq!(stage.told().last().unwrap(), "jwt_auth_fail revoked");
    assert_eq!(stage.judge(Way::Down, EVENT).0, Verdict::Drop);
}

#[tokio::test]
async fn a_connection_that_showed_a_bearer_speaks_for_its_messages_until_it_expires() {
    let mut stage = Stage::set(SocketMode::InBand, Shown::Subprotocol).await;
    assert_eq!(stage.judge(Way::Up, BARE).0, Verdict::Pass);
    stage.later(200);
    // A newer one, handed in for us alone.
    let hand = format!(
        r#"42/app,["uiBuilderControl",{{"uibuilderCtrl":"auth","_auth":{{"jwt":"{}"}}}}]"#,
        stage.token()
    );
    assert_eq!(
        stage.judge(Way::Up, &hand).0,
        Verdict::Drop,
        "it is not the tenant's"
    );
    let packets = stage.it.take_replies();
    assert!(
        packets[0].contains(r#""uibuilderCtrl":"authorised""#) && packets[0].contains(r#""jwt":""#)
    );
    assert!(matches!(stage.it.take_news(), Some(News::Adopted(_))));
    assert!(stage.it.take_news().is_none(), "told once");
    stage.later(299);
    assert_eq!(
        stage.judge(Way::Up, BARE).0,
        Verdict::Pass,
        "beyond the first one's end"
    );
    stage.later(1);
    let now = stage.house.now();
    let due = stage.it.due(now, &stage.terms).unwrap().unwrap();
    assert_eq!(due, now.plus(Duration::from_mins(1)));
    assert_eq!(stage.judge(Way::Up, BARE).0, Verdict::Drop);
    assert_eq!(stage.told()[0], "jwt_auth_fail expired");
    assert!(matches!(stage.it.take_news(), Some(News::Due)));
    stage.later(60);
    let over = stage.it.due(stage.house.now(), &stage.terms);
    assert_eq!(over, Err(Over::Token));
    let late = says(&stage.token());
    assert_eq!(stage.judge(Way::Up, &late).0, Verdict::Drop, "too late");
}

#[tokio::test]
async fn w22_nobodys_messages_pass_as_another_user() {
    for mode in [SocketMode::Session, SocketMode::InBand] {
        for idle in [false, true] {
            let mut stage = Stage::set(mode, Shown::Cookie).await;
            let bob = fixture::user("bob");
            let user = bob.clone();
            let added = stage.house.store.call(move |store| store.add_user(&user));
            added.await.unwrap();
            let (sid, cell) = sign_in(&stage.house, bob).await;
            let bobs = stage.house.token(&sid, &cell, HOST, "t1", Use::Bearer);
            if idle {
                let now = stage.house.now();
                stage.it.begin_grace(now, &stage.terms).unwrap();
            }
            assert_eq!(stage.judge(Way::Up, &says(&bobs)).0, Verdict::Drop);
            let replaced = Over::Session(Ended::Replaced);
            assert!(matches!(stage.it.take_news(), Some(News::Over(it)) if it == replaced));
            let hers = says(&stage.token());
            for (way, text) in [(Way::Up, BARE), (Way::Up, &hers), (Way::Down, EVENT)] {
                assert_eq!(stage.judge(way, text).0, Verdict::Drop);
            }
            assert_eq!(stage.it.due(stage.house.now(), &stage.terms), Err(replaced));
        }
    }
}

#[tokio::test]
async fn an_idle_session_is_revived_by_a_new_login_of_the_same_user() {
    let mut stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
    let now = stage.house.now();
    let until = stage.it.begin_grace(now, &stage.terms).unwrap();
    assert_eq!(until, now.plus(Duration::from_mins(1)));
    assert_eq!(stage.told(), ["jwt_auth_fail expired"]);
    for (way, text) in [(Way::Up, BARE), (Way::Up, "43/app,1[]"), (Way::Down, EVENT)] {
        assert_eq!(stage.judge(way, text).0, Verdict::Drop);
    }
    let user = stage.house.user.clone();
    let (sid, cell) = sign_in(&stage.house, user).await;
    let token = stage.house.token(&sid, &cell, HOST, "t1", Use::Bearer);
    assert_eq!(
        stage.judge(Way::Up, &says(&token)),
        (Verdict::Changed, CLEANED.to_owned())
    );
    let Some(News::Adopted(identity)) = stage.it.take_news() else {
        panic!("nobody was adopted");
    };
    assert_eq!(identity.lease().cell.sid, cell.sid);
    for (way, text) in [(Way::Up, BARE), (Way::Down, EVENT)] {
        assert_eq!(stage.judge(way, text).0, Verdict::Pass);
    }
}

#[tokio::test]
async fn in_session_mode_a_token_is_taken_out_and_a_bad_one_changes_nothing() {
    let mut stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
    let cookies = stage.token_for(HOST, "t1", Use::Cookie);
    for token in [
        &cookies,
        &stage.token_for("r2.example.net", "t1", Use::Bearer),
    ] {
        assert_eq!(
            stage.judge(Way::Up, &says(token)),
            (Verdict::Changed, CLEANED.to_owned())
        );
    }
    assert!(stage.told().is_empty());
    // Another's JWT is the flow's own affair.
    assert_eq!(stage.judge(Way::Up, &says("x.y.z")).0, Verdict::Pass);
    stage.later(60);
    let newer = says(&stage.token());
    assert_eq!(stage.judge(Way::Up, &newer).0, Verdict::Changed);
    assert_eq!(stage.told(), ["authorised"]);
}

#[tokio::test]
async fn the_hard_limit_is_warned_of_once() {
    let mut stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
    let next = stage
        .it
        .due(stage.house.now(), &stage.terms)
        .unwrap()
        .unwrap();
    assert_eq!(next, stage.cell.login_exp.minus(WARN_AHEAD));
    stage.later(u64::try_from((next.0 - stage.house.now().0) / 1000).unwrap());
    assert_eq!(stage.it.due(stage.house.now(), &stage.terms), Ok(None));
    assert_eq!(stage.told(), ["session expiry expired"]);
    assert_eq!(stage.it.due(stage.house.now(), &stage.terms), Ok(None));
    assert!(stage.told().is_empty());
}

#[tokio::test]
async fn a_short_login_is_warned_of_halfway() {
    let mut stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
    let short = crate::config::SessionRules {
        absolute: Duration::from_mins(4),
        ..crate::config::SessionRules::default()
    };
    stage.house.sessions.set_rules(&short);
    let (_, cell) = sign_in(&stage.house, stage.house.user.clone()).await;
    stage.terms.owner = Some(authn::fixture::identity(&cell, HOST, "t1", Shown::Cookie));
    let next = stage.it.due(stage.house.now(), &stage.terms);
    let halfway = cell.created.until(cell.login_exp) / 2;
    assert_eq!(next, Ok(Some(cell.login_exp.minus(halfway))));
    assert!(halfway < WARN_AHEAD);
}

const BINARY: [(Way, &str); 2] = [
    (Way::Up, r#"451-/app,["b",{"_placeholder":true,"num":0}]"#),
    (Way::Down, r#"451-/app,["b",{"_placeholder":true,"num":0}]"#),
];

#[tokio::test]
async fn amid_a_message_an_idle_session_is_not_borne_with() {
    for (way, text) in BINARY {
        let mut stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
        let now = stage.house.now();
        assert_eq!(stage.judge(way, text).0, Verdict::Pass);
        assert_eq!(stage.it.is_amid_attachments(), way == Way::Down);
        assert_eq!(stage.it.begin_grace(now, &stage.terms), None);
        stage.it.binary(way).unwrap();
        assert!(!stage.it.is_amid_attachments());
        assert!(stage.it.begin_grace(now, &stage.terms).is_some());
        // What is dropped has attachments too, and they must go with it.
        assert_eq!(stage.judge(way, text).0, Verdict::Drop);
        assert_eq!(stage.it.begin_grace(now, &stage.terms), None);
        assert_eq!(stage.it.binary(way), Ok(Verdict::Drop));
        assert!(stage.it.begin_grace(now, &stage.terms).is_some());
    }
}

#[tokio::test]
async fn an_idle_session_is_borne_with_only_where_a_token_could_come() {
    let stage = || Stage::set(SocketMode::Session, Shown::Cookie);
    let now = stage().await.house.now();
    let mut without = stage().await;
    without.terms.grace = Duration::ZERO;
    assert_eq!(without.it.begin_grace(now, &without.terms), None);
    let mut without = stage().await;
    without.terms.reception = None;
    assert_eq!(without.it.begin_grace(now, &without.terms), None);
    let mut without = stage().await;
    without.judge(Way::Up, "41/app,");
    assert_eq!(without.it.begin_grace(now, &without.terms), None);
}

#[tokio::test]
async fn no_more_answers_wait_than_a_client_may_have_namespaces() {
    let mut stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
    for _ in 0..2 * MOST_REPLIES {
        assert_eq!(stage.judge(Way::Up, BARE).0, Verdict::Drop);
    }
    assert_eq!(stage.told().len(), MOST_REPLIES);
}

#[tokio::test]
async fn anothers_jwt_is_a_token_only_while_one_is_waited_for() {
    let mut stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
    let hands_in =
        r#"42/app,["uiBuilderControl",{"uibuilderCtrl":"auth","_auth":{"jwt":"x.y.z"}}]"#;
    assert_eq!(stage.judge(Way::Up, hands_in).0, Verdict::Drop);
    let answer = stage.it.take_replies();
    assert!(answer[0].contains(r#""uibuilderCtrl":"authorised""#));
    assert!(!answer[0].contains("x.y.z"), "none of ours is repeated");
    stage
        .it
        .begin_grace(stage.house.now(), &stage.terms)
        .unwrap();
    stage.told();
    assert_eq!(stage.judge(Way::Up, &says("x.y.z")).0, Verdict::Drop);
    assert_eq!(stage.told(), ["jwt_auth_fail malformed"]);
}

/// A guard under the stage's terms, with its namespace open.
fn guard_of(stage: &Stage) -> Guard {
    let mut guard = Guard::open(Arc::new(stage.terms.clone()));
    assert_eq!(guard.begin_grace(stage.house.now()), None, "not open yet");
    for (way, text) in [(Way::Down, r#"0{"sid":"abc"}"#), OPEN[0], OPEN[1]] {
        guard.text(way, text.as_bytes(), &mut Vec::new()).unwrap();
    }
    guard
}

#[tokio::test]
async fn a_guard_tells_what_its_conversation_has_to_tell() {
    let stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
    let mut guard = guard_of(&stage);
    assert!(!guard.has_news());
    let said = guard.text(Way::Up, BARE.as_bytes(), &mut Vec::new());
    assert_eq!(
        said,
        Ok((Verdict::Drop, crate::socket::guard::Use::Transport))
    );
    let mut mode = Mode::EngineIo(Box::new(guard));
    assert!(mode.has_news());
    let Mode::EngineIo(guard) = &mut mode else {
        panic!("another mode");
    };
    assert!(guard.has_news());
    assert!(matches!(guard.take_news(), Some(News::Due)));
    assert!(!guard.has_news() && guard.take_news().is_none());
    let until = stage.house.now().plus(stage.terms.grace);
    assert_eq!(guard.due(stage.house.now()), Ok(Some(until)));
    assert_eq!(guard.due(until), Err(Over::Token));
}

#[tokio::test]
async fn a_guard_bears_with_an_idle_session_as_its_conversation_does() {
    let stage = Stage::set(SocketMode::Session, Shown::Cookie).await;
    let now = stage.house.now();
    let until = guard_of(&stage).begin_grace(now);
    assert_eq!(until, Some(now.plus(stage.terms.grace)));
}

#[tokio::test]
async fn w18_a_bearers_connection_needs_no_other_token_while_its_own_is_good() {
    let mut other = Stage::set(SocketMode::Session, Shown::Bearer).await;
    let warned = other.cell.login_exp.minus(WARN_AHEAD);
    let now = other.house.now();
    assert_eq!(other.it.due(now, &other.terms), Ok(Some(warned)));
    let mut stage = Stage::set(SocketMode::InBand, Shown::Bearer).await;
    assert_eq!(stage.judge(Way::Up, BARE).0, Verdict::Pass);
    let good_until = stage.terms.owner.as_ref().unwrap().token_exp;
    let asked = stage.it.due(stage.house.now(), &stage.terms);
    assert_eq!(asked, Ok(Some(Timestamp::from_secs(good_until))));
    stage.later(301);
    assert_eq!(stage.judge(Way::Up, BARE).0, Verdict::Drop);
    assert_eq!(stage.told(), ["jwt_auth_fail expired"]);
}

#[tokio::test]
async fn w18_an_expired_first_token_may_be_followed_by_a_good_one_and_a_wrong_one_changes_nothing()
{
    let mut stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
    let wrong = stage.token_for("r2.example.net", "t1", Use::Bearer);
    assert_eq!(stage.judge(Way::Up, &says(&wrong)).0, Verdict::Drop);
    assert_eq!(stage.told(), ["jwt_auth_fail audience"]);
    assert!(stage.it.take_news().is_none(), "no grace has begun");
    let old = stage.token();
    stage.later(301);
    assert_eq!(stage.judge(Way::Up, &says(&old)).0, Verdict::Drop);
    assert_eq!(stage.told(), ["jwt_auth_fail expired"]);
    assert!(matches!(stage.it.take_news(), Some(News::Due)));
    let until = stage.house.now().plus(stage.terms.grace);
    assert_eq!(
        stage.it.due(stage.house.now(), &stage.terms),
        Ok(Some(until.min(stage.cell.login_exp.minus(WARN_AHEAD))))
    );
    let good = stage.token();
    assert_eq!(stage.judge(Way::Up, &says(&good)).0, Verdict::Changed);
}

#[tokio::test]
async fn w18_a_weaker_login_does_not_speak_where_a_stronger_one_opened() {
    for (level, verdict) in [
        (1, Verdict::Drop),
        (2, Verdict::Changed),
        (3, Verdict::Changed),
    ] {
        let mut stage = Stage::set(SocketMode::InBand, Shown::Cookie).await;
        assert_eq!(stage.cell.standing.load().level, 2);
        let (sid, cell) = sign_in_at(&stage.house, stage.house.user.clone(), level).await;
        let token = stage.house.token(&sid, &cell, HOST, "t1", Use::Bearer);
        assert_eq!(stage.judge(Way::Up, &says(&token)).0, verdict, "{level}");
    }
}
