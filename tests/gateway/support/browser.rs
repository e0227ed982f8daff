//! As much of a browser as a test needs: a cookie jar per host, Fetch Metadata, redirects.

use std::collections::BTreeMap;

use super::{Answer, House, house::PASSWORD, soon};

/// The session's cookie.
pub(crate) const SESSION: &str = "__Host-portcullis";
/// What a browser says of a request by a page of that very host.
pub(crate) const OWN: &str =
    "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";

/// Somebody's browser.
#[derive(Default)]
pub(crate) struct Browser {
    jar: BTreeMap<String, BTreeMap<String, String>>,
}

/// How a page makes a request.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// The person goes there.
    Navigate,
    /// A page of that very host fetches.
    Fetch,
}

impl Browser {
    /// Another window of the same browser.
    pub(crate) fn clone_of(other: &Self) -> Self {
        Self {
            jar: other.jar.clone(),
        }
    }

    /// A browser in which `user` has signed in at the portal.
    pub(crate) async fn signed_in(house: &House, user: &str) -> Self {
        Self::signed_in_at(house, user, 0).await
    }

    /// The same, with the code of another time step (a used one never works again).
    pub(crate) async fn signed_in_at(house: &House, user: &str, steps: i64) -> Self {
        let mut browser = Self::default();
        let login = serde_json::json!({ "username": user, "password": PASSWORD });
        let first = browser
            .post(house, "auth", "/.portcullis/api/v1/login", &login)
            .await;
        assert_eq!(first.status, 200, "{}", first.text());
        let second = serde_json::json!({ "ticket": first.json()["ticket"], "code": house.code(user, steps) });
        let answer = browser
            .post(house, "auth", "/.portcullis/api/v1/login/totp", &second)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["state"], "authenticated");
        browser
    }

    /// The cookies for a host, as a header line, or nothing.
    pub(crate) fn cookies(&self, host: &str) -> String {
        let pairs: Vec<String> = self
            .jar
            .get(host)
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("Cookie: {}\r\n", pairs.join("; "))
        }
    }

    /// One cookie's value.
    pub(crate) fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.jar.get(host)?.get(name).map(String::as_str)
    }

    /// Puts a cookie there.
    pub(crate) fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.jar
            .entry(host.to_owned())
            .or_default()
            .insert(name.to_owned(), value.to_owned());
    }

    /// Signs in on a tenant's host, and does not go on to the tenant itself.
    pub(crate) async fn enter(&mut self, house: &House, label: &str) {
        let (mut at, mut target) = (label.to_owned(), "/".to_owned());
        for _ in 0..10 {
            let answer = self.go(house, &at, &target).await;
            if self.cookie(&house.host(label), SESSION).is_some() {
                return;
            }
            (at, target) = split(house, &at, answer.header("location").expect("a redirect"));
        }
        panic!("no way in to {label}");
    }

    /// The session token that this browser holds for a host.
    pub(crate) fn token(&self, house: &House, label: &str) -> String {
        self.cookie(&house.host(label), SESSION)
            .expect("signed in there")
            .to_owned()
    }

    /// Signs out at the portal: everywhere.
    pub(crate) async fn sign_out(&mut self, house: &House) {
        let out = self
            .post(
                house,
                "auth",
                "/.portcullis/api/v1/logout",
                &serde_json::json!({}),
            )
            .await;
        assert_eq!(out.status, 200, "{}", out.text());
    }

    /// Goes there, once.
    pub(crate) async fn go(&mut self, house: &House, label: &str, target: &str) -> Answer {
        self.get(house, label, target, Mode::Navigate, "").await
    }

    /// A page of that host fetches.
    pub(crate) async fn fetch(&mut self, house: &House, label: &str, target: &str) -> Answer {
        self.get(house, label, target, Mode::Fetch, "").await
    }

    /// GET with more header lines (each with its CRLF).
    pub(crate) async fn get(
        &mut self,
        house: &House,
        label: &str,
        target: &str,
        mode: Mode,
        lines: &str,
    ) -> Answer {
        let metadata = match mode {
            Mode::Navigate => {
                "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n"
            }
            Mode::Fetch => OWN,
        };
        self.send(
            house,
            label,
            &format!("GET {target}"),
            &format!("{metadata}{lines}"),
            "",
        )
        .await
    }

    /// A page of that host posts JSON.
    pub(crate) async fn post(
        &mut self,
        house: &House,
        label: &str,
        target: &str,
        body: &serde_json::Value,
    ) -> Answer {
        let text = body.to_string();
        let lines = format!(
            "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nOrigin: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            house.origin(label),
            text.len(),
        );
        self.send(house, label, &format!("POST {target}"), &lines, &text)
            .await
    }

    /// Sends whatever the test says, with this browser's cookies.
    pub(crate) async fn send(
        &mut self,
        house: &House,
        label: &str,
        line: &str,
        lines: &str,
        body: &str,
    ) -> Answer {
        let (host, authority) = (house.host(label), house.authority(label));
        let cookies = self.cookies(&host);
        let raw = format!("{line} HTTP/1.1\r\nHost: {authority}\r\n{cookies}{lines}\r\n{body}");
        let mut wire = house.wire(label).await;
        wire.send(&raw).await.unwrap();
        let answer = soon("an answer", wire.answer()).await.expect("an answer");
        self.remember(&host, &answer);
        answer
    }

    fn remember(&mut self, host: &str, answer: &Answer) {
        let jar = self.jar.entry(host.to_owned()).or_default();
        for line in answer.all("set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.to_ascii_lowercase().contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Goes there and follows every redirect between the house's own hosts, at most ten.
    pub(crate) async fn visit(&mut self, house: &House, label: &str, target: &str) -> Answer {
        let (mut label, mut target) = (label.to_owned(), target.to_owned());
        for _ in 0..10 {
            let answer = self.go(house, &label, &target).await;
            let Some(location) = answer
                .header("location")
                .filter(|_| (300..400).contains(&answer.status))
            else {
                return answer;
            };
            (label, target) = split(house, &label, location);
        }
        panic!("a loop of redirects, last to {label} {target}");
    }
}

/// Where a redirect leads: the host's label and the target.
pub(crate) fn split(house: &House, here: &str, location: &str) -> (String, String) {
    if location.starts_with('/') {
        return (here.to_owned(), location.to_owned());
    }
    let rest = location
        .strip_prefix("https://")
        .unwrap_or_else(|| panic!("to {location}"));
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let label = authority
        .strip_suffix(&format!(".{}:{}", super::house::ROOT, house.address.port()))
        .unwrap_or_else(|| panic!("to another site: {location}"));
    (
        label.to_owned(),
        if target.is_empty() {
            "/".to_owned()
        } else {
            target.to_owned()
        },
    )
}
