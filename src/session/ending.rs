//! How logins end: at once here, for good in the store.
//!
//! An end flips the cells first, where it is called, and again in the job that told the store,
//! for what began in between. What the store could not take is owed, and written later.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Cell, Ended, Profile, Sessions,
    live::{append_about_session, told},
};
use crate::{
    name::{HostName, UserId},
    store::{Change, Digest, Store, StoreError, together},
    telemetry::audit::{Actor, Event, What},
};

impl Sessions {
    /// `actor` ends a login everywhere: flips it here at once, then writes the tombstone. When the store
    /// fails it stays flipped, the tombstone is owed and written by a later
    /// [`Sessions::flush`]; the error is given. `false`: it had ended before.
    pub async fn end_by(
        self: &Arc<Self>,
        sid: &Digest,
        why: Ended,
        actor: Actor,
    ) -> Result<bool, StoreError> {
        if let Some(cell) = self.find(sid) {
            owe(&cell, why);
        }
        let (sessions, sid, now) = (Arc::clone(self), *sid, self.clock.now());
        self.store
            .call(move |store| {
                let event = told(What::SessionEnded, now, actor, &sid).with("why", why.as_str());
                let ended = together(store, "end_session", |store| {
                    let ended = store.end_session(&sid, why.as_str(), now)?;
                    if ended {
                        append_about_session(store, event, &sid)?;
                    }
                    Ok(ended)
                })?;
                if let Some(cell) = sessions.find(&sid) {
                    cell.flip(why);
                    cell.owed.store(false, Ordering::Release);
                }
                Ok(ended)
            })
            .await
    }

    /// `actor` ends all logins of a user but `except`; how many the store had.
    pub async fn end_user_by(
        self: &Arc<Self>,
        user: &UserId,
        why: Ended,
        except: Option<&Digest>,
        actor: Actor,
    ) -> Result<usize, StoreError> {
        self.flip_where(why, |it| it.user == *user && Some(&it.sid) != except);
        let (sessions, now) = (Arc::clone(self), self.clock.now());
        let (user, except) = (user.clone(), except.copied());
        self.store
            .call(move |store| {
                let event = Event::new(What::SessionsEnded, now, actor).with("why", why.as_str());
                let ended = together(store, "end_user_sessions", |store| {
                    let ended =
                        store.end_user_sessions(&user, why.as_str(), except.as_ref(), now)?;
                    if let Some(user) = store.user(&user)?.filter(|_| ended > 0) {
                        let event = event.about(&user.id, &user.name);
                        store.append_audit(&event.with_count("count", ended as u64))?;
                    }
                    Ok(ended)
                })?;
                sessions.settle_where(why, |it| it.user == user && Some(it.sid) != except);
                Ok(ended)
            })
            .await
    }

    /// As [`Sessions::end_by`], by the gateway itself.
    pub async fn end(self: &Arc<Self>, sid: &Digest, why: Ended) -> Result<bool, StoreError> {
        self.end_by(sid, why, Actor::gateway()).await
    }

    /// As [`Sessions::end_user_by`], by the gateway itself.
    pub async fn end_user(
        self: &Arc<Self>,
        user: &UserId,
        why: Ended,
        except: Option<&Digest>,
    ) -> Result<usize, StoreError> {
        self.end_user_by(user, why, except, Actor::gateway()).await
    }

    /// Ends every login there is; how many the store had.
    pub async fn end_all(self: &Arc<Self>, why: Ended) -> Result<usize, StoreError> {
        self.flip_where(why, |_| true);
        let (sessions, now) = (Arc::clone(self), self.clock.now());
        self.store
            .call(move |store| {
                let ended = store.end_all_sessions(why.as_str(), now)?;
                sessions.settle_where(why, |_| true);
                Ok(ended)
            })
            .await
    }

    /// Ends one host's part of a login.
    pub async fn end_grant(
        self: &Arc<Self>,
        sid: &Digest,
        host: &HostName,
    ) -> Result<(), StoreError> {
        if let Some(cell) = self.find(sid) {
            for grant in cell
                .standing
                .load()
                .grants
                .iter()
                .filter(|it| it.host == *host)
            {
                grant.owed.store(true, Ordering::Release);
                grant.flip(Ended::Grant);
            }
        }
        let (sessions, sid, host) = (Arc::clone(self), *sid, host.clone());
        self.store
            .call(move |store| {
                store.end_grant(&sid, &host)?;
                sessions.forgive_grant(&sid, &host);
                sessions.read(store, &sid)
            })
            .await
    }

    /// Applies what another process changed, or we ourselves: reads it again and flips what is over.
    pub async fn apply(self: &Arc<Self>, change: Change) -> Result<(), StoreError> {
        let sessions = Arc::clone(self);
        match change {
            Change::Session(sid) if self.find(&sid).is_some() => {
                self.store
                    .call(move |store| sessions.read(store, &sid))
                    .await
            }
            Change::User(id) => {
                self.store
                    .call(move |store| sessions.review_user(store, &id))
                    .await
            }
            Change::Session(_) | Change::Claims | Change::Keys => Ok(()),
        }
    }

    /// Looks at a user again, and at their logins. On the store's thread.
    fn review_user(&self, store: &mut dyn Store, id: &UserId) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(user) = store.user(id)?.filter(|it| !it.disabled) else {
            self.flip_where(Ended::Disabled, |it| it.user == *id);
            store.end_user_sessions(id, Ended::Disabled.as_str(), None, now)?;
            self.settle_where(Ended::Disabled, |it| it.user == *id);
            return Ok(());
        };
        let profile = Arc::new(Profile::of(&user));
        let theirs: Vec<_> = {
            let cells = self.cells.pin();
            cells
                .values()
                .filter(|it| it.user == *id)
                .cloned()
                .collect()
        };
        for cell in theirs {
            let old = Arc::clone(&cell.standing.load().profile);
            if !old.has_groups_of(&user) {
                owe(&cell, Ended::Credentials);
                self.write_ends(store, &cell)?;
            } else if *old != *profile {
                cell.rename(Arc::clone(&profile));
            }
            self.read(store, &cell.sid)?;
        }
        Ok(())
    }

    fn flip_where(&self, why: Ended, which: impl Fn(&Cell) -> bool) {
        for cell in self.cells.pin().values().filter(|it| which(it)) {
            owe(cell, why);
        }
    }

    /// As [`Sessions::flip_where`], once the store has the tombstones.
    fn settle_where(&self, why: Ended, which: impl Fn(&Cell) -> bool) {
        for cell in self.cells.pin().values().filter(|it| which(it)) {
            cell.flip(why);
            cell.owed.store(false, Ordering::Release);
        }
    }

    /// A grant of `host` is what the store says, whatever ended here before.
    pub(super) fn forgive_grant(&self, sid: &Digest, host: &HostName) {
        if let Some(cell) = self.find(sid) {
            for grant in cell
                .standing
                .load()
                .grants
                .iter()
                .filter(|it| it.host == *host)
            {
                grant.owed.store(false, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
impl Sessions {
    /// As when the store could not take an end.
    #[expect(clippy::unused_self, reason = "reads as the other ends do")]
    pub(crate) fn flip_for_test(&self, cell: &Cell, why: Ended) {
        owe(cell, why);
    }
}

/// Flips a cell whose tombstone the store is still to get.
pub(super) fn owe(cell: &Cell, why: Ended) {
    if cell.ended().is_none() {
        cell.owed.store(true, Ordering::Release);
        cell.flip(why);
    }
}
