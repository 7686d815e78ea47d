//! Server-reflexive candidates: a Binding request from each socket to each server of its family, one per slot of Ta, and
//! again to keep the mapping until ICE has concluded (RFC 8445 §5.1.1.2, §5.1.1.4).

use std::collections::VecDeque;
use std::net::SocketAddr;

use farspeak_sansio::{Flow, Instant, Transport};
use farspeak_stun::{Class, Message, Method, Step, Transaction, TransactionId, Writer};

use super::local::{Found, Socket};
use crate::candidate::unscoped;
use crate::{Agent, CandidateType, Event, Mode, Privacy, ServerFailure, State};

#[derive(Default)]
pub(super) struct Gatherer {
    waiting: VecDeque<Task>,
    running: Vec<(Task, Transaction)>,
    mappings: Vec<Mapping>,
}

/// Ask this server from this socket.
#[derive(Clone, Copy)]
struct Task {
    socket: Socket,
    server: usize,
    /// Whether the answer only shows that a mapping lives.
    again: bool,
}

struct Mapping {
    task: Task,
    due: Instant,
}

impl Gatherer {
    pub(super) fn forget_socket(&mut self, local: SocketAddr) {
        self.retain(|socket| socket.local != local);
    }

    pub(super) fn forget_component(&mut self, component: u16) {
        self.retain(|socket| socket.component != component || component == 1);
    }

    fn retain(&mut self, keep: impl Fn(&Socket) -> bool) {
        self.waiting.retain(|task| keep(&task.socket));
        self.running.retain(|(task, _)| keep(&task.socket));
        self.mappings.retain(|mapping| keep(&mapping.task.socket));
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let running = self.running.iter().map(|(_, transaction)| transaction.deadline());
        running.chain(self.mappings.iter().map(|mapping| mapping.due)).min()
    }
}

impl Agent {
    /// Lines up what this socket asks whom.
    pub(super) fn gather_from(&mut self, now: Instant, socket: Socket) {
        self.relay_from(now, socket);
        if self.config.privacy == Privacy::RelayOnly || self.config.mode == Mode::Lite {
            return;
        }
        for (server, of) in self.config.servers.iter().enumerate() {
            let asked = of.transport == Transport::Udp && of.address.is_ipv4() == socket.local.is_ipv4();
            // A TURN server tells the mapped address with the allocation.
            if asked && of.login.is_none() && !crate::candidate::is_link_local(socket.local.ip()) {
                self.gatherer.waiting.push_back(Task { socket, server, again: false });
            }
        }
    }

    /// A TURN server without room may still tell the mapped address.
    pub(super) fn ask_binding(&mut self, socket: Socket, server: usize) {
        if self.config.privacy != Privacy::RelayOnly {
            self.gatherer.waiting.push_back(Task { socket, server, again: false });
        }
    }

    /// After a restart: asks from sockets that have got nothing from a server yet.
    pub(super) fn gather_again(&mut self, now: Instant) {
        let sockets = self.locals.sockets.clone();
        for socket in sockets {
            let known = |gatherer: &Gatherer| {
                gatherer.mappings.iter().any(|mapping| mapping.task.socket.local == socket.local)
                    || gatherer.running.iter().any(|(task, _)| task.socket.local == socket.local)
                    || gatherer.waiting.iter().any(|task| task.socket.local == socket.local)
            };
            if known(&self.gatherer) {
                self.relay_from(now, socket);
            } else {
                self.gather_from(now, socket);
            }
        }
    }

    pub(super) fn is_gathering(&self) -> bool {
        self.relays.is_gathering()
            || self.gatherer.waiting.iter().any(|task| !task.again)
            || self.gatherer.running.iter().any(|(task, _)| !task.again)
    }

