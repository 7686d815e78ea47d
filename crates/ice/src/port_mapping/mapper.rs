//! The machine: which way is asked, and what its user is told.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, Transmit, Transport};

use super::ask::{Ask, Context, Key, Outcome};
use super::nat_pmp::NatPmp;
use super::pcp::Pcp;
use super::upnp::Upnp;
use super::{Config, Event, Mapping, Protocol, Reason, Way};

/// Asks one router for mappings and keeps them.
///
/// It needs one UDP socket of the host, used for nothing else, and opens TCP flows to the router where UPnP is asked.
/// Hand it everything that arrives on either; also what arrives on UDP port 5350 from the groups 224.0.0.1 and ff02::1, if
/// that can be had, where a router says that it has restarted (RFC 6887 §14.1).
///
/// ```
/// # use farspeak_sansio::{Instant, Machine, SplitMix64};
/// use farspeak_ice::port_mapping::{Config, PortMapper, Protocol};
///
/// # let now = Instant::ZERO;
/// let (local, gateway) = ("192.168.1.2:40000".parse().unwrap(), "192.168.1.1:0".parse().unwrap());
/// let mut mapper = PortMapper::new(Config::default(), local, gateway, Box::new(SplitMix64::new(1)));
/// mapper.map(now, Protocol::Udp, 5000).unwrap();
/// let request = mapper.poll_transmit().unwrap(); // PCP, to a socket
/// assert_eq!((request.flow.remote.port(), request.bytes.len()), (5351, 60));
/// ```
pub struct PortMapper {
    config: Config,
    local: SocketAddr,
    gateway: SocketAddr,
    rng: Box<dyn Rng + Send>,
    wants: Vec<Want>,
    /// Ways that are being asked, in their order; the elected one alone once something has been granted.
    asked: Vec<Asked>,
    /// How many of the configured ways have been begun in this round.
    begun: usize,
    next: Option<Instant>,
    elected: bool,
    /// The last reason that a router gave in this round.
    reason: Reason,
    transmits: VecDeque<Transmit>,
    outcomes: VecDeque<(Way, Outcome)>,
    events: VecDeque<Event>,
}

/// A way, and what it has refused in this round.
struct Asked {
    way: Way,
    ask: Box<dyn Ask>,
    absent: bool,
    refused: Vec<Key>,
}

/// What the user wants.
struct Want {
    key: Key,
    hint: u16,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not answered yet; given up then.
    Asked(Instant),
    /// Granted, and told so.
    Held(Mapping),
    /// Not to be had; tried again then.
    Resting(Instant),
}

/// As many mappings as [`Config::most`] allows are wanted already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("enough mappings are wanted already")
    }
}

impl std::error::Error for Full {}

impl fmt::Debug for PortMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortMapper").field("wants", &self.wants.len()).field("by", &self.by()).finish_non_exhaustive()
    }
}

/// What the user does.
impl PortMapper {
    /// Asks nothing yet. `local` is the socket's address, and not the unspecified one: mappings lead there. `gateway` is
    /// the router that the host sends to by default, of the same family; its port is not looked at, its scope is kept.
    /// `rng` makes the nonces that protect mappings: a secure one in production.
    pub fn new(config: Config, local: SocketAddr, gateway: SocketAddr, rng: Box<dyn Rng + Send>) -> Self {
        Self {
            config,
            local,
            gateway,
            rng,
            wants: Vec::new(),
            asked: Vec::new(),
            begun: 0,
            next: None,
            elected: false,
            reason: Reason::NoAnswer,
            transmits: VecDeque::new(),
            outcomes: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Wants a port of ours to be reached from outside, until [`Self::unmap`]. The same external port is asked for, though
    /// the router chooses. Asking twice changes nothing, but tries again at once if nothing was to be had.
    pub fn map(&mut self, now: Instant, protocol: Protocol, internal: u16) -> Result<(), Full> {
        let key = (protocol, internal);
        let (until, full) = (now + self.config.patience, self.wants.len() >= self.config.most);
        match self.wants.iter_mut().find(|want| want.key == key) {
            Some(want) if matches!(want.state, State::Resting(_)) => want.state = State::Asked(until),
            Some(_) => return Ok(()),
            None if full => return Err(Full),
            None => self.wants.push(Want { key, hint: internal, state: State::Asked(until) }),
        }
        self.pursue(now, key);
        self.settle(now);
        Ok(())
    }

    /// Wants it no longer: it is given back. No event follows.
    pub fn unmap(&mut self, now: Instant, protocol: Protocol, internal: u16) {
        let key = (protocol, internal);
        let Some(at) = self.wants.iter().position(|want| want.key == key) else { return };
        self.wants.swap_remove(at);
        self.with_all(|ask, cx| ask.delete(now, key, cx));
        self.settle(now);
    }

    /// Gives everything back. The machine is done when [`Self::is_idle`]; a driver that cannot wait may leave.
    pub fn close(&mut self, now: Instant) {
        while let Some(want) = self.wants.last() {
            let (protocol, internal) = want.key;
            self.unmap(now, protocol, internal);
        }
    }

    /// What is mapped now.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> + '_ {
        self.wants.iter().filter_map(|want| match want.state {
            State::Held(mapping) => Some(mapping),
            State::Asked(_) | State::Resting(_) => None,
        })
    }

    /// By what the router gives mappings, if it has given one.
    pub fn by(&self) -> Option<Way> {
        self.asked.first().filter(|_| self.elected).map(|asked| asked.way)
    }

    /// Whether nothing is wanted, held or being given back.
    pub fn is_idle(&self) -> bool {
        self.wants.is_empty() && self.asked.is_empty()
    }
}

/// Which way is asked.
impl PortMapper {
    /// Asks for one mapping: the way that is known to give some, or all that are being tried, or from the start.
    fn pursue(&mut self, now: Instant, key: Key) {
        if self.asked.is_empty() {
            return self.begin_round(now);
        }
        let Some(hint) = self.wants.iter().find(|want| want.key == key).map(|want| want.hint) else { return };
        self.with_all(|ask, cx| ask.ask(now, key, hint, cx));
    }

