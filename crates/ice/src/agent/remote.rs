//! What signalling brings from the peer: credentials, candidates, names, the end (RFC 8838 §§10–14).

use std::net::IpAddr;

use farspeak_sansio::Instant;

use crate::candidate::is_plausible;
use crate::{Address, Agent, Candidate, CandidateTransport, Credentials, Event, Mode, State, Trickle};

/// What the peer said of itself in signalling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RemoteOptions {
    /// `a=ice-lite`: the peer checks nothing, so this agent controls (RFC 8445 §6.1.1).
    pub lite: bool,
    /// `renomination` in `a=ice-options`.
    pub renomination: bool,
    /// Whether more candidates may come: `trickle` in `a=ice-options`, or the description said nothing of an end.
    pub trickle: bool,
}

/// The peer, as signalling has it.
#[derive(Default)]
pub(super) struct Remote {
    pub(super) credentials: Option<Credentials>,
    pub(super) complete: bool,
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
        if options.lite != (self.config.mode == Mode::Lite) && self.generation == 0 {
            let controlling = options.lite;
            if controlling != self.controlling {
                self.controlling = controlling;
                self.share_role(now);
                self.emit(Event::RoleChanged { controlling });
            }
        }
        let renomination = options.renomination && self.config.nomination.renomination;
        for component in &mut self.components {
            component.session.set_remote(now, remote, renomination);
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
        if !self.remote.complete || self.remote.count == 0 {
            self.take_remote(now, candidate);
        }
        self.after(now);
    }

    /// No more candidates of the peer's will come in this generation (RFC 8838 §14).
    pub fn end_of_remote_candidates(&mut self, now: Instant) {
        self.remote.complete = true;
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
        if stale || !self.components.iter().any(|of| of.id == candidate.component) {
            return;
        }
        match &candidate.address {
            Address::Ip(_) => self.use_remote(now, candidate),
            Address::Name(name) => {
                if self.remote.unresolved.len() >= self.config.limits.names {
                    return;
                }
                let name = name.clone();
                let asked = self.remote.unresolved.iter().any(|known| known.address == Address::Name(name.clone()));
                self.remote.unresolved.push(candidate);
                if !asked {
                    self.emit(Event::Resolve { name });
                }
            }
        }
    }

    fn use_remote(&mut self, now: Instant, candidate: Candidate) {
        // A candidate that only connects is never sent to (RFC 6544 §4.5): its checks come from elsewhere. And no driver
        // offers TCP between agents yet.
        if candidate.transport != CandidateTransport::Udp {
            return;
        }
        let most = self.config.limits.remote_candidates * self.components.len();
        let usable = candidate.socket_address().is_some_and(is_plausible);
        if !usable || self.remote.count >= most {
            return;
        }
        self.remote.count += 1;
        if let Some(ip) = candidate.socket_address().map(|address| address.ip().to_canonical())
            && !self.remote.addresses.contains(&ip)
        {
            self.remote.addresses.push(ip);
            self.permit(now, ip);
        }
        if let Some(of) = self.components.iter_mut().find(|of| of.id == candidate.component) {
            of.session.add_remote(now, &candidate);
        }
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
