//! Ports that the routers open for the agent's sockets: a mapper for each default router, with sockets of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use farspeak_ice::Agent;
use farspeak_ice::port_mapping::{Config, Event, Mapping, PortMapper, Protocol};
use farspeak_net::{Clock, Peer, PeerConfig, PeerHandle, Raw, default_gateways};
use farspeak_sansio::Instant;
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::User;
use crate::random::SystemRandom;

/// Asks for these sockets and keeps what is given, until the mappers are told to close. The agent is told of each
/// mapping, and that its sockets are complete when the routers have answered or have had their time: a candidate after
/// the last would be one too many (RFC 8838 §13). Needs a `LocalSet`.
pub(crate) fn ask(
    agent: &PeerHandle<Agent>,
    user: &Rc<User>,
    clock: Clock,
    sockets: &[SocketAddr],
) -> io::Result<Vec<PeerHandle<PortMapper>>> {
    let waiting = Rc::new(Waiting { agent: agent.clone(), sockets: RefCell::default() });
    let mut mappers = Vec::new();
    for gateway in default_gateways() {
        let Some(source) = source(gateway) else { continue };
        let ports: Vec<u16> = sockets.iter().filter(|own| own.ip() == source.ip()).map(SocketAddr::port).collect();
        if ports.is_empty() {
            continue;
        }
        waiting.sockets.borrow_mut().extend(ports.iter().map(|port| SocketAddr::new(source.ip(), *port)));
        mappers.push(run(gateway, source, ports, clock, Rc::clone(user), Rc::clone(&waiting))?);
    }
    if mappers.is_empty() {
        waiting.end();
    } else {
        spawn_local(async move {
            sleep(PATIENCE).await;
            waiting.end();
        });
    }
    Ok(mappers)
}

fn run(
    gateway: SocketAddr,
    source: SocketAddr,
    ports: Vec<u16>,
    clock: Clock,
    user: Rc<User>,
    waiting: Rc<Waiting>,
) -> io::Result<PeerHandle<PortMapper>> {
    // The socket must be bound before the machine can be told where it is.
    let socket = UdpSocket::bind(source)?;
    let mapper = PortMapper::new(Config::default(), socket.local_addr()?, gateway, Box::new(SystemRandom::new()?));
    let hear = move |_: &mut _, _: &mut _, now, event| {
        tell(&user, now, &event);
        waiting.hear(event);
    };
    let (mut peer, handle) = Peer::new(mapper, Raw, PeerConfig::default(), clock, hear);
    peer.with(|context, mapper, now| -> io::Result<()> {
        context.adopt(socket)?;
        // Where routers say that they have restarted; another program may have it.
        let _ = context.bind(SocketAddr::new([0; 4].into(), 5350));
        ports.into_iter().try_for_each(|port| mapper.map(now, Protocol::Udp, port)).map_err(io::Error::other)
    })?;
    spawn_local(peer.run());
    Ok(handle)
}

fn tell(user: &User, now: Instant, event: &Event) {
    let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
    match event {
        Event::Mapped(Mapping { internal, external, by, .. }) => {
            let details = [("internal", quoted(internal)), ("external", quoted(external)), ("by", quoted(by))];
            user.tell("mapped", now, &details);
        }
        Event::Lost { internal, .. } => user.tell("mapping lost", now, &[("internal", quoted(internal))]),
        Event::Unavailable { internal, reason, .. } => {
            user.tell("not mapped", now, &[("internal", quoted(internal)), ("reason", quoted(reason))]);
        }
    }
}

/// Sockets that the routers have not been heard about yet.
struct Waiting {
    agent: PeerHandle<Agent>,
    sockets: RefCell<BTreeSet<SocketAddr>>,
}

impl Waiting {
    fn hear(&self, event: Event) {
        let (Event::Mapped(Mapping { internal, .. })
        | Event::Lost { internal, .. }
        | Event::Unavailable { internal, .. }) = event;
        let _ = self.agent.run(move |_, agent, now| agent.port_mapping(now, &event)); // it may have ended
        if self.sockets.borrow_mut().remove(&internal) && self.sockets.borrow().is_empty() {
            self.end();
        }
    }

    fn end(&self) {
        let _ = self.agent.run(|_, agent, now| agent.sockets_complete(now));
    }
}

/// The address, with port 0, that this host sends from to get there. Sends nothing.
fn source(mut gateway: SocketAddr) -> Option<SocketAddr> {
    gateway.set_port(9);
    let any = if gateway.is_ipv4() { SocketAddr::from(([0; 4], 0)) } else { SocketAddr::from(([0_u16; 8], 0)) };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(gateway).ok()?;
    let mut local = socket.local_addr().ok()?;
    local.set_port(0);
    Some(local)
}

/// How long the routers may take. UPnP takes the longest: a second each for those who are asked before it and for its
/// search, then four pages.
const PATIENCE: Duration = Duration::from_secs(4);
