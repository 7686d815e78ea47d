//! Challenges to our requests: answered and sent again, without the session or subscription noticing (RFC 3261 §8.1.3.5,
//! §22.2–3).
//!
//! The usage that sent the request keeps the transaction that it knows: [`Shared`](super::Shared) remembers which one
//! took its place.

use std::sync::Arc;

use farspeak_sansio::Flow;

use super::{Agent, Context, Owner, Pending};
use crate::dialog::DialogKey;
use crate::digest::{Answerer, GiveUp, Login};
use crate::endpoint::ClientTx;
use crate::event::Subscription;
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::session::{Done, LegId, VerbError};

/// Somebody's logins, for the dialogs that name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccountId(usize);

impl AccountId {
    /// Whose logins those of our dialogs have that name nobody's.
    pub(crate) const FIRST: Self = Self(0);
}

impl Agent<'_> {
    /// Logins with which requests of our dialogs answer challenges. Those of dialogs that others begin answer none, for who
    /// calls could challenge our BYE and guess the password at leisure; [`Self::set_account`] lets them.
    pub fn add_account(&mut self, logins: Vec<Login>) -> AccountId {
        self.core.shared.accounts.push(Answerer::new(logins));
        AccountId(self.core.shared.accounts.len() - 1)
    }

    /// Replaces an account's logins, for example after a token was renewed.
    pub fn set_logins(&mut self, account: AccountId, logins: Vec<Login>) {
        if let Some(answerer) = self.core.shared.accounts.get_mut(account.0) {
            *answerer = Answerer::new(logins);
        }
    }

    /// Lets an account's logins answer challenges in a leg, also of a call that came in: from a trunk, say, that is known
    /// by its flow.
    pub fn set_account(&mut self, leg: impl Into<LegId>, account: AccountId) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let dialog =
                session.dialog_of(leg).and_then(|key| cx.shared.dialogs.get_mut(key)).ok_or(VerbError::Gone)?;
            dialog.set_account(account);
            Ok(())
        })
    }

    /// Sends a challenged request again; `false` if the response is the application's.
    pub(super) fn answer_challenge(&mut self, tx: ClientTx, pending: &Pending, response: &Message) -> bool {
        let challenged =
            matches!(response.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED));
        let given_up = match pending.owner {
            Owner::Session(id) => self.core.sessions.get(id.0).is_none_or(|session| session.gave_up(pending.first)),
            Owner::Subscription(id) => self.core.subscriptions.get(id.0).is_none_or(Subscription::gave_up),
            Owner::Registration(id) => {
                self.core.registrations.get(id.0).is_none_or(|registration| registration.gave_up(pending.first))
            }
            Owner::Outside => false,
        };
        if !challenged || given_up {
            return false;
        }
        let is_repeated = self.split().1.repeat_with_credentials(tx, pending, response).is_ok();
        let (sessions, mut cx) = self.split();
        if let Owner::Session(id) = pending.owner
            && let Some(session) = sessions.get_mut(id.0)
            && is_repeated
        {
            session.repeated(&mut cx, pending.first);
        }
        is_repeated
    }
}

impl Context<'_> {
    /// Answers the challenge and sends the request again in a transaction of its own, with the next CSeq.
    fn repeat_with_credentials(&mut self, tx: ClientTx, pending: &Pending, response: &Message) -> Result<(), GiveUp> {
        let account = self.shared.dialogs.get(pending.dialog).and_then(|dialog| dialog.account());
        let account = account.ok_or(GiveUp::NothingToAnswer)?;
        let answerer = self.shared.accounts.get_mut(account.0).ok_or(GiveUp::NothingToAnswer)?;
        let mut attempt = pending.attempt.clone();
        answerer.challenged(&mut attempt, response)?;
        let extra = Arc::clone(&pending.extra);
        let repeated = self.request(pending.owner, pending.dialog, pending.method.clone(), extra);
        let again = repeated.ok_or(GiveUp::NothingToAnswer)?;
        if let Some(old) = self.shared.clients.get_mut(&tx) {
            old.superseded = true;
        }
        if let Some(new) = self.shared.clients.get_mut(&again) {
            new.first = pending.first;
            new.attempt = attempt;
        }
        self.shared.current.insert(pending.first, again);
        Ok(())
    }

    /// The credentials for a dialog's next request over that flow, from what its account has been challenged with. `None`
    /// if the dialog has gone.
    pub(super) fn credentials(
        &mut self,
        dialog: DialogKey,
        flow: &Flow,
        method: &Method,
    ) -> Option<Vec<(HeaderName, String)>> {
        let dialog = self.shared.dialogs.get(dialog)?;
        let Some(answerer) = dialog.account().and_then(|account| self.shared.accounts.get_mut(account.0)) else {
            return Some(Vec::new());
        };
        let mut credentials =
            answerer.authorize(&mut *self.shared.rng, &dialog.id().call_id, method, dialog.request_uri());
        credentials.retain(|(_, value)| may_travel(flow, value));
        Some(credentials)
    }
}

/// Whether credentials may be sent over a flow: tokens need encryption (RFC 8898 §2.1.2, RFC 6750 §5.3).
pub(super) fn may_travel(flow: &Flow, value: &str) -> bool {
    flow.transport.is_secure() || !value.starts_with("Bearer ")
}
