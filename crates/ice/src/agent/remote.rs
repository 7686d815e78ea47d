//! What signalling brings from the peer: credentials, candidates, names, the end (RFC 8838 §§10–14).

use std::net::IpAddr;
use std::time::Duration;

use farspeak_sansio::Instant;

use super::LEAST_TA;
use crate::candidate::is_plausible;
use crate::session::Agreed;
use crate::{Address, Agent, Candidate, CandidateTransport, Credentials, Event, Mode, Privacy, State, Trickle};

/// What an agent wants that says nothing of its pacing (RFC 8445 §14.2).
const DEFAULT_TA: Duration = Duration::from_millis(50);

/// What the peer said of itself in signalling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RemoteOptions {
    /// `a=ice-lite`: the peer checks nothing, so this agent controls, or, if it is lite as well, who began (RFC 8445
    /// §6.1.1).
    pub lite: bool,
    /// `renomination` in `a=ice-options`.
    pub renomination: bool,
    /// Whether more candidates may come: `trickle` in `a=ice-options`, or the description said nothing of an end.
    pub trickle: bool,
    /// `a=ice-pacing`: how far apart the peer wants checks to be. `None` if it says nothing, which means 50 ms (RFC 8839
    /// §5.5). The longer one counts, the peer's or ours.
    pub pacing: Option<Duration>,
}

/// The peer, as signalling has it.
#[derive(Default)]
pub(super) struct Remote {
    pub(super) credentials: Option<Credentials>,
    pub(super) complete: bool,
    /// It has said so itself: what comes now is too late.
    ended: bool,
    /// What came before the credentials, and what waits for the address behind a name.
    early: Vec<Candidate>,
    unresolved: Vec<Candidate>,
    pub(super) count: usize,
    /// Where the peer may be: relays let it in from there.
    pub(super) addresses: Vec<IpAddr>,
}

impl Agent {
    /// The peer's user fragment and password, from its offer or answer. Checks begin. Other credentials than before
    /// without a [`restart`](Self::restart) mean that the peer restarts: then this agent does as well, and its new
    /// credentials have to go back.
    pub fn set_remote(&mut self, now: Instant, remote: &Credentials, options: RemoteOptions) {
        if self.state == State::Closed || self.remote.credentials.as_ref() == Some(remote) {
            return;
        }
        if self.remote.credentials.is_some() {
            self.restart(now);
        }
        self.remote.credentials = Some(remote.clone());
        self.remote.complete |= !options.trickle || self.config.trickle == Trickle::None;
        let lite = self.config.mode == Mode::Lite;
        if options.lite != lite {
            let controlling = options.lite;
            if controlling != self.controlling {
                self.controlling = controlling;
                self.share_role(now);
                self.emit(Event::RoleChanged { controlling });
            }
        }
        self.ta = self.config.timing.ta.max(LEAST_TA).max(options.pacing.unwrap_or(DEFAULT_TA));
        let renomination = options.renomination && self.config.nomination.renomination;
        let agreed = Agreed { renomination, both_lite: lite && options.lite, ta: self.ta };
        for component in &mut self.components {
            component.session.set_remote(now, remote, agreed);
        }
        self.set_state(State::Checking);
        for candidate in std::mem::take(&mut self.remote.early) {
            self.take_remote(now, candidate);
        }
        self.update_completeness(now);
        self.after(now);
    }

    /// A candidate of the peer's. One that belongs to another session by its `ufrag`, comes after the end, cannot be used
    /// or is one too many is passed over (RFC 8838 §§11, 14). It may come before the credentials.
    pub fn add_remote_candidate(&mut self, now: Instant, candidate: Candidate) {
        if self.state == State::Closed {
            return;
        }
        if self.remote.credentials.is_none() {
            if self.remote.early.len() < self.config.limits.remote_candidates * self.components.len() {
                self.remote.early.push(candidate);
            }
            return;
        }
        if !self.remote.ended {
            self.take_remote(now, candidate);
        }
        self.after(now);
    }

