//! A TURN client over blocking sockets, for tests of the real program.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_stun::framing::{Framed, StreamFramer};
use farspeak_turn::client::{Client, Config, Event};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A TURN client and its way to the server.
pub struct Relayed {
    client: Client,
    wire: Wire,
    flow: Flow,
    origin: StdInstant,
    data: Vec<(SocketAddr, Vec<u8>)>,
}

enum Wire {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>, StreamFramer),
}

pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Relayed {
    /// Connects; `authority` is what TLS trusts.
    pub fn connect(transport: Transport, server: SocketAddr, authority: &[u8], name: &str, password: &str) -> Self {
        Self::with(transport, server, authority, Config::for_user(name, password))
    }

    /// The same for peers that are reached by TCP (RFC 6062).
    pub fn connect_for_streams(server: SocketAddr, name: &str, password: &str) -> Self {
        let config = Config { streams: true, ..Config::for_user(name, password) };
        Self::with(Transport::Tcp, server, b"", config)
    }

    fn with(transport: Transport, server: SocketAddr, authority: &[u8], config: Config) -> Self {
        let (wire, local) = match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(server).unwrap();
                socket.set_read_timeout(Some(TICK)).unwrap();
                let local = socket.local_addr().unwrap();
                (Wire::Datagrams(socket), local)
            }
            Transport::Tcp => {
                let (socket, local) = tcp(server);
                (Wire::Stream(Box::new(socket), StreamFramer::default()), local)
            }
            _ => {
                let (socket, local) = tcp(server);
                (Wire::Stream(Box::new(tls(socket, authority, &["stun.turn"])), StreamFramer::default()), local)
            }
        };
        let flow = Flow::unbound(transport, local, server);
        let rng = Box::new(SplitMix64::new(u64::from(local.port())));
        let client = Client::new(config, flow, rng);
        Self { client, wire, flow, origin: StdInstant::now(), data: Vec::new() }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    pub fn allocate(&mut self) -> Result<SocketAddr, String> {
        let now = self.now();
        self.client.allocate(now);
        self.until(|event| match event {
            Event::Allocated(allocated) => Some(Ok(allocated.relayed[0])),
            Event::Failed(reason) => Some(Err(reason.to_string())),
            _ => None,
        })
    }

    /// A channel to the peer.
    pub fn bind(&mut self, peer: SocketAddr) -> Result<(), String> {
        let now = self.now();
        self.client.bind(now, peer);
        self.until(|event| match event {
            Event::Bound { .. } => Some(Ok(())),
            Event::NotBound { .. } | Event::NotPermitted { .. } | Event::Lost(_) => Some(Err(format!("{event:?}"))),
            _ => None,
        })
    }

    /// Lets a peer in.
    pub fn permit(&mut self, peer: IpAddr) -> Result<(), String> {
        let now = self.now();
        self.client.permit(now, peer);
        self.until(|event| match event {
            Event::Permitted { .. } => Some(Ok(())),
            Event::NotPermitted { failure, .. } => Some(Err(failure.to_string())),
            _ => None,
        })
    }

    /// Has the relay connect to a peer; gives what it calls the connection.
    pub fn reach(&mut self, peer: SocketAddr) -> Result<u32, String> {
        let now = self.now();
        self.client.connect(now, peer);
        self.offered().map(|(_, connection)| connection)
    }

    /// A peer's connection that waits to be bound.
    pub fn offered(&mut self) -> Result<(SocketAddr, u32), String> {
        self.until(|event| match event {
            Event::Offered { peer, connection } => Some(Ok((*peer, *connection))),
            Event::NotConnected { failure, .. } => Some(Err(failure.to_string())),
            _ => None,
        })
    }

    /// Binds a peer's connection to one of our own; from now on they are one.
    pub fn join(
        &mut self,
        connection: u32,
        transport: Transport,
        server: SocketAddr,
        authority: &[u8],
    ) -> Box<dyn Stream> {
        let (socket, local) = tcp(server);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let flow = Flow::unbound(transport, local, server);
        let mut stream: Box<dyn Stream> = match transport {
            Transport::Tcp => Box::new(socket),
            _ => Box::new(tls(socket, authority, &["stun.turn"])),
        };
        let now = self.now();
        self.client.accept(now, connection, flow);
        loop {
            while let Some(transmit) = self.client.poll_transmit() {
                stream.write_all(&transmit.bytes).unwrap();
            }
            match self.client.poll_event() {
                Some(Event::Joined { .. }) => return stream,
                Some(event) => panic!("{event:?}"),
                None => {}
            }
            let mut answer = vec![0; 20];
            stream.read_exact(&mut answer).unwrap();
            answer.resize(20 + usize::from(u16::from_be_bytes([answer[2], answer[3]])), 0);
            stream.read_exact(&mut answer[20..]).unwrap();
            let now = self.now();
            self.client.handle_receive(now, Receive { flow, bytes: &answer });
        }
    }

    pub fn send(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        self.client.send(now, peer, bytes).unwrap();
        self.flush();
    }

    pub fn receive(&mut self) -> (SocketAddr, Vec<u8>) {
        let begin = StdInstant::now();
        while self.data.is_empty() {
            assert!(begin.elapsed() < PATIENCE, "nothing came");
            self.turn();
            while let Some(event) = self.client.poll_event() {
                self.keep(event);
            }
        }
        self.data.remove(0)
    }

    fn until<R>(&mut self, mut wanted: impl FnMut(&Event) -> Option<R>) -> R {
        let begin = StdInstant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "no answer");
            self.turn();
            while let Some(event) = self.client.poll_event() {
                if let Some(result) = wanted(&event) {
                    return result;
                }
                self.keep(event);
            }
        }
    }

    fn keep(&mut self, event: Event) {
        if let Event::Data { peer, bytes, .. } = event {
            self.data.push((peer, bytes.to_vec()));
        }
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            match &mut self.wire {
                Wire::Datagrams(socket) => {
                    let _ = socket.send(&transmit.bytes);
                }
                Wire::Stream(stream, _) => stream.write_all(&transmit.bytes).unwrap(),
            }
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        self.flush();
        let mut buffer = [0; 65_536];
        let (flow, client) = (self.flow, &mut self.client);
        match &mut self.wire {
            Wire::Datagrams(socket) => {
                if let Ok(length) = socket.recv(&mut buffer) {
                    client.handle_receive(now, Receive { flow, bytes: &buffer[..length] });
                }
            }
            Wire::Stream(stream, framer) => {
                if let Ok(length) = stream.read(&mut buffer) {
                    framer.push(&buffer[..length]);
                }
                while let Some(Framed::Stun(bytes) | Framed::ChannelData(bytes)) = framer.next() {
                    client.handle_receive(now, Receive { flow, bytes });
                }
            }
        }
        self.flush();
    }
}

fn tcp(server: SocketAddr) -> (TcpStream, SocketAddr) {
    let socket = TcpStream::connect(server).unwrap();
    socket.set_read_timeout(Some(TICK)).unwrap();
    socket.set_nodelay(true).unwrap();
    let local = socket.local_addr().unwrap();
    (socket, local)
}

/// TLS to `localhost` with the node's authority as the only one trusted.
pub fn tls(socket: TcpStream, authority: &[u8], protocols: &[&str]) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    // The whole handshake: afterwards a read may give up when it likes.
    let after = stream.sock.read_timeout().unwrap();
    stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream.sock.set_read_timeout(after).unwrap();
    stream
}

const TICK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
