//! `portcullis user`: accounts.

use std::{
    io::{self, Read as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Outcome, desk::Desk, print, stop};
use crate::{
    account::{
        self, bans,
        upkeep::{self, Particulars},
    },
    name::{GroupName, UserName},
    secret::Secret,
    store::{Store as _, StoreError, UserRecord, open_sealing_key},
};

/// `portcullis user`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add somebody. Without a password, prints a one-time link on which they choose one.
    Add {
        /// The user name.
        #[arg(value_parser = UserName::parse)]
        name: UserName,
        /// Read the password from standard input.
        #[arg(long)]
        password_stdin: bool,
        /// What is known of them.
        #[command(flatten)]
        particulars: ParticularsArgs,
    },
    /// Show everybody.
    List,
    /// Show one.
    Show(NameArg),
    /// Change e-mail, full name or groups. Whose groups change is signed out.
    Set {
        /// The user name.
        #[arg(value_parser = UserName::parse)]
        name: UserName,
        /// What changes; what is not given stays.
        #[command(flatten)]
        particulars: ParticularsArgs,
    },
    /// Bar somebody, and end all their sessions.
    Disable(NameArg),
    /// Let somebody in again.
    Enable(NameArg),
    /// Remove somebody, and end all their sessions.
    Remove(NameArg),
    /// Set a password, or print a one-time link on which they choose one.
    Password {
        /// The user name.
        #[arg(value_parser = UserName::parse)]
        name: UserName,
        /// Read the password from standard input; ends all their sessions.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Print a one-time link on which they choose a password and enrol a second factor.
    Invite(NameArg),
    /// Take all second factors away, end all sessions, and print a one-time link.
    ResetFactors(NameArg),
    /// Show whose sign-ins are held off, or lift that.
    Bans {
        /// Only this user's.
        #[arg(long, value_name = "NAME", value_parser = UserName::parse)]
        user: Option<UserName>,
        /// Lift them: all, or this user's.
        #[arg(long)]
        lift: bool,
    },
    /// Take in a key that was registered for U2F, with this portal's address as its `appid`.
    ImportU2f {
        /// Whose.
        #[command(flatten)]
        who: NameArg,
        /// The key handle, in base64url.
        #[arg(long, value_name = "BASE64URL")]
        key_handle: String,
        /// The public key: the uncompressed point of 65 bytes, in base64url.
        #[arg(long, value_name = "BASE64URL")]
        public_key: String,
        /// What to call it.
        #[arg(long = "name", value_name = "NAME", default_value = "")]
        label: String,
    },
    /// Give somebody a new TOTP secret, and print its `otpauth://` URI.
    EnrolTotp(NameArg),
}

/// Who.
#[derive(Debug, Args)]
pub struct NameArg {
    /// The user name.
    #[arg(value_parser = UserName::parse)]
    pub name: UserName,
}

/// What is known of somebody.
#[derive(Debug, Args)]
pub struct ParticularsArgs {
    /// E-mail address.
    #[arg(long)]
    pub email: Option<String>,
    /// Full name.
    #[arg(long = "name", value_name = "FULL NAME")]
    pub display_name: Option<String>,
    /// Groups, separated by commas.
    #[arg(long)]
    pub groups: Option<String>,
}

impl ParticularsArgs {
    /// What was given, over what there is.
    fn over(self, old: Particulars) -> anyhow::Result<Particulars> {
        let groups = match self.groups {
            None => old.groups,
            Some(text) => parse_groups(&text)?,
        };
        let new = Particulars {
            email: self.email.unwrap_or(old.email),
            display_name: self.display_name.unwrap_or(old.display_name),
            groups,
        };
        match new.check() {
            Ok(()) => Ok(new),
            Err(error) => Err(stop(Outcome::BadUsage, error.to_string())),
        }
    }
}

fn parse_groups(text: &str) -> anyhow::Result<Vec<GroupName>> {
    let mut groups = Vec::new();
    for name in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let group = GroupName::parse(name)
            .map_err(|it| stop(Outcome::BadUsage, format!("group {name:?}: {it}")))?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(groups)
}

pub(super) fn run(file: &Path, json: bool, command: UserCommand) -> anyhow::Result<Outcome> {
    let mut desk = Desk::open(file)?;
    let desk = &mut desk;
    match command {
        UserCommand::Add {
            name,
            password_stdin,
            particulars,
        } => {
            let particulars = particulars.over(Particulars::default())?;
            add(desk, &name, particulars, password_stdin)
        }
        UserCommand::List => list(desk, json),
        UserCommand::Show(NameArg { name }) => show(desk, &name, json),
        UserCommand::Set { name, particulars } => set(desk, &name, particulars),
        UserCommand::Disable(NameArg { name }) => {
            let (user, now) = (desk.user(&name)?, desk.now());
            let count = upkeep::disable(&mut desk.store, &user.id, now)?;
            desk.confirm(&format!("disabled {}, ended {count} sessions", user.name))
        }
        UserCommand::Enable(NameArg { name }) => {
            let (user, now) = (desk.user(&name)?, desk.now());
            upkeep::enable(&mut desk.store, &user, now)?;
            desk.confirm(&format!("enabled {}", user.name))
        }
        UserCommand::Remove(NameArg { name }) => {
            let (user, now) = (desk.user(&name)?, desk.now());
            upkeep::remove(&mut desk.store, &user, now)?;
            desk.confirm(&format!("removed {}", user.name))
        }
        UserCommand::Password {
            name,
            password_stdin,
        } => password(desk, &name, password_stdin),
        UserCommand::Invite(NameArg { name }) => {
            let user = desk.user(&name)?;
            print_link(desk, &user, true)
        }
        UserCommand::ResetFactors(NameArg { name }) => reset_factors(desk, &name),
        UserCommand::Bans { user, lift: true } => lift_bans(desk, user.as_ref()),
        UserCommand::Bans { user, lift: false } => bans(desk, user.as_ref(), json),
        UserCommand::EnrolTotp(NameArg { name }) => enrol_totp(desk, &name),
        UserCommand::ImportU2f {
            who: NameArg { name },
            key_handle,
            public_key,
            label,
        } => import_u2f(desk, &name, &label, &key_handle, &public_key),
    }
}

fn add(
    desk: &mut Desk,
    name: &UserName,
    particulars: Particulars,
    password_stdin: bool,
) -> anyhow::Result<Outcome> {
    let now = desk.now();
    let taken = |error| {
        if matches!(error, StoreError::Conflict) {
            stop(Outcome::Failed, format!("there is a user {name} already"))
        } else {
            error.into()
        }
    };
    if !password_stdin {
        portal(desk)?;
        let user = upkeep::add(&mut desk.store, name, particulars, now).map_err(taken)?;
        return print_link(desk, &user, true);
    }
    let password = read_password()?;
    let rules = &desk.config.login;
    upkeep::add_with_password(&mut desk.store, rules, name, particulars, &password, now)
        .map_err(taken)?
        .map_err(|weak| stop(Outcome::BadUsage, weak.to_string()))?;
    desk.confirm(&format!("added {name}"))
}

fn set(desk: &mut Desk, name: &UserName, args: ParticularsArgs) -> anyhow::Result<Outcome> {
    let (user, now) = (desk.user(name)?, desk.now());
    let particulars = args.over(Particulars {
        email: user.email.clone(),
        display_name: user.display_name.clone(),
        groups: user.groups.clone(),
    })?;
    let count = upkeep::set(&mut desk.store, &user, particulars, now)?;
    desk.confirm(&match count {
        0 => format!("changed {}", user.name),
        _ => format!("changed {}, ended {count} sessions", user.name),
    })
}

fn password(desk: &mut Desk, name: &UserName, password_stdin: bool) -> anyhow::Result<Outcome> {
    let (user, now) = (desk.user(name)?, desk.now());
    if !password_stdin {
        let enrol_totp = !user.has_second_factor();
        return print_link(desk, &user, enrol_totp);
    }
    let password = read_password()?;
    let rules = &desk.config.login;
    let count = upkeep::set_password(&mut desk.store, rules, &user, &password, now)?
        .map_err(|weak| stop(Outcome::BadUsage, weak.to_string()))?;
    desk.confirm(&format!(
        "changed the password of {}, ended {count} sessions",
        user.name
    ))
}

fn reset_factors(desk: &mut Desk, name: &UserName) -> anyhow::Result<Outcome> {
    portal(desk)?;
    let (user, now) = (desk.user(name)?, desk.now());
    let count = upkeep::reset_factors(&mut desk.store, &user.id, now)?;
    let done = format!("reset the factors of {}, ended {count} sessions", user.name);
    let outcome = desk.confirm(&done)?;
    print_link(desk, &user, true)?;
    Ok(outcome)
}

fn enrol_totp(desk: &mut Desk, name: &UserName) -> anyhow::Result<Outcome> {
    let (user, now) = (desk.user(name)?, desk.now());
    let key = open_sealing_key(&desk.config.store, &mut desk.store)?;
    let issuer = account::issuer(&desk.config);
    let new = upkeep::enrol_totp(&mut desk.store, &key, &issuer, &user, now)?;
    print::say(&new.uri);
    desk.confirm_quietly(&format!("enrolled TOTP for {}", user.name))
}

fn import_u2f(
    desk: &mut Desk,
    name: &UserName,
    label: &str,
    key_handle: &str,
    public_key: &str,
) -> anyhow::Result<Outcome> {
    let (user, now) = (desk.user(name)?, desk.now());
    let bytes = |what: &str, text: &str| {
        // What other programs write: with or without padding, in either alphabet.
        let text = text.trim().trim_end_matches('=');
        let text = text.replace('+', "-").replace('/', "_");
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| stop(Outcome::BadUsage, format!("{what} is not base64url")))
    };
    let handle = bytes("--key-handle", key_handle)?;
    let point = bytes("--public-key", public_key)?;
    let key = open_sealing_key(&desk.config.store, &mut desk.store)?;
    let store = &mut desk.store;
    match upkeep::import_u2f(store, &key, &user, label, (&handle, &point), now) {
        Ok(done) => done.map_err(|not| stop(Outcome::BadUsage, not.to_string()))?,
        Err(StoreError::Conflict) => {
            return Err(stop(Outcome::Failed, "that key is registered already"));
        }
        Err(error) => return Err(error.into()),
    }
    desk.confirm(&format!("took in a U2F key for {}", user.name))
}

