//! Allocate, RFC 8656 §7.2: checks in its order, then relayed addresses, then the answer once their sockets are open.

use std::time::Duration;

use farspeak_sansio::{Instant, RelayId};
use farspeak_stun::Message;
use farspeak_stun::attribute::{AddressErrorCode, AddressFamily, Attribute, AttributeType, ErrorCode, Malformed};

use super::action::RelayRefused;
use super::allocation::{Allocation, FAMILIES, Lease, Owner, index};
use super::lifetime::Timer;
use super::peers::Peers;
use super::ports::Parity;
use super::relay::Holder;
use super::request::{Asker, Fault, Request};
use super::tcp::{self, Connections};
use super::{OPENING, Server};
use crate::ledger::{Full, Traffic, source_prefix};

/// What an allocation waits for before its client gets an answer.
pub(super) struct Opening {
    asker: Asker,
    wanted: Wanted,
    lifetime: Duration,
    /// How many ports have been tried in vain.
    attempts: u8,
    /// The port that EVEN-PORT reserves.
    pub(super) reserved: Option<u32>,
}

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    /// By family.
    families: [bool; 2],
    parity: Parity,
    /// A port reserved before.
    token: Option<[u8; 8]>,
    tcp: bool,
}

impl Opening {
    pub(super) const fn asker(&self) -> &Asker {
        &self.asker
    }
}

/// How many ports are tried if others on this host have them.
const ATTEMPTS: u8 = 8;

/// IP protocol numbers (RFC 8656 §18.8, RFC 6062 §5.1).
const UDP: u8 = 17;
const TCP: u8 = 6;

