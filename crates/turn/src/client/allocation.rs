//! The allocation itself: asked for, refreshed, given back. RFC 8656 §7.1, §7.3, §7.4 and §8.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant};
use farspeak_stun::attribute::AddressFamily;
use farspeak_stun::{Attribute, AttributeType, Message, Method, Writer};

use super::{Allocated, Asked, Client, Config, Event, Failure, Families, Outcome, PAUSE};

/// Where the client stands.
#[derive(Debug)]
pub(super) enum State {
    /// No allocation, and none asked for.
    Idle,
    /// Asked for one.
    Allocating,
    /// There is one.
    Allocated(Allocation),
    /// Asked the server to end it.
    Releasing,
}

/// What the server lends us.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) relayed: Vec<SocketAddr>,
    /// When it ends, at the earliest: counted from when we asked, not from when the server heard it.
    expires: Instant,
    /// When to refresh it; `None` while that is under way.
    refresh: Option<Instant>,
    /// Why the last refresh failed.
    doubt: Option<Failure>,
    /// Whether the relay knows DONT-FRAGMENT.
    pub(super) dont_fragment: bool,
}

/// The default lifetime (RFC 8656 §6), and the longest that is relied upon: a server that forgets us is noticed within.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);
/// How long before its end an allocation is refreshed (RFC 8656 §8).
const MARGIN: Duration = Duration::from_secs(60);

impl Client {
    /// Asks for an allocation. [`Event::Allocated`] or [`Event::Failed`] follows. Does nothing if there is one, or one is
    /// being asked for or given back.
    pub fn allocate(&mut self, now: Instant) {
        if matches!(self.state, State::Idle) {
            self.state = State::Allocating;
            self.ask_for_allocation(now, self.config.extras());
        }
    }

    /// Gives the allocation back. [`Event::Released`] follows, when the server has confirmed it or cannot be reached; then
    /// the owner may close its socket or connection.
    pub fn release(&mut self, now: Instant) {
        let asked = match self.state {
            State::Releasing => return,
            State::Idle => false,
            // The server may have granted it though the answer was lost; without credentials it has not.
            State::Allocating => self.requests.is_challenged(),
            State::Allocated(_) => true,
        };
        self.clear();
        if asked && self.ask_to_delete(now, Asked::Release).is_ok() {
            self.state = State::Releasing;
        } else {
            self.events.push_back(Event::Released);
        }
    }

    /// Whether the client waits for the server to confirm that the allocation has ended.
    pub const fn is_releasing(&self) -> bool {
        matches!(self.state, State::Releasing)
    }

    fn ask_for_allocation(&mut self, now: Instant, extras: Extras) {
        let config = self.config.clone();
        let asked = Asked::Allocate(now, extras);
        let written = self.ask(now, Method::ALLOCATE, asked, move |writer| write_allocate(writer, &config, extras));
        if let Err(failure) = written {
            self.fail(failure);
        }
    }

    pub(super) fn allocate_ended(
        &mut self,
        now: Instant,
        heard: Option<Flow>,
        at: Instant,
        extras: Extras,
        outcome: Outcome<'_>,
    ) {
        let message = match outcome {
            // The server may not know DONT-FRAGMENT: "MAY choose to retry" without (RFC 8656 §7.4).
            Err(Failure::Refused { code: 420, .. }) if extras.dont_fragment => {
                return self.ask_for_allocation(now, Extras { dont_fragment: false, ..extras });
            }
            // Nor may everybody move (RFC 8016 §3.1.4).
            Err(Failure::Refused { code: 405, .. }) if extras.mobility => {
                return self.ask_for_allocation(now, Extras { mobility: false, ..extras });
            }
            Err(failure) => return self.fail(failure),
            Ok(message) => message,
        };
        let Some(mut allocated) = read_allocated(&message, self.config.asked_families()) else {
            // "the client MUST delete the allocation", RFC 8656 §7.3.
            let _ = self.ask_to_delete(now, Asked::Farewell);
            return self.fail(Failure::Unusable);
        };
        self.adopt(heard);
        self.mobility.take_ticket(&message);
        allocated.dont_fragment = extras.dont_fragment;
        allocated.mobile = self.mobility.has_ticket();
        let (expires, refresh) = times(at, allocated.lifetime);
        let (relayed, dont_fragment) = (allocated.relayed.clone(), extras.dont_fragment);
        self.state =
            State::Allocated(Allocation { relayed, expires, refresh: Some(refresh), doubt: None, dont_fragment });
        self.keep_alive.start(now, self.flow, allocated.mapped);
        self.events.push_back(Event::Allocated(allocated));
    }