fn lift_bans(desk: &mut Desk, user: Option<&UserName>) -> anyhow::Result<Outcome> {
    if let Some(name) = user {
        desk.user(name)?;
    }
    let now = desk.now();
    let count = bans::lift(&mut desk.store, &desk.config.login, user, now)?;
    print::say(format_args!("lifted {count} bans"));
    Ok(Outcome::Done)
}

fn bans(desk: &mut Desk, user: Option<&UserName>, json: bool) -> anyhow::Result<Outcome> {
    if let Some(name) = user {
        desk.user(name)?;
    }
    let now = desk.now();
    let mut bans = bans::list(&mut desk.store, &desk.config.login, now)?;
    bans.retain(|it| {
        let whose = it.user.as_ref().map(|it| it.name.key());
        user.is_none_or(|user| whose == Some(user.key()))
    });
    let name = |ban: &bans::Ban| ban.user.as_ref().map(|it| it.name.to_string());
    if json {
        let bans: Vec<Value> = bans
            .iter()
            .map(|it| {
                json!({
                    "user": name(it),
                    "factor": it.factor,
                    "from": (!it.from.is_empty()).then_some(&it.from),
                    "failures": it.failures,
                    "until": print::time(it.until),
                })
            })
            .collect();
        print::say_json(&bans.into());
        return Ok(Outcome::Done);
    }
    let rows: Vec<_> = bans
        .iter()
        .map(|it| {
            vec![
                name(it).unwrap_or_else(|| "(nobody's name)".to_owned()),
                it.factor.clone(),
                it.from.clone(),
                it.failures.to_string(),
                print::time(it.until),
            ]
        })
        .collect();
    print::say_table(&["USER", "FACTOR", "FROM", "FAILURES", "UNTIL"], &rows);
    Ok(Outcome::Done)
}

