//! What the server knows of one allocation, RFC 8656 §6.

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};
use farspeak_stun::attribute::AddressFamily;
use farspeak_stun::long_term::Account;
use farspeak_stun::{Key, TransactionId};

use super::allocate::Opening;
use super::bandwidth::{Bucket, Rate};
use super::mobility::Mobility;
use super::peers::Peers;
use super::tcp::Connections;
use crate::credential::Credential;
use crate::ledger::Traffic;

/// One allocation, single or dual.
pub(super) struct Allocation {
    /// The 5-tuple that peers' data goes to.
    pub(super) client: Flow,
    pub(super) owner: Owner,
    /// Of the Allocate request: a retransmission gets the same success (RFC 8656 §7.2, note).
    pub(super) transaction: TransactionId,
    pub(super) created: Instant,
    /// When the earliest timer fires that stands for it.
    pub(super) armed: Instant,
    /// By family: IPv4, IPv6.
    pub(super) leases: [Option<Lease>; 2],
    pub(super) peers: Peers,
    pub(super) bucket: Bucket,
    /// Datagrams; see [`Self::traffic`].
    pub(super) sent: Traffic,
    pub(super) received: Traffic,
    /// How much of both the ledger has been told.
    pub(super) booked: (Traffic, Traffic),
    /// The prefix that the ledger counts it for.
    pub(super) source: u64,
    /// The family that was wanted, too, and why it is not there: the code of ADDRESS-ERROR-CODE.
    pub(super) missing: Option<(AddressFamily, u16)>,
    /// What EVEN-PORT reserved.
    pub(super) token: Option<[u8; 8]>,
    /// Until its relay sockets are open, what the answer needs.
    pub(super) opening: Option<Box<Opening>>,
    /// If the client asked for a ticket (RFC 8016).
    pub(super) mobility: Option<Box<Mobility>>,
    /// If it relays TCP (RFC 6062).
    pub(super) tcp: Option<Box<Connections>>,
}

/// A relayed address on loan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// The relay's slot.
    pub(super) relay: u32,
    pub(super) expires: Instant,
}

/// Who made an allocation, and by which key requests about it are checked (RFC 8656 §6: the key, never the password).
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) user: Arc<str>,
    pub(super) expires: Option<u64>,
    key: Key,
    algorithm: u16,
    account: Name,
}

/// What an account was called in the request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    Username(Box<str>),
    Userhash(Box<[u8; 32]>),
}

impl Owner {
    pub(super) fn new(credential: Credential, account: Account<'_>, algorithm: u16) -> Self {
        let account = match account {
            Account::Username(name) => Name::Username(name.into()),
            Account::Userhash(hash) => Name::Userhash(Box::new(*hash)),
        };
        let Credential { key, user, expires, .. } = credential;
        Self { user, expires, key, algorithm, account }
    }

    /// The credential again, if it is a time-limited one and this is its account.
    pub(super) fn lasting(&self, account: Account<'_>, algorithm: u16) -> Option<Credential> {
        let same = match (&self.account, account) {
            (Name::Username(own), Account::Username(name)) => **own == *name,
            (Name::Userhash(own), Account::Userhash(hash)) => **own == *hash,
            _ => false,
        };
        let lasting = same && self.expires.is_some() && self.algorithm == algorithm;
        let (key, user, expires) = (&self.key, &self.user, self.expires);
        lasting.then(|| Credential {
            key: key.clone(),
            other_keys: Vec::new(),
            user: user.clone(),
            expires,
            quota: None,
        })
    }
}

/// Index of a family in [`Allocation::leases`].
pub(super) const fn index(family: AddressFamily) -> usize {
    match family {
        AddressFamily::V4 => 0,
        AddressFamily::V6 => 1,
    }
}

pub(super) const FAMILIES: [AddressFamily; 2] = [AddressFamily::V4, AddressFamily::V6];

impl Allocation {
    /// The relay for peers of this family, if it is open and has not expired.
    #[inline]
    pub(super) fn relay(&self, now: Instant, v6: bool) -> Option<u32> {
        let lease = self.leases[usize::from(v6)].filter(|lease| lease.expires > now)?;
        if self.opening.is_some() { None } else { Some(lease.relay) }
    }

    /// When the last of its leases ends.
    pub(super) fn expires(&self) -> Instant {
        self.leases.iter().flatten().map(|lease| lease.expires).max().unwrap_or_default()
    }

    /// When the first of them does.
    pub(super) fn next_expiry(&self) -> Instant {
        self.leases.iter().flatten().map(|lease| lease.expires).min().unwrap_or_default()
    }

    /// What it has relayed, from the client and to it: datagrams, or the bytes of connections.
    pub(super) fn traffic(&self) -> (Traffic, Traffic) {
        match &self.tcp {
            Some(connections) => connections.meter.traffic(),
            None => (self.sent, self.received),
        }
    }

    /// Another bandwidth for its connections.
    pub(super) fn pace(&self, rate: Rate) {
        self.tcp.iter().for_each(|connections| connections.meter.set(rate));
    }

    /// All 5-tuples that lead to it: two while it moves (RFC 8016 §3.2.2).
    pub(super) fn flows(&self) -> impl Iterator<Item = Flow> + use<> {
        let moving = self.mobility.as_ref().and_then(|mobility| mobility.moving_to());
        std::iter::once(self.client).chain(moving)
    }

    /// Whether the same user made it; the password algorithm is each request's own affair.
    pub(super) fn is_owned_by(&self, owner: &Owner) -> bool {
        self.owner.user == owner.user
    }
}
