//! What the loop does about connections: accepting, taking over, reading, cutting into messages.

use std::io;

use farspeak_sansio::{Flow, HEADROOM};

use super::cut::cut;
use super::handover::Handover;
use super::machine::PacketMachine;
use super::sockets::Arena;
use super::stream::{Ending, Stage, Taken};
use super::streams::Arrival;
use super::token;
use super::worker::{Origin, Worker};
use crate::accept::Ends;

impl<M: PacketMachine> Worker<M> {
    pub(super) fn accept(&mut self, index: u32) {
        for _ in 0..ACCEPTS {
            let Some(acceptor) = self.acceptors.get_mut(index as usize) else { return };
            match acceptor.accept(&self.streams.admission) {
                Ok(Some(arrival)) => {
                    self.take_in(arrival);
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.counters.accepts_failed += 1;
                    return; // the next sweep tries again
                }
            }
        }
        self.postpone(token::new(token::TCP_LISTENER, index));
    }

    fn take_in(&mut self, arrival: Arrival) -> Option<u32> {
        let slot = self.streams.insert(self.poll.registry(), self.now, arrival);
        slot.inspect_err(|error| tracing::debug!(%error, "cannot serve a connection")).ok()
    }

    pub(super) fn take_over(&mut self, handover: Handover, arena: &mut Arena) {
        let Handover { tcp, tls, local, remote } = handover;
        let Some(seat) = self.streams.admission.admit(remote) else { return };
        if tcp.set_nonblocking(true).is_err() {
            return;
        }
        self.counters.taken_over += 1;
        let socket = mio::net::TcpStream::from_std(tcp);
        let arrival = Arrival { socket, tls, ends: Ends { local, remote }, seat, stage: Stage::FirstMessage };
        if let Some(slot) = self.take_in(arrival) {
            // What TLS has read before the socket came here raises no event.
            self.receive_stream(slot, arena, true);
        }
    }

    pub(super) fn receive_stream(&mut self, slot: u32, arena: &mut Arena, closed: bool) {
        if let Some(peer) = self.streams.spliced(slot) {
            return self.pump(peer, arena);
        }
        let space = HEADROOM + M::LONGEST_MESSAGE + STREAM_READ;
        for _ in 0..READS {
            let bytes = &mut arena.bytes[HEADROOM..space];
            let Some((client, taken)) = self.streams.read(slot, bytes, self.now, closed) else { return };
            let (filled, more) = match taken {
                Taken::Bytes(filled) => (filled, true),
                Taken::Last(filled) => (filled, false),
                Taken::Ended | Taken::Gone => return self.streams.close(client.id, Ending::Cut),
                Taken::Broken => {
                    self.counters.handshakes_failed += 1;
                    return self.streams.close(client.id, Ending::Cut);
                }
                Taken::NoProxyHeader => {
                    self.counters.proxy_headers_refused += 1;
                    return self.streams.close(client.id, Ending::Cut);
                }
                Taken::TooMany => return self.streams.close(client.id, Ending::Cut), // counted where seats are
            };
            if !self.cut_messages(slot, &client, arena, filled) {
                self.counters.streams_broken += 1;
                return self.streams.close(client.id, Ending::Flush);
            }
            if !more || !self.streams.has_messages(slot) {
                return;
            }
        }
        self.postpone(token::new(token::STREAM, slot));
    }

    /// Shows the machine each whole message of the first `filled` bytes, and keeps the rest. False if they hold none.
    fn cut_messages(&mut self, slot: u32, client: &Flow, arena: &mut Arena, filled: usize) -> bool {
        if filled == 0 {
            return true; // TLS or a load balancer is still at it
        }
        let end = HEADROOM + filled;
        let rest = cut(M::measure, &mut arena.bytes[..], HEADROOM..end, |buffer, message| {
            self.counters.stream_messages_received += 1;
            self.show(Origin::Client(*client), buffer, message);
            self.streams.has_messages(slot) // else the rest is for a peer, or may be
        });
        self.train.flush(&mut self.sockets, &mut self.counters);
        let Some(at) = rest else { return false };
        self.streams.keep(slot, &arena.bytes[at..end], self.now, at > HEADROOM);
        true
    }

    pub(super) fn close_streams(&mut self) {
        for id in self.streams.flows() {
            self.streams.close(id, Ending::Flush);
        }
        self.finish();
    }
}

/// Connections accepted from one listener in one turn.
const ACCEPTS: usize = 32;
/// Times that one connection is read from in one turn.
const READS: usize = 4;
/// Read from a connection at once, besides what waits of it.
const STREAM_READ: usize = 64 << 10;
