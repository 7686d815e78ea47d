//! What a user agent tells the application.

use std::sync::Arc;

use super::RequestId;

use farspeak_sansio::Flow;

use crate::endpoint::ServerTx;
use crate::event::{SubscriptionEvent, SubscriptionId};
use crate::header::Reason;
use crate::message::{Message, StatusCode};
use crate::registration::{RegistrationEvent, RegistrationId};
use crate::session::{LegId, SessionId};

/// Something happened. Message bodies and header fields that this layer does not understand are in the messages.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Somebody calls. Ring, accept, reject or redirect.
    Incoming {
        /// The new session.
        session: SessionId,
        /// The session that it is to take the place of (RFC 3891): that ends by itself when this one is accepted. Whether
        /// who calls may do that is for the application to judge before it accepts (RFC 3891 §3): many have seen the tags.
        replaces: Option<LegId>,
        /// Whence it came.
        flow: Flow,
        /// The INVITE.
        request: Arc<Message>,
    },
    /// A provisional response above 100 to our INVITE, the first or a later one. A session description in it is a preview
    /// of the answer (RFC 6337 §3.1.1) unless [`Event::Answer`] or [`Event::Offer`] follows.
    Progress {
        /// The session, and which of its early dialogs.
        leg: LegId,
        /// The response.
        response: Arc<Message>,
    },
    /// Our INVITE was accepted. The ACK has left, unless it owes an answer to the offer in the response: then call
    /// [`Agent::acknowledge`](super::Agent::acknowledge).
    Accepted {
        /// The session, and the dialog that it goes on in.
        leg: LegId,
        /// The 2xx.
        response: Arc<Message>,
        /// Whether the ACK waits for an answer from the application.
        answer_owed: bool,
    },
    /// The ACK for our 2xx came, to the first INVITE or a later one: the session stands.
    Confirmed {
        /// The session.
        leg: LegId,
        /// The ACK, with the answer in it if ours held the offer.
        ack: Arc<Message>,
    },
    /// The peer offers a change, in a re-INVITE, UPDATE, PRACK, or a response to an INVITE of ours without an offer. Answer
    /// by [`Agent::accept_offer`](super::Agent::accept_offer) or [`Agent::reject_offer`](super::Agent::reject_offer), at
    /// once unless it is a re-INVITE. The offers of the first INVITE and its 2xx are [`Event::Incoming`] and
    /// [`Event::Accepted`].
    Offer {
        /// The leg.
        leg: LegId,
        /// The request or response.
        message: Arc<Message>,
    },
    /// The peer asks for an offer by a re-INVITE without one. Answer by
    /// [`Agent::accept_offer`](super::Agent::accept_offer) with the offer, or refuse.
    OfferWanted {
        /// The leg.
        leg: LegId,
        /// The re-INVITE.
        request: Arc<Message>,
    },
    /// The answer to an offer of ours, wherever it came in but for [`Event::Accepted`].
    Answer {
        /// The leg.
        leg: LegId,
        /// The request or response.
        message: Arc<Message>,
    },
    /// The peer sent an UPDATE without an offer: a new Contact, another identity, a sign of life. It has been answered.
    Refreshed {
        /// The leg.
        leg: LegId,
        /// The UPDATE.
        request: Arc<Message>,
    },
    /// The peer is somebody else now, or somebody else's phone: its From has another URI (RFC 4916). Requests of ours name
    /// it as their To from now on.
    PeerChanged {
        /// The leg.
        leg: LegId,
        /// The peer's From value, tag included.
        from: Arc<str>,
    },
    /// The peer accepted our re-INVITE or UPDATE.
    Modified {
        /// The leg.
        leg: LegId,
        /// The 2xx.
        response: Arc<Message>,
    },
    /// Our re-INVITE, UPDATE, or the offer in our PRACK was refused: the session is as it was.
    ModifyFailed {
        /// The leg.
        leg: LegId,
        /// Why.
        failure: Failure,
        /// Whether another offer has been answered since this one was made. After a re-INVITE: within it, and the two
        /// ends may see the session differently now; offer again what shall hold (RFC 6141 §3.4).
        changed: bool,
    },
    /// What the peer wanted by [`Event::Offer`] or [`Event::OfferWanted`] is off: it was cancelled, or not answered in
    /// time.
    Withdrawn {
        /// The leg.
        leg: LegId,
    },
    /// Our INVITE failed. [`Event::Gone`] follows.
    Failed {
        /// The session.
        session: SessionId,
        /// Why.
        failure: Failure,
    },
    /// The session has ended, or the caller gave up. [`Event::Gone`] follows.
    Ended {
        /// The session.
        session: SessionId,
        /// How.
        how: HowEnded,
    },
    /// Nothing is left of the session; the last event that names it.
    Gone {
        /// The session.
        session: SessionId,
    },
    /// Something about a subscription, at either end.
    Subscription {
        /// The subscription.
        subscription: SubscriptionId,
        /// What.
        event: SubscriptionEvent,
    },
    /// Something about a registration.
    Registration {
        /// The registration.
        registration: RegistrationId,
        /// What.
        event: RegistrationEvent,
    },
    /// A request inside a session that is the application's to answer, with [`Agent::respond`](super::Agent::respond).
    Within {
        /// The session, and which dialog of it.
        leg: LegId,
        /// To answer it.
        tx: ServerTx,
        /// The request: INFO, MESSAGE or a method of [`UserAgentConfig::more_methods`](super::UserAgentConfig::more_methods).
        request: Arc<Message>,
    },
    /// The final response to a request of [`Agent::send`](super::Agent::send).
    Answered {
        /// The request.
        request: RequestId,
        /// The response.
        response: Arc<Message>,
    },
    /// A request of [`Agent::send`](super::Agent::send) got no response.
    Unanswered {
        /// The request.
        request: RequestId,
        /// Why.
        failure: Failure,
    },
    /// A request outside any dialog that this layer does not answer by itself.
    Request {
        /// To answer it with [`Agent::respond`](super::Agent::respond).
        tx: ServerTx,
        /// Whence it came.
        flow: Flow,
        /// The request.
        request: Arc<Message>,
    },
}