    /// No more candidates of the peer's will come in this generation (RFC 8838 §14). Which generation it is about,
    /// signalling says by the user fragment beside it (RFC 8840 §4.4): the end of an old one is not for here.
    pub fn end_of_remote_candidates(&mut self, now: Instant) {
        (self.remote.complete, self.remote.ended) = (true, true);
        self.update_completeness(now);
        self.after(now);
    }

    /// The answer to [`Event::Resolve`]: the addresses behind a name; none if nobody knows it.
    pub fn resolved(&mut self, now: Instant, name: &str, addresses: &[IpAddr]) {
        let unresolved = std::mem::take(&mut self.remote.unresolved);
        for candidate in unresolved {
            if candidate.address != Address::Name(name.to_owned()) {
                self.remote.unresolved.push(candidate);
                continue;
            }
            // One address, or the draft's rule: what is ambiguous is dropped beyond one of each family.
            let v4 = addresses.iter().find(|ip| ip.is_ipv4());
            let v6 = addresses.iter().find(|ip| ip.is_ipv6());
            for ip in v4.into_iter().chain(v6) {
                self.use_remote(now, Candidate { address: Address::Ip(*ip), ..candidate.clone() });
            }
        }
        self.update_completeness(now);
        self.after(now);
    }

    fn take_remote(&mut self, now: Instant, candidate: Candidate) {
        let current = self.remote.credentials.as_ref().map(Credentials::ufrag);
        let stale = candidate.ufrag.as_deref().is_some_and(|ufrag| Some(ufrag) != current);
        let most = self.config.limits.remote_candidates * self.components.len();
        // A candidate that only connects is never sent to (RFC 6544 §4.5): its checks come from elsewhere. And no driver
        // offers TCP between agents yet.
        let usable = candidate.transport == CandidateTransport::Udp && self.remote.count < most;
        if stale || !usable || !self.components.iter().any(|of| of.id == candidate.component) {
            return;
        }
        match &candidate.address {
            Address::Ip(_) => self.remote.count += usize::from(self.use_remote(now, candidate)),
            Address::Name(name) => {
                // Who asks for a name shows to all of the local network whom it talks to: the relay's peer may be there.
                let is_private = self.config.privacy == Privacy::RelayOnly;
                if is_private || self.remote.unresolved.len() >= self.config.limits.names {
                    return;
                }
                self.remote.count += 1;
                let name = name.clone();
                let asked = self.remote.unresolved.iter().any(|known| known.address == Address::Name(name.clone()));
                self.remote.unresolved.push(candidate);
                if !asked {
                    self.emit(Event::Resolve { name });
                }
            }
        }
    }

    /// Pairs a candidate, unless nobody could be there.
    fn use_remote(&mut self, now: Instant, candidate: Candidate) -> bool {
        let Some(address) = candidate.socket_address() else { return false };
        let ip = address.ip();
        // RFC 8445 §5.1.1.1: no candidate is IPv4-mapped or a loopback address. What the peer calls so is of this host.
        let wrong = ip.to_canonical() != ip || ip.is_loopback() && !self.config.loopback;
        if wrong || !is_plausible(address) {
            return false;
        }
        if !self.remote.addresses.contains(&ip) {
            self.remote.addresses.push(ip);
            self.permit(now, ip);
        }
        if let Some(of) = self.components.iter_mut().find(|of| of.id == candidate.component) {
            of.session.add_remote(now, &candidate);
        }
        true
    }

    /// Tells the sessions whether candidates may still come from either end.
    pub(super) fn update_completeness(&mut self, now: Instant) {
        let complete = self.remote.complete && self.remote.unresolved.is_empty() && self.locals.ended;
        for component in &mut self.components {
            component.session.set_complete(now, complete);
        }
    }

    pub(super) fn share_role(&mut self, now: Instant) {
        for component in &mut self.components {
            component.session.set_role(now, self.controlling, self.tie_breaker);
        }
    }
}
