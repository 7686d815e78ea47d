//! The loop of one shard: waits for sockets, shows each packet to the machine, and does what the machine says.
//!
//! The clock is read once for each turn. A socket with much to give gets its share of a turn and the rest later, so
//! that it cannot keep the others waiting. What is sent to one destination in a row leaves at the end of the batch that
//! it came with, in one call.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, HEADROOM, Instant, Packet, RelayId, TAILROOM, Transport, Verdict};
use mio::event::Event;
use mio::{Events, Poll, Token};

use super::acceptor::Acceptor;
use super::counters::RelayCounters;
use super::inbox::{Errand, Inbox, Mail, Packets};
use super::machine::{Action, PacketMachine};
use super::peers::TcpPeers;
use super::sockets::{self, Appetite, Arena, Sender, Sockets};
use super::stream::Ending;
use super::streams::Streams;
use super::train::{Train, Way};
use super::{os, token};
use crate::Clock;

/// The loop of one shard.
pub(super) struct Worker<M> {
    pub shard: u8,
    pub clock: Clock,
    pub poll: Poll,
    pub machine: M,
    pub sockets: Sockets,
    pub streams: Streams,
    pub acceptors: Vec<Acceptor>,
    pub tcp: TcpPeers,
    pub train: Train,
    pub inboxes: Arc<[Inbox<M>]>,
    pub counters: RelayCounters,
    pub now: Instant,
    /// Sockets that had more than their share of the last turn.
    pub postponed: VecDeque<Token>,
    /// When connections are next looked at for timeouts.
    pub sweep: Instant,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Client(Flow),
    Peer(RelayId, SocketAddr),
    Relayed { to: SocketAddr, from: SocketAddr },
}