    fn begin_round(&mut self, now: Instant) {
        (self.begun, self.elected, self.reason) = (0, false, Reason::NoAnswer);
        self.asked.clear();
        self.begin_next(now);
    }

    /// Begins the next way, beside those before it.
    fn begin_next(&mut self, now: Instant) {
        self.next = None;
        let Some(way) = self.config.ways.get(self.begun).copied() else { return };
        self.begun += 1;
        // NAT-PMP knows IPv4 alone, and so do the parts of UPnP that we know.
        if (way != Way::Pcp && !self.gateway.is_ipv4()) || self.asked.iter().any(|asked| asked.way == way) {
            return self.begin_next(now);
        }
        self.next = (self.begun < self.config.ways.len()).then_some(now + self.config.stagger);
        let ask: Box<dyn Ask> = match way {
            Way::Pcp => Box::new(Pcp::default()),
            Way::NatPmp => Box::new(NatPmp::default()),
            Way::Upnp => Box::new(Upnp::default()),
        };
        self.asked.push(Asked { way, ask, absent: false, refused: Vec::new() });
        let wanted: Vec<(Key, u16)> = self.wants.iter().filter_map(Want::asked).collect();
        self.with(self.asked.len() - 1, |ask, cx| {
            wanted.into_iter().for_each(|(key, hint)| ask.ask(now, key, hint, cx));
        });
    }

    /// Lets one way act.
    fn with(&mut self, at: usize, act: impl FnOnce(&mut dyn Ask, &mut Context<'_>)) {
        let Some(asked) = self.asked.get_mut(at) else { return };
        let mut cx = Context {
            way: asked.way,
            config: &self.config,
            local: self.local,
            gateway: self.gateway,
            rng: &mut *self.rng,
            transmits: &mut self.transmits,
            outcomes: &mut self.outcomes,
        };
        act(&mut *asked.ask, &mut cx);
    }

    fn with_all(&mut self, mut act: impl FnMut(&mut dyn Ask, &mut Context<'_>)) {
        for at in 0..self.asked.len() {
            self.with(at, &mut act);
        }
    }
}

/// What comes of it.
impl PortMapper {
    /// Takes what the ways have found out, until nothing follows from it.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some((way, outcome)) = self.outcomes.pop_front() {
                if let Some(at) = self.asked.iter().position(|asked| asked.way == way) {
                    self.learn(now, at, outcome);
                }
            }
            if self.wants.is_empty() {
                self.next = None;
                if self.asked.iter().all(|asked| asked.ask.is_idle()) {
                    self.asked.clear();
                    self.elected = false;
                }
                return;
            }
            if self.elected || self.asked.is_empty() || !self.all_out() {
                return;
            }
            // Nobody who was asked can help: the next at once, if there is one.
            if self.next.is_some() {
                self.begin_next(now);
            } else {
                self.give_up(now);
            }
        }
    }

    fn learn(&mut self, now: Instant, at: usize, outcome: Outcome) {
        match outcome {
            Outcome::Granted { key, external, lifetime } => self.granted(now, at, key, external, lifetime),
            Outcome::Refused { key, why, hold } => {
                self.reason = Reason::Refused { by: self.asked[at].way, why };
                if self.elected {
                    let rest = hold.map_or(self.config.retry, |hold| hold.max(SHORTEST_REST));
                    self.unavailable(key, now + rest);
                } else if !self.asked[at].refused.contains(&key) {
                    self.asked[at].refused.push(key);
                }
            }
            Outcome::Lost { key } => self.lost(now, key),
            Outcome::Absent { why } => {
                // "Unsupported" says less than what another way gave as its reason.
                if let (Some(why), Reason::NoAnswer) = (why, self.reason) {
                    self.reason = Reason::Refused { by: self.asked[at].way, why };
                }
                // A way that has given something is there, whatever anybody says.
                self.asked[at].absent = true;
            }
        }
    }

