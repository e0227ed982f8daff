//! Accounts, sessions, tickets, used codes, limits, keys and claims, by verbs.
//!
//! A [`Store`] is synchronous and used by one thread at a time; [`StoreHandle`] puts it on a
//! bounded thread of its own for the rest of the house. Every change appends to the `changes`
//! table in the same transaction, so that other processes on the same store (the command
//! line, another gateway) can be followed.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    name::{GroupName, HostName, TenantId, UserId, UserName},
    secret,
    telemetry::audit::Event,
};

pub mod credential;
pub mod failpoint;
pub mod handle;
pub mod key;
pub mod poke;
pub mod sqlite;

pub use credential::{CeremonyRecord, CredentialKind, CredentialRecord, Removed};
pub use handle::StoreHandle;
pub use key::open_sealing_key;

/// How long a freed host name rests before another owner may have it.
pub const CLAIM_REST: Duration = Duration::from_hours(30 * 24);

/// When a host name was freed that need not rest. No moment of today's: a gateway whose clock is
/// behind the command's would let it rest until it has caught up.
pub const FREED_AT_ONCE: Timestamp = Timestamp(0);

/// How long an audit event is kept.
pub const AUDIT_KEPT: Duration = Duration::from_hours(180 * 24);

/// How long it is kept at the least, counted back from the newest, whatever the clock says.
pub const AUDIT_LEAST: Duration = Duration::from_hours(30 * 24);

/// SHA-256 of an id that grants something: how such ids are stored.
pub type Digest = [u8; 32];

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// That name, host or id is taken.
    #[error("already there")]
    Conflict,
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// Too much is waiting for the store.
    #[error("the store is busy")]
    Busy,
    /// The database failed.
    #[error("the store failed")]
    Database(#[from] rusqlite::Error),
    /// The file cannot be used: two hosts on one file, a newer schema, a key that does not fit.
    #[error("{0}")]
    Unusable(String),
}

/// A person.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// Immutable.
    pub id: UserId,
    /// Unique without regard to case.
    pub name: UserName,
    /// May be empty.
    pub email: String,
    /// The name in full; may be empty.
    pub display_name: String,
    /// In the order given.
    pub groups: Vec<GroupName>,
    /// May not sign in.
    pub disabled: bool,
    /// argon2id, PHC string. `None`: no password yet.
    pub password_hash: Option<String>,
    /// The TOTP secret, sealed for purpose `totp` with the user id as context. `None`: not enrolled.
    pub totp_sealed: Option<Vec<u8>>,
    /// The last time step that was used; none up to it works again.
    pub totp_last_step: i64,
    /// How many keys and passkeys they have; kept apart, and not written with the user.
    pub keys: u32,
    /// When it was made.
    pub created: Timestamp,
}

impl UserRecord {
    /// Whether anything is asked after the password.
    pub fn has_second_factor(&self) -> bool {
        self.totp_sealed.is_some() || self.keys > 0
    }

    /// All that they sign in with, as one value. A login that was judged by one does not begin
    /// under another: it would outlive the end of all sessions that the change came with.
    pub fn credentials(&self) -> Digest {
        let (password, totp) = (&self.password_hash, &self.totp_sealed);
        secret::digest(&format!("{password:?} {totp:?} {}", self.keys))
    }
}

/// One change of a user.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// Name in full, e-mail, groups.
    Profile {
        /// E-mail.
        email: String,
        /// The name in full.
        display_name: String,
        /// Groups.
        groups: Vec<GroupName>,
    },
    /// A new password hash.
    Password(Option<String>),
    /// A new sealed TOTP secret; resets the last used step to the given one.
    Totp(Option<Vec<u8>>, i64),
    /// No key and no passkey any more.
    NoKeys,
    /// Barred or not.
    Disabled(bool),
}

/// A one-time link that sets up an account or sets a new password.
#[derive(Debug, Clone)]
pub struct LinkRecord {
    /// For whom.
    pub user: UserId,
    /// Until when.
    pub expires: Timestamp,
    /// Whether TOTP is enrolled on the way too (it is kept when `false`).
    pub enrol_totp: bool,
}

