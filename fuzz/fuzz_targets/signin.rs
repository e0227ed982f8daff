//! What a browser carries for us through a sign-in: queries, sealed states, tickets, cookies.
//! The first word of a line says which. Nothing that we did not seal opens, and the way back
//! leads to the very host it began at.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::{
    clock::Timestamp,
    name::TenantId,
    signin::{Signin, absolute, callback_query, cookie, login_query},
};
use portcullis_fuzz::{host, key};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fuzz_target!(|text: &str| {
    let signin = Signin::new(key());
    let here = host("a.example.net");
    let tenant = TenantId::from("t1");
    for line in text.split('\n') {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "callback" => {
                if let Ok(query) = callback_query(rest) {
                    let written = format!("state={}&ticket={}", query.state, query.ticket);
                    assert_eq!(written, rest);
                    state(&signin, query.state);
                }
            }
            "login" => {
                if let Ok(Some(it)) = login_query(Some(rest)) {
                    assert_eq!(format!("state={it}"), rest);
                    state(&signin, it);
                }
            }
            "state" => state(&signin, rest),
            // As if it had been sealed here: what stands behind the seal.
            "sealed" => {
                let (purpose, plain) = rest.split_once(' ').unwrap_or((rest, ""));
                let sealed = key().seal_text(purpose, b"", plain.as_bytes());
                state(&signin, &sealed);
                let _ = signin.open_half_login(&sealed, &here, NOW);
                let jar = [(cookie::DEVICE.to_owned(), sealed)];
                if let Some(device) = signin.known_device(&jar) {
                    let _ = (device.digest(), device.users());
                }
            }
            "half" => {
                let opened = signin.open_half_login(rest, &here, NOW);
                assert!(opened.is_err() || is_canonical(rest));
            }
            "target" => {
                let location = absolute(&here, None, rest);
                let location = location.to_str().expect("ASCII");
                let path = location.strip_prefix("https://a.example.net");
                assert!(path.is_some_and(|it| it.starts_with('/')), "{location}");
                let start = signin.start(&here, &tenant, rest, 1, NOW, &[]);
                let state = signin.read_state(&start.state, NOW).expect("ours");
                assert!(state.path == rest || rest.len() > 4096);
                assert_eq!((state.host, state.tenant), (here.clone(), tenant.clone()));
            }
            "jar" => {
                let jar: Vec<(String, String)> = rest
                    .split(';')
                    .filter_map(|it| it.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                let start = signin.start(&here, &tenant, "/", 1, NOW, &jar);
                for line in &start.set_cookie {
                    let line = line.to_str().expect("ASCII");
                    assert!(line.starts_with("__Host-portcullis-login-"), "{line}");
                    assert!(line.ends_with("; Secure; HttpOnly; SameSite=Lax"), "{line}");
                }
                assert!(start.set_cookie.len() <= 33);
                for (name, _) in &jar {
                    if let Some(attempt) = cookie::attempt_of(name) {
                        let _ = signin.open_attempt(&jar, attempt, &here, &tenant, NOW);
                    }
                }
                assert!(signin.meet(&jar, &here, &tenant, true).set_cookie.is_some());
            }
            _ => return,
        }
    }
});

fn state(signin: &Signin, sealed: &str) {
    let now = signin.read_state(sealed, NOW);
    let old = signin.read_old_state(sealed);
    assert!(now.is_err() || now == old);
    assert!(old.is_err() || is_canonical(sealed), "one state, two spellings");
}

/// Whether text is base64url as we write it: nothing ours has a second spelling.
fn is_canonical(text: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD
        .decode(text)
        .is_ok_and(|it| URL_SAFE_NO_PAD.encode(it) == text)
}
