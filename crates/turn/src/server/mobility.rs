//! Clients that change their address and keep their allocation, RFC 8016.
//!
//! ```text
//!   Refresh with ticket n from a new 5-tuple ──> ticket n + 1; data still goes to the old one
//!   data on the new one, or the end of the old one ──> the old one is forgotten
//! ```

use std::time::Duration;

use farspeak_sansio::{Flow, Instant};
use farspeak_stun::attribute::ErrorCode;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Server;
use super::config::SecretKey;
use super::flows::is_same;
use super::request::{Fault, Request};

/// Bytes of a ticket: 32, written in hexadecimal, because there are clients (coturn's tools) to which a ticket ends at its
/// first zero byte.
pub(super) const TICKET: usize = 2 * SEALED;
const SEALED: usize = 32;

/// How long an old ticket is good for repeating the request that replaced it (RFC 8016 §3.2.2: at least 30 s).
const REPEATABLE: Duration = Duration::from_secs(30);

/// An allocation's way from address to address.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Mobility {
    /// Counts moves: the number in the ticket that is good now.
    sequence: u32,
    /// Where it moves to, until data comes from there.
    moving: Option<Flow>,
    /// Who made the last move, and until when that request may be repeated.
    last: Option<(Flow, Instant)>,
    /// Whether the client's stream has ended and it has not come back yet.
    lost: bool,
}

impl Mobility {
    /// Whether the client is about to move to this flow.
    pub(super) fn is_moving_to(&self, flow: &Flow) -> bool {
        self.moving.is_some_and(|moving| is_same(&moving, flow))
    }

    pub(super) const fn moving_to(&self) -> Option<Flow> {
        self.moving
    }

    /// Whether the client is nowhere at present.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    fn repeats(&self, now: Instant, flow: &Flow, sequence: u32) -> bool {
        let recent = self.last.is_some_and(|(last, until)| is_same(&last, flow) && now < until);
        recent && sequence == self.sequence.wrapping_sub(1)
    }
}

/// What a ticket says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ticket {
    shard: u8,
    slot: u32,
    generation: u32,
    sequence: u32,
}

/// Makes and reads tickets: 16 bytes sealed as in RFC 5297 (synthetic IV), with HMAC-SHA256 as the one function. Equal
/// tickets look alike, which is what a retransmitted answer should; others tell nothing of each other.
pub(super) struct Tickets {
    tag: Hmac<Sha256>,
    mask: Hmac<Sha256>,
}

impl Tickets {
    /// Keys derived from the nonces'; all shards have the same.
    pub(super) fn new(key: &SecretKey) -> Self {
        let derived = |label: &[u8]| {
            let key = mac(&key.0).chain_update(label).finalize().into_bytes();
            mac(&key)
        };
        Self { tag: derived(b"mobility ticket: tag"), mask: derived(b"mobility ticket: mask") }
    }

    fn seal(&self, ticket: Ticket) -> [u8; TICKET] {
        let mut plain = [0; 16];
        plain[0] = ticket.shard;
        plain[4..8].copy_from_slice(&ticket.slot.to_be_bytes());
        plain[8..12].copy_from_slice(&ticket.generation.to_be_bytes());
        plain[12..].copy_from_slice(&ticket.sequence.to_be_bytes());
        let tag = self.tag.clone().chain_update(plain).finalize().into_bytes();
        let mut sealed = [0; SEALED];
        sealed[..16].copy_from_slice(&tag[..16]);
        let mask = self.mask.clone().chain_update(&sealed[..16]).finalize().into_bytes();
        for (at, byte) in plain.iter().enumerate() {
            sealed[16 + at] = byte ^ mask[at];
        }
        let mut text = [0; TICKET];
        for (pair, byte) in text.chunks_exact_mut(2).zip(sealed) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        text
    }

    fn open(&self, text: &[u8]) -> Option<Ticket> {
        let text: &[u8; TICKET] = text.try_into().ok()?;
        let digit = |of: u8| HEX.iter().position(|known| *known == of);
        let mut sealed = [0; SEALED];
        for (byte, pair) in sealed.iter_mut().zip(text.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8; // two of four bits
        }
        let mask = self.mask.clone().chain_update(&sealed[..16]).finalize().into_bytes();
        let mut plain = [0; 16];
        for (at, byte) in plain.iter_mut().enumerate() {
            *byte = sealed[16 + at] ^ mask[at];
        }
        self.tag.clone().chain_update(plain).verify_truncated_left(&sealed[..16]).ok()?;
        let number = |at: usize| u32::from_be_bytes([plain[at], plain[at + 1], plain[at + 2], plain[at + 3]]);
        Some(Ticket { shard: plain[0], slot: number(4), generation: number(8), sequence: number(12) })
    }

