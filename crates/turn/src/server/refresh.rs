//! Refresh, RFC 8656 §8.2: an allocation, or one family of it, lives on or ends; or it moves (RFC 8016 §3.2.2).

use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_stun::attribute::{Attribute, ErrorCode};

use super::Server;
use super::allocation::{Allocation, index};
use super::request::{Fault, Request};

impl Server {
    pub(super) fn refresh(&mut self, now: Instant, mut request: Request<'_>) -> Result<(), Fault> {
        let moving = match request.message.mobility_ticket()? {
            Some(ticket) => Some(self.moving(now, &request, ticket)?),
            None => None,
        };
        request.slot = moving.or(request.slot);
        let slot = self.allocation_of(&request)?;
        let family = request.message.requested_address_family()?.map(index);
        let leases = self.allocations.get(slot).map(|allocation| allocation.leases).unwrap_or_default();
        if family.is_some_and(|family| leases[family].is_none()) {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        let concerned = |at: usize| leases[at].is_some() && family.is_none_or(|family| family == at);
        let requested = request.message.lifetime()?;
        let lifetime = match requested {
            Some(0) => Duration::ZERO,
            requested => self.lifetime(now, requested, &request.owner),
        };
        let mut ticket = None;
        if lifetime.is_zero() {
            let all = (0..2).all(|at| leases[at].is_none() || concerned(at));
            if all {
                self.counters.released += 1;
                self.end(slot);
            } else {
                (0..2).filter(|at| concerned(*at)).for_each(|at| self.end_family(slot, at));
            }
        } else {
            self.prolong(now, slot, concerned, lifetime);
            if moving.is_some() {
                ticket = self.begin_move(now, slot, &request);
            }
            self.counters.refreshed += 1;
        }
        self.succeed(&request.asker, |writer| {
            writer.push(Attribute::Lifetime(lifetime.as_secs() as u32));
            if let Some(ticket) = &ticket {
                writer.push(Attribute::MobilityTicket(ticket));
            }
        });
        Ok(())
    }

    fn prolong(&mut self, now: Instant, slot: u32, concerned: impl Fn(usize) -> bool, lifetime: Duration) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        for (_, lease) in allocation.leases.iter_mut().enumerate().filter(|(at, _)| concerned(*at)) {
            if let Some(lease) = lease {
                lease.expires = now + lifetime;
            }
        }
        let next = Allocation::next_expiry(allocation);
        self.book(slot);
        self.arm_allocation(now, slot, next);
    }
}