    /// Begins the next request. Called once per slot.
    pub(super) fn begin_gathering(&mut self, now: Instant) -> bool {
        let Some(task) = self.gatherer.waiting.pop_front() else { return false };
        let mut buffer = [0; 64];
        let id = TransactionId::random(&mut *self.rng);
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
        writer.fingerprint();
        let request = writer.finish().expect("a header and a fingerprint fit");
        let flow = Flow::unbound(Transport::Udp, task.socket.local, self.config.servers[task.server].address);
        let begun = Transaction::begin(now, flow, request.into(), self.config.timing.gathering);
        let (transaction, transmit) = begun.expect("it is a request");
        self.gatherer.running.push((task, transaction));
        self.push_transmit(transmit);
        true
    }

    /// Whether the message answers one of ours.
    pub(super) fn gathered(&mut self, now: Instant, from: Flow, message: &Message<'_>) -> bool {
        let answers = |(_, transaction): &(Task, Transaction)| {
            transaction.is_answered_by(message)
                && transaction.flow().local == from.local
                && unscoped(transaction.flow().remote) == unscoped(from.remote)
        };
        let Some(at) = self.gatherer.running.iter().position(answers) else { return false };
        let (task, _) = self.gatherer.running.swap_remove(at);
        let server = self.config.servers[task.server].address;
        let mapped = message.xor_mapped_address().ok().flatten().or_else(|| message.mapped_address().ok().flatten());
        let Some(mapped) = mapped.filter(|_| message.class() == Class::Success) else {
            if !task.again {
                self.emit(Event::ServerFailed { server, reason: ServerFailure::Refused });
            }
            return true;
        };
        if self.locals.is_socket(unscoped(task.socket.local)) {
            self.gatherer.mappings.retain(|m| (m.task.socket.local, m.task.server) != (task.socket.local, task.server));
            let due = now + self.config.timing.keepalive;
            self.gatherer.mappings.push(Mapping { task: Task { again: true, ..task }, due });
            self.found(
                now,
                Found {
                    kind: CandidateType::ServerReflexive,
                    socket: task.socket,
                    address: mapped,
                    base: unscoped(task.socket.local),
                    related: Some(task.socket.local),
                    server: Some((task.server, server.ip(), 0)),
                    expires: None,
                },
            );
        }
        true
    }

    /// Repetitions, failures, and mappings that want to be refreshed.
    pub(super) fn gathering_timeout(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.gatherer.running.len() {
            let (task, transaction) = &mut self.gatherer.running[at];
            match transaction.handle_timeout(now) {
                Step::Wait => at += 1,
                Step::Send(transmit) => {
                    self.push_transmit(transmit);
                    at += 1;
                }
                Step::TimedOut => {
                    let (server, again) = (self.config.servers[task.server].address, task.again);
                    self.gatherer.running.swap_remove(at);
                    if !again {
                        self.emit(Event::ServerFailed { server, reason: ServerFailure::Unreachable });
                    }
                }
            }
        }
        if matches!(self.state, State::Completed | State::Failed | State::Closed) {
            // Concluded: the selected pair's own traffic keeps what is needed (RFC 8445 §8.3).
            self.gatherer.mappings.clear();
        }
        let due: Vec<Task> = self.gatherer.mappings.iter().filter(|m| m.due <= now).map(|m| m.task).collect();
        self.gatherer.mappings.retain(|mapping| mapping.due > now);
        self.gatherer.waiting.extend(due);
    }

    /// ICMP: the server is not there.
    pub(super) fn gathering_unreachable(&mut self, flow: Flow) {
        let failed = |transaction: &Transaction| {
            (transaction.flow().local, transaction.flow().remote) == (flow.local, flow.remote)
        };
        let (gone, left) = std::mem::take(&mut self.gatherer.running).into_iter().partition(|(_, t)| failed(t));
        self.gatherer.running = left;
        let gone: Vec<(Task, Transaction)> = gone;
        if gone.iter().any(|(task, _)| !task.again) {
            self.emit(Event::ServerFailed { server: flow.remote, reason: ServerFailure::Unreachable });
        }
    }
}
