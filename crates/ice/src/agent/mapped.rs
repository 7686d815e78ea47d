//! Outside addresses that the router forwards to our sockets, because it was asked to (PCP, NAT-PMP, UPnP).
//!
//! A [`PortMapper`](crate::port_mapping::PortMapper) asks for them: one for all agents of a program, since a router is asked
//! once for a port, with a driver of its own, since it speaks HTTP. What it tells goes to [`Agent::port_mapping`].

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::Instant;

use super::local::Found;
use crate::candidate::unscoped;
use crate::port_mapping::{self, Mapping, Protocol};
use crate::{Agent, CandidateType};

impl Agent {
    /// What a port mapper has told. A mapping of one of our sockets is a candidate for as long as the mapper says nothing
    /// else of it: renewals are the mapper's. Everything else is passed over.
    ///
    /// ```
    /// # use farspeak_ice::port_mapping::{self, Mapping, Protocol, Way};
    /// # use farspeak_ice::{Agent, AgentConfig, Interface};
    /// # use farspeak_sansio::{Instant, SplitMix64};
    /// # let (now, base) = (Instant::ZERO, "10.0.0.2:6000".parse().unwrap());
    /// # let mut agent = Agent::new(AgentConfig::default(), Box::new(SplitMix64::new(1)));
    /// # agent.add_socket(now, 1, base, Interface::default());
    /// # let external = "203.0.113.9:6000".parse().unwrap();
    /// # let mapping = Mapping { protocol: Protocol::Udp, internal: base, external, lifetime: None, by: Way::Pcp };
    /// # let event = port_mapping::Event::Mapped(mapping);
    /// agent.port_mapping(now, &event); // from `PortMapper::poll_event`
    /// assert_eq!(agent.local_candidates()[1].socket_address(), Some(external));
    /// ```
    pub fn port_mapping(&mut self, now: Instant, event: &port_mapping::Event) {
        match *event {
            port_mapping::Event::Mapped(Mapping { protocol: Protocol::Udp, internal, external, .. }) => {
                // Another address than before: that one is void.
                self.forget_mapped(internal, Some(external));
                self.add_mapped(now, internal, external, None);
            }
            port_mapping::Event::Lost { protocol: Protocol::Udp, internal } => self.forget_mapped(internal, None),
            _ => {}
        }
    }

    /// Something else forwards this outside address to the socket for so long. Call it again when that has been renewed.
    pub fn add_mapped_address(&mut self, now: Instant, base: SocketAddr, external: SocketAddr, lifetime: Duration) {
        self.add_mapped(now, base, external, Some(now + lifetime));
    }

    fn add_mapped(&mut self, now: Instant, base: SocketAddr, external: SocketAddr, expires: Option<Instant>) {
        let Some(socket) = self.locals.sockets.iter().find(|socket| socket.local == base).copied() else { return };
        let place = (unscoped(external), unscoped(base));
        let at_place = |address, base| (address, base) == place;
        let locals = &mut self.locals.candidates;
        if let Some(local) = locals.iter_mut().find(|it| at_place(it.candidate.address, it.candidate.base)) {
            // What a server has seen without our asking lasts by itself.
            local.expires = if local.mapped { expires } else { local.expires.and(expires) };
            return;
        }
        let (kind, base) = (CandidateType::ServerReflexive, place.1);
        let found = Found { kind, socket, address: place.0, base, related: Some(base), server: None, expires };
        self.found(now, found);
        let mut locals = self.locals.candidates.iter_mut();
        if let Some(local) = locals.find(|it| at_place(it.candidate.address, it.candidate.base)) {
            local.mapped = true;
        }
        self.after(now);
    }

    /// Forgets what was mapped to this socket. Pairs stay: they stand on the socket.
    fn forget_mapped(&mut self, base: SocketAddr, but: Option<SocketAddr>) {
        let (base, but) = (unscoped(base), but.map(unscoped));
        let is_void =
            |it: &super::local::Local| it.mapped && it.candidate.base == base && Some(it.candidate.address) != but;
        self.locals.candidates.retain(|it| !is_void(it));
    }
}
