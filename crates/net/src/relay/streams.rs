//! The table of a loop's connections, and their timeouts.

use std::io;
use std::rc::Rc;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};
use mio::net::TcpStream;
use mio::{Interest, Registry};
use rustls::ServerConnection;
use socket2::{SockRef, TcpKeepalive};

use super::counters::RelayCounters;
use super::stream::{Ending, Stage, Stream, Taken};
use super::{os, token};
use crate::StreamConfig;
use crate::accept::{Ends, TCP_PROBE_INTERVAL, TCP_PROBES};
use crate::admission::{Admission, Seat};

pub(super) struct Streams {
    shard: u8,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those with something to write at the end of the turn, or to be closed then.
    dirty: Vec<u32>,
    pub config: StreamConfig,
    pub admission: Rc<Admission>,
    first_generation: u32,
}

struct Slot {
    generation: u32,
    stream: Option<Box<Stream>>,
}

/// A connection to be taken in.
pub(super) struct Arrival {
    pub socket: TcpStream,
    pub tls: Option<Box<ServerConnection>>,
    pub ends: Ends,
    pub seat: Seat,
    pub stage: Stage,
}

impl Streams {
    pub(super) fn new(shard: u8, first_generation: u32, config: StreamConfig, admission: Rc<Admission>) -> Self {
        Self { shard, slots: Vec::new(), free: Vec::new(), dirty: Vec::new(), config, admission, first_generation }
    }

    /// Takes a connection in; gives its slot.
    pub(super) fn insert(&mut self, registry: &Registry, now: Instant, arrival: Arrival) -> io::Result<u32> {
        let Arrival { mut socket, tls, ends, mut seat, stage } = arrival;
        self.prepare(&socket)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: self.first_generation, stream: None });
            (self.slots.len() - 1) as u32
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut socket, token::new(token::STREAM, slot), interest) {
            self.free.push(slot);
            return Err(error);
        }
        if stage == Stage::FirstMessage {
            seat.settle();
        }
        let entry = &mut self.slots[slot as usize];
        let id = FlowId::new(self.shard, slot, entry.generation);
        entry.generation = id.generation(); // never 0
        let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
        let flow = Flow { id, transport, local: ends.local, remote: ends.remote };
        entry.stream = Some(Box::new(Stream::new(socket, flow, tls, seat, stage, now)));
        Ok(slot)
    }

    /// The options that every connection wants.
    pub(super) fn prepare(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        os::bound_unsent(socket, MOST_UNSENT)?;
        os::bound_repetition(socket);
        let reference = SockRef::from(socket);
        let keep_alive = TcpKeepalive::new()
            .with_time(self.config.tcp_keep_alive)
            .with_interval(TCP_PROBE_INTERVAL)
            .with_retries(TCP_PROBES);
        reference.set_tcp_keepalive(&keep_alive)?;
        #[cfg(target_os = "linux")]
        {
            reference.set_tcp_user_timeout(Some(self.config.tcp_user_timeout))?;
            reference.set_tcp_thin_linear_timeouts(true)?; // voice is a thin stream: a lost packet is not waited for ever longer
        }
        Ok(())
    }

    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize)?.stream.as_deref_mut()
    }

    /// The peer's connection that it is joined with.
    pub(super) fn spliced(&mut self, slot: u32) -> Option<u32> {
        self.get(slot)?.spliced
    }

    pub(super) fn find(&mut self, id: FlowId) -> Option<&mut Stream> {
        self.get(id.slot()).filter(|stream| stream.flow.id == id)
    }

    /// Puts what waits and what there is to read into `space`.
    pub(super) fn read(&mut self, slot: u32, space: &mut [u8], now: Instant, closed: bool) -> Option<(Flow, Taken)> {
        let stream = self.get(slot).filter(|stream| stream.ending == Ending::No && stream.held.is_none())?;
        let taken = stream.receive(space, now, closed);
        Some((stream.flow, taken))
    }

    /// Whether it carries messages still, and may be read from.
    pub(super) fn has_messages(&mut self, slot: u32) -> bool {
        self.get(slot).is_some_and(|stream| stream.spliced.is_none() && stream.held.is_none())
    }

    /// Reads no more from a client before [`Self::release`]. It is cut if that takes too long.
    pub(super) fn hold(&mut self, id: FlowId, now: Instant) {
        if let Some(stream) = self.find(id) {
            stream.held = Some(now);
        }
    }

    /// Reads on; gives the slot if it was held.
    pub(super) fn release(&mut self, id: FlowId) -> Option<u32> {
        self.find(id)?.held.take().map(|_| id.slot())
    }

    /// Keeps the beginning of a message; see [`Stream::keep`].
    pub(super) fn keep(&mut self, slot: u32, rest: &[u8], now: Instant, heard: bool) {
        if let Some(stream) = self.get(slot) {
            stream.keep(rest, now, heard);
        }
    }

    /// Queues for a client; false if the connection is gone.
    pub(super) fn send(
        &mut self,
        client: &Flow,
        bytes: &[u8],
        relayed: bool,
        now: Instant,
        counters: &mut RelayCounters,
    ) -> bool {
        let Some(stream) = self.find(client.id).filter(|stream| stream.spliced.is_none()) else { return false };
        let ending = stream.ending != Ending::No;
        match stream.queue(bytes, relayed, now) {
            true => counters.stream_messages_sent += 1,
            false if relayed => counters.stream_messages_dropped += 1,
            false if ending => {} // counted when that began
            false => counters.stalled_cut += 1,
        }
        self.soil(client.id.slot());
        true
    }

    /// Has the connection closed at the end of the turn.
    pub(super) fn close(&mut self, id: FlowId, how: Ending) {
        if let Some(stream) = self.find(id)
            && stream.ending != Ending::Cut
        {
            stream.ending = how;
            self.soil(id.slot());
        }
    }

    fn soil(&mut self, slot: u32) {
        if let Some(stream) = self.get(slot)
            && !std::mem::replace(&mut stream.dirty, true)
        {
            self.dirty.push(slot);
        }
    }

    /// The connection takes more.
    pub(super) fn writable(&mut self, slot: u32) {
        if self.get(slot).is_some_and(|stream| stream.stalled.is_some()) {
            self.soil(slot);
        }
    }

    /// Writes to the next connection that has something waiting. `Some(Some(flow))` if it is gone now, `None` if there
    /// is no further one.
    pub(super) fn flush_next(&mut self, now: Instant) -> Option<Option<Flow>> {
        let slot = self.dirty.pop()?;
        let Some(stream) = self.get(slot) else { return Some(None) };
        stream.dirty = false;
        if stream.ending != Ending::Cut {
            stream.write(now);
        }
        if stream.ending == Ending::No {
            return Some(None);
        }
        Some(self.remove(slot))
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Flow> {
        let entry = self.slots.get_mut(slot as usize)?;
        let mut stream = entry.stream.take()?;
        if stream.ending != Ending::Cut {
            stream.say_goodbye();
        }
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        Some(stream.flow) // dropping the socket takes it out of the loop's interest
    }

    /// Ends what has taken too long; once a second or so. While connections are scarce, that includes those whose clients have
    /// had time to ask for something and have nothing: `serves` says who has.
    pub(super) fn sweep(&mut self, now: Instant, counters: &mut RelayCounters, serves: impl Fn(&Flow) -> bool) {
        let scarce = self.admission.is_filling();
        for slot in 0..self.slots.len() as u32 {
            let config = &self.config;
            let (handshake, first, message, idle, write) = (
                config.handshake_timeout,
                config.first_message_timeout,
                config.message_timeout,
                config.idle_timeout,
                config.write_timeout,
            );
            let Some(stream) = self.get(slot) else { continue };
            let waited = now - stream.since;
            let counter = match stream.stage {
                Stage::ProxyHeader | Stage::Handshake if waited >= handshake => &mut counters.handshakes_timed_out,
                Stage::FirstMessage if waited >= first => &mut counters.handshakes_timed_out,
                _ if stream.held.is_some_and(|since| now - since >= message) => &mut counters.stalled_cut,
                Stage::Open if !stream.pending.is_empty() && waited >= message => &mut counters.stalled_cut,
                Stage::Open if now - stream.heard >= idle => &mut counters.idle_closed,
                Stage::Open
                    if scarce
                        && now - stream.accepted >= first
                        && stream.spliced.is_none()
                        && !serves(&stream.flow) =>
                {
                    &mut counters.crowded_out
                }
                // A peer may be slower than its client, and the other way around.
                _ if stream.spliced.is_some() => {
                    stream.shrink();
                    continue;
                }
                _ if stream.stalled.is_some_and(|since| now - since >= write) => &mut counters.stalled_cut,
                _ => {
                    stream.shrink();
                    continue;
                }
            };
            *counter += 1;
            stream.ending = Ending::Cut;
            self.soil(slot);
        }
    }

    /// All that are open.
    pub(super) fn flows(&self) -> Vec<FlowId> {
        self.slots.iter().filter_map(|slot| slot.stream.as_ref()).map(|stream| stream.flow.id).collect()
    }
}

