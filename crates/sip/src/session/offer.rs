//! Who owes whom a session description, and in which message: offer/answer as RFC 6337 §2.2 tabulates it.
//!
//! ```text
//!      offer in        answer in        Carrier
//!   1  INVITE          2xx              Invite
//!   2  2xx             ACK              Success
//!   3  INVITE          reliable 1xx     Invite
//!   4  reliable 1xx    PRACK            Reliable
//!   5  PRACK           2xx to PRACK     Prack
//!   6  UPDATE          2xx to UPDATE    Update
//! ```
//!
//! One [`Offers`] belongs to each leg. The files that send or take a message ask it what a session description in that
//! message is, and it keeps the promise that no second offer leaves while one is out or in (RFC 3264 §4). It knows
//! nothing of what the descriptions say.

use crate::message::StatusCode;

/// The offers and answers of one leg.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    exchange: Exchange,
    /// An INVITE without an offer is under way, whose first reliable response brings it.
    offerless: Option<Side>,
    /// How many offers have been answered.
    completed: u32,
}

/// Whether an offer waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Exchange {
    /// No offer is outstanding.
    #[default]
    Stable,
    /// Ours waits for the peer's answer.
    Sent(Carrier),
    /// The peer's waits for our answer.
    Received(Carrier),
}

/// The message that an offer travelled in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carrier {
    /// INVITE: answered in the first reliable response that has a session description.
    Invite,
    /// 2xx to an INVITE: answered in its ACK.
    Success,
    /// Reliable provisional response: answered in its PRACK.
    Reliable,
    /// PRACK: answered in its 2xx.
    Prack,
    /// UPDATE: answered in its 2xx.
    Update,
}

/// Whose INVITE it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Ours,
    Theirs,
}

/// A kind of response to INVITE, as offers see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A provisional response that may be lost.
    Unreliable,
    /// One that is acknowledged by PRACK.
    Reliable,
    /// A 2xx.
    Success,
}

/// What a session description in a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// There is none.
    Absent,
    /// An offer.
    Offer,
    /// The answer to the outstanding offer.
    Answer,
    /// What the answer will be, in a response that may be lost (RFC 6337 §3.1.1).
    Preview,
    /// Nothing: the answer again, or out of place. To be ignored, or left out (RFC 6337 §3.1.1, §3.1.2).
    Repeated,
}

/// Why an offer cannot be taken now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Conflict {
    /// We have something outstanding ourselves: 491.
    Ours,
    /// We still have to deal with something of the peer's: 500 with Retry-After.
    Theirs,
}

/// What is wrong with a message that the application wants to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misplaced {
    /// It must have a session description.
    Missing,
    /// It must not have one.
    Unexpected,
}

impl Conflict {
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Ours => StatusCode::REQUEST_PENDING,
            Self::Theirs => StatusCode::SERVER_INTERNAL_ERROR,
        }
    }
}

impl Offers {
    /// The state of a dialog that our INVITE opens.
    pub fn calling(described: bool) -> Self {
        let mut offers = Self::default();
        offers.invite_sent(described);
        offers
    }

    /// The state of a dialog that the peer's INVITE opens.
    pub fn called(described: bool) -> Self {
        let mut offers = Self::default();
        offers.invite_received(described);
        offers
    }

    /// What is outstanding.
    pub fn exchange(&self) -> Exchange {
        self.exchange
    }

    /// How many offers have been answered so far.
    pub fn completed(&self) -> u32 {
        self.completed
    }

    /// Whether a new offer may leave, or come in: nothing is outstanding, and no INVITE will bring one.
    pub fn is_idle(&self) -> bool {
        self.exchange == Exchange::Stable && self.offerless.is_none()
    }

