//! The policy table as a whole: rules that contradict themselves, and rules that never decide.

use crate::config::{Config, HostPattern, PathPattern, Policy, Rule, fault::Complaints};

/// Looks at every rule, and at every rule beside those above it.
pub(super) fn check(config: &Config, complaints: &Complaints) {
    somewhere_to_sign_in(config, complaints);
    for (index, rule) in config.rules.iter().enumerate() {
        let path = format!("rule[{index}]");
        alone(rule, &path, complaints);
        reach(config, rule, &path, complaints);
        let above = config.rules.iter().take(index);
        if let Some(first) = above.into_iter().find(|it| covers(it, rule)) {
            complaints.warn_on(
                &path,
                format!(
                    "rule: never decides: the rule at line {} matches all of it first",
                    first.line
                ),
            );
        }
    }
}

fn asked(rule: &Rule) -> [(&'static str, Option<Policy>); 3] {
    [
        ("policy", Some(rule.policy)),
        ("pages", rule.pages),
        ("sockets", rule.sockets),
    ]
}

/// Whoever asks for a login needs a portal.
fn somewhere_to_sign_in(config: &Config, complaints: &Complaints) {
    if config.portal.host.is_some()
        || complaints.is_written("root_domain")
        || complaints.is_written("portal.host")
    {
        return;
    }
    let complain = |path: String, shown: &str| {
        complaints.fault_on(
            &path,
            format!("{shown}: asks for a login, and there is nowhere to sign in; set root_domain"),
        );
    };
    for (index, rule) in config.rules.iter().enumerate() {
        let closed = asked(rule)
            .into_iter()
            .find(|(_, it)| it.is_some_and(|it| it > Policy::Open));
        if let Some((key, _)) = closed {
            complain(format!("rule[{index}].{key}"), &format!("rule.{key}"));
        }
    }
    for (index, tenant) in config.tenants.iter().enumerate() {
        if tenant.policy.is_some_and(|it| it > Policy::Open) {
            complain(format!("tenant[{index}].policy"), "tenant.policy");
        }
    }
}

/// What is wrong with one rule whatever stands around it.
fn alone(rule: &Rule, path: &str, complaints: &Complaints) {
    let names_people = !rule.users.is_empty() || !rule.groups.is_empty();
    for (key, policy) in asked(rule) {
        let at = format!("{path}.{key}");
        if policy == Some(Policy::Open) && names_people {
            complaints.fault_on(
                &at,
                format!("rule.{key}: open lets everybody in, whoever they are: such a rule cannot have users or groups"),
            );
        }
    }
    let pages = rule.pages.unwrap_or(rule.policy);
    if rule.sockets.unwrap_or(rule.policy) < pages {
        // Where it is written: of what is not, the one that makes the difference is `pages`.
        let key = rule.sockets.map_or("pages", |_| "sockets");
        let words = match key {
            "sockets" => "asks for less than the pages",
            _ => "asks for more than their sockets, which follow rule.policy",
        };
        complaints.warn_on(
            &format!("{path}.{key}"),
            format!("rule.{key}: {words}: whoever knows the address can talk to the flow"),
        );
    }
    let all_open = asked(rule)
        .iter()
        .all(|(_, it)| it.is_none_or(|it| it == Policy::Open));
    if rule.max_age.is_some() && all_open {
        complaints.warn_on(
            &format!("{path}.max_age"),
            "rule.max_age: means nothing where no login is asked for".to_owned(),
        );
    }
}

/// What a rule reaches that it hardly should, or does not reach.
fn reach(config: &Config, rule: &Rule, path: &str, complaints: &Complaints) {
    let everything = covers_hosts(&rule.hosts, &[])
        && covers_paths(&rule.paths, &[])
        && rule.methods.is_empty()
        && rule.networks.is_empty();
    if config.is_guarded() && everything && rule.policy == Policy::Open {
        complaints.warn_on(
            &format!("{path}.policy"),
            "rule.policy: opens every host to everybody".to_owned(),
        );
    }
    let is_own = |it: &HostPattern| match it {
        HostPattern::Exact(name) => {
            [&config.portal.host, &config.manager.host].contains(&&Some(name.clone()))
        }
        HostPattern::Any | HostPattern::Under(_) => false,
    };
    if !rule.hosts.is_empty() && rule.hosts.iter().all(is_own) {
        complaints.warn_on(
            &format!("{path}.hosts"),
            "rule.hosts: the gateway's own hosts follow no rule".to_owned(),
        );
    }
}

/// Whether nothing that `narrow` matches gets past `wide`.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let people = |wide: &Rule, narrow: &Rule| {
        if wide.users.is_empty() && wide.groups.is_empty() {
            return true;
        }
        (!narrow.users.is_empty() || !narrow.groups.is_empty())
            && narrow.users.iter().all(|it| wide.users.contains(it))
            && narrow.groups.iter().all(|it| wide.groups.contains(it))
    };
    covers_hosts(&wide.hosts, &narrow.hosts)
        && covers_paths(&wide.paths, &narrow.paths)
        && covers_list(&wide.methods, &narrow.methods, |one, two| one == two)
        && covers_list(&wide.networks, &narrow.networks, |one, two| {
            one.contains(two)
        })
        && people(wide, narrow)
}

fn covers_hosts(wide: &[HostPattern], narrow: &[HostPattern]) -> bool {
    let everything = [HostPattern::Any];
    let narrow = if narrow.is_empty() {
        &everything[..]
    } else {
        narrow
    };
    covers_list(wide, narrow, HostPattern::covers)
}

fn covers_paths(wide: &[PathPattern], narrow: &[PathPattern]) -> bool {
    let everything = [PathPattern::Under(String::new())];
    let narrow = if narrow.is_empty() {
        &everything[..]
    } else {
        narrow
    };
    covers_list(wide, narrow, PathPattern::covers)
}

/// Whether each of `narrow` lies within one of `wide`. Empty lists match everything.
fn covers_list<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty()
        || (!narrow.is_empty()
            && narrow
                .iter()
                .all(|it| wide.iter().any(|wide| covers(wide, it))))
}
