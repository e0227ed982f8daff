//! The policy table: the first rule that matches decides; what the file and the labels say of a
//! tenant only tightens it.

use std::time::Duration;

use crate::{
    authz::{Ask, Forbidden},
    config::{Policy, Rule},
    intake::path::Decided,
    name::UserName,
    route::{HostRoute, PathRoute},
    session::Profile,
};

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The rule on this line of the file.
    Rule(usize),
    /// No rule: the default.
    Default,
    /// The tenant's own settings in the file asked for more.
    Tenant,
    /// A container's label asked for more.
    Label,
}

/// What a request must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Required {
    /// So strong a login.
    pub policy: Policy,
    /// So fresh.
    pub max_age: Option<Duration>,
    /// Who says so.
    pub source: Source,
}

/// Finds what is asked of `who` (`None`: nobody knows yet) for this request.
///
/// A rule with users or groups admits them alone: others fall to the next rule, and are refused
/// where none is left. Nobody known yet is asked to sign in as strongly as the first rule that
/// could be theirs asks.
pub fn required(
    route: &HostRoute,
    path: Option<&PathRoute>,
    ask: &Ask,
    who: Option<&Profile>,
) -> Result<Required, Forbidden> {
    let mut passed_over = false;
    let mut chosen = None;
    for rule in route.rules.iter().filter(|rule| covers(rule, ask)) {
        match fits(rule, who) {
            Fit::Yes => {
                chosen = Some(rule);
                break;
            }
            Fit::No => passed_over = true,
        }
    }
    let base = match chosen {
        Some(rule) => Required {
            policy: of_kind(rule, ask),
            max_age: rule.max_age,
            source: Source::Rule(rule.line),
        },
        None if passed_over && who.is_some() => return Err(Forbidden::NotAdmitted),
        // A tenant of open mode has no rule that guards it.
        None if !route.guarded && !passed_over => Required {
            policy: Policy::Open,
            max_age: None,
            source: Source::Default,
        },
        None => Required {
            policy: Policy::TwoFactor,
            max_age: None,
            source: Source::Default,
        },
    };
    Ok(tightened(base, route, path, ask))
}

/// Whether the rule speaks of this request, whoever makes it.
fn covers(rule: &Rule, ask: &Ask) -> bool {
    let host = rule.hosts.is_empty() || rule.hosts.iter().any(|it| it.matches(&ask.host));
    let path = rule.paths.is_empty()
        || match &ask.path {
            Decided::Plain(path) => rule.paths.iter().any(|it| it.matches(path)),
            // Refused before; and were it not, no rule for a path speaks of an ambiguous one.
            Decided::Ambiguous => false,
        };
    let method = rule.methods.is_empty() || rule.methods.iter().any(|it| it == ask.method.as_str());
    let client = ask.client.to_canonical();
    let network = rule.networks.is_empty() || rule.networks.iter().any(|it| it.contains(&client));
    host && path && method && network
}

enum Fit {
    Yes,
    No,
}

fn fits(rule: &Rule, who: Option<&Profile>) -> Fit {
    if rule.users.is_empty() && rule.groups.is_empty() {
        return Fit::Yes;
    }
    let Some(who) = who else {
        // Could be theirs: they sign in, and are judged again. An open rule for some users
        // cannot apply to nobody.
        return if rule.policy == Policy::Open {
            Fit::No
        } else {
            Fit::Yes
        };
    };
    let named = rule.users.contains(&who.name);
    let member = |group: &UserName| who.groups.contains(group);
    if named || rule.groups.iter().any(member) {
        Fit::Yes
    } else {
        Fit::No
    }
}

fn of_kind(rule: &Rule, ask: &Ask) -> Policy {
    let apart = if ask.kind.is_socket() {
        rule.sockets
    } else {
        rule.pages
    };
    apart.unwrap_or(rule.policy)
}

fn tightened(
    mut needs: Required,
    route: &HostRoute,
    path: Option<&PathRoute>,
    ask: &Ask,
) -> Required {
    if let Some(policy) = route.settings.policy.filter(|it| *it > needs.policy) {
        (needs.policy, needs.source) = (policy, Source::Tenant);
    }
    let Some(labels) = path.map(|it| &it.tighten) else {
        return needs;
    };
    let apart = if ask.kind.is_socket() {
        labels.sockets
    } else {
        labels.pages
    };
    for policy in [labels.policy, apart].into_iter().flatten() {
        if policy > needs.policy {
            (needs.policy, needs.source) = (policy, Source::Label);
        }
    }
    if let Some(age) = labels.max_age
        && needs.max_age.is_none_or(|it| age < it)
    {
        needs.max_age = Some(age);
    }
    needs
}
