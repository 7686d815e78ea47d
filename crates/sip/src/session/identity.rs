//! Connected identity: who somebody is may change within a dialog (RFC 4916).
//!
//! The URI of From in our requests changes by [`Agent::set_identity`], which tells the peer at once; that of the peer with
//! the 2xx to a request of its. Tags, and with them the dialog's name, stay. Whether anybody vouches for an identity is
//! said by Identity or P-Asserted-Identity in the message, which the application reads.
//!
//! Deviation: RFC 4916 §4.2 has who is called send an UPDATE after every 2xx, even if it is who was called. It leaves here
//! when the application calls [`Agent::set_identity`]: most peers know already, and each call would cost one more
//! transaction.

use std::sync::Arc;

use super::{Done, LegId, Session, VerbError};
use crate::header::OptionTag;
use crate::message::{HeaderName, Message, Method, NameAddr};
use crate::user_agent::{Agent, Context, Event, Extra};

impl Agent<'_> {
    /// Says that we are `from` from now on, a From value without tag such as `"Carol" <sip:carol@example.org>`: by UPDATE if
    /// the peer takes it, else by a re-INVITE that changes nothing (RFC 4916 §4.3). [`Event::Modified`] or
    /// [`Event::ModifyFailed`] follows; the identity stays changed either way. `extra` may hold Privacy, Identity and the
    /// like.
    ///
    /// [`VerbError::Unsupported`] if the peer has not said that it supports `from-change`, [`VerbError::Malformed`] if
    /// `from` is no address or has a tag, [`VerbError::WrongState`] where neither UPDATE nor re-INVITE may leave now.
    pub fn set_identity(&mut self, leg: impl Into<LegId>, from: &str, extra: Extra) -> Done {
        let leg = leg.into();
        let address = NameAddr::parse(HeaderName::From, from).ok();
        if !address.is_some_and(|address| address.uri().is_ok() && address.tag().is_none()) {
            return Err(VerbError::Malformed);
        }
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            if !session.legs[index].peer.supports(OptionTag::FromChange) {
                return Err(VerbError::Unsupported);
            }
            let by_update = session.legs[index].peer.allows(&Method::Update);
            let may = match by_update {
                true => session.may_update(cx, index, false),
                false => session.may_reinvite(index),
            };
            if !session.is_calm(index) || !may {
                return Err(VerbError::WrongState);
            }
            let dialog = cx.shared.dialogs.get_mut(session.legs[index].dialog).ok_or(VerbError::Gone)?;
            dialog.set_local(from);
            match by_update {
                true => {
                    let attempt = session.first_attempt(index, Method::Update, Arc::new(extra.without_body()));
                    session.send_update(cx, index, attempt)
                }
                false => {
                    let extra = session.unchanged(index, extra);
                    let attempt = session.first_attempt(index, Method::Invite, Arc::new(extra));
                    session.send_reinvite(cx, index, attempt)
                }
            }
        })
    }
}

impl Agent<'_> {
    /// The application has accepted a request in some dialog.
    pub(crate) fn accept_identity_within(&mut self, request: &Message) {
        let Some(dialog) = self.core.shared.dialogs.find(request) else { return };
        let Some(leg) = self.leg_of_dialog(dialog) else { return };
        let _ = self.with_session(leg.session, |session, cx| {
            if let Some(index) = session.leg_of(dialog) {
                session.accept_identity(cx, index, request);
            }
            Ok(())
        });
    }
}

impl Session {
    /// The session description that holds, if there is one, for a re-INVITE that shall not change it.
    pub(super) fn unchanged(&mut self, index: usize, extra: Extra) -> Extra {
        let leg = &mut self.legs[index];
        match leg.description.agreed(leg.offers.completed()) {
            Some(body) => extra.body(body),
            None => extra,
        }
    }

    /// A 2xx to a request of the peer's leaves: whoever From names is the peer from now on (RFC 4916 §4.4.2).
    pub(super) fn accept_identity(&self, cx: &mut Context<'_>, index: usize, request: &Message) {
        if !cx.has_extension(OptionTag::FromChange) {
            return;
        }
        let Some(dialog) = cx.shared.dialogs.get_mut(self.legs[index].dialog) else { return };
        if dialog.take_remote(request) {
            let from = Arc::from(dialog.remote());
            cx.emit(Event::PeerChanged { leg: LegId::new(self.id, index), from });
        }
    }
}