/// Why a request of ours failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A final response other than 2xx.
    Response(Arc<Message>),
    /// Nobody answered in time (Timers B and F): as if it were a 408 (RFC 3261 §8.1.3.1).
    TimedOut,
    /// It could not be delivered: as if it were a 503 (RFC 3261 §8.1.3.1).
    Unreachable,
}

impl Failure {
    /// The status, or what stands for it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Response(response) => response.status().unwrap_or(StatusCode::SERVER_INTERNAL_ERROR),
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl HowEnded {
    /// Why the peer says that it ended the session or gave up: the Reason values of its BYE or CANCEL, the first few
    /// (RFC 3326). `SIP;cause=200` of a CANCEL means that somebody else took the call.
    pub fn reasons(&self) -> Vec<Reason> {
        match self {
            Self::Bye(request) | Self::Cancelled(request) => {
                Reason::all(request).take(8).filter_map(Result::ok).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HowEnded {
    /// We hung up.
    Local,
    /// The peer hung up.
    Bye(Arc<Message>),
    /// The caller gave up before we answered. The INVITE is answered 487.
    Cancelled(Arc<Message>),
    /// We let it ring too long.
    Unanswered,
    /// The ACK for our 2xx never came. A BYE has left (RFC 3261 §13.3.1.4).
    NoAck,
    /// The PRACK for our reliable response never came. The INVITE is answered 504 (RFC 3262 §3).
    NoPrack,
    /// Nobody refreshed the session in time. A BYE has left (RFC 4028 §10).
    Expired,
    /// The peer no longer knows the session (481), or did not answer a request in it (408, RFC 5057 §5.1).
    PeerLost(Failure),
}
