//! Asking by PCP, RFC 6887: MAP requests over UDP, each repeated on its own until it is answered.

pub(super) mod message;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Receive};

use self::message::{Body, Heard, Map, Nonce, Response};
use super::ask::{Ask, Context, Key, Outcome, SERVER_PORT};
use super::epoch::Epoch;
use super::lease::{Backoff, Due, Renewal};

/// The client.
#[derive(Debug, Default)]
pub(super) struct Pcp {
    leases: Vec<Lease>,
    epoch: Option<Epoch>,
}

#[derive(Debug)]
struct Lease {
    key: Key,
    nonce: Nonce,
    /// What to suggest: what we had, or would like.
    external: SocketAddr,
    held: Option<Renewal>,
    doing: Doing,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Asking: until answered, or, for what is held, so many times.
    Asking(Backoff),
    /// Holding.
    Holding,
    /// Giving back.
    Deleting(Backoff),
}

/// Longest lifetimes that are believed (RFC 6887 §8.3): of a mapping, and of an error.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const LONGEST_HOLD: Duration = Duration::from_secs(1800);
/// How many servers' clients there may be that renew after a restart at once: each waits up to that (RFC 6887 §8.5).
const RENEW_WITHIN: Duration = Duration::from_secs(5);
/// How often a deletion is sent.
const DELETIONS: u32 = 3;

impl Pcp {
    fn send(lease: &Lease, lifetime: u32, cx: &mut Context<'_>) {
        let (protocol, internal) = lease.key;
        // Nothing is suggested for what is deleted (RFC 6887 §15).
        let external = if lifetime == 0 { unspecified(cx.internal_address()) } else { lease.external };
        let map = Map { nonce: lease.nonce, protocol, internal, external, lifetime };
        let bytes = map.write(cx.internal_address());
        cx.send_to_gateway(SERVER_PORT, bytes);
    }

    /// Sends whatever is due; forgets what has ended.
    fn proceed(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.leases.retain_mut(|lease| match &mut lease.doing {
            Doing::Deleting(backoff) => match backoff.is_due(now, cx.rng) {
                Some(true) => {
                    Self::send(lease, 0, cx);
                    true
                }
                Some(false) => false,
                None => true,
            },
            Doing::Asking(backoff) => {
                if lease.held.is_some_and(|held| now >= held.end()) {
                    cx.report(Outcome::Lost { key: lease.key });
                    return false;
                }
                match backoff.is_due(now, cx.rng) {
                    Some(true) => Self::send(lease, cx.lifetime(), cx),
                    // A renewal that nobody answers: there is another before the end.
                    Some(false) => lease.doing = Doing::Holding,
                    None => {}
                }
                true
            }
            Doing::Holding => match lease.held.as_mut().map_or(Due::Ended, |held| held.step(now, cx.rng)) {
                Due::Nothing => true,
                Due::Renew => {
                    lease.doing = Doing::Asking(Backoff::pcp_renewal(now));
                    true
                }
                Due::Ended => {
                    cx.report(Outcome::Lost { key: lease.key });
                    false
                }
            },
        });
    }

    fn heard(&mut self, now: Instant, response: &Response, cx: &mut Context<'_>) {
        if !Epoch::fits_pcp(&mut self.epoch, now, response.epoch) {
            for lease in &mut self.leases {
                if let Doing::Holding = lease.doing {
                    lease.doing = Doing::Asking(Backoff::pcp(now + cx.up_to(RENEW_WITHIN)));
                }
            }
        }
        let Body::Map { nonce, protocol, internal, external } = response.body else { return };
        let is_it = |lease: &Lease| lease.nonce == nonce && lease.key.0.number() == protocol && lease.key.1 == internal;
        let Some(at) = self.leases.iter().position(is_it) else { return };
        let lease = &mut self.leases[at];
        if let Doing::Deleting(_) = lease.doing {
            self.leases.swap_remove(at);
            return;
        }
        if response.result != 0 {
            return self.refused(at, response, cx);
        }
        if response.lifetime == 0 || external.port() == 0 || external.ip().is_unspecified() {
            return;
        }
        let lifetime = Duration::from_secs(response.lifetime.into()).min(LONGEST_LIFETIME);
        lease.external = external;
        lease.held = Some(Renewal::new(now, lifetime, cx.rng));
        lease.doing = Doing::Holding;
        cx.report(Outcome::Granted { key: lease.key, external, lifetime: Some(lifetime) });
    }

    fn refused(&mut self, at: usize, response: &Response, cx: &mut Context<'_>) {
        let why = message::refusal(response.result);
        if self.leases[at].held.is_some() {
            // What is held stays until its end; it is asked for again as if nobody had answered.
            self.leases[at].doing = Doing::Holding;
            return;
        }
        let key = self.leases.swap_remove(at).key;
        if response.result == message::UNSUPP_OPCODE {
            return cx.report(Outcome::Absent { why: Some(why) });
        }
        let hold = Duration::from_secs(response.lifetime.into()).min(LONGEST_HOLD);
        cx.report(Outcome::Refused { key, why, hold: Some(hold) });
    }
}

impl Ask for Pcp {
    fn ask(&mut self, now: Instant, key: Key, hint: u16, cx: &mut Context<'_>) {
        self.leases.retain(|lease| lease.key != key);
        let mut nonce = [0; 12];
        cx.rng.fill(&mut nonce);
        let mut external = unspecified(cx.internal_address());
        external.set_port(hint);
        let doing = Doing::Asking(Backoff::pcp(now));
        self.leases.push(Lease { key, nonce, external, held: None, doing });
        self.proceed(now, cx);
    }

    fn delete(&mut self, now: Instant, key: Key, cx: &mut Context<'_>) {
        for lease in self.leases.iter_mut().filter(|lease| lease.key == key) {
            lease.doing = Doing::Deleting(Backoff::pcp(now).times(DELETIONS));
        }
        self.proceed(now, cx);
    }

    fn receive(&mut self, now: Instant, received: &Receive<'_>, cx: &mut Context<'_>) {
        if received.flow.transport.is_reliable() || received.flow.remote.port() != SERVER_PORT {
            return;
        }
        match message::parse(received.bytes) {
            Some(Heard::Response(response)) => self.heard(now, &response, cx),
            Some(Heard::OtherVersion(_)) if self.epoch.is_none() => {
                self.leases.clear();
                cx.report(Outcome::Absent { why: Some(super::Refusal::Unsupported) });
            }
            Some(Heard::OtherVersion(_)) | None => {}
        }
    }

    fn timeout(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.proceed(now, cx);
    }

    /// Nobody listens there (ICMP), as far as one can tell.
    fn flow_failed(&mut self, _now: Instant, flow: Flow, cx: &mut Context<'_>) {
        if flow.remote.port() == SERVER_PORT && !flow.transport.is_reliable() && self.epoch.is_none() {
            self.leases.clear();
            cx.report(Outcome::Absent { why: None });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let deadline = |lease: &Lease| match (lease.doing, lease.held) {
            (Doing::Asking(backoff), Some(held)) => backoff.at().min(held.end()),
            (Doing::Asking(backoff) | Doing::Deleting(backoff), _) => backoff.at(),
            (Doing::Holding, Some(held)) => held.at(),
            (Doing::Holding, None) => Instant::ZERO,
        };
        self.leases.iter().map(deadline).min()
    }

    fn is_idle(&self) -> bool {
        self.leases.is_empty()
    }
}

/// No wish, in the family of our address: an all-zeros IPv4-mapped address, or `::` (RFC 6887 §11.1).
const fn unspecified(family: IpAddr) -> SocketAddr {
    let address = match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}
