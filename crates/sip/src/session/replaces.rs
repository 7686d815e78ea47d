//! Replaces: an INVITE that takes the place of another dialog of ours, as attended transfers and pickups do (RFC 3891).

use super::{LegId, LegState, Opening, Session, VerbError};
use crate::header::Replaces;
use crate::message::{Message, StatusCode};
use crate::user_agent::{Agent, Extra};

impl Agent<'_> {
    /// The dialog of a leg as its peer knows it: for an INVITE to that peer which takes its place, made by ourselves or by
    /// whom a REFER asks to ([`ReferTo::replacing`](crate::header::ReferTo::replacing)).
    pub fn replaces(&self, leg: impl Into<LegId>) -> Result<Replaces, VerbError> {
        let key = self.dialog_for_request(leg.into())?;
        let dialog = self.core.shared.dialogs.get(key).ok_or(VerbError::Gone)?.id();
        // RFC 3891 §3: `0` stands for a peer without a tag.
        let to_tag = if dialog.remote_tag.is_empty() { "0" } else { &*dialog.remote_tag }.to_owned();
        let (call_id, from_tag) = (dialog.call_id.to_string(), dialog.local_tag.to_string());
        Ok(Replaces { call_id, to_tag, from_tag, early_only: false })
    }

    /// The leg that an INVITE asks to replace, or the status that refuses it (RFC 3891 §3).
    pub(super) fn leg_to_replace(&self, request: &Message) -> Result<Option<LegId>, StatusCode> {
        let replaces = match Replaces::of(request) {
            Ok(None) => return Ok(None),
            Ok(Some(replaces)) => replaces,
            Err(_) => return Err(StatusCode::BAD_REQUEST),
        };
        // The tags are named from the sender's side: to-tag is ours.
        let dialogs = &self.core.shared.dialogs;
        let named = |from_tag| dialogs.find_by(&replaces.call_id, &replaces.to_tag, from_tag);
        // RFC 3891 §3: a tag of 0 stands for none, too.
        let dialog = named(&replaces.from_tag).or_else(|| if replaces.from_tag == "0" { named("") } else { None });
        let leg = dialog.and_then(|dialog| self.leg_of_dialog(dialog)).ok_or(StatusCode::CALL_DOES_NOT_EXIST)?;
        let session = self.core.sessions.get(leg.session.0).ok_or(StatusCode::CALL_DOES_NOT_EXIST)?;
        session.may_be_replaced(leg, replaces.early_only)?;
        Ok(Some(leg))
    }

    /// Ends the sessions that were replaced, once the new ones have their 2xx: BYE, or CANCEL while our INVITE still rings
    /// (RFC 3891 §3).
    pub(super) fn end_replaced(&mut self) {
        while let Some(leg) = self.core.shared.replaced.pop() {
            let _ = self.hang_up(leg.session, Extra::new());
        }
    }
}

impl Session {
    fn may_be_replaced(&self, leg: LegId, early_only: bool) -> Result<(), StatusCode> {
        let index = self.leg_at(leg).ok_or(StatusCode::CALL_DOES_NOT_EXIST)?;
        match (&self.legs[index].state, &self.opening) {
            // An early dialog can be replaced only by who called: the other end would have to fork its answer.
            (LegState::Early, Opening::Calling(_)) => Ok(()),
            (LegState::Early, Opening::Called(_)) => Err(StatusCode::CALL_DOES_NOT_EXIST),
            (LegState::Ending { .. } | LegState::Ended, _) if self.ended => Err(StatusCode::DECLINE),
            (LegState::Ending { .. } | LegState::Ended, _) => Err(StatusCode::CALL_DOES_NOT_EXIST),
            _ if early_only => Err(StatusCode::BUSY_HERE),
            _ => Ok(()),
        }
    }
}