    fn fail(&mut self, failure: Failure) {
        self.state = State::Idle;
        self.events.push_back(Event::Failed(failure));
    }

    /// On a stream, the connection that the server was heard on is the allocation's and no other.
    pub(super) fn adopt(&mut self, heard: Option<Flow>) {
        if let Some(heard) = heard.filter(|heard| heard.transport.is_reliable()) {
            self.flow.id = heard.id;
        }
    }

    /// When the allocation wants attention.
    pub(super) fn refresh_at(&self) -> Option<Instant> {
        let State::Allocated(allocation) = &self.state else { return None };
        let refresh = allocation.refresh.filter(|_| !self.mobility.is_moving());
        Some(refresh.unwrap_or(Instant::FAR_FUTURE).min(allocation.expires))
    }

    pub(super) fn refresh_if_due(&mut self, now: Instant) {
        if self.refresh_at().is_none_or(|at| at > now) {
            return;
        }
        let State::Allocated(allocation) = &mut self.state else { return };
        if allocation.expires <= now {
            let failure = allocation.doubt.take().unwrap_or(Failure::Expired);
            return if self.mobility.is_moving() {
                self.move_ended(now, None, now, Err(failure))
            } else {
                self.lose(failure)
            };
        }
        allocation.refresh = None;
        let lifetime = self.config.lifetime;
        let software = self.config.software.clone();
        let asked = self.ask(now, Method::REFRESH, Asked::Refresh(now), move |writer| {
            write_lifetime(writer, lifetime);
            write_software(writer, software.as_deref());
        });
        if let Err(failure) = asked {
            self.refresh_later(now, failure);
        }
    }

    /// Refreshes as soon as possible.
    pub(super) fn refresh_now(&mut self, now: Instant) {
        self.cancel(|asked| matches!(asked, Asked::Refresh(_)));
        if let State::Allocated(allocation) = &mut self.state {
            allocation.refresh = Some(now);
        }
        self.refresh_if_due(now);
    }

    fn refresh_later(&mut self, now: Instant, failure: Failure) {
        if let State::Allocated(allocation) = &mut self.state {
            allocation.refresh = Some(now + PAUSE);
            allocation.doubt = Some(failure);
        }
    }

    pub(super) fn refresh_ended(&mut self, now: Instant, at: Instant, outcome: Outcome<'_>) {
        match outcome {
            Ok(message) => self.refreshed(at, &message),
            Err(failure) if failure.code() == Some(437) => self.mismatched(now, failure),
            Err(failure) if failure.may_pass() => self.refresh_later(now, failure),
            Err(failure) => self.lose(failure),
        }
    }

    /// The server has said how long the allocation lives, counted from `at`.
    pub(super) fn refreshed(&mut self, at: Instant, message: &Message<'_>) {
        let lifetime = lifetime_of(message);
        if lifetime == Some(Duration::ZERO) {
            return self.lose(Failure::Expired);
        }
        let State::Allocated(allocation) = &mut self.state else { return };
        let (expires, refresh) = times(at, lifetime.unwrap_or(DEFAULT_LIFETIME));
        (allocation.expires, allocation.refresh, allocation.doubt) = (expires, Some(refresh), None);
    }

    pub(super) fn ask_to_delete(&mut self, now: Instant, asked: Asked) -> Result<(), Failure> {
        // Of both families, if there are two: no REQUESTED-ADDRESS-FAMILY (RFC 8656 §8.1).
        self.ask(now, Method::REFRESH, asked, |writer| {
            writer.push(Attribute::Lifetime(0));
        })
    }

    /// Success, 437 or nobody there: it is gone in any case (RFC 8656 §8.3).
    pub(super) fn release_ended(&mut self) {
        self.state = State::Idle;
        self.events.push_back(Event::Released);
    }
}

/// What an Allocate request asks for besides an address; a server that refuses one of these is asked without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extras {
    dont_fragment: bool,
    mobility: bool,
}

impl Config {
    const fn extras(&self) -> Extras {
        Extras { dont_fragment: self.dont_fragment && !self.streams, mobility: self.mobility && !self.streams }
    }

    /// What [`write_allocate`] asks for.
    fn asked_families(&self) -> Families {
        match self.families {
            _ if self.reservation.is_some() && !self.streams => Families::Any,
            Families::Both if self.even_port.is_some_and(|even| even.reserve_next) && !self.streams => Families::Any,
            families => families,
        }
    }
}

/// ADDITIONAL-ADDRESS-FAMILY before it had its number: what coturn up to 4.6 understands. Others pass over it.
const DRAFT_ADDITIONAL_ADDRESS_FAMILY: AttributeType = AttributeType(0x8032);

