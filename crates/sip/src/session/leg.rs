//! One dialog of a session (the INVITE usage of RFC 5057).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Flow;

use super::description::LocalDescription;
use super::glare::Backoff;
use super::offer::Offers;
use super::peer::Peer;
use super::prack::Pracks;
use super::reinvite::LaterInvite;
use super::reliable::Reliable;
use super::timer::SessionTimer;
use super::update::Updates;
use crate::dialog::DialogKey;
use crate::endpoint::{ClientTx, ServerTx};

/// One dialog of a session.
#[derive(Debug)]
pub(super) struct Leg {
    pub dialog: DialogKey,
    /// CSeq of the INVITE of ours that opened it: one that is sent again, after a challenge or a 422, opens others.
    pub opened_by: u32,
    pub state: LegState,
    /// The ACKs to the last 2xx of the peer's, to be sent again when those come again.
    pub acks: Vec<SentAck>,
    /// Offers and answers.
    pub offers: Offers,
    /// The INVITE that changes the session, at either end.
    pub invite: Option<LaterInvite>,
    /// UPDATEs, at both ends.
    pub updates: Updates,
    /// Our reliable provisional responses.
    pub reliable: Reliable,
    /// The peer's.
    pub pracks: Pracks,
    /// A request that met another one and waits to be sent again.
    pub backoff: Option<Backoff>,
    /// The application owes the answer that goes into an ACK.
    pub ack_timer: Option<u64>,
    /// What the peer can do.
    pub peer: Peer,
    /// How long the session lives unless it is refreshed.
    pub timer: SessionTimer,
    /// Our session description.
    pub description: LocalDescription,
}

/// How far a leg is.
#[derive(Debug)]
pub(super) enum LegState {
    /// No 2xx yet.
    Early,
    /// Our 2xx waits for its ACK.
    AwaitingAck(AwaitingAck),
    /// A 2xx came whose ACK waits for an answer of the application.
    OwesAck {
        /// CSeq of the INVITE.
        seq: u32,
    },
    /// The session stands.
    Confirmed,
    /// Our BYE waits for its response.
    Ending {
        /// The BYE.
        bye: ClientTx,
    },
    /// Nothing more will come.
    Ended,
}

/// A 2xx of ours that is sent until its ACK comes (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub(super) struct AwaitingAck {
    pub tx: ServerTx,
    pub response: Arc<[u8]>,
    /// CSeq of the INVITE.
    pub seq: u32,
    /// The next interval, doubled each time up to T2.
    pub interval: Duration,
    /// How long it has been sent.
    pub elapsed: Duration,
    pub timer: u64,
    /// Whether it carries an offer, which its ACK answers.
    pub offers: bool,
    /// Whether a BYE goes out as soon as the ACK has come (RFC 3261 §15).
    pub hang_up: bool,
    /// Whether the peer has sent another INVITE since: it knows of this 2xx, whatever became of its ACK (RFC 6141 §5.4).
    pub superseded: bool,
}

/// An ACK to a 2xx.
#[derive(Debug)]
pub(super) struct SentAck {
    pub seq: u32,
    pub flow: Flow,
    pub bytes: Arc<[u8]>,
}

/// Most ACKs that are kept: an older INVITE's 2xx has long stopped coming.
const MAX_ACKS: usize = 4;

impl Leg {
    pub fn new(dialog: DialogKey, state: LegState, offers: Offers) -> Self {
        Self {
            dialog,
            opened_by: 0,
            state,
            acks: Vec::new(),
            offers,
            invite: None,
            updates: Updates::default(),
            reliable: Reliable::default(),
            pracks: Pracks::default(),
            backoff: None,
            ack_timer: None,
            peer: Peer::default(),
            timer: SessionTimer::default(),
            description: LocalDescription::default(),
        }
    }

    /// Keeps an ACK for when its 2xx comes again.
    pub fn keep_ack(&mut self, ack: SentAck) {
        if self.acks.len() == MAX_ACKS {
            self.acks.remove(0);
        }
        self.acks.push(ack);
    }

    /// The ACK to the INVITE of that CSeq.
    pub fn ack_to(&self, seq: u32) -> Option<&SentAck> {
        self.acks.iter().find(|ack| ack.seq == seq)
    }

    /// The 2xx whose ACK has not come, of the first INVITE or a later one, that `is_it` picks.
    pub fn awaiting(&mut self, is_it: impl Fn(&AwaitingAck) -> bool) -> Option<&mut AwaitingAck> {
        let first = match &mut self.state {
            LegState::AwaitingAck(waiting) => Some(waiting),
            _ => None,
        };
        let later = match &mut self.invite {
            Some(LaterInvite::AwaitingAck(waiting)) => Some(waiting),
            _ => None,
        };
        first.into_iter().chain(later).find(|waiting| is_it(waiting))
    }

    /// Whether a timer of that serial number is one of the leg's.
    pub fn has_timer(&self, serial: u64) -> bool {
        if self.timer.has_timer(serial) {
            return true;
        }
        let serial = Some(serial);
        let first = matches!(&self.state, LegState::AwaitingAck(waiting) if Some(waiting.timer) == serial);
        first
            || self.ack_timer == serial
            || self.invite.as_ref().is_some_and(|invite| invite.timer() == serial)
            || self.updates.timer() == serial
            || self.reliable.has_timer(serial)
            || self.pracks.timer() == serial
            || self.backoff.as_ref().is_some_and(|backoff| Some(backoff.timer) == serial)
    }

    /// Whether a 2xx has confirmed it and nobody has hung up.
    pub fn is_up(&self) -> bool {
        matches!(self.state, LegState::AwaitingAck(_) | LegState::OwesAck { .. } | LegState::Confirmed)
    }

    /// Whether `tx` is a re-INVITE that is not wanted any more.
    pub fn gave_up(&self, tx: ClientTx) -> bool {
        matches!(&self.invite, Some(LaterInvite::Sent(sent)) if sent.tx == tx && sent.timer.is_none())
    }

    /// Whether it has ended and nothing of it is still to come.
    pub fn is_over(&self) -> bool {
        let waits = matches!(self.invite, Some(LaterInvite::Sent(_))) || self.reliable.lingers();
        matches!(self.state, LegState::Ended) && !waits
    }
}