/// What a one-time link begins with, or exit 2 where there is no portal to follow it to.
fn portal(desk: &Desk) -> anyhow::Result<String> {
    upkeep::portal_origin(&desk.config).ok_or_else(|| {
        stop(
            Outcome::BadUsage,
            "one-time links need a portal: set root_domain, or give --password-stdin",
        )
    })
}

/// Makes a one-time link and prints it, alone on its line.
fn print_link(desk: &mut Desk, user: &UserRecord, enrol_totp: bool) -> anyhow::Result<Outcome> {
    let origin = portal(desk)?;
    let now = desk.now();
    let rules = &desk.config.login;
    let link = upkeep::invite(&mut desk.store, rules, &user.id, enrol_totp, now)?;
    print::complain(format_args!(
        "one-time link for {}, good until {}:",
        user.name,
        print::time(now.plus(desk.config.login.invite))
    ));
    print::say(format_args!("{origin}/setup/{}", link.reveal()));
    Ok(Outcome::Done)
}

/// The first line of standard input.
fn read_password() -> anyhow::Result<Secret> {
    let mut text = zeroize::Zeroizing::new(String::new());
    io::stdin().lock().take(4096).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Secret::new(line))
}

fn factors(user: &UserRecord) -> Vec<&'static str> {
    let mut factors = Vec::new();
    if user.password_hash.is_some() {
        factors.push("password");
    }
    if user.totp_sealed.is_some() {
        factors.push("totp");
    }
    if user.keys > 0 {
        factors.push("key");
    }
    factors
}

