//! One dialog of a session (the INVITE usage of RFC 5057).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Flow;

use crate::dialog::DialogKey;
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::Message;

/// One dialog of a session.
#[derive(Debug)]
pub(super) struct Leg {
    pub dialog: DialogKey,
    pub state: LegState,
    /// The ACK to the last 2xx of ours, to be sent again when that comes again.
    pub ack: Option<SentAck>,
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
    pub request: Arc<Message>,
    pub response: Arc<[u8]>,
    /// CSeq of the INVITE.
    pub seq: u32,
    /// The next interval, doubled each time up to T2.
    pub interval: Duration,
    /// How long it has been sent.
    pub elapsed: Duration,
    pub timer: u64,
    /// Whether a BYE goes out as soon as the ACK has come (RFC 3261 §15).
    pub hang_up: bool,
}

/// An ACK to a 2xx.
#[derive(Debug)]
pub(super) struct SentAck {
    pub seq: u32,
    pub flow: Flow,
    pub bytes: Arc<[u8]>,
}

impl Leg {
    pub fn new(dialog: DialogKey, state: LegState) -> Self {
        Self { dialog, state, ack: None }
    }

    pub fn retransmits_by(&self, serial: u64) -> bool {
        matches!(&self.state, LegState::AwaitingAck(waiting) if waiting.timer == serial)
    }

    /// Whether a 2xx has confirmed it and nobody has hung up.
    pub fn is_up(&self) -> bool {
        matches!(self.state, LegState::AwaitingAck(_) | LegState::OwesAck { .. } | LegState::Confirmed)
    }
}
