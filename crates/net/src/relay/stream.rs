//! One connection of a client: reading through TLS, writing with a bound.
//!
//! Relayed media is never queued behind a connection that is behind ([`super::pace`]): it is dropped before it enters the
//! stream, so that what arrives late does not make everything later. Only answers wait, and only so many bytes of them.

use std::io::{self, Read, Write};

use farspeak_sansio::{Flow, Instant};
use mio::net::TcpStream;
use rustls::ServerConnection;

use super::os;
use super::pace::{Backlog, Pace};
use super::proxy_protocol::{self, ProxyHeader};
use crate::admission::Seat;

/// What a stream lies on: a socket, or whatever else, so that it can be tried without a kernel.
pub(super) trait Wire: Read + Write {
    /// What waits to be sent, if that can be known.
    fn backlog(&self) -> Option<Backlog>;
}

impl Wire for TcpStream {
    fn backlog(&self) -> Option<Backlog> {
        os::backlog(self)
    }
}

/// One connection.
pub(super) struct Stream<S = TcpStream> {
    pub socket: S,
    pub flow: Flow,
    pub tls: Option<Box<ServerConnection>>,
    pub seat: Seat,
    pub stage: Stage,
    pub accepted: Instant,
    /// When the stage began.
    pub since: Instant,
    /// When the client last sent anything.
    pub heard: Instant,
    /// The beginning of a message whose end has not come.
    pub pending: Vec<u8>,
    /// What is to be written, in this turn or when the connection takes more.
    pub out: Vec<u8>,
    /// Whether what is written is sent in time.
    pace: Pace,
    /// Since when the connection takes nothing.
    pub stalled: Option<Instant>,
    pub ending: Ending,
    /// Whether it is among those to be flushed at the end of the turn.
    pub dirty: bool,
    /// Whether it had more to give than its share of the last turn.
    pub postponed: bool,
    /// The peer's connection that it is joined with: it carries no messages any more.
    pub spliced: Option<u32>,
    /// Since when nothing is read, because what comes next may no longer be messages: another shard is about to say.
    pub held: Option<Instant>,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The balancer is to say who connects.
    ProxyHeader,
    /// TLS.
    Handshake,
    /// The client is to say something.
    FirstMessage,
    /// The client has said something.
    Open,
}

/// Whether and how the connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    No,
    /// After what waits is written, if the connection takes it.
    Flush,
    /// At once.
    Cut,
}

/// What reading brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// So many bytes; more may be there.
    Bytes(usize),
    /// So many bytes, perhaps none, and no more for now.
    Last(usize),
    /// The client has closed its side in good order.
    Ended,
    /// The client has broken off.
    Gone,
    /// The TLS handshake failed, or TLS was broken.
    Broken,
    /// The PROXY header is missing or wrong.
    NoProxyHeader,
    /// Whom the PROXY header names has too many connections.
    TooMany,
}

impl<S: Wire> Stream<S> {
    /// A connection that has just been accepted.
    pub(super) fn new(
        socket: S,
        flow: Flow,
        tls: Option<Box<ServerConnection>>,
        seat: Seat,
        stage: Stage,
        now: Instant,
    ) -> Self {
        Self {
            socket,
            flow,
            tls,
            seat,
            stage,
            accepted: now,
            since: now,
            heard: now,
            pending: Vec::new(),
            out: Vec::new(),
            pace: Pace::new(now),
            stalled: None,
            ending: Ending::No,
            dirty: false,
            postponed: false,
            spliced: None,
            held: None,
        }
    }

    /// Puts what waits and what there is to read into `space`. `closed` as for [`Self::read`].
    pub(super) fn receive(&mut self, space: &mut [u8], now: Instant, closed: bool) -> Taken {
        let waiting = if self.stage == Stage::ProxyHeader { 0 } else { self.pending.len() };
        space[..waiting].copy_from_slice(&self.pending[..waiting]);
        let taken = self.read(&mut space[waiting..], closed);
        if self.has_shaken_hands() {
            (self.stage, self.since) = (Stage::FirstMessage, now);
            self.seat.settle();
        }
        match taken {
            Taken::Bytes(more) => Taken::Bytes(waiting + more),
            Taken::Last(more) => Taken::Last(waiting + more),
            other => other,
        }
    }