    /// What a request with an offer meets here (RFC 3311 §5.2, RFC 6337 §4.3).
    pub fn conflict(&self) -> Option<Conflict> {
        match (self.exchange, self.offerless) {
            (Exchange::Sent(Carrier::Invite | Carrier::Prack | Carrier::Update), _) => Some(Conflict::Ours),
            // Sent as the server of an INVITE: UAS-IsU and UAS-IsI say 500. RFC 5407 §3.1.5 would rather see 491 and
            // allows either; RFC 6337 is the newer one.
            (Exchange::Sent(Carrier::Success | Carrier::Reliable), _) => Some(Conflict::Theirs),
            // Received as the client of an INVITE: UAS-IcU and UAS-IcI.
            (Exchange::Received(Carrier::Success | Carrier::Reliable), _) => Some(Conflict::Ours),
            (Exchange::Received(_), _) => Some(Conflict::Theirs),
            (Exchange::Stable, Some(Side::Ours)) => Some(Conflict::Ours),
            (Exchange::Stable, Some(Side::Theirs)) => Some(Conflict::Theirs),
            (Exchange::Stable, None) => None,
        }
    }

    /// Our INVITE leaves.
    pub fn invite_sent(&mut self, described: bool) {
        match described {
            true => self.exchange = Exchange::Sent(Carrier::Invite),
            false => self.offerless = Some(Side::Ours),
        }
    }

    /// A response to our INVITE.
    pub fn response_received(&mut self, kind: Kind, described: bool) -> Role {
        let role = match (kind, self.exchange, self.offerless, described) {
            (_, _, _, false) => Role::Absent,
            (Kind::Unreliable, Exchange::Sent(Carrier::Invite), _, true) => Role::Preview,
            (Kind::Reliable | Kind::Success, Exchange::Sent(Carrier::Invite), _, true) => self.answered(),
            (Kind::Reliable, Exchange::Stable, Some(Side::Ours), true) => self.offered(Carrier::Reliable),
            (Kind::Success, Exchange::Stable, Some(Side::Ours), true) => self.offered(Carrier::Success),
            _ => Role::Repeated,
        };
        if kind == Kind::Success {
            self.invite_over();
        }
        role
    }

    /// The peer's INVITE has come.
    pub fn invite_received(&mut self, described: bool) {
        match described {
            true => self.exchange = Exchange::Received(Carrier::Invite),
            false => self.offerless = Some(Side::Theirs),
        }
    }

    /// What the session description in a response of ours to the peer's INVITE will be; [`Self::respond`] makes it so.
    pub fn response_role(&self, kind: Kind, described: bool) -> Result<Role, Misplaced> {
        match (self.exchange, self.offerless, described) {
            (Exchange::Received(Carrier::Invite), _, true) if kind == Kind::Unreliable => Ok(Role::Preview),
            (Exchange::Received(Carrier::Invite), _, true) => Ok(Role::Answer),
            // RFC 3261 §13.2.1: at the latest the 2xx has the answer.
            (Exchange::Received(Carrier::Invite), _, false) if kind == Kind::Success => Err(Misplaced::Missing),
            // RFC 6337 §3.1.2: an offer that may be lost is none.
            (Exchange::Stable, Some(Side::Theirs), true) if kind == Kind::Unreliable => Err(Misplaced::Unexpected),
            (Exchange::Stable, Some(Side::Theirs), true) => Ok(Role::Offer),
            // RFC 3262 §5: the first reliable response has the offer.
            (Exchange::Stable, Some(Side::Theirs), false) if kind != Kind::Unreliable => Err(Misplaced::Missing),
            (_, _, true) => Ok(Role::Repeated),
            (_, _, false) => Ok(Role::Absent),
        }
    }

    /// Our response to the peer's INVITE leaves.
    pub fn respond(&mut self, kind: Kind, described: bool) -> Result<Role, Misplaced> {
        let role = self.response_role(kind, described)?;
        match (role, kind) {
            (Role::Answer, _) => {
                self.answered();
            }
            (Role::Offer, Kind::Success) => self.offer(Carrier::Success),
            (Role::Offer, _) => self.offer(Carrier::Reliable),
            _ => {}
        }
        Ok(role)
    }

    /// A PRACK of ours leaves: with the answer to the offer in its response, or with an offer.
    pub fn prack_sent(&mut self, described: bool) {
        match self.exchange {
            // Without one the peer gets no answer; what it makes of that is its decision.
            Exchange::Received(Carrier::Reliable) => {
                self.answered();
            }
            Exchange::Stable if described => self.offer(Carrier::Prack),
            _ => {}
        }
    }