    /// The shard that made a ticket.
    pub(super) fn shard(&self, sealed: &[u8]) -> Option<u8> {
        self.open(sealed).map(|ticket| ticket.shard)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl Server {
    /// Gives an allocation that is being made tickets.
    pub(super) fn make_mobile(&mut self, slot: u32) {
        if let Some(allocation) = self.allocations.get_mut(slot) {
            allocation.mobility = Some(Box::default());
        }
    }

    /// The ticket that is good now, if the allocation has any.
    pub(super) fn ticket_of(&self, slot: u32) -> Option<[u8; TICKET]> {
        let sequence = self.allocations.get(slot)?.mobility.as_ref()?.sequence;
        let (shard, generation) = (self.config.shard, self.allocations.generation(slot)?);
        Some(self.tickets.seal(Ticket { shard, slot, generation, sequence }))
    }

    /// The allocation that a ticket is for, if it lives on this shard.
    pub(super) fn ticket_slot(&self, sealed: &[u8]) -> Option<u32> {
        let ticket = self.tickets.open(sealed).filter(|ticket| ticket.shard == self.config.shard)?;
        self.allocations.is_current(ticket.slot, ticket.generation).then_some(ticket.slot)
    }

    /// Which allocation a Refresh with a ticket is about, if it may move to where the request came from.
    pub(super) fn moving(&self, now: Instant, request: &Request<'_>, sealed: &[u8]) -> Result<u32, Fault> {
        if !self.config.mobility {
            return Err(ErrorCode::MOBILITY_FORBIDDEN.into());
        }
        let ticket = self.tickets.open(sealed).ok_or(ErrorCode::BAD_REQUEST)?;
        let slot = self.ticket_slot(sealed).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let allocation = self.allocations.get(slot).filter(|allocation| allocation.opening.is_none());
        let mobility = allocation.and_then(|allocation| Some((allocation.client, allocation.mobility.as_ref()?)));
        let (client, mobility) = mobility.ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let flow = &request.asker.flow;
        if mobility.repeats(now, flow, ticket.sequence) {
            return Ok(slot);
        }
        if ticket.sequence != mobility.sequence || is_same(flow, &client) || mobility.is_moving_to(flow) {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        // The new 5-tuple has an allocation of its own.
        if request.slot.is_some_and(|other| other != slot) {
            return Err(ErrorCode::ALLOCATION_MISMATCH.into());
        }
        Ok(slot)
    }

    /// Lets an allocation follow its client; the new ticket.
    pub(super) fn begin_move(&mut self, now: Instant, slot: u32, request: &Request<'_>) -> Option<[u8; TICKET]> {
        let flow = request.asker.flow;
        let mobility = self.allocations.get_mut(slot)?.mobility.as_mut()?;
        let repeated = mobility.is_moving_to(&flow) || mobility.last.is_some_and(|(last, _)| is_same(&last, &flow));
        if !repeated {
            mobility.sequence = mobility.sequence.wrapping_add(1);
            mobility.last = Some((flow, now + REPEATABLE));
            let abandoned = mobility.moving.replace(flow);
            let lost = mobility.lost;
            abandoned.into_iter().for_each(|flow| self.flows.remove(&flow));
            self.flows.insert(&flow, slot);
            if lost {
                self.settle(slot);
            }
        }
        self.ticket_of(slot)
    }

    /// The client has arrived: the old 5-tuple is forgotten.
    pub(super) fn settle(&mut self, slot: u32) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let Some(mobility) = allocation.mobility.as_mut() else { return };
        let Some(new) = mobility.moving.take() else { return };
        mobility.lost = false;
        let old = std::mem::replace(&mut allocation.client, new);
        self.flows.remove(&old);
        self.counters.moved += 1;
    }

    /// A client's stream has ended; whether its allocation lives on without it.
    pub(super) fn lose(&mut self, slot: u32, flow: &Flow) -> bool {
        let Some(allocation) = self.allocations.get_mut(slot) else { return false };
        let current = is_same(&allocation.client, flow);
        let Some(mobility) = allocation.mobility.as_mut().filter(|_| allocation.opening.is_none()) else {
            return false;
        };
        if mobility.moving.is_some() && current {
            self.settle(slot);
            return true;
        }
        if current {
            mobility.lost = true;
        } else if mobility.is_moving_to(flow) {
            mobility.moving = None;
        }
        self.flows.remove(flow);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_who_has_the_key_and_by_nobody_if_a_bit_has_changed() {
        let tickets = Tickets::new(&SecretKey([7; 32]));
        let ticket = Ticket { shard: 3, slot: 70_000, generation: 9, sequence: 2 };
        let sealed = tickets.seal(ticket);
        assert_eq!(tickets.open(&sealed), Some(ticket));
        assert_eq!(sealed, tickets.seal(ticket));
        assert_eq!(Tickets::new(&SecretKey([8; 32])).open(&sealed), None);
        for bit in 0..TICKET * 8 {
            let mut changed = sealed;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.open(&changed), None);
        }
        assert_eq!(tickets.open(&sealed[..31]), None);
        let next = tickets.seal(Ticket { sequence: 3, ..ticket });
        assert!(sealed.iter().zip(next).filter(|(a, b)| **a == *b).count() < 8);
    }
}
