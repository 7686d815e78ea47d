//! Relayed candidates: allocations at TURN servers, permissions for the peer's addresses, data through them (RFC 8445
//! §5.1.1.2, §7.2.1, §12.1).
//!
//! Over UDP each socket asks each server of its family. Where UDP gives nothing within half a second, TCP is tried, and
//! after it TLS: one connection per component and server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transport};
use farspeak_turn::Client;
use farspeak_turn::client::{self, Families};

use super::Data;
use super::local::{Found, Socket};
use crate::candidate::unscoped;
use crate::derived::Derived;
use crate::session::Path;
use crate::{Agent, CandidateType, Event, Mode, ServerFailure, State};

#[derive(Default)]
pub(super) struct Relays {
    relays: Vec<Relay>,
    /// When those that nobody uses are given back.
    release_at: Option<Instant>,
    /// Where the peer was in the generation before: let in until the new one is settled.
    former: Vec<IpAddr>,
}

struct Relay {
    client: Client,
    server: usize,
    /// The socket that it is asked from, or that stands for its component and interface.
    socket: Socket,
    stage: Stage,
    /// Peers with a channel.
    bound: Vec<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// For a slot, and not before this.
    Waiting(Instant),
    Asked,
    Allocated,
    Releasing,
    Gone,
}

impl Relay {
    /// 0 UDP, 1 TCP, 2 TLS.
    fn way(&self) -> u8 {
        way(self.client.flow().transport)
    }

    fn relayed_for(&self, peer: IpAddr) -> Option<SocketAddr> {
        self.client.relayed().iter().copied().find(|relayed| relayed.is_ipv4() == peer.is_ipv4()).map(unscoped)
    }
}

impl Relays {
    fn holding(&mut self, base: SocketAddr) -> Option<&mut Relay> {
        let holds = |relay: &&mut Relay| relay.client.relayed().iter().any(|relayed| unscoped(*relayed) == base);
        self.relays.iter_mut().find(holds)
    }

    pub(super) fn is_gathering(&self) -> bool {
        self.relays.iter().any(|relay| matches!(relay.stage, Stage::Waiting(_) | Stage::Asked))
    }

    pub(super) fn wants_slot(&self, now: Instant) -> bool {
        self.relays.iter().any(|relay| matches!(relay.stage, Stage::Waiting(from) if from <= now))
    }

    /// When the next allocation may be asked for.
    pub(super) fn waiting(&self) -> Option<Instant> {
        let waiting = self.relays.iter().filter_map(|relay| match relay.stage {
            Stage::Waiting(from) => Some(from),
            _ => None,
        });
        waiting.min()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let clients = self.relays.iter().filter_map(|relay| relay.client.poll_timeout());
        clients.chain(self.release_at).min()
    }

    pub(super) fn forget_component(&mut self, now: Instant, component: u16) {
        self.release(now, |relay| relay.socket.component == component && component != 1);
    }

    pub(super) fn forget_socket(&mut self, now: Instant, local: SocketAddr) {
        self.release(now, |relay| relay.socket.local == local);
    }

    pub(super) fn release_all(&mut self, now: Instant) {
        self.release_at = None;
        self.release(now, |_| true);
    }

    fn release(&mut self, now: Instant, which: impl Fn(&Relay) -> bool) {
        for relay in self.relays.iter_mut().filter(|relay| which(relay)) {
            match relay.stage {
                // The server may have granted what it was asked for already.
                Stage::Allocated | Stage::Asked => {
                    relay.client.release(now);
                    relay.stage = Stage::Releasing;
                }
                Stage::Waiting(_) => relay.stage = Stage::Gone,
                Stage::Releasing | Stage::Gone => {}
            }
        }
    }
}

impl Agent {
    /// Lines up allocations for a socket.
    pub(super) fn relay_from(&mut self, now: Instant, socket: Socket) {
        if self.config.mode == Mode::Lite || crate::candidate::is_link_local(socket.local.ip()) {
            return;
        }
        for server in 0..self.config.servers.len() {
            let of = &self.config.servers[server];
            let (transport, address) = (of.transport, of.address);
            let Some(login) = &of.login else { continue };
            let same = |relay: &Relay| {
                let same_way = relay.server == server && relay.socket.component == socket.component;
                same_way && (transport.is_reliable() || relay.socket.local == socket.local)
            };
            let alive = |relay: &Relay| !matches!(relay.stage, Stage::Gone | Stage::Releasing);
            let known = self.relays.relays.iter().any(|relay| same(relay) && alive(relay));
            if known || address.is_ipv4() != socket.local.is_ipv4() {
                continue;
            }
            let schedule = self.config.timing.gathering;
            let config = client::Config {
                families: Families::Both,
                schedule,
                // Of this generation and the one before.
                peers: 2 * self.config.limits.remote_candidates * self.components.len(),
                channels: self.config.limits.remote_candidates,
                ..client::Config::for_user(&login.username, &login.password)
            };
            let flow = Flow::unbound(transport, socket.local, address);
            let client = Client::new(config, flow, Box::new(Derived::new(&mut *self.rng)));
            let stage = Stage::Waiting(now + self.config.timing.fall_back * u32::from(way(transport)));
            self.relays.relays.push(Relay { client, server, socket, stage, bound: Vec::new() });
        }
    }

