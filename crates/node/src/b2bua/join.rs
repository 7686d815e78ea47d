//! One joined call: its two legs, and what is under way between them.

use std::sync::Arc;

use farspeak_sip::dialog::DialogId;
use farspeak_sip::header::Allow;
use farspeak_sip::message::{Message, Method};
use farspeak_sip::session::{LegId, SessionId};
use farspeak_sip::user_agent::Body;

use super::B2bua;

/// A half of a joined call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Leg A: who called.
    Caller,
    /// Leg B: who is called.
    Called,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Called,
            Self::Called => Self::Caller,
        }
    }
}

/// Two sessions that are one call.
pub(super) struct Join {
    /// The INVITE that came.
    pub(super) request: Arc<Message>,
    pub(super) caller: Half,
    pub(super) called: Half,
    /// Whether the caller has had its 2xx.
    pub(super) accepted: bool,
    /// A re-INVITE, UPDATE or PRACK of one side that waits for the other's answer.
    pub(super) change: Option<Change>,
    /// The leg whose offer came in a response and is answered by the other side's PRACK or ACK.
    pub(super) owed: Option<LegId>,
    /// The Call-ID of leg B.
    pub(super) call_id: Arc<str>,
    /// What the dialogs of both legs are known by, once both stand.
    pub(super) dialogs: Vec<DialogId>,
    /// What the caller has taken as the answer in a reliable response, and whose it is.
    pub(super) promised: Option<(LegId, Body)>,
    /// The description of who has answered in fact, for the caller to agree with once its ACK is here.
    pub(super) differs: Option<Body>,
    /// The call by whose leg B this one came back to us.
    pub(super) parent: Option<u64>,
}

/// One of the two sessions.
pub(super) struct Half {
    pub(super) session: SessionId,
    /// The dialog that counts, once that is known: a forked leg B has several early ones.
    pub(super) leg: Option<LegId>,
    /// The last session description of each dialog's peer in a response: what a later 2xx need not repeat.
    pub(super) answers: Vec<(LegId, Body)>,
    /// Whether its peer says that it knows UPDATE.
    pub(super) updates: bool,
    /// Whether it has ended, or has been told to.
    pub(super) ended: bool,
    /// Whether nothing is left of it.
    pub(super) gone: bool,
}

/// A change that waits.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// Who wants it.
    pub(super) from: Side,
    /// In which leg.
    pub(super) leg: LegId,
}

/// Most early dialogs whose answers are remembered; as many as the session layer takes.
const MAX_ANSWERS: usize = 16;

impl Join {
    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Caller => &self.caller,
            Side::Called => &self.called,
        }
    }

    pub(super) fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Caller => &mut self.caller,
            Side::Called => &mut self.called,
        }
    }
}

impl Half {
    pub(super) fn new(session: SessionId) -> Self {
        Self { session, leg: None, answers: Vec::new(), updates: false, ended: false, gone: false }
    }

    /// The dialog to use: the one that counts, or the only one there is.
    pub(super) fn leg(&self) -> LegId {
        self.leg.unwrap_or_else(|| self.session.into())
    }

    /// Takes what a message of its peer's says of UPDATE, if anything.
    pub(super) fn learn(&mut self, message: &Message) {
        if let Ok(Some(allow)) = Allow::of(message) {
            self.updates = allow.contains(&Method::Update);
        }
    }

    /// Remembers what a dialog's peer has described.
    pub(super) fn keep_answer(&mut self, leg: LegId, body: Body) {
        if let Some((_, known)) = self.answers.iter_mut().find(|(known, _)| *known == leg) {
            *known = body;
        } else if self.answers.len() < MAX_ANSWERS {
            self.answers.push((leg, body));
        }
    }

    /// The last description of a dialog's peer.
    pub(super) fn answer_of(&self, leg: LegId) -> Option<&Body> {
        self.answers.iter().find(|(known, _)| *known == leg).map(|(_, body)| body)
    }
}

impl B2bua {
    /// The call that a session is a half of, and which half.
    pub(super) fn join_of(&mut self, session: SessionId) -> Option<(u64, Side, &mut Join)> {
        let (key, side) = *self.sides.get(&session)?;
        self.joins.get_mut(&key).map(|join| (key, side, join))
    }

    /// The dialog on the other side that corresponds to a leg.
    pub(super) fn other_leg(&mut self, leg: LegId) -> Option<LegId> {
        let (_, side, join) = self.join_of(leg.session)?;
        let other = join.half(side.other());
        (!other.ended).then(|| other.leg())
    }
}