impl Server {
    pub(super) fn allocate(&mut self, now: Instant, request: Request<'_>) -> Result<(), Fault> {
        if let Some(slot) = request.slot {
            return self.allocate_again(now, slot, &request);
        }
        let wanted = self.wanted(&request)?;
        let mobile = request.message.mobility_ticket()?;
        match mobile {
            Some([]) if !self.config.mobility => return Err(ErrorCode::MOBILITY_FORBIDDEN.into()),
            Some([_, ..]) => return Err(ErrorCode::BAD_REQUEST.into()),
            _ => {}
        }
        if self.elsewhere(&request.asker.flow).is_some() {
            return Err(Fault::Elsewhere);
        }
        let requested = request.message.lifetime()?;
        let lifetime = self.lifetime(now, requested.filter(|seconds| *seconds > 0), &request.owner);
        if let Some(token) = wanted.token
            && !self.reservations.is_for(token, &request.owner.user)
        {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        if self.allocations.len() >= self.config.quotas.allocations {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        let quotas = &self.config.quotas;
        let source = source_prefix(request.asker.flow.remote.ip());
        let per_user = request.quota.unwrap_or(quotas.allocations_per_credential);
        let entered = self.ledger.enter(&request.owner.user, source, per_user, quotas.allocations_per_source);
        if let Err(Full::User | Full::Source) = entered {
            return Err(ErrorCode::ALLOCATION_QUOTA_REACHED.into());
        }
        let Request { asker, owner, .. } = request;
        let slot = self.insert(now, asker, owner, source, wanted, lifetime);
        if mobile.is_some() {
            self.make_mobile(slot);
        }
        match self.take_ports(now, slot) {
            Ok(()) => Ok(()),
            Err(code) => {
                self.end(slot);
                Err(code.into())
            }
        }
    }

    /// Another Allocate on a 5-tuple that has an allocation: a retransmission gets the same answer, anything else 437.
    fn allocate_again(&mut self, now: Instant, slot: u32, request: &Request<'_>) -> Result<(), Fault> {
        let allocation = self.allocations.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let same = allocation.transaction == request.asker.transaction && allocation.is_owned_by(&request.owner);
        match (&allocation.opening, same) {
            (None, true) => self.grant(now, slot, &request.asker),
            // The answer is on its way.
            (Some(_), true) => {}
            _ => return Err(ErrorCode::ALLOCATION_MISMATCH.into()),
        }
        Ok(())
    }

    /// Checks 3 to 9 of RFC 8656 §7.2.
    fn wanted(&self, request: &Request<'_>) -> Result<Wanted, Fault> {
        let message = request.message;
        let bad = Fault::from(ErrorCode::BAD_REQUEST);
        let tcp = match message.requested_transport()? {
            Some(UDP) => false,
            Some(TCP) if self.config.tcp_relaying => true,
            Some(_) => return Err(ErrorCode::UNSUPPORTED_TRANSPORT.into()),
            None => return Err(bad),
        };
        let even = message.even_port()?;
        let token = message.reservation_token()?;
        let requested = message.requested_address_family()?;
        let additional = additional_family(message)?;
        if token.is_some() && (even.is_some() || requested.is_some() || additional.is_some())
            || requested.is_some() && additional.is_some()
            || tcp && tcp::is_malformed(message, &request.asker.flow)
        {
            return Err(bad);
        }
        let reserve = even.is_some_and(|even| even.reserve_next);
        if additional.is_some() && (reserve || additional == Some(AddressFamily::V4)) {
            return Err(bad);
        }
        let one = requested.unwrap_or(AddressFamily::V4);
        let families = match additional {
            Some(_) => [true, true],
            None => [one == AddressFamily::V4, one == AddressFamily::V6],
        };
        let wanted = |family: AddressFamily| families[index(family)];
        if token.is_none() && !FAMILIES.into_iter().any(|family| wanted(family) && self.relays_family(family)) {
            return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.into());
        }
        let parity = match even {
            Some(_) if reserve => Parity::Pair,
            Some(_) => Parity::Even,
            None => Parity::Any,
        };
        Ok(Wanted { families, parity, token, tcp })
    }

    fn insert(
        &mut self,
        now: Instant,
        asker: Asker,
        owner: Owner,
        source: u64,
        wanted: Wanted,
        lifetime: Duration,
    ) -> u32 {
        let (client, transaction) = (asker.flow, asker.transaction);
        let opening = Opening { asker, wanted, lifetime, attempts: 0, reserved: None };
        let allocation = Allocation {
            client,
            owner,
            transaction,
            created: now,
            armed: Instant::FAR_FUTURE,
            leases: [None; 2],
            peers: Peers::default(),
            bucket: Default::default(),
            sent: Traffic::default(),
            received: Traffic::default(),
            booked: Default::default(),
            source,
            missing: None,
            token: None,
            opening: Some(Box::new(opening)),
            mobility: None,
            tcp: wanted.tcp.then(|| Box::new(Connections::new(self.rate))),
        };
        let (slot, _) = self.allocations.insert(allocation);
        self.flows.insert(&client, slot);
        self.arm_allocation(now, slot, now + OPENING);
        slot
    }

    /// Takes ports for what is wanted and asks for their sockets. What cannot be had of two families is noted; of what
    /// has to be had, the error.
    fn take_ports(&mut self, now: Instant, slot: u32) -> Result<(), ErrorCode<'static>> {
        let Some(wanted) = self.allocations.get(slot).and_then(|one| Some(one.opening.as_ref()?.wanted)) else {
            return Err(ErrorCode::SERVER_ERROR);
        };
        let holder = Holder::Allocation(slot);
        if let Some(token) = wanted.token {
            // Its socket is open already.
            let relay = self.reservations.take(token).ok_or(ErrorCode::INSUFFICIENT_CAPACITY)?;
            let reserved = self.relays.get_mut(relay).ok_or(ErrorCode::INSUFFICIENT_CAPACITY)?;
            reserved.holder = holder;
            let family = index(reserved.advertised.ip().into());
            self.lease(slot, family, relay);
            self.opened(now, slot);
            return Ok(());
        }
        for family in FAMILIES.into_iter().filter(|family| wanted.families[index(*family)]) {
            match self.take_relay(family, wanted.parity, holder) {
                Some(relay) => {
                    self.lease(slot, index(family), relay);
                    self.open_relay(relay, wanted.tcp);
                    if wanted.parity == Parity::Pair {
                        self.reserve_next(now, slot, relay)?;
                    }
                }
                None if self.relays_family(family) => self.lacks(slot, family, ErrorCode::INSUFFICIENT_CAPACITY),
                None => self.lacks(slot, family, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED),
            }
        }
        let leased = self.allocations.get(slot).is_some_and(|one| one.leases.iter().any(Option::is_some));
        if leased { Ok(()) } else { Err(ErrorCode::INSUFFICIENT_CAPACITY) }
    }

