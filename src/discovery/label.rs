//! Labels `portcullis.*`: they may ask for more, never for less.

use jiff::SignedDuration;

use crate::{config::Policy, route::Tighten};

/// What became of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Label {
    /// It counts.
    Taken,
    /// It does not count; the container is routed without it.
    Refused(&'static str),
    /// It asks for more in words that are not understood: to route the container as if it had
    /// not asked would be less than it wants.
    Unclear(&'static str),
}

/// Reads one label (`name` without `portcullis.`) into `tighten`.
pub(super) fn read_label(name: &str, value: &str, tighten: &mut Tighten) -> Label {
    match name {
        "policy" => read_policy(value, &mut tighten.policy),
        "pages" => read_policy(value, &mut tighten.pages),
        "sockets" => read_policy(value, &mut tighten.sockets),
        "max_age" => read_age(value, tighten),
        "socketio.namespaces" => read_namespaces(value, tighten),
        "balance" => Label::Refused("not supported yet; requests are spread in turn"),
        _ if name.starts_with("limits.") => {
            Label::Refused("not supported yet; the file's limits hold")
        }
        _ => Label::Refused("a label may only tighten; this belongs in the file"),
    }
}

fn read_policy(value: &str, into: &mut Option<Policy>) -> Label {
    match Policy::parse(value) {
        Some(Policy::Open) => Label::Refused("a label may only tighten; it cannot open"),
        Some(policy) => {
            *into = Some(policy);
            Label::Taken
        }
        None => Label::Unclear("not a policy; one-factor, two-factor or hardware-key"),
    }
}

fn read_age(value: &str, tighten: &mut Tighten) -> Label {
    let age = value.parse::<SignedDuration>().ok();
    match age.and_then(|it| std::time::Duration::try_from(it).ok()) {
        Some(age) => {
            tighten.max_age = Some(age);
            Label::Taken
        }
        None => Label::Unclear("not a duration such as 15m or 1h30m"),
    }
}

fn read_namespaces(value: &str, tighten: &mut Tighten) -> Label {
    let names: Vec<String> = value
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    let good = |it: &String| {
        it.starts_with('/')
            && it
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/_~.-".contains(&b))
    };
    if names.is_empty() || !names.iter().all(good) {
        return Label::Unclear("not a list of namespaces such as /, /app");
    }
    tighten.namespaces = names;
    Label::Taken
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_tightens_counts() {
        let mut asked = Tighten::default();
        for (name, value) in [
            ("policy", "hardware-key"),
            ("pages", "one-factor"),
            ("sockets", "two-factor"),
            ("max_age", "15m"),
            ("socketio.namespaces", "/, /app"),
        ] {
            assert_eq!(read_label(name, value, &mut asked), Label::Taken, "{name}");
        }
        assert_eq!(asked.policy, Some(Policy::HardwareKey));
        assert_eq!(asked.max_age, Some(Duration::from_mins(15)));
        assert_eq!(asked.namespaces, ["/", "/app"]);
    }

    #[test]
    fn what_loosens_or_is_unknown_is_refused() {
        let mut asked = Tighten::default();
        for (name, value) in [
            ("policy", "open"),
            ("upstreams", "http://10.0.0.1"),
            ("login_api", "true"),
            ("allow_origins", "*"),
            ("Policy", "two-factor"),
        ] {
            let label = read_label(name, value, &mut asked);
            assert!(matches!(label, Label::Refused(_)), "{name}");
        }
        assert_eq!(asked, Tighten::default());
    }

    #[test]
    fn a_wish_for_more_that_is_not_understood_is_no_wish_for_less() {
        let mut asked = Tighten::default();
        for (name, value) in [
            ("policy", "two factor"),
            ("pages", ""),
            ("max_age", "soon"),
            ("max_age", "-5m"),
            ("socketio.namespaces", "app"),
            ("socketio.namespaces", ","),
        ] {
            let label = read_label(name, value, &mut asked);
            assert!(matches!(label, Label::Unclear(_)), "{name}={value}");
        }
    }
}