/// A login and all that it may still do.
#[derive(Debug, Clone)]
pub struct SessionRecord {
    /// SHA-256 of the `sid`.
    pub sid: Digest,
    /// Whose.
    pub user: UserId,
    /// SHA-256 of the device id that the portal gave the browser.
    pub device: Digest,
    /// The factors used (RFC 8176: `pwd`, `otp`, `hwk`, `mfa`).
    pub amr: Vec<String>,
    /// 1 one factor, 2 two, 3 a hardware key among them.
    pub level: u8,
    /// Raised by each step-up.
    pub generation: u32,
    /// When the (last) factor was given.
    pub auth_time: Timestamp,
    /// When the session began.
    pub created: Timestamp,
    /// Ends it when nobody uses it until then.
    pub idle_expires: Timestamp,
    /// Ends it whatever happens.
    pub login_exp: Timestamp,
    /// Last use seen, to some seconds.
    pub last_used: Timestamp,
    /// Where from, for the account page.
    pub address: String,
    /// The browser's own word for itself, cut to 200 bytes.
    pub agent: String,
    /// `Some`: confined to this host (made by the login API of a tenant): no tickets, no account pages.
    pub confined_to: Option<HostName>,
    /// A tombstone: why and when it ended.
    pub ended: Option<(String, Timestamp)>,
    /// The hosts it was granted to.
    pub grants: Vec<GrantRecord>,
}

/// One host that a login reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The host.
    pub host: HostName,
    /// The tenant it then was.
    pub tenant: TenantId,
    /// Ended alone, by the tenant's own log-out.
    pub ended: bool,
}

/// A sign-in on its way from the portal to a tenant's host.
#[derive(Debug, Clone)]
pub struct TicketRecord {
    /// The login it is a part of.
    pub sid: Digest,
    /// For this host only.
    pub host: HostName,
    /// And this tenant.
    pub tenant: TenantId,
    /// base64url of SHA-256 of the verifier in the browser's attempt cookie.
    pub challenge: String,
    /// 30 s from when it was made.
    pub expires: Timestamp,
}

/// What signs tokens.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// `kid`.
    pub id: String,
    /// `session`, `access` or `assertion`.
    pub kind: String,
    /// Sealed for purpose `key`, context the `kid`.
    pub sealed: Vec<u8>,
    /// When it was made; the newest signs.
    pub created: Timestamp,
    /// No longer verifies after.
    pub retires: Option<Timestamp>,
}

/// Who owns a host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRecord {
    /// The host (or wildcard or regex text) as routed.
    pub host: String,
    /// Random, never reused.
    pub tenant: TenantId,
    /// `project:<name>`, `service:<project>/<name>`, `container:<name>`, `file`.
    pub owner: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether another owner had it before.
    pub changed_hands: bool,
    /// `Some`: released then; rests 30 days for other owners under the root.
    pub released: Option<Timestamp>,
}

impl ClaimRecord {
    /// When it has rested, if it was released: then another owner may have it.
    pub fn rested(&self) -> Option<Timestamp> {
        Some(self.released?.plus(CLAIM_REST))
    }
}

/// Which audit events.
#[derive(Debug, Clone)]
pub struct AuditFilter {
    /// Those about this account.
    pub user: Option<UserId>,
    /// From then on.
    pub since: Timestamp,
    /// The newest so many.
    pub most: usize,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self {
            user: None,
            since: Timestamp(0),
            most: usize::MAX,
        }
    }
}

/// Work on a store, as a part of a whole.
pub type Work<'a> = dyn FnMut(&mut dyn Store) -> Result<(), StoreError> + 'a;

/// Does all of `work` in one transaction, or nothing of it where it fails: what an account is
/// changed by and the audit event that tells of it, or a look and the act that rests on it.
/// `verb` names its failpoints. One inside another is a part of it.
pub fn together<T>(
    store: &mut dyn Store,
    verb: &str,
    work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let (mut work, mut done) = (Some(work), None);
    store.atomically(verb, &mut |store| {
        if let Some(work) = work.take() {
            done = Some(work(store)?);
        }
        Ok(())
    })?;
    done.ok_or(StoreError::Busy)
}

/// What changed, for who follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A session began, was extended, raised, granted or ended: read it again.
    Session(Digest),
    /// A user changed: read again, and look at their sessions.
    User(UserId),
    /// Claims changed.
    Claims,
    /// Keys changed.
    Keys,
}

/// The house's memory.
pub trait Store: Send {
    /// Adds a user; [`StoreError::Conflict`] when the name is taken.
    fn add_user(&mut self, user: &UserRecord) -> Result<(), StoreError>;
    /// By name, in any case.
    fn user_by_name(&mut self, name: &UserName) -> Result<Option<UserRecord>, StoreError>;
    /// By id.
    fn user(&mut self, id: &UserId) -> Result<Option<UserRecord>, StoreError>;
    /// All, by name.
    fn users(&mut self) -> Result<Vec<UserRecord>, StoreError>;
    /// Changes one.
    fn change_user(&mut self, id: &UserId, change: &UserChange) -> Result<(), StoreError>;
    /// Makes all `changes` of a user and ends all their sessions, in one transaction: a new
    /// password, factor, role or ban leaves nothing standing that the old one opened. How
    /// many sessions ended.
    fn change_credentials(
        &mut self,
        id: &UserId,
        changes: &[UserChange],
        reason: &str,
        now: Timestamp,
    ) -> Result<usize, StoreError>;
    /// Replaces the hash only if it still is `old` (rehash at login loses no newer password).
    fn rehash(&mut self, id: &UserId, old: &str, new: &str) -> Result<(), StoreError>;
    /// Removes a user, ends their sessions.
    fn remove_user(&mut self, id: &UserId, now: Timestamp) -> Result<(), StoreError>;
    /// Uses up a TOTP time step: `true` once, and only if it is later than every one used before.
    fn take_totp_step(&mut self, id: &UserId, step: i64) -> Result<bool, StoreError>;

