//! An authenticator app, connected from the account page, in place of any there was.

use super::{Accounts, SetupDraft, totp};
use crate::{
    secret::Secret,
    session::Ended,
    store::{Digest, StoreError, UserChange, UserRecord, together},
    telemetry::audit::{Actor, Event, What},
};

const PURPOSE: &str = "totp-draft";

/// What came of connecting an app.
#[derive(Debug)]
pub enum AppConnected {
    /// It is; so many other sessions have ended.
    Done(usize),
    /// The code is not the new app's; the same secret again.
    WrongCode(SetupDraft),
    /// What was sent is not of this session.
    Over,
}

impl Accounts {
    /// A new secret to show. Nothing is stored: it travels sealed, for this session only.
    pub fn begin_app(&self, user: &UserRecord, session: &Digest) -> SetupDraft {
        let secret = self.new_totp(&user.name).secret;
        let plain = secret.reveal().as_bytes();
        let sealed = self.key.seal_text(PURPOSE, &context(user, session), plain);
        self.app_draft(user, sealed, secret)
    }

    fn app_draft(&self, user: &UserRecord, sealed: String, secret: Secret) -> SetupDraft {
        let new = totp::describe(&self.issuer, &user.name, secret);
        SetupDraft {
            sealed,
            uri: new.uri,
            secret: new.secret,
            needs_code: true,
        }
    }

    /// Connects the app, if the code shows that it has the secret: the code is used up, every
    /// session of the user but `session` ends.
    pub async fn finish_app(
        &self,
        user: &UserRecord,
        sealed: &str,
        code: &str,
        session: Digest,
        from: &Actor,
    ) -> Result<AppConnected, StoreError> {
        let context = context(user, &session);
        let opened = self.key.open_text(PURPOSE, &context, sealed);
        let Some(secret) = opened
            .ok()
            .and_then(|it| std::str::from_utf8(&it).map(Secret::new).ok())
        else {
            return Ok(AppConnected::Over);
        };
        let now = self.clock.now();
        let Some(step) = totp::step_of(&secret, code, now) else {
            let draft = self.app_draft(user, sealed.to_owned(), secret);
            return Ok(AppConnected::WrongCode(draft));
        };
        let totp = UserChange::Totp(Some(totp::seal(&self.key, &user.id, &secret)), step);
        let event = Event::new(What::FactorAdded, now, from.clone())
            .about(&user.id, &user.name)
            .with("kind", "totp");
        let id = user.id.clone();
        self.store
            .call(move |store| {
                together(store, "add_factor", |store| {
                    store.change_user(&id, &totp)?;
                    let why = Ended::Credentials.as_str();
                    let ended = store.end_user_sessions(&id, why, Some(&session), now)?;
                    store.append_audit(&event.with_count("sessions", ended as u64))?;
                    Ok(AppConnected::Done(ended))
                })
            })
            .await
    }
}

fn context(user: &UserRecord, session: &Digest) -> Vec<u8> {
    let mut context = session.to_vec();
    context.extend_from_slice(user.id.as_str().as_bytes());
    context
}