/// Bytes after which the kernel does not begin another segment of what it cannot send yet: an eighth of a second of video.
/// How long anything lies there is for [`super::pace`].
const MOST_UNSENT: i32 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_has_nothing_makes_room_and_only_when_there_is_little() {
        let poll = mio::Poll::new().unwrap();
        let config = StreamConfig { max_connections: 8, ..StreamConfig::default() };
        let admission = Admission::new(&config, &Arc::default());
        let mut streams = Streams::new(0, 1, config, admission);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut clients = Vec::new();
        let mut connect = |streams: &mut Streams, now| {
            clients.push(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (socket, remote) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let (socket, local) = (TcpStream::from_std(socket), listener.local_addr().unwrap());
            let seat = streams.admission.admit(remote).unwrap();
            let ends = Ends { local, remote };
            let arrival = Arrival { socket, tls: None, ends, seat, stage: Stage::FirstMessage };
            let slot = streams.insert(poll.registry(), now, arrival).unwrap();
            streams.keep(slot, b"", now, true);
        };
        let mut counters = RelayCounters::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let mut sweep = |streams: &mut Streams, now| {
            // The first client has something here.
            streams.sweep(now, &mut counters, |flow| flow.id.slot() == 0);
            while streams.flush_next(now).is_some() {}
            streams.flows().len()
        };
        (0..5).for_each(|_| connect(&mut streams, at(0)));
        assert_eq!(sweep(&mut streams, at(60)), 5, "there is room");
        connect(&mut streams, at(60));
        assert_eq!(sweep(&mut streams, at(61)), 2, "whoever has something, and whoever has just come");
        assert_eq!(sweep(&mut streams, at(120)), 2, "there is room");
        assert_eq!(counters.crowded_out, 4);
    }
}