    /// Adds a key or a passkey; [`StoreError::Conflict`] when its id is anybody's already,
    /// [`StoreError::NotFound`] when its user is gone.
    fn add_credential(&mut self, credential: &CredentialRecord) -> Result<(), StoreError>;
    /// Those of a user, the oldest first.
    fn credentials(&mut self, user: &UserId) -> Result<Vec<CredentialRecord>, StoreError>;
    /// By its own id, whoever's it is.
    fn credential(&mut self, id: &[u8]) -> Result<Option<CredentialRecord>, StoreError>;
    /// Renames one. `false`: the user has none such.
    fn rename_credential(
        &mut self,
        user: &UserId,
        id: &[u8],
        name: &str,
    ) -> Result<bool, StoreError>;
    /// Notes a use. `false`, and nothing noted: the counter is not above the one stored (both
    /// 0 is no counter at all), as with a copy, or one answer sent twice.
    fn touch_credential(
        &mut self,
        id: &[u8],
        counter: u32,
        backed_up: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Removes one, unless it is the user's last second factor.
    fn remove_credential(&mut self, user: &UserId, id: &[u8]) -> Result<Removed, StoreError>;
    /// Removes TOTP, unless it is the user's last second factor.
    fn remove_totp(&mut self, user: &UserId) -> Result<Removed, StoreError>;
    /// Keeps a ceremony under the digest of its challenge.
    fn put_ceremony(&mut self, id: &Digest, record: &CeremonyRecord) -> Result<(), StoreError>;
    /// Uses a ceremony up, by the first attempt, right or wrong; gives it if it is for this
    /// purpose and binding, and in time.
    fn take_ceremony(
        &mut self,
        id: &Digest,
        purpose: &str,
        binding: &Digest,
        now: Timestamp,
    ) -> Result<Option<CeremonyRecord>, StoreError>;

    /// Keeps a one-time link; earlier ones of the same user are gone.
    fn put_link(&mut self, link: &Digest, record: &LinkRecord) -> Result<(), StoreError>;
    /// Looks at a link that still works.
    fn link(&mut self, link: &Digest, now: Timestamp) -> Result<Option<LinkRecord>, StoreError>;
    /// In one transaction: uses up the link, sets the password and (if given) TOTP with its
    /// used step, ends every session of the user. `false`: the link no longer worked.
    fn complete_setup(
        &mut self,
        link: &Digest,
        password_hash: &str,
        totp: Option<(&[u8], i64)>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Puts recovery codes (their digests) in the place of all that a user had.
    fn put_recovery_codes(&mut self, user: &UserId, codes: &[Digest]) -> Result<(), StoreError>;
    /// Uses up a recovery code: how many are left; `None`: it is not there, or no longer.
    fn take_recovery_code(
        &mut self,
        user: &UserId,
        code: &Digest,
    ) -> Result<Option<u32>, StoreError>;
    /// How many recovery codes a user has.
    fn recovery_codes_left(&mut self, user: &UserId) -> Result<u32, StoreError>;

    /// Keeps something that a user is to be told at the next sign-in; once for each `what`.
    fn put_notice(&mut self, user: &UserId, what: &str, at: Timestamp) -> Result<(), StoreError>;
    /// What a user is to be told, oldest first.
    fn notices(&mut self, user: &UserId) -> Result<Vec<(String, Timestamp)>, StoreError>;
    /// They have been told.
    fn clear_notices(&mut self, user: &UserId) -> Result<(), StoreError>;

    /// Counts a failure under `key` and gives the count within `window_secs`.
    fn count_failure(
        &mut self,
        key: &str,
        now: Timestamp,
        window_secs: i64,
    ) -> Result<u32, StoreError>;
    /// The count within `window_secs`, and when its window ends.
    fn failures(
        &mut self,
        key: &str,
        now: Timestamp,
        window_secs: i64,
    ) -> Result<(u32, Timestamp), StoreError>;
    /// All that are counted now: key, count, and when the window ends.
    fn all_failures(&mut self, now: Timestamp)
    -> Result<Vec<(String, u32, Timestamp)>, StoreError>;
    /// Forgets them.
    fn clear_failures(&mut self, key: &str) -> Result<(), StoreError>;

    /// Keeps a new session; [`StoreError::NotFound`] when its user is gone or disabled by now.
    fn begin_session(&mut self, session: &SessionRecord) -> Result<(), StoreError>;
    /// One session, tombstones included.
    fn session(&mut self, sid: &Digest) -> Result<Option<SessionRecord>, StoreError>;
    /// All that have not ended.
    fn live_sessions(&mut self, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError>;
    /// Extends by use. `false`: it has ended, and stays so.
    fn extend_session(
        &mut self,
        sid: &Digest,
        idle_expires: Timestamp,
        last_used: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Extends several, in one transaction: `(sid, idle_expires, last_used)` each. Those that
    /// have ended are given back, and stay so.
    fn extend_sessions(
        &mut self,
        uses: &[(Digest, Timestamp, Timestamp)],
    ) -> Result<Vec<Digest>, StoreError>;
    /// A step-up: this level, with these factors, given at `auth_time`; raises the generation.
    /// `false`: it has ended, and stays so, or it has more than that.
    fn raise_session(
        &mut self,
        sid: &Digest,
        level: u8,
        amr: &[String],
        auth_time: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Grants a host directly (the login API of a tenant). `false`: it has ended.
    fn grant(
        &mut self,
        sid: &Digest,
        host: &HostName,
        tenant: &TenantId,
    ) -> Result<bool, StoreError>;
    /// Ends one host's part of a session.
    fn end_grant(&mut self, sid: &Digest, host: &HostName) -> Result<(), StoreError>;
    /// Ends a session: a tombstone, kept to `login_exp` + 1 h. `false`: it had ended before.
    fn end_session(
        &mut self,
        sid: &Digest,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Ends all sessions of a user but `except`; how many.
    fn end_user_sessions(
        &mut self,
        user: &UserId,
        reason: &str,
        except: Option<&Digest>,
        now: Timestamp,
    ) -> Result<usize, StoreError>;
    /// Ends every session there is; how many.
    fn end_all_sessions(&mut self, reason: &str, now: Timestamp) -> Result<usize, StoreError>;

    /// Keeps a ticket.
    fn put_ticket(&mut self, ticket: &Digest, record: &TicketRecord) -> Result<(), StoreError>;
    /// In one transaction: uses up the ticket if host, tenant and challenge match, it is in
    /// time and its session lives; records the grant. The session, or `None`. A ticket is
    /// used up by the first attempt, right or wrong.
    fn claim_ticket(
        &mut self,
        ticket: &Digest,
        host: &HostName,
        tenant: &TenantId,
        challenge: &str,
        now: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError>;

    /// The keys of all kinds.
    fn keys(&mut self) -> Result<Vec<KeyRecord>, StoreError>;
    /// Adds one.
    fn add_key(&mut self, key: &KeyRecord) -> Result<(), StoreError>;
    /// Lets one verify until `at` and no longer; [`StoreError::NotFound`] when it is not there.
    fn retire_key(&mut self, id: &str, at: Timestamp) -> Result<(), StoreError>;

    /// All claims.
    fn claims(&mut self) -> Result<Vec<ClaimRecord>, StoreError>;
    /// Claims `host` for `owner`, or gives back whose it is: compare the `owner` of the answer.
    fn claim(&mut self, host: &str, owner: &str, now: Timestamp)
    -> Result<ClaimRecord, StoreError>;
    /// Frees a host from `now` on: 30 days later another owner may have it, with a new tenant
    /// id. Who may let it go at once (an admin) says [`FREED_AT_ONCE`]. Its former owner may
    /// have it again at any time.
    fn release_claim(&mut self, host: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Runs `work` as one transaction; see [`together`].
    fn atomically(&mut self, verb: &str, work: &mut Work<'_>) -> Result<(), StoreError>;
    /// Adds an audit event. None is ever changed; each is kept for [`AUDIT_KEPT`].
    fn append_audit(&mut self, event: &Event) -> Result<(), StoreError>;
    /// Audit events, oldest first.
    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<Event>, StoreError>;

    /// A small value that belongs to the store: `incarnation`, the key's check value.
    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Sets a note.
    fn set_note(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError>;

    /// What changed after `seq`, oldest first, each with its number. Who comes so late that
    /// some of it was thrown away is told of everything there is, under the last number.
    fn changes_since(&mut self, seq: i64) -> Result<Vec<(i64, Change)>, StoreError>;
    /// The last number given.
    fn last_change(&mut self) -> Result<i64, StoreError>;
    /// Throws away what no longer matters: old tombstones, tickets, links, failures, changes;
    /// and says that this host uses the store. Called every 15 s or so by a gateway.
    fn sweep(&mut self, now: Timestamp) -> Result<(), StoreError>;
}
