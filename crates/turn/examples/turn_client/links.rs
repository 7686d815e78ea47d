//! The sockets and connections of the example: what `farspeak-net` is for the real thing.

use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Transmit, Transport};
use farspeak_stun::framing::{Framed, StreamFramer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::options::Options;

/// How long a socket is listened to before the next one's turn.
const TURN: Duration = Duration::from_millis(1);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

enum Way {
    Datagrams(UdpSocket),
    /// Messages, until the stream carries a peer's bytes (RFC 6062).
    Stream(Box<dyn Stream>, Option<StreamFramer>),
}

struct Link {
    flow: Flow,
    way: Way,
}

/// Everything that leads to the server.
pub struct Links {
    transport: Transport,
    server: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    links: Vec<Link>,
    opened: u32,
}

impl Links {
    pub fn new(options: &Options) -> Result<Self, Box<dyn std::error::Error>> {
        let tls = match options.transport {
            Transport::Tls => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(options.ca.as_deref().ok_or("--ca is missing")?)? {
                    roots.add(certificate?)?;
                }
                let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                Some((Arc::new(config), ServerName::try_from(options.name.clone())?))
            }
            _ => None,
        };
        Ok(Self { transport: options.transport, server: options.server, tls, links: Vec::new(), opened: 0 })
    }

    /// A new socket, or a new connection.
    pub fn open(&mut self) -> io::Result<Flow> {
        let (way, local) = match self.transport {
            Transport::Udp => {
                let any = match self.server.ip() {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(self.server)?;
                socket.set_read_timeout(Some(TURN))?;
                let local = socket.local_addr()?;
                (Way::Datagrams(socket), local)
            }
            _ => {
                let stream = TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                let clone = stream.try_clone()?;
                let mut way: Box<dyn Stream> = Box::new(stream);
                if let Some((config, name)) = &self.tls {
                    let connection =
                        ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
                    let mut stream = StreamOwned::new(connection, way);
                    stream.flush()?; // the handshake
                    while stream.conn.is_handshaking() {
                        stream.conn.complete_io(&mut stream.sock)?;
                    }
                    way = Box::new(stream);
                }
                clone.set_read_timeout(Some(TURN))?;
                (Way::Stream(way, Some(StreamFramer::default())), local)
            }
        };
        self.opened += 1;
        let flow = Flow { id: FlowId::new(0, self.opened, 1), transport: self.transport, local, remote: self.server };
        self.links.push(Link { flow, way });
        Ok(flow)
    }

    /// What has arrived, and which streams have ended.
    pub fn receive(&mut self) -> Vec<(Flow, Option<Vec<u8>>)> {
        let mut received = Vec::new();
        let mut buffer = [0; 65_536];
        self.links.retain_mut(|link| {
            match &mut link.way {
                Way::Datagrams(socket) => {
                    if let Ok(length) = socket.recv(&mut buffer) {
                        received.push((link.flow, Some(buffer[..length].to_vec())));
                    }
                }
                Way::Stream(stream, framer) => {
                    match (stream.read(&mut buffer), &mut *framer) {
                        (Ok(0), _) => received.push((link.flow, None)),
                        (Ok(length), Some(framer)) => framer.push(&buffer[..length]),
                        (Ok(length), None) => received.push((link.flow, Some(buffer[..length].to_vec()))),
                        (Err(error), _) if matches!(error.kind(), WouldBlock | TimedOut) => {}
                        (Err(_), _) => received.push((link.flow, None)),
                    }
                    let Some(framer) = framer else { return still_open(&received, link.flow) };
                    while let Some(Framed::Stun(bytes) | Framed::ChannelData(bytes)) = framer.next() {
                        received.push((link.flow, Some(bytes.to_vec())));
                    }
                    if framer.is_lost() {
                        received.push((link.flow, None));
                    }
                }
            }
            still_open(&received, link.flow)
        });
        received
    }

    /// From now on the stream carries a peer's bytes as they are.
    pub fn unframe(&mut self, flow: Flow) {
        for link in self.links.iter_mut().filter(|link| link.flow == flow) {
            if let Way::Stream(_, framer) = &mut link.way {
                *framer = None;
            }
        }
    }

    /// Sends over the link of this flow; without one, over a new one.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let known = |link: &Link| link.flow.id == transmit.flow.id;
        let at = match self.links.iter().position(known) {
            Some(at) => at,
            None if transmit.flow.id == FlowId::UNBOUND => {
                self.open()?;
                self.links.len() - 1
            }
            None => return Ok(()), // a flow that has ended; the client has been told
        };
        match &mut self.links[at].way {
            Way::Datagrams(socket) => socket.send(&transmit.bytes).map(|_| ()),
            Way::Stream(stream, _) => stream.write_all(&transmit.bytes).and_then(|()| stream.flush()),
        }
    }
}

fn still_open(received: &[(Flow, Option<Vec<u8>>)], flow: Flow) -> bool {
    received.last().is_none_or(|(from, bytes)| *from != flow || bytes.is_some())
}