    /// Takes the port after an even one into reserve (RFC 8656 §7.2).
    fn reserve_next(&mut self, now: Instant, slot: u32, relay: u32) -> Result<(), ErrorCode<'static>> {
        let Some(user) = self.allocations.get(slot).map(|allocation| allocation.owner.user.clone()) else {
            return Err(ErrorCode::SERVER_ERROR);
        };
        self.reservations.check(&user, self.config.quotas.reservations)?;
        let token = super::reservation::token(self.config.shard, &mut *self.rng);
        let next = self.take_next(relay, Holder::Token(token)).ok_or(ErrorCode::INSUFFICIENT_CAPACITY)?;
        self.reserve(now, token, next, slot, user);
        self.open_relay(next, false);
        if let Some(allocation) = self.allocations.get_mut(slot) {
            allocation.token = Some(token);
            if let Some(opening) = &mut allocation.opening {
                opening.reserved = Some(next);
            }
        }
        Ok(())
    }

    fn lease(&mut self, slot: u32, family: usize, relay: u32) {
        if let Some(allocation) = self.allocations.get_mut(slot) {
            // It gets its lifetime with the answer.
            allocation.leases[family] = Some(Lease { relay, expires: Instant::FAR_FUTURE });
        }
    }

    fn lacks(&mut self, slot: u32, family: AddressFamily, code: ErrorCode<'_>) {
        if let Some(allocation) = self.allocations.get_mut(slot) {
            allocation.missing = Some((family, code.code));
        }
    }

    /// The driver's answer to [`Action::Open`](super::Action::Open) and [`Action::Listen`](super::Action::Listen).
    pub fn relay_opened(&mut self, now: Instant, relay: RelayId, result: Result<(), RelayRefused>) {
        let slot = relay.slot();
        if !self.relays.is_current(slot, relay.generation()) {
            return;
        }
        let Some(opened) = self.relays.get_mut(slot) else { return };
        let holder = opened.holder;
        let owner = match holder {
            Holder::Allocation(owner) => Some(owner),
            Holder::Token(token) => self.reservations.maker(token, &self.allocations),
        };
        match (result, owner) {
            (Ok(()), owner) => {
                opened.open = true;
                owner.into_iter().for_each(|owner| self.opened(now, owner));
            }
            (Err(refused), Some(owner)) => self.not_opened(now, owner, slot, refused),
            (Err(_), None) => self.reservation_ends(slot),
        }
    }

    /// Answers the client if all of its sockets are open.
    fn opened(&mut self, now: Instant, slot: u32) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let Some(opening) = &allocation.opening else { return };
        let leased = allocation.leases.iter().flatten().map(|lease| lease.relay);
        let waits = |relay| self.relays.get(relay).is_some_and(|relay| !relay.open);
        if leased.chain(opening.reserved).any(waits) {
            return;
        }
        let Some(opening) = allocation.opening.take() else { return };
        let expires = now + opening.lifetime;
        for lease in allocation.leases.iter_mut().flatten() {
            lease.expires = expires;
        }
        self.counters.allocated += 1;
        self.arm_allocation(now, slot, expires);
        self.grant(now, slot, &opening.asker);
    }

    /// A socket could not be had: other ports are tried, or the family given up, or the whole allocation.
    fn not_opened(&mut self, now: Instant, slot: u32, relay: u32, refused: RelayRefused) {
        let Some(opening) = self.allocations.get_mut(slot).and_then(|one| one.opening.as_mut()) else {
            // It was open before; the driver lost it.
            self.counters.ended += 1;
            return self.end(slot);
        };
        opening.attempts += 1;
        let again = refused == RelayRefused::InUse && opening.attempts < ATTEMPTS;
        let asker = opening.asker.clone();
        let outcome = if again {
            // New ports first, so that they are others.
            let old = self.unlease(slot);
            let taken = self.take_ports(now, slot);
            old.into_iter().for_each(|relay| self.release_relay(relay));
            taken
        } else {
            self.give_up(slot, relay)
        };
        match outcome {
            Ok(()) => self.opened(now, slot),
            Err(code) => {
                self.end(slot);
                self.fail_with(&asker, code);
            }
        }
    }

    /// Takes from an allocation what it has got so far; the relays are the caller's to release.
    fn unlease(&mut self, slot: u32) -> Vec<u32> {
        let Some(allocation) = self.allocations.get_mut(slot) else { return Vec::new() };
        let mut relays: Vec<u32> = allocation.leases.iter_mut().filter_map(Option::take).map(|one| one.relay).collect();
        relays.extend(allocation.opening.as_mut().and_then(|opening| opening.reserved.take()));
        let token = allocation.token.take();
        allocation.missing = None;
        token.into_iter().for_each(|token| self.reservations.forget(token));
        relays
    }

    /// One family of two may be missing; anything else may not.
    fn give_up(&mut self, slot: u32, relay: u32) -> Result<(), ErrorCode<'static>> {
        let code = ErrorCode::INSUFFICIENT_CAPACITY;
        let Some(allocation) = self.allocations.get_mut(slot) else { return Err(code) };
        let family = allocation.leases.iter().position(|lease| lease.is_some_and(|lease| lease.relay == relay));
        let both = allocation.leases.iter().all(Option::is_some);
        let Some(family) = family.filter(|_| both) else { return Err(code) };
        allocation.leases[family] = None;
        allocation.missing = Some((FAMILIES[family], code.code));
        self.release_relay(relay);
        Ok(())
    }

    /// The success response, the first time and to retransmissions.
    fn grant(&mut self, now: Instant, slot: u32, asker: &Asker) {
        let Some(allocation) = self.allocations.get(slot) else { return };
        let relayed = allocation.leases.map(|lease| Some(self.relays.get(lease?.relay)?.advertised));
        let lifetime = (allocation.expires() - now).as_secs() as u32;
        let (missing, token) = (allocation.missing, allocation.token);
        let ticket = self.ticket_of(slot);
        let mapped = asker.flow.remote;
        self.succeed(asker, |writer| {
            for address in relayed.into_iter().flatten() {
                writer.push(Attribute::XorRelayedAddress(address));
            }
            writer.push(Attribute::Lifetime(lifetime)).push(Attribute::XorMappedAddress(mapped));
            if let Some(token) = token {
                writer.push(Attribute::ReservationToken(token));
            }
            if let Some((family, code)) = missing {
                let error = [ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED, ErrorCode::INSUFFICIENT_CAPACITY]
                    .into_iter()
                    .find(|error| error.code == code);
                let error = error.unwrap_or(ErrorCode::INSUFFICIENT_CAPACITY);
                writer.push(Attribute::AddressErrorCode(AddressErrorCode { family, error }));
            }
            if let Some(ticket) = &ticket {
                writer.push(Attribute::MobilityTicket(ticket));
            }
        });
    }

    /// Arms the allocation's timer unless one fires before.
    pub(super) fn arm_allocation(&mut self, now: Instant, slot: u32, at: Instant) {
        let Some(generation) = self.allocations.generation(slot) else { return };
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        if at < allocation.armed {
            allocation.armed = at;
            self.arm(now, at, Timer::Allocation { slot, generation, at });
        }
    }
}

/// ADDITIONAL-ADDRESS-FAMILY by its number, or by the one of the drafts, which coturn and its tools kept until 4.7.
fn additional_family(message: &Message<'_>) -> Result<Option<AddressFamily>, Malformed> {
    const DRAFT: AttributeType = AttributeType(0x8032);
    let (kind, id) = (AttributeType::ADDITIONAL_ADDRESS_FAMILY, message.transaction_id());
    let value = message.find(kind).or_else(|| message.find(DRAFT));
    match value.and_then(|value| Attribute::read(kind, value, &id)).transpose()? {
        Some(Attribute::AdditionalAddressFamily(family)) => Ok(Some(family)),
        _ => Ok(None),
    }
}

/// Attributes that no TCP allocation may have (RFC 6062 §5.1).
pub(super) const NOT_FOR_TCP: [AttributeType; 3] =
    [AttributeType::DONT_FRAGMENT, AttributeType::EVEN_PORT, AttributeType::RESERVATION_TOKEN];