    /// Keeps the beginning of a message, whose rest is to come. `heard`: whether a whole one came before it.
    pub(super) fn keep(&mut self, rest: &[u8], now: Instant, heard: bool) {
        if heard {
            (self.heard, self.since, self.stage) = (now, now, Stage::Open);
        } else if self.pending.is_empty() {
            self.since = if self.stage == Stage::Open { now } else { self.since };
        }
        self.pending.clear();
        self.pending.extend_from_slice(rest);
    }

    /// Reads into `space`. `closed` says that the kernel has seen the end: then a short read does not mean emptiness.
    pub(super) fn read(&mut self, space: &mut [u8], closed: bool) -> Taken {
        if self.stage == Stage::ProxyHeader {
            return self.read_proxy_header(space);
        }
        match self.tls {
            None => loop {
                return match self.socket.read(space) {
                    Ok(0) => Taken::Ended,
                    Ok(length) if length < space.len() && !closed => Taken::Last(length),
                    Ok(length) => Taken::Bytes(length),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Taken::Last(0),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => Taken::Gone,
                };
            },
            Some(_) => self.read_tls(space),
        }
    }

    fn read_tls(&mut self, space: &mut [u8]) -> Taken {
        let Some(tls) = &mut self.tls else { return Taken::Gone };
        let mut filled = 0;
        for _ in 0..MOST_READS {
            while filled < space.len() {
                match tls.reader().read(&mut space[filled..]) {
                    Ok(0) if filled == 0 => return Taken::Ended,
                    Ok(0) => return Taken::Bytes(filled), // a goodbye right behind, which no event will tell of
                    Ok(length) => filled += length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Taken::Gone, // the stream ended without a goodbye
                }
            }
            if space.len() - filled < LONGEST_RECORD {
                return Taken::Bytes(filled);
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) if filled == 0 => return Taken::Gone,
                Ok(0) => return Taken::Bytes(filled),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Taken::Last(filled),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Taken::Gone,
            }
            if !process(tls, &mut self.socket) {
                return Taken::Broken;
            }
        }
        Taken::Bytes(filled)
    }

    fn read_proxy_header(&mut self, space: &mut [u8]) -> Taken {
        let room = proxy_protocol::LONGEST.saturating_sub(self.pending.len()).min(space.len());
        let taken = match self.socket.read(&mut space[..room]) {
            Ok(0) => return Taken::Gone,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Taken::Last(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Taken::Bytes(0),
            Err(_) => return Taken::Gone,
        };
        self.pending.extend_from_slice(&space[..taken]);
        let (length, ends) = match proxy_protocol::read(&self.pending) {
            ProxyHeader::Whole { length, ends } => (length, ends),
            ProxyHeader::NeedMore => return Taken::Bytes(0),
            ProxyHeader::Wrong => return Taken::NoProxyHeader,
        };
        if let Some((remote, local)) = ends {
            (self.flow.remote, self.flow.local) = (remote, local);
            if !self.seat.pass_to(remote) {
                return Taken::TooMany;
            }
        }
        let mut rest = std::mem::take(&mut self.pending);
        rest.drain(..length);
        let Some(tls) = &mut self.tls else {
            self.stage = Stage::FirstMessage;
            self.seat.settle();
            space[..rest.len()].copy_from_slice(&rest);
            return Taken::Bytes(rest.len());
        };
        self.stage = Stage::Handshake;
        let mut rest = &rest[..];
        while !rest.is_empty() {
            if !matches!(tls.read_tls(&mut rest), Ok(1..)) || !process(tls, &mut self.socket) {
                return Taken::Broken;
            }
        }
        Taken::Bytes(0)
    }

    /// Whether TLS has been agreed since the stage began.
    fn has_shaken_hands(&self) -> bool {
        self.stage == Stage::Handshake && self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Adds to what is to be written. False if it was dropped: relayed data behind a connection that is behind.
    pub(super) fn queue(&mut self, bytes: &[u8], relayed: bool, now: Instant) -> bool {
        if self.ending != Ending::No {
            return false;
        }
        if self.stalled.is_none() && self.out.len() >= WRITE_NOW {
            self.write(now);
        }
        let most = if relayed { MOST_RELAYED } else { MOST_WAITING };
        let late = relayed && (self.stalled.is_some() || self.pace.is_behind(now, || self.socket.backlog()));
        if late || self.out.len() + bytes.len() > most {
            if !relayed {
                self.ending = Ending::Cut;
            }
            return false;
        }
        self.out.extend_from_slice(bytes);
        true
    }

    /// Writes what there is to write, as far as the connection takes it.
    pub(super) fn write(&mut self, now: Instant) {
        match self.try_write() {
            Ok(()) => self.stalled = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stalled.get_or_insert(now);
            }
            Err(_) => self.ending = Ending::Cut,
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            while !self.out.is_empty() {
                match self.socket.write(&self.out) {
                    Ok(length) => {
                        self.pace.wrote(length);
                        self.out.drain(..length);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        };
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(length) => self.pace.wrote(length),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.out.is_empty() || tls.is_handshaking() {
                return Ok(());
            }
            // Only what TLS gives away at once is put into it: here it can still be counted.
            let length = self.out.len().min(WRITE_NOW);
            let length = tls.writer().write(&self.out[..length])?;
            self.out.drain(..length);
        }
    }

    /// Says goodbye, as far as the connection takes it.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Gives memory back that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }
}

/// Lets TLS look at what it has read, and sends what it has to say to that. False if it is broken.
fn process(tls: &mut ServerConnection, socket: &mut impl Write) -> bool {
    let whole = tls.process_new_packets().is_ok();
    while tls.wants_write() {
        if tls.write_tls(socket).is_err() {
            break; // a full connection: `try_write` goes on
        }
    }
    whole
}

/// Calls that read from one connection before others have their turn.
const MOST_READS: usize = 16;
/// What one TLS record can hold.
pub(super) const LONGEST_RECORD: usize = 16 << 10;
/// What is written without waiting for the end of the turn.
const WRITE_NOW: usize = 16 << 10;
/// Relayed bytes that wait for the end of the turn.
const MOST_RELAYED: usize = 64 << 10;
/// Bytes that wait for a client that takes none.
const MOST_WAITING: usize = 96 << 10;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;

    use farspeak_sansio::{FlowId, Transport};
    use socket2::SockRef;

    use super::*;
    use crate::StreamConfig;
    use crate::admission::Admission;

    const FRAME: [u8; 208] = [7; 208];

    /// A connection whose client takes what the kernel takes for it: in both directions as much as is usual, or little.
    fn stalled(window: usize) -> (Stream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        client.set_recv_buffer_size(window).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (socket, remote) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).set_tcp_nodelay(true).unwrap();
        let seat = Admission::new(&StreamConfig::default(), &Arc::default()).admit(remote).unwrap();
        let flow = Flow {
            id: FlowId::new(0, 0, 1),
            transport: Transport::Tcp,
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            remote,
        };
        let stream = Stream::new(TcpStream::from_std(socket), flow, None, seat, Stage::Open, Instant::ZERO);
        (stream, client.into())
    }

    #[test]
    fn voice_does_not_gather_in_the_kernel_behind_a_reader_that_stalls() {
        for window in [4096, 100_000] {
            let (mut stream, mut client) = stalled(window);
            let mut now = Instant::ZERO;
            let mut taken = 0;
            // More than the client's window holds, a frame each 20 ms.
            for _ in 0..3000 {
                now += Duration::from_millis(20);
                taken += if stream.queue(&FRAME, true, now) { FRAME.len() } else { 0 };
                stream.write(now);
                let unsent = stream.socket.backlog().unwrap().unsent;
                assert!(unsent <= 10 * FRAME.len() as u64, "{unsent} bytes wait with a window of {window}");
            }
            assert!(taken < 3000 * FRAME.len());
            // It reads again: what was taken comes whole, and frames pass as before.
            client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            client.read_exact(&mut vec![0; taken]).unwrap();
            while stream.socket.backlog().unwrap().unsent > 0 {}
            now += Duration::from_millis(40);
            assert!(stream.queue(&FRAME, true, now));
            stream.write(now);
            let mut frame = [0; FRAME.len()];
            client.read_exact(&mut frame).unwrap();
            assert_eq!(frame, FRAME);
        }
    }
}
