//! A client's connection without sockets, for fuzz targets and tests: what is read must not depend on how the network cuts
//! it, and what is written arrives whole or not at all.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};
use rustls::{ServerConfig, ServerConnection};

use super::cut::cut;
use super::machine::Frame;
use super::pace::Backlog;
pub use super::proxy_protocol::{LONGEST as LONGEST_PROXY_HEADER, ProxyHeader, read as read_proxy_header};
use super::stream::{Ending, Stage, Stream, Taken, Wire};
use crate::StreamConfig;
use crate::admission::Admission;

/// The connection, and what the machine was shown of it.
pub struct Rehearsal {
    stream: Stream<Pipe>,
    measure: fn(&[u8]) -> Frame,
    space: Vec<u8>,
    /// The messages, in order.
    pub messages: Vec<Vec<u8>>,
    /// Why nothing is read any more.
    pub ended: Option<&'static str>,
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal")
            .field("messages", &self.messages)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// A connection that has just been accepted, from a load balancer or not, with TLS or without. `longest` is what
    /// `measure` lets come together.
    pub fn new(
        proxied: bool,
        tls: Option<Arc<ServerConfig>>,
        longest: usize,
        measure: fn(&[u8]) -> Frame,
    ) -> Result<Self, rustls::Error> {
        let tls = tls.map(ServerConnection::new).transpose()?.map(Box::new);
        let (local, remote) = (SocketAddr::from(([198, 51, 100, 1], 3478)), SocketAddr::from(([192, 0, 2, 1], 4000)));
        let seat = Admission::new(&StreamConfig::default(), &Arc::default()).admit(remote).expect("the first one");
        let stage = match &tls {
            _ if proxied => Stage::ProxyHeader,
            Some(_) => Stage::Handshake,
            None => Stage::FirstMessage,
        };
        let flow = Flow { id: FlowId::new(0, 0, 1), transport: Transport::Tcp, local, remote };
        let stream = Stream::new(Pipe::default(), flow, tls, seat, stage, Instant::ZERO);
        Ok(Self { stream, measure, space: vec![0; longest + READ], messages: Vec::new(), ended: None })
    }

    /// Who connects, as far as is known.
    pub fn remote(&self) -> SocketAddr {
        self.stream.flow.remote
    }

    /// Bytes kept because what they belong to has not come whole.
    pub fn kept(&self) -> usize {
        self.stream.pending.len()
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.stream.out.len()
    }

    /// The client sends something, and the loop hears of it.
    pub fn bring(&mut self, bytes: &[u8]) {
        self.stream.socket.incoming.extend(bytes);
        while self.ended.is_none() && self.read() {}
        self.stream.write(Instant::ZERO); // TLS may have something to say
    }

    /// Whether there may be more to read.
    fn read(&mut self) -> bool {
        let (filled, more) = match self.stream.receive(&mut self.space, Instant::ZERO, false) {
            Taken::Bytes(filled) => (filled, true),
            Taken::Last(filled) => (filled, false),
            Taken::Ended => return self.end("closed"),
            Taken::Gone => return self.end("gone"),
            Taken::Broken => return self.end("TLS"),
            Taken::NoProxyHeader => return self.end("no PROXY header"),
            Taken::TooMany => return self.end("too many"),
        };
        if filled > 0 {
            let messages = &mut self.messages;
            let rest = cut(self.measure, &mut self.space, 0..filled, |buffer, message| {
                messages.push(buffer[message].to_vec());
                true
            });
            let Some(rest) = rest else { return self.end("no message") };
            self.stream.keep(&self.space[rest..filled], Instant::ZERO, rest > 0);
        }
        more
    }

    fn end(&mut self, why: &'static str) -> bool {
        self.ended = Some(why);
        false
    }

    /// Queues a message for the client; false if it was dropped, or the connection is to be cut.
    pub fn send(&mut self, bytes: &[u8], relayed: bool) -> bool {
        self.stream.queue(bytes, relayed, Instant::ZERO)
    }

    /// The end of a turn: the kernel takes so many bytes more, and gets what waits.
    pub fn flush(&mut self, room: usize) {
        self.stream.socket.room += room;
        self.stream.write(Instant::ZERO);
    }

    /// Whether the connection is to be cut.
    pub fn is_cut(&self) -> bool {
        self.stream.ending == Ending::Cut
    }

    /// What the client has got since it was last asked.
    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stream.socket.outgoing)
    }
}

/// In place of a socket.
#[derive(Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    room: usize,
}

impl Wire for Pipe {
    fn backlog(&self) -> Option<Backlog> {
        None
    }
}

impl Read for Pipe {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(space)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.room);
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= length;
        self.outgoing.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Read at once, besides what waits.
const READ: usize = 64 << 10;
