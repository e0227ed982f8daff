//! Sealed notes that a browser carries: its device id, a half-done login, the tenant last met.

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{ATTEMPT_LIFE, BadAttempt, Signin, cookie, is_in_time};
use crate::{
    clock::Timestamp,
    name::{HostName, TenantId, UserId, UserName},
    random, secret,
    store::Digest,
};

const DEVICE_PURPOSE: &str = "device";
const HALF_PURPOSE: &str = "half-login";
const MET_PURPOSE: &str = "tenant-met";
const NAME_PURPOSE: &str = "name";

/// How many users a device is remembered to have signed in.
const USERS: usize = 8;

/// A browser as the portal knows it: an opaque random id, and who has signed in there before
/// (they are exempt from the slow-down of wrong passwords).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    id: String,
    users: Vec<UserId>,
}

impl Device {
    fn fresh() -> Self {
        Self {
            id: random::ticket(),
            users: Vec::new(),
        }
    }

    /// How it stands in sessions and tokens.
    pub fn digest(&self) -> Digest {
        secret::digest(&self.id)
    }

    /// Whether `user` has signed in here before.
    pub fn knows(&self, user: &UserId) -> bool {
        self.users.contains(user)
    }

    /// Who has signed in here, the last one first.
    pub fn users(&self) -> &[UserId] {
        &self.users
    }

    /// Notes that `user` has signed in, with all factors.
    pub fn remember(&mut self, user: &UserId) {
        self.users.retain(|it| it != user);
        self.users.insert(0, user.clone());
        self.users.truncate(USERS);
    }
}

/// A login after its first factor and before its last: an opaque ticket, never a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfLogin {
    /// Whose password was right.
    pub user: UserId,
    /// When.
    pub password_time: Timestamp,
    /// On which device (its digest): the second factor must come from the same.
    pub device: Digest,
    /// The factors so far.
    pub amr: Vec<String>,
    /// The page of ours that asked for it, to go back to.
    pub back: Option<String>,
    /// SHA-256 of the password hash that was right: a changed password ends half-done logins.
    pub password: Digest,
    /// A step-up: the login (its digest) that the next factor raises, instead of a new one.
    #[serde(default)]
    pub raises: Option<Digest>,
    /// Only a piece of hardware will do.
    #[serde(default)]
    pub hardware: bool,
}

impl HalfLogin {
    /// What a challenge that it led to is bound to: this one and no other.
    pub fn binding(&self) -> Digest {
        secret::digest(&format!("{self:?}"))
    }
}

#[derive(Serialize, Deserialize)]
struct SealedHalf {
    h: String,
    l: HalfLogin,
}

/// What a browser last met on a host.
#[derive(Debug, Clone)]
pub struct Met {
    /// The tenant has changed since: answer with `Clear-Site-Data`.
    pub clear: bool,
    /// The new note, where it is not what the browser already carries.
    pub set_cookie: Option<HeaderValue>,
}

impl Signin {
    /// The browser's device id; a fresh one when it carries none that we can read.
    pub fn device(&self, others: &[(String, String)]) -> Device {
        self.known_device(others).unwrap_or_else(Device::fresh)
    }

    /// The browser's device id, if it carries one.
    pub fn known_device(&self, others: &[(String, String)]) -> Option<Device> {
        let sealed = cookie::only(others, cookie::DEVICE)?;
        self.unseal(DEVICE_PURPOSE, "", sealed).ok()
    }

    /// The portal's cookie for a device.
    pub fn device_cookie(&self, device: &Device) -> HeaderValue {
        cookie::device(&self.seal(DEVICE_PURPOSE, "", device))
    }

    /// The portal's cookie with the name that this browser begins with, for who asked for it.
    /// Sealed: who looks over somebody's shoulder at their cookies learns no name, and nobody
    /// else can put one there.
    pub fn name_cookie(&self, name: &UserName) -> HeaderValue {
        cookie::name(&self.seal(NAME_PURPOSE, "", &name.as_str()))
    }

    /// That name.
    pub fn remembered_name(&self, others: &[(String, String)]) -> Option<UserName> {
        let sealed = cookie::only(others, cookie::NAME)?;
        let name: String = self.unseal(NAME_PURPOSE, "", sealed).ok()?;
        UserName::parse(&name).ok()
    }

    /// A half-done login on `host`, for a hidden field, a cookie or the API's `ticket`.
    pub fn half_login(&self, half: &HalfLogin, host: &HostName) -> String {
        self.seal(
            HALF_PURPOSE,
            "",
            &SealedHalf {
                h: host.as_str().to_owned(),
                l: half.clone(),
            },
        )
    }

    /// Reads a half-done login: only on the host where it began, only for ten minutes.
    pub fn open_half_login(
        &self,
        sealed: &str,
        host: &HostName,
        now: Timestamp,
    ) -> Result<HalfLogin, BadAttempt> {
        let SealedHalf { h, l } = self.unseal(HALF_PURPOSE, "", sealed)?;
        if h != host.as_str() {
            return Err(BadAttempt::Elsewhere);
        }
        if !is_in_time(l.password_time, ATTEMPT_LIFE, now) {
            return Err(BadAttempt::Expired);
        }
        Ok(l)
    }

    /// Compares the tenant of a host with the one that the browser last met there. Without a
    /// note it counts as changed where the host has ever changed hands. For the callback and
    /// every 302 and 401 of ours on a tenant's host.
    pub fn meet(
        &self,
        others: &[(String, String)],
        host: &HostName,
        tenant: &TenantId,
        changed_hands: bool,
    ) -> Met {
        let last: Option<TenantId> = cookie::only(others, cookie::TENANT)
            .and_then(|it| self.unseal(MET_PURPOSE, host.as_str(), it).ok());
        if last.as_ref() == Some(tenant) {
            return Met {
                clear: false,
                set_cookie: None,
            };
        }
        let sealed = self.seal(MET_PURPOSE, host.as_str(), tenant);
        Met {
            clear: last.is_some() || changed_hands,
            set_cookie: Some(cookie::tenant(&sealed)),
        }
    }
}
