//! What a login form sends: any bytes. A field counts only when it came once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::{name::UserName, portal::Form, secret::Secret};

fuzz_target!(|text: &str| {
    let form = Form::parse(text);
    let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect();
    for (name, value) in &pairs {
        let times = pairs.iter().filter(|it| it.0 == *name).count();
        let found = form.one(name).map(Secret::reveal);
        assert_eq!(found, (times == 1).then_some(value.as_str()));
    }
    assert!(form.one("no such field").is_none() || text.contains("such"));
    if let Ok(user) = UserName::parse(form.text("username")) {
        assert_eq!(UserName::parse(user.as_str()), Ok(user.clone()));
    }
});
