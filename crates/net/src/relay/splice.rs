//! Joining a client's connection with a peer's (RFC 6062 §5.4): bytes both ways, no messages any more.
//!
//! Of each direction only so much waits as one read brings; the end that sends is not read from until the other has taken
//! it. An end that has said its last is passed on, and the other may finish.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use farspeak_sansio::Instant;
use mio::net::TcpStream;

use super::counters::RelayCounters;
use super::machine::Meter;
use super::stream::{Ending, LONGEST_RECORD, Stage, Stream, Taken};

/// The peer's half of a splice.
pub(super) struct Splice {
    pub socket: TcpStream,
    /// From the client, not yet taken by the peer.
    waiting: Vec<u8>,
    /// Bytes last moved, either way.
    pub moved: Instant,
    client: End,
    peer: End,
}

/// How far one end has come with what it has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Speaks,
    /// It has said its last; the other end is to be told once it has everything.
    Said,
    Told,
}

/// What is left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pumped {
    /// A socket's event tells when.
    Waits,
    /// Its share of this turn is over.
    More,
    /// It has moved as much as it may before then.
    Pauses(Instant),
    /// Both connections are to be closed.
    Over,
}

impl Splice {
    pub(super) const fn new(socket: TcpStream, now: Instant) -> Self {
        Self { socket, waiting: Vec::new(), moved: now, client: End::Speaks, peer: End::Speaks }
    }

    /// Whether one end is through, and the other should not take for ever.
    pub(super) fn is_half_closed(&self) -> bool {
        self.client != End::Speaks || self.peer != End::Speaks
    }

    /// Gives memory back that is not needed now.
    pub(super) fn shrink(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }

    /// Moves what there is to move, within its share of a turn.
    pub(super) fn pump(
        &mut self,
        stream: &mut Stream,
        meter: &dyn Meter,
        space: &mut [u8],
        now: Instant,
        counters: &mut RelayCounters,
    ) -> Pumped {
        stream.stage = Stage::Open;
        self.waiting.append(&mut stream.pending); // what came right behind the ConnectionBind request
        for _ in 0..READS {
            let room = match meter.room(now) {
                Ok(room) => room.clamp(LONGEST_RECORD, space.len()),
                Err(until) => return Pumped::Pauses(until),
            };
            let space = &mut space[..room];
            let passed = |it: &RelayCounters| (it.splice_bytes_to_peers, it.splice_bytes_to_clients);
            let before = passed(counters);
            let moved = self.feed_peer(stream, space, counters).and_then(|to_peer| {
                let to_client = self.feed_client(stream, space, now, counters)?;
                Ok(to_peer | to_client)
            });
            let after = passed(counters);
            meter.moved(now, (after.0 - before.0) as usize, (after.1 - before.1) as usize);
            match moved {
                Ok(true) => (self.moved, stream.heard) = (now, now),
                Ok(false) if self.client == End::Told && self.peer == End::Told => return Pumped::Over,
                Ok(false) => return Pumped::Waits,
                Err(_) => return Pumped::Over,
            }
        }
        Pumped::More
    }

    /// Whether anything moved from the client to the peer.
    fn feed_peer(&mut self, stream: &mut Stream, space: &mut [u8], counters: &mut RelayCounters) -> io::Result<bool> {
        let flushed = write(&mut self.socket, &self.waiting)?;
        self.waiting.drain(..flushed);
        counters.splice_bytes_to_peers += flushed as u64;
        if !self.waiting.is_empty() {
            return Ok(flushed > 0);
        }
        match self.client {
            End::Speaks => {}
            End::Said => {
                let _ = self.socket.shutdown(Shutdown::Write); // gone already: reading will tell
                self.client = End::Told;
                return Ok(true);
            }
            End::Told => return Ok(flushed > 0),
        }
        let length = match stream.read(space, true) {
            Taken::Last(0) => return Ok(flushed > 0),
            Taken::Bytes(length) | Taken::Last(length) => length,
            Taken::Ended => {
                self.client = End::Said;
                return Ok(true);
            }
            Taken::Gone | Taken::Broken | Taken::NoProxyHeader | Taken::TooMany => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        };
        let taken = write(&mut self.socket, &space[..length])?;
        counters.splice_bytes_to_peers += taken as u64;
        self.waiting.extend_from_slice(&space[taken..length]);
        Ok(true)
    }

    /// Whether anything moved from the peer to the client.
    fn feed_client(
        &mut self,
        stream: &mut Stream,
        space: &mut [u8],
        now: Instant,
        counters: &mut RelayCounters,
    ) -> io::Result<bool> {
        if !flushes(stream, now)? {
            return Ok(false);
        }
        match self.peer {
            End::Speaks => {}
            End::Said => {
                stream.say_goodbye();
                if !flushes(stream, now)? {
                    return Ok(false);
                }
                let _ = stream.socket.shutdown(Shutdown::Write); // gone already: reading will tell
                self.peer = End::Told;
                return Ok(true);
            }
            End::Told => return Ok(false),
        }
        let most = space.len().min(READ);
        let length = match self.socket.read(&mut space[..most]) {
            Ok(0) => {
                self.peer = End::Said;
                return Ok(true);
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        counters.splice_bytes_to_clients += length as u64;
        stream.out.extend_from_slice(&space[..length]);
        flushes(stream, now)?;
        Ok(true)
    }
}

/// Whether the client has taken everything.
fn flushes(stream: &mut Stream, now: Instant) -> io::Result<bool> {
    stream.write(now);
    match stream.ending {
        Ending::No => Ok(stream.stalled.is_none()),
        Ending::Flush | Ending::Cut => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Writes what the connection takes; gives how much.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match socket.write(&bytes[at..]) {
            Ok(length) => at += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// Times that each end is read from in one turn.
const READS: usize = 2;
/// Read from a peer at once: all that waits for a client.
const READ: usize = 32 << 10;
/// What the client's end is read into.
pub(super) const SPACE: usize = 64 << 10;