    /// Asks for the next allocation. Called once per slot.
    pub(super) fn begin_allocation(&mut self, now: Instant) -> bool {
        let relays = &mut self.relays.relays;
        let Some(relay) = relays.iter_mut().find(|relay| matches!(relay.stage, Stage::Waiting(from) if from <= now))
        else {
            return false;
        };
        relay.stage = Stage::Asked;
        relay.client.allocate(now);
        let known: Vec<IpAddr> = self.remote.addresses.clone();
        known.into_iter().for_each(|peer| relay.client.permit(now, peer));
        true
    }

    /// The peer may be reached there: every relay lets it in (RFC 8445 §7.2.1).
    pub(super) fn permit(&mut self, now: Instant, peer: IpAddr) {
        for relay in &mut self.relays.relays {
            if matches!(relay.stage, Stage::Asked | Stage::Allocated) {
                relay.client.permit(now, peer);
            }
        }
    }

    /// Sends through the relay that has this base; `false` if none has.
    pub(super) fn relay_out(&mut self, now: Instant, path: Path, bytes: &Arc<[u8]>) -> bool {
        let Some(relay) = self.relays.holding(path.local) else { return false };
        // What cannot be sent is lost, as on any network.
        let _ = relay.client.send(now, path.remote, bytes);
        true
    }

    /// Data of the pair goes through a channel (RFC 8445 §12.1).
    pub(super) fn bind_channel(&mut self, now: Instant, path: Path) {
        if let Some(relay) = self.relays.holding(path.local) {
            relay.client.bind(now, path.remote);
            relay.bound.push(path.remote);
        }
    }

    /// A generation ends: what the one before it left is over.
    pub(super) fn forget_generation(&mut self) {
        self.forget_former();
        self.relays.former.extend(self.remote.addresses.iter().copied());
    }

    /// Gives up permissions and channels for where the peer has been and is sent to no more.
    fn forget_former(&mut self) {
        let used: Vec<SocketAddr> =
            self.components.iter().filter_map(|of| of.sendable()).map(|path| path.remote).collect();
        let addresses = &self.remote.addresses;
        let is_needed = |ip: &IpAddr| addresses.contains(ip) || used.iter().any(|remote| remote.ip() == *ip);
        let (kept, over): (Vec<IpAddr>, _) = std::mem::take(&mut self.relays.former).into_iter().partition(is_needed);
        self.relays.former = kept.into_iter().filter(|ip| !addresses.contains(ip)).collect();
        for relay in &mut self.relays.relays {
            over.iter().for_each(|ip: &IpAddr| relay.client.forget(*ip));
            let (kept, gone) = std::mem::take(&mut relay.bound).into_iter().partition(|remote| used.contains(remote));
            relay.bound = kept;
            let gone: Vec<SocketAddr> = gone;
            gone.into_iter().for_each(|remote| relay.client.unbind(remote));
        }
    }

    pub(super) fn is_from_relay(&self, flow: &Flow) -> bool {
        self.relays.relays.iter().any(|relay| relay.stage != Stage::Gone && matches(&relay.client, flow))
    }