fn groups(user: &UserRecord) -> Vec<&str> {
    user.groups.iter().map(GroupName::as_str).collect()
}

fn as_json(user: &UserRecord) -> Value {
    json!({
        "id": user.id,
        "name": user.name.as_str(),
        "email": user.email,
        "display_name": user.display_name,
        "groups": groups(user),
        "disabled": user.disabled,
        "factors": factors(user),
        "created": print::time(user.created),
    })
}

fn state(user: &UserRecord) -> &'static str {
    if user.disabled {
        "disabled"
    } else if user.password_hash.is_none() {
        "invited"
    } else {
        "active"
    }
}

fn list(desk: &mut Desk, json: bool) -> anyhow::Result<Outcome> {
    let users = desk.store.users()?;
    if json {
        print::say_json(&users.iter().map(as_json).collect());
        return Ok(Outcome::Done);
    }
    let rows: Vec<_> = users
        .iter()
        .map(|it| {
            vec![
                it.name.to_string(),
                state(it).to_owned(),
                factors(it).join("+"),
                groups(it).join(","),
                it.email.clone(),
            ]
        })
        .collect();
    print::say_table(&["NAME", "STATE", "FACTORS", "GROUPS", "E-MAIL"], &rows);
    Ok(Outcome::Done)
}

fn show(desk: &mut Desk, name: &UserName, json: bool) -> anyhow::Result<Outcome> {
    let user = desk.user(name)?;
    if json {
        print::say_json(&as_json(&user));
        return Ok(Outcome::Done);
    }
    let rows = [
        ("name", user.name.to_string()),
        ("id", user.id.to_string()),
        ("state", state(&user).to_owned()),
        ("full name", user.display_name.clone()),
        ("e-mail", user.email.clone()),
        ("groups", groups(&user).join(",")),
        ("factors", factors(&user).join("+")),
        ("since", print::time(user.created)),
    ];
    for (what, value) in rows {
        print::say(format_args!("{what:10}{value}").to_string().trim_end());
    }
    Ok(Outcome::Done)
}