fn write_allocate(writer: &mut Writer<'_>, config: &Config, extras: Extras) {
    /// IP protocols between relay and peers.
    const UDP: u8 = 17;
    const TCP: u8 = 6;
    writer.push(Attribute::RequestedTransport(if config.streams { TCP } else { UDP }));
    match config.asked_families() {
        Families::Any => {}
        Families::One(family) => {
            writer.push(Attribute::RequestedAddressFamily(family));
        }
        Families::Both => {
            writer.push(Attribute::AdditionalAddressFamily(AddressFamily::V6));
            writer.push_raw(DRAFT_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }
    }
    match (config.reservation, config.even_port) {
        _ if config.streams => {}
        (Some(token), _) => {
            writer.push(Attribute::ReservationToken(token));
        }
        (None, Some(even)) => {
            writer.push(Attribute::EvenPort(even));
        }
        (None, None) => {}
    }
    write_lifetime(writer, config.lifetime);
    if extras.dont_fragment {
        writer.push(Attribute::DontFragment(()));
    }
    if extras.mobility {
        // "with a length of zero. This indicates that the client is a mobile node", RFC 8016 §3.1.1.
        writer.push(Attribute::MobilityTicket(&[]));
    }
    write_software(writer, config.software.as_deref());
}

pub(super) fn write_lifetime(writer: &mut Writer<'_>, lifetime: Option<Duration>) {
    if let Some(lifetime) = lifetime {
        // Zero would delete it.
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
        writer.push(Attribute::Lifetime(seconds));
    }
}

fn write_software(writer: &mut Writer<'_>, software: Option<&str>) {
    if let Some(software) = software {
        writer.push(Attribute::Software(software));
    }
}

/// `None` if something is missing, or an address is of a family that was not asked for (RFC 8656 §7.3).
fn read_allocated(message: &Message<'_>, families: Families) -> Option<Allocated> {
    let mut relayed: Vec<SocketAddr> = Vec::new();
    for attribute in message.attributes() {
        match attribute.typed() {
            Some(Ok(Attribute::XorRelayedAddress(address))) => {
                // coturn 4.6 writes 0.0.0.0:0 for the family that it does not have.
                if address.port() == 0 || address.ip().is_unspecified() {
                    continue;
                }
                let fits = families.accept(address.ip().into());
                let new = relayed.iter().all(|other| other.is_ipv4() != address.is_ipv4());
                if !(fits && new) {
                    return None;
                }
                relayed.push(address);
            }
            Some(Err(_)) => return None,
            _ => {}
        }
    }
    let mapped = message.xor_mapped_address().ok()??;
    let lifetime = lifetime_of(message).unwrap_or(DEFAULT_LIFETIME);
    if relayed.is_empty() || lifetime.is_zero() {
        return None;
    }
    let named = message.address_error_code().ok()?.map(|missing| (missing.family, missing.error.code));
    let missing = named.or_else(|| missing_family(families, &relayed).map(|family| (family, 440)));
    let reservation = message.reservation_token().ok()?;
    Some(Allocated { relayed, mapped, lifetime, reservation, missing, dont_fragment: false, mobile: false })
}

/// Which family was asked for in vain by a server that does not say so.
fn missing_family(families: Families, relayed: &[SocketAddr]) -> Option<AddressFamily> {
    match (families, relayed) {
        (Families::Both, [SocketAddr::V4(_)]) => Some(AddressFamily::V6),
        (Families::Both, [SocketAddr::V6(_)]) => Some(AddressFamily::V4),
        _ => None,
    }
}

fn lifetime_of(message: &Message<'_>) -> Option<Duration> {
    message.lifetime().ok().flatten().map(|seconds| Duration::from_secs(seconds.into()))
}

/// When an allocation that was granted this long at `at` ends, and when to refresh it.
fn times(at: Instant, lifetime: Duration) -> (Instant, Instant) {
    let relied = lifetime.min(LONGEST_LIFETIME);
    let refresh = if relied >= MARGIN * 2 { relied - MARGIN } else { relied / 2 };
    (at + lifetime, at + refresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refreshes_a_minute_before_the_end_or_halfway() {
        let after = |secs| times(Instant::ZERO, Duration::from_secs(secs)).1.since_origin();
        assert_eq!(after(600), Duration::from_secs(540));
        assert_eq!(after(120), Duration::from_secs(60));
        assert_eq!(after(30), Duration::from_secs(15));
        assert_eq!(after(u64::from(u32::MAX)), Duration::from_secs(3540));
    }
}