    /// The 2xx to our PRACK.
    pub fn prack_accepted(&mut self, described: bool) -> Role {
        self.response_to(Carrier::Prack, described)
    }

    /// The peer's PRACK, one that matches.
    pub fn prack_received(&mut self, described: bool) -> Result<Role, Conflict> {
        match (self.exchange, described) {
            (Exchange::Sent(Carrier::Reliable), true) => Ok(self.answered()),
            (Exchange::Sent(Carrier::Reliable), false) => {
                self.exchange = Exchange::Stable;
                Ok(Role::Absent)
            }
            (_, false) => Ok(Role::Absent),
            (_, true) => match self.conflict() {
                Some(conflict) => Err(conflict),
                None => Ok(self.offered(Carrier::Prack)),
            },
        }
    }

    /// Our ACK to a 2xx leaves.
    pub fn ack_sent(&mut self) {
        if self.exchange == Exchange::Received(Carrier::Success) {
            self.answered();
        }
    }

    /// The peer's ACK to our 2xx.
    pub fn ack_received(&mut self, described: bool) -> Role {
        match (self.exchange, described) {
            (Exchange::Sent(Carrier::Success), true) => self.answered(),
            (Exchange::Sent(Carrier::Success), false) => {
                self.exchange = Exchange::Stable;
                Role::Absent
            }
            (_, true) => Role::Repeated,
            (_, false) => Role::Absent,
        }
    }

    /// An UPDATE of ours leaves.
    pub fn update_sent(&mut self, described: bool) {
        if described {
            self.offer(Carrier::Update);
        }
    }

    /// The 2xx to our UPDATE.
    pub fn update_accepted(&mut self, described: bool) -> Role {
        self.response_to(Carrier::Update, described)
    }

    /// The peer's UPDATE.
    pub fn update_received(&mut self, described: bool) -> Result<Role, Conflict> {
        match (described, self.conflict()) {
            (false, _) => Ok(Role::Absent),
            (true, Some(conflict)) => Err(conflict),
            (true, None) => Ok(self.offered(Carrier::Update)),
        }
    }

    /// Our answer leaves, in the 2xx to the peer's PRACK or UPDATE.
    pub fn answer_sent(&mut self) {
        self.answered();
    }

    /// The offer of an UPDATE or PRACK was refused: nothing has changed (RFC 3311 §5.3). Another one, in the other
    /// direction or by another request, stays.
    pub fn refused(&mut self, exchange: Exchange) {
        if self.exchange == exchange {
            self.exchange = Exchange::Stable;
        }
    }

    /// An INVITE has failed, whoever sent it: what it had outstanding is off (RFC 3261 §14.1). Offers of an UPDATE or
    /// PRACK are still answered by the responses to those.
    pub fn invite_failed(&mut self) {
        self.invite_over();
    }

    /// The INVITE brings no further offer or answer, but for the ACK of a 2xx with an offer.
    fn invite_over(&mut self) {
        self.offerless = None;
        if let Exchange::Sent(Carrier::Invite | Carrier::Reliable)
        | Exchange::Received(Carrier::Invite | Carrier::Reliable) = self.exchange
        {
            self.exchange = Exchange::Stable;
        }
    }

    fn response_to(&mut self, carrier: Carrier, described: bool) -> Role {
        match (self.exchange == Exchange::Sent(carrier), described) {
            (true, true) => self.answered(),
            (true, false) => {
                self.exchange = Exchange::Stable;
                Role::Absent
            }
            (false, true) => Role::Repeated,
            (false, false) => Role::Absent,
        }
    }

    fn answered(&mut self) -> Role {
        self.exchange = Exchange::Stable;
        self.completed += 1;
        Role::Answer
    }

    fn offer(&mut self, carrier: Carrier) {
        self.exchange = Exchange::Sent(carrier);
        self.offerless = None;
    }

    fn offered(&mut self, carrier: Carrier) -> Role {
        self.exchange = Exchange::Received(carrier);
        self.offerless = None;
        Role::Offer
    }
}

#[cfg(test)]
mod tests;