    /// Takes what a TURN server sent; hands on the peer's part of it.
    pub(super) fn relay_in<'a>(&mut self, now: Instant, received: Receive<'a>) -> Option<Data<'a>> {
        for at in 0..self.relays.relays.len() {
            let relay = &mut self.relays.relays[at];
            if relay.stage == Stage::Gone || !matches(&relay.client, &received.flow) {
                continue;
            }
            let Some(data) = relay.client.receive(now, received) else { continue };
            let component = relay.socket.component;
            let local = relay.relayed_for(data.peer.ip())?;
            let path = Path { local, remote: unscoped(data.peer) };
            return self.deliver(now, component, path, None, data.bytes);
        }
        None
    }

    pub(super) fn relays_failed(&mut self, now: Instant, flow: Flow) {
        self.relays.relays.iter_mut().for_each(|relay| relay.client.handle_flow_failed(now, flow));
    }

    pub(super) fn relays_timeout(&mut self, now: Instant) {
        for relay in &mut self.relays.relays {
            if relay.client.poll_timeout().is_some_and(|at| at <= now) {
                relay.client.handle_timeout(now);
            }
        }
        if self.relays.release_at.is_some_and(|at| at <= now) {
            self.relays.release_at = None;
            self.release_unused(now);
        }
    }

    /// RFC 8445 §8.3.1: three seconds after the end, what no selected pair uses is given back.
    fn release_unused(&mut self, now: Instant) {
        if self.state != State::Completed {
            return;
        }
        self.forget_former();
        let used: Vec<SocketAddr> =
            self.components.iter().filter_map(|of| of.sendable()).map(|path| path.local).collect();
        let is_used = |relay: &Relay| relay.client.relayed().iter().any(|relayed| used.contains(&unscoped(*relayed)));
        let freed = self.relays.relays.iter().filter(|relay| !is_used(relay));
        let freed: Vec<SocketAddr> = freed.flat_map(|relay| relay.client.relayed().to_vec()).map(unscoped).collect();
        self.relays.release(now, |relay| !is_used(relay));
        freed.into_iter().for_each(|base| self.drop_base(now, base));
    }

    pub(super) fn relayed_from(&self, socket: SocketAddr) -> Vec<SocketAddr> {
        let of_socket = self.relays.relays.iter().filter(|relay| relay.socket.local == socket);
        of_socket.flat_map(|relay| relay.client.relayed().to_vec()).map(unscoped).collect()
    }

    pub(super) fn release_soon(&mut self, now: Instant) {
        if self.relays.release_at.is_none() && !self.relays.relays.is_empty() {
            self.relays.release_at = Some(now + self.config.timing.linger);
        }
    }

    /// Packets and events of the clients, and what way is tried next.
    pub(super) fn drain_relays(&mut self, now: Instant) {
        for at in 0..self.relays.relays.len() {
            while let Some(transmit) = self.relays.relays[at].client.poll_transmit() {
                self.push_transmit(transmit);
            }
            while let Some(event) = self.relays.relays[at].client.poll_event() {
                self.handle_relay_event(now, at, event);
            }
        }
        self.choose_ways(now);
        self.relays.relays.retain(|relay| relay.stage != Stage::Gone);
    }

    fn handle_relay_event(&mut self, now: Instant, at: usize, event: client::Event) {
        let relay = &mut self.relays.relays[at];
        let (socket, server, way) = (relay.socket, relay.server, relay.way());
        let address = self.config.servers[server].address;
        match event {
            client::Event::Allocated(allocated) => {
                if relay.stage != Stage::Asked {
                    return;
                }
                relay.stage = Stage::Allocated;
                let origin = Some((server, address.ip(), way));
                for relayed in allocated.relayed {
                    let related = Some(allocated.mapped);
                    let kind = CandidateType::Relayed;
                    let base = unscoped(relayed);
                    let found = Found { kind, socket, address: relayed, base, related, server: origin, expires: None };
                    self.found(now, found);
                }
                if self.state == State::Completed {
                    self.release_soon(now);
                }
                if way == 0 {
                    let base = unscoped(socket.local);
                    let (kind, related) = (CandidateType::ServerReflexive, Some(socket.local));
                    let address = allocated.mapped;
                    self.found(now, Found { kind, socket, address, base, related, server: origin, expires: None });
                }
            }
            client::Event::Failed(failure) => {
                relay.stage = Stage::Gone;
                let refused = failure.code().is_some();
                if refused && way == 0 {
                    // RFC 8445 §5.1.1.2: then at least the address as the server sees it.
                    self.ask_binding(socket, server);
                }
                let reason = if refused { ServerFailure::Refused } else { ServerFailure::Unreachable };
                if self.state != State::Closed {
                    self.emit(Event::ServerFailed { server: address, reason });
                }
            }
            client::Event::Lost(_) => {
                relay.stage = Stage::Gone;
                let gone = self.gone_bases();
                gone.into_iter().for_each(|base| self.drop_base(now, base));
                if self.state != State::Closed {
                    self.emit(Event::ServerFailed { server: address, reason: ServerFailure::Unreachable });
                }
            }
            client::Event::Released => relay.stage = Stage::Gone,
            _ => {}
        }
    }

    /// The relayed bases that no client stands for any more.
    fn gone_bases(&self) -> Vec<SocketAddr> {
        let held = |base: &SocketAddr| {
            self.relays.relays.iter().any(|relay| relay.client.relayed().iter().any(|held| unscoped(*held) == *base))
        };
        let relayed = self.locals.all().filter(|local| local.candidate.kind == CandidateType::Relayed);
        relayed.map(|local| local.base).filter(|base| !held(base)).collect()
    }

    /// A better way has worked: the others need not be tried. All better ways have failed: no need to wait.
    fn choose_ways(&mut self, now: Instant) {
        for at in 0..self.relays.relays.len() {
            let relay = &self.relays.relays[at];
            let Stage::Waiting(from) = relay.stage else { continue };
            let (component, way) = (relay.socket.component, relay.way());
            let better = |other: &&Relay| other.socket.component == component && other.way() < way;
            let mut others = self.relays.relays.iter().filter(better);
            if others.clone().any(|other| other.stage == Stage::Allocated) {
                self.relays.relays[at].stage = Stage::Gone;
            } else if from > now && !others.any(|other| matches!(other.stage, Stage::Waiting(_) | Stage::Asked)) {
                self.relays.relays[at].stage = Stage::Waiting(now);
            }
        }
    }
}

fn matches(client: &Client, flow: &Flow) -> bool {
    let own = client.flow();
    let same = own.transport == flow.transport && unscoped(own.remote) == unscoped(flow.remote);
    // A connection is known by its handle, or by the flow that it was asked for under.
    same && (own.local == flow.local || own.transport.is_reliable() && flow.id != FlowId::UNBOUND)
}

const fn way(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp | Transport::Ws => 1,
        Transport::Tls | Transport::Wss => 2,
    }
}