impl<M: PacketMachine> Worker<M> {
    /// Runs until it is told to stop; false if it ended before.
    pub(super) fn run(mut self) -> bool {
        let mut arena = Arena::new();
        let mut events = Events::with_capacity(EVENTS);
        let mut packets = Packets::default();
        self.act();
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(shard = self.shard, %error, "the packet loop cannot wait for its sockets");
                return false;
            }
            self.now = self.clock.now();
            self.counters.turns += 1;
            let mut has_mail = false;
            for (number, event) in events.iter().enumerate() {
                has_mail |= token::kind(event.token()) == token::WAKER;
                if number % SHARE == SHARE - 1 {
                    self.hear_clients(&mut arena);
                }
                if !self.guard(|worker| worker.handle(event, &mut arena)) {
                    self.postpone(event.token()); // it may have more, and will not be told again
                }
            }
            for _ in 0..self.postponed.len() {
                if let Some(token) = self.postponed.pop_front() {
                    self.set_postponed(token, false);
                    if !self.guard(|worker| worker.go_on(token, &mut arena)) {
                        self.postpone(token);
                    }
                }
            }
            if has_mail && !self.read_inbox(&mut arena, &mut packets) {
                return true;
            }
            self.guard(Self::keep_time);
            self.guard(Self::finish);
            if self.counters.panics >= MOST_PANICS {
                tracing::error!(shard = self.shard, "the packet loop gives up after {MOST_PANICS} panics");
                return false;
            }
        }
    }

    /// Listeners that have more get a turn beside each few relay sockets: there are few of them, and each has all clients.
    fn hear_clients(&mut self, arena: &mut Arena) {
        for index in 0.. {
            let Some(listener) = self.sockets.listener(index) else { return };
            if listener.postponed {
                self.guard(|worker| worker.receive_from_clients(index, arena));
            }
        }
    }

    /// How long to wait for packets.
    fn patience(&self) -> Option<Duration> {
        if !self.postponed.is_empty() {
            return Some(Duration::ZERO);
        }
        let machine = self.machine.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        let next = self.tcp.pauses.next().unwrap_or(self.sweep).min(self.sweep).min(machine);
        Some(next - self.now)
    }

    /// Contains a panic of the machine: it costs what was just being done, not everybody's calls. Returns whether there was
    /// none.
    pub(super) fn guard(&mut self, act: impl FnOnce(&mut Self)) -> bool {
        let whole = catch_unwind(AssertUnwindSafe(|| act(self))).is_ok();
        if !whole {
            self.counters.panics += 1;
            tracing::error!(shard = self.shard, "a machine panicked; this is a bug, please report what stands above");
        }
        whole
    }

    fn handle(&mut self, event: &Event, arena: &mut Arena) {
        let token = event.token();
        let slot = sockets::slot(token);
        match token::kind(token) {
            token::RELAY if event.is_error() => self.read_errors(slot),
            token::STREAM if event.is_writable() => self.streams.writable(slot),
            _ => {}
        }
        match token::kind(token) {
            _ if self.is_postponed(token) => {} // its turn comes below
            token::WAKER => self.inboxes[usize::from(self.shard)].look(),
            token::RELAY => self.receive_from_peers(slot, arena),
            token::STREAM if self.streams.spliced(slot).is_some() => self.receive_stream(slot, arena, true),
            token::STREAM => {
                if event.is_readable() || event.is_error() {
                    self.receive_stream(slot, arena, event.is_read_closed() || event.is_error());
                }
            }
            _ => self.go_on(token, arena),
        }
    }

    /// Has a socket looked at in the next turn, whether there is an event or not.
    pub(super) fn postpone(&mut self, token: Token) {
        if !self.is_postponed(token) {
            self.set_postponed(token, true);
            self.postponed.push_back(token);
        }
    }

    fn is_postponed(&mut self, token: Token) -> bool {
        self.postponed_mut(token).is_some_and(|flag| *flag)
    }

    fn set_postponed(&mut self, token: Token, postponed: bool) {
        if let Some(flag) = self.postponed_mut(token) {
            *flag = postponed;
        }
    }

    fn postponed_mut(&mut self, token: Token) -> Option<&mut bool> {
        let slot = sockets::slot(token);
        match token::kind(token) {
            token::UDP_LISTENER => self.sockets.listener(slot).map(|it| &mut it.postponed),
            token::TCP_LISTENER => self.acceptors.get_mut(slot as usize).map(|it| &mut it.postponed),
            token::RELAY => self.sockets.relay_mut(slot).map(|it| &mut it.postponed),
            token::STREAM => self.streams.get(slot).map(|it| &mut it.postponed),
            token::RELAY_LISTENER => self.tcp.postponed_listener(slot),
            token::PEER => self.tcp.postponed_peer(slot),
            _ => None,
        }
    }

    fn go_on(&mut self, token: Token, arena: &mut Arena) {
        let slot = sockets::slot(token);
        match token::kind(token) {
            token::UDP_LISTENER => self.receive_from_clients(slot, arena),
            token::RELAY => self.receive_from_peers(slot, arena),
            token::STREAM => self.receive_stream(slot, arena, true),
            token::TCP_LISTENER => self.accept(slot),
            token::RELAY_LISTENER => self.accept_peers(slot),
            token::PEER => self.peer_ready(slot, arena),
            _ => {}
        }
    }

    // Datagrams.

    fn receive_from_clients(&mut self, index: u32, arena: &mut Arena) {
        let Some(listener) = self.sockets.listener(index) else { return };
        let (bound, appetite) = (listener.bound, listener.appetite);
        self.counters.receive_calls += 1;
        let count = match arena.receive(&listener.socket, self.train.kernel(), appetite) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // That of an earlier datagram: there may be others to read.
            Err(_) => return self.postpone(token::new(token::UDP_LISTENER, index)),
        };
        listener.appetite = appetite.after(count, Appetite::Four);
        for at in 0..count {
            let meta = arena.metas[at];
            let client = sockets::client(self.shard, index, bound, &meta);
            self.counters.client_datagrams_received +=
                self.each_of_train(arena.buffer(at), meta.len, meta.stride, Origin::Client(client));
        }
        self.train.flush(&mut self.sockets, &mut self.counters);
        if count == appetite.count() {
            self.postpone(token::new(token::UDP_LISTENER, index));
        }
    }

    fn receive_from_peers(&mut self, slot: u32, arena: &mut Arena) {
        let Some(relay) = self.sockets.relay_mut(slot) else { return };
        let (id, appetite) = (RelayId::new(slot, relay.generation), relay.appetite);
        self.counters.receive_calls += 1;
        let count = match arena.receive(&relay.socket, self.train.kernel(), appetite) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => {
                self.read_errors(slot);
                return self.postpone(token::new(token::RELAY, slot));
            }
        };
        relay.appetite = appetite.after(count, Appetite::SMALL);
        for at in 0..count {
            let meta = arena.metas[at];
            let origin = Origin::Peer(id, sockets::plain(meta.addr));
            self.counters.peer_datagrams_received +=
                self.each_of_train(arena.buffer(at), meta.len, meta.stride, origin);
        }
        self.train.flush(&mut self.sockets, &mut self.counters);
        if count == appetite.count() && !os::TELLS_AGAIN {
            self.postpone(token::new(token::RELAY, slot));
        }
    }

    /// Shows the machine each datagram of what one buffer holds; gives how many there were.
    fn each_of_train(&mut self, buffer: &mut [u8], length: usize, stride: usize, origin: Origin) -> u64 {
        let mut count = 0;
        let end = HEADROOM + length;
        let mut at = HEADROOM;
        loop {
            let next = if stride == 0 { end } else { end.min(at + stride) };
            self.show(origin, buffer, at..next);
            count += 1;
            at = next;
            if at >= end {
                return count;
            }
        }
    }

    fn read_errors(&mut self, slot: u32) {
        for _ in 0..ERRORS {
            let Some(relay) = self.sockets.relay(slot) else { return };
            let id = RelayId::new(slot, relay.generation);
            match os::next_error(&relay.socket) {
                Ok(Some(icmp)) => {
                    let peer = sockets::plain(icmp.peer);
                    self.machine.handle_icmp(self.now, id, peer, icmp.icmp_type, icmp.icmp_code, icmp.data);
                    self.act();
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    // What the machine says.

    /// Shows the machine one packet, and does what it says.
    pub(super) fn show(&mut self, origin: Origin, buffer: &mut [u8], data: Range<usize>) {
        let (before, tail) = (data.clone(), data.end..data.end + TAILROOM);
        let mut behind = [0; TAILROOM];
        behind.copy_from_slice(&buffer[tail.clone()]); // the next packet may begin there
        let mut verdict = Verdict::Nothing;
        // Each alone: a packet that makes the machine panic costs none of those that came with it.
        self.guard(|worker| {
            let (machine, now, packet) = (&mut worker.machine, worker.now, Packet { buffer, data });
            verdict = match origin {
                Origin::Client(client) => machine.handle_client(now, client, packet),
                Origin::Peer(relay, peer) => machine.handle_peer(now, relay, peer, packet),
                Origin::Relayed { to, from } => machine.handle_relayed(now, to, from, packet),
            };
        });
        match verdict {
            Verdict::Nothing => {
                self.guard(Self::act);
            }
            Verdict::ToPeer { relay, peer, data, dont_fragment } => {
                if self.sockets.is_open(relay) && peer.port() != 0 {
                    let way = Way { from: Sender::Relay(relay.slot()), to: peer, source: None, dont_fragment };
                    self.train.push(way, &buffer[data], &mut self.sockets, &mut self.counters);
                }
            }
            Verdict::ToClient { client, data } => self.send(&client, &buffer[data], true),
            Verdict::ToShard { shard, to, from, data } => {
                self.hand_over(shard, Errand::Relayed { to, from }, &buffer[data]);
            }
            Verdict::ToHome { shard, waits } => {
                if let Origin::Client(client) = origin {
                    let left = self.hand_over(shard, Errand::Client(client), &buffer[before]);
                    match left {
                        true if waits => self.streams.hold(client.id, self.now),
                        // Over a connection nobody asks twice: its end is an answer.
                        false if waits => self.streams.close(client.id, Ending::Flush),
                        _ => {}
                    }
                }
            }
        }
        buffer[tail].copy_from_slice(&behind);
    }

    fn send(&mut self, client: &Flow, bytes: &[u8], relayed: bool) {
        if client.transport == Transport::Udp {
            if let Some((listener, source)) = self.sockets.listener_of(client)
                && client.remote.port() != 0
            {
                let way = Way { from: Sender::Listener(listener), to: client.remote, source, dont_fragment: false };
                self.train.push(way, bytes, &mut self.sockets, &mut self.counters);
            }
        } else if client.id.shard() == self.shard {
            self.streams.send(client, bytes, relayed, self.now, &mut self.counters);
        } else if !self.hand_over(client.id.shard(), Errand::Stream { client: *client, relayed }, bytes) && !relayed {
            self.close_client(client.id); // over a connection nobody asks twice
        }
    }

    /// Leaves a packet for another shard; false if it is lost.
    fn hand_over(&mut self, shard: u8, errand: Errand, bytes: &[u8]) -> bool {
        let inbox = self.inboxes.get(usize::from(shard)).filter(|_| shard != self.shard);
        let left = inbox.is_some_and(|inbox| inbox.leave(errand, bytes));
        *(if left { &mut self.counters.handed_over } else { &mut self.counters.handed_over_lost }) += 1;
        left
    }

    /// Closes a client's connection after what waits for it is written, on whichever shard it is.
    pub(super) fn close_client(&mut self, client: FlowId) {
        if client.shard() == self.shard {
            return self.streams.close(client, Ending::Flush);
        }
        if let Some(inbox) = self.inboxes.get(usize::from(client.shard())) {
            let _ = inbox.post(Mail::CloseClient(client)); // never refused
        }
    }

    /// Does what the machine wants done.
    pub(super) fn act(&mut self) {
        let mut next = None;
        while let Some(action) = next.take().or_else(|| self.machine.poll_action()) {
            match action {
                Action::Transmit(transmit) if self.is_of_another(&transmit.flow) => match self.machine.poll_action() {
                    // The client may speak to its peer as soon as it hears: its shard has to know first.
                    Some(Action::Splice { connection, client, meter }) if client.id == transmit.flow.id => {
                        self.splice(connection, client, meter, Some(transmit.bytes));
                    }
                    other => {
                        self.send(&transmit.flow, &transmit.bytes, false);
                        next = other;
                    }
                },
                Action::Transmit(transmit) => self.send(&transmit.flow, &transmit.bytes, false),
                Action::Open { relay, address } => {
                    let result = self.sockets.open(self.poll.registry(), relay, address);
                    self.machine.relay_opened(self.now, relay, result.map_err(|error| error.kind()));
                }
                Action::Close { relay } => {
                    self.train.flush(&mut self.sockets, &mut self.counters); // it may go out of that socket
                    self.sockets.close(relay);
                    self.tcp.close(relay);
                }
                Action::CloseClient(client) => self.close_client(client.id),
                Action::Listen { relay, address } => {
                    let result = self.listen(relay, address);
                    self.machine.relay_opened(self.now, relay, result.map_err(|error| error.kind()));
                }
                Action::Connect { connection, address, peer } => self.connect(connection, address, peer),
                Action::Splice { connection, client, meter } => self.splice(connection, client, meter, None),
                Action::CloseConnection { connection } => self.close_connection(self.shard, connection),
            }
        }
    }

    /// Whether a client's connection is on another shard.
    fn is_of_another(&self, client: &Flow) -> bool {
        client.transport != Transport::Udp && client.id.shard() != self.shard
    }

    // Time.

    fn keep_time(&mut self) {
        if self.machine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.machine.handle_timeout(self.now);
            self.act();
        }
        if self.sweep <= self.now {
            self.sweep = self.now + self.streams.config.sweep;
            self.streams.sweep(self.now, &mut self.counters, |client| self.machine.serves(client));
            self.sweep_peers();
            for index in 0..self.acceptors.len() as u32 {
                if self.acceptors[index as usize].is_to_try_again() {
                    self.postpone(token::new(token::TCP_LISTENER, index));
                }
            }
        }
        self.end_pauses(); // last: who has paused is not overdue
    }

    /// Sends what has gathered, and lets go of connections that have ended.
    pub(super) fn finish(&mut self) {
        self.train.flush(&mut self.sockets, &mut self.counters);
        while let Some(gone) = self.streams.flush_next(self.now) {
            if let Some(client) = gone {
                self.machine.handle_client_gone(self.now, client);
                self.act();
                self.part(client.id);
            }
        }
        self.train.flush(&mut self.sockets, &mut self.counters);
        for index in 0..self.acceptors.len() {
            let acceptor = &mut self.acceptors[index];
            if acceptor.crowded && self.streams.admission.has_room() {
                acceptor.crowded = false;
                self.postpone(token::new(token::TCP_LISTENER, index as u32));
            }
        }
    }
}

/// Sockets that are told of in one turn.
const EVENTS: usize = 1024;
/// Sockets that are seen to before listeners that have more get a turn.
const SHARE: usize = 32;
/// Entries read from one error queue in one turn.
const ERRORS: usize = 16;
/// Panics after which a loop is dead rather than doubtful.
const MOST_PANICS: u64 = 100;