    fn granted(&mut self, now: Instant, at: usize, key: Key, external: SocketAddr, lifetime: Option<Duration>) {
        let by = self.asked[at].way;
        let Some(want) = self.wants.iter_mut().find(|want| want.key == key) else {
            return self.with(at, |ask, cx| ask.delete(now, key, cx));
        };
        let mapping =
            Mapping { protocol: key.0, internal: SocketAddr::new(self.local.ip(), key.1), external, lifetime, by };
        let known = matches!(want.state, State::Held(held) if (held.external, held.by) == (external, by));
        (want.state, want.hint) = (State::Held(mapping), external.port());
        if !known {
            self.events.push_back(Event::Mapped(mapping));
        }
        if !self.elected {
            // What others may have been asked for meanwhile ends by itself: by PCP and NAT-PMP it would be the same
            // mapping, which must not be deleted.
            (self.elected, self.next) = (true, None);
            self.asked.retain(|asked| asked.way == by);
        }
    }

    fn lost(&mut self, now: Instant, key: Key) {
        let until = now + self.config.patience;
        let Some(want) = self.wants.iter_mut().find(|want| want.key == key && want.is_held()) else { return };
        want.state = State::Asked(until);
        let internal = SocketAddr::new(self.local.ip(), key.1);
        self.events.push_back(Event::Lost { protocol: key.0, internal });
        if self.wants.iter().any(Want::is_held) {
            self.pursue(now, key);
        } else {
            self.begin_round(now);
        }
    }

    fn all_out(&self) -> bool {
        let wanted: Vec<Key> = self.wants.iter().filter_map(Want::asked).map(|(key, _)| key).collect();
        let is_out = |asked: &Asked| asked.absent || wanted.iter().all(|key| asked.refused.contains(key));
        self.asked.iter().all(is_out)
    }

    /// Nobody can help in this round.
    fn give_up(&mut self, now: Instant) {
        let wanted: Vec<Key> = self.wants.iter().filter_map(Want::asked).map(|(key, _)| key).collect();
        wanted.into_iter().for_each(|key| self.unavailable(key, now + self.config.retry));
        self.asked.clear();
        self.next = None;
    }

    fn unavailable(&mut self, key: Key, until: Instant) {
        let Some(want) = self.wants.iter_mut().find(|want| want.key == key) else { return };
        want.state = State::Resting(until);
        let internal = SocketAddr::new(self.local.ip(), key.1);
        self.events.push_back(Event::Unavailable { protocol: key.0, internal, reason: self.reason });
    }

    /// Nobody has answered about these in time; others have rested enough.
    fn wait(&mut self, now: Instant) {
        let due = |want: &Want| match want.state {
            State::Asked(until) | State::Resting(until) if until <= now => Some((want.key, want.asked().is_some())),
            _ => None,
        };
        let due: Vec<(Key, bool)> = self.wants.iter().filter_map(due).collect();
        for (key, _) in due.iter().filter(|(_, given_up)| *given_up) {
            self.unavailable(*key, now + self.config.retry);
            if self.elected {
                self.with_all(|ask, cx| ask.delete(now, *key, cx));
            }
        }
        if self.wants.iter().all(|want| matches!(want.state, State::Resting(_))) {
            // Whoever is asked next, all ways are open again.
            self.asked.clear();
            (self.elected, self.next) = (false, None);
        }
        for (key, _) in due.iter().filter(|(_, given_up)| !given_up) {
            let until = now + self.config.patience;
            self.wants.iter_mut().filter(|want| want.key == *key).for_each(|want| want.state = State::Asked(until));
            self.pursue(now, *key);
        }
    }
}

impl Want {
    /// What is asked for, unless it is held or rests.
    fn asked(&self) -> Option<(Key, u16)> {
        matches!(self.state, State::Asked(_)).then_some((self.key, self.hint))
    }

    const fn is_held(&self) -> bool {
        matches!(self.state, State::Held(_))
    }
}

/// However short a router says that its error will last.
const SHORTEST_REST: Duration = Duration::from_secs(10);

impl Machine for PortMapper {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        // Nobody but the router has anything to say here (RFC 6887 §8.3, RFC 6886 §3.1).
        if received.flow.remote.ip().to_canonical() != self.gateway.ip().to_canonical() {
            return;
        }
        self.with_all(|ask, cx| ask.receive(now, &received, cx));
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.with_all(|ask, cx| ask.timeout(now, cx));
        self.settle(now);
        if self.next.is_some_and(|next| next <= now) {
            self.begin_next(now);
        }
        self.wait(now);
        self.settle(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        if flow.transport == Transport::Udp && flow.remote.ip() != self.gateway.ip() {
            return;
        }
        self.with_all(|ask, cx| ask.flow_failed(now, flow, cx));
        self.settle(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let wants = self.wants.iter().filter_map(|want| match want.state {
            State::Asked(until) | State::Resting(until) => Some(until),
            State::Held(_) => None,
        });
        let asks = self.asked.iter().filter_map(|asked| asked.ask.deadline());
        wants.chain(asks).chain(self.next).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
