//! A machine that echoes lines, its framing, and clients of every kind.
#![allow(dead_code)] // each test file uses its part

pub mod talker;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use farspeak_net::*;
use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transmit, Transport};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Answers each line by `SHARD echo: LINE`. Knows a few commands besides.
pub struct Echo {
    pub shard: u8,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    timers: VecDeque<(Instant, Flow)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Received(u8, Flow, String),
    Failed(u8, Flow),
}

impl Echo {
    pub fn send(&mut self, flow: Flow, text: &str) {
        self.transmits.push_back(Transmit { flow, bytes: text.as_bytes().into() });
    }
}

impl Machine for Echo {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let text = String::from_utf8_lossy(received.bytes).into_owned();
        match text.trim_end() {
            "later" => self.timers.push_back((now + Duration::from_millis(20), received.flow)),
            "flood" => (0..300).for_each(|_| self.send(received.flow, &format!("{:1000}\n", "flood"))),
            "thrice" => (1..=3).for_each(|time| self.send(received.flow, &format!("{time}\n"))),
            "quiet" => {}
            "panic" => panic!("as the test wants"),
            _ => self.send(received.flow, &format!("{} echo: {text}", self.shard)),
        }
        self.events.push_back(Event::Received(self.shard, received.flow, text));
    }

    fn handle_timeout(&mut self, now: Instant) {
        while self.timers.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, flow)) = self.timers.pop_front() else { return };
            self.send(flow, "later\n");
        }
    }

    fn handle_flow_failed(&mut self, _: Instant, flow: Flow) {
        self.events.push_back(Event::Failed(self.shard, flow));
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.front().map(|(at, _)| *at)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

/// Lines end with LF. `ping` is a keep-alive, `broken` breaks the stream.
pub struct Lines;

#[derive(Default)]
pub struct LineFramer {
    bytes: Vec<u8>,
    line: Vec<u8>,
}

fn frame(line: &[u8]) -> Framed<'_> {
    match line.trim_ascii_end() {
        b"ping" => Framed::Ping,
        b"" => Framed::Pong,
        b"panic in the framer" => panic!("as the test wants"),
        b"broken" => Framed::Broken { reply: Some(b"that was broken\n".to_vec()), reason: "as asked".into() },
        _ => Framed::Message(line.into()),
    }
}

impl Framer for LineFramer {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<Framed<'_>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            if self.bytes.is_empty() {
                *self = Self::default();
            }
            return None;
        };
        self.line = self.bytes.drain(..=end).collect();
        Some(frame(&self.line))
    }

    fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }
}

impl Framing for Lines {
    type Stream = LineFramer;

    fn stream(&self) -> LineFramer {
        LineFramer::default()
    }

    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        frame(bytes)
    }

    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        frame(bytes)
    }
}

/// A running node and what its machines told.
pub struct Node {
    net: Option<Net<Echo>>,
    pub events: mpsc::UnboundedReceiver<Event>,
    pub store: Arc<CertificateStore>,
    pub root: CertificateDer<'static>,
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn loopback6() -> SocketAddr {
    "[::1]:0".parse().unwrap()
}

/// Timeouts that tests can wait for.
pub fn quick() -> NetConfig {
    let stream = StreamConfig { sweep: Duration::from_millis(10), ..StreamConfig::default() };
    NetConfig { shards: 1, stream, ..NetConfig::default() }
}

/// Runs a test at the loopback address of each family that this machine has.
pub fn each_family(test: impl Fn(SocketAddr)) {
    test(loopback());
    match std::net::UdpSocket::bind(loopback6()) {
        Ok(_) => test(loopback6()),
        Err(error) => println!("skipped over IPv6: {error}"),
    }
}

pub fn names() -> Names {
    Names { dns: vec!["localhost".into()], addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()] }
}

/// A directory of its own for each caller.
pub fn directory() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("farspeak-net-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

impl Node {
    pub fn start(listeners: &[(Transport, SocketAddr)], mut config: NetConfig) -> Self {
        let (root, identities) = if listeners.iter().any(|(transport, _)| transport.is_secure()) {
            certificates()
        } else {
            (CertificateDer::from(Vec::new()), Vec::new())
        };
        let store = CertificateStore::new(identities);
        for (transport, address) in listeners {
            let tls = transport.is_secure().then(|| server_config(Arc::clone(&store), *transport).unwrap());
            config.listeners.push(Listener { transport: *transport, address: *address, tls });
        }
        let (sender, events) = mpsc::unbounded_channel();
        let net = start(config, Clock::start(), move |birth: Birth<Echo>| {
            let sender = sender.clone();
            let echo = Echo {
                shard: birth.shard,
                transmits: VecDeque::new(),
                events: VecDeque::new(),
                timers: VecDeque::new(),
            };
            Parts::new(echo, Lines, move |context, _, _, event| {
                if let Event::Received(_, flow, text) = &event
                    && text.starts_with("close")
                {
                    context.close(*flow);
                }
                let _ = sender.send(event);
            })
        });
        Self { net: Some(net.unwrap()), events, store, root }
    }

    pub fn one(transport: Transport, config: NetConfig) -> Self {
        Self::start(&[(transport, loopback())], config)
    }

    pub fn stop(&mut self, grace: Duration) -> Stopped {
        self.net.take().unwrap().stop(grace)
    }

    pub fn net(&self) -> &Net<Echo> {
        self.net.as_ref().unwrap()
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.net().listening()[index].address
    }

    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.net().counters()[0])
    }

    pub async fn event(&mut self) -> Event {
        within(self.events.recv()).await.unwrap()
    }

    pub async fn received(&mut self) -> (Flow, String) {
        loop {
            if let Event::Received(_, flow, text) = self.event().await {
                return (flow, text);
            }
        }
    }

    pub async fn failed(&mut self) -> Flow {
        loop {
            if let Event::Failed(_, flow) = self.event().await {
                return flow;
            }
        }
    }

    /// Has the machine of `shard` send.
    pub fn send(&self, shard: u8, flow: Flow, text: &str) {
        let text = text.to_owned();
        self.net().handles().get(shard).unwrap().run(move |echo, _| echo.send(flow, &text)).unwrap();
    }

    pub fn client_config(&self) -> ClientConfig {
        client_config(&self.root)
    }

    pub async fn tcp(&self, index: usize) -> Lined<TcpStream> {
        Lined::new(within(TcpStream::connect(self.address(index))).await.unwrap())
    }

    pub async fn tls_or_tcp(&self, transport: Transport) -> Lined<Box<dyn Stream>> {
        let (io, address): (Box<dyn Stream>, _) = if transport == Transport::Tls {
            let io = self.tls(0).await.io;
            let address = io.get_ref().0.local_addr().unwrap();
            (Box::new(io), address)
        } else {
            let io = self.tcp(0).await.io;
            let address = io.local_addr().unwrap();
            (Box::new(io), address)
        };
        Lined { address, ..Lined::new(io) }
    }

    pub async fn tls(&self, index: usize) -> Lined<TlsStream<TcpStream>> {
        let tcp = within(TcpStream::connect(self.address(index))).await.unwrap();
        Lined::new(within(connector(self.client_config()).connect(localhost(), tcp)).await.unwrap())
    }
}

/// An authority's certificate and what it issued: once for the process, because RSA keys take their time.
pub fn certificates() -> (CertificateDer<'static>, Vec<Identity>) {
    static MADE: OnceLock<(CertificateDer<'static>, Vec<Identity>)> = OnceLock::new();
    let make = || {
        let directory = directory();
        let authority = Authority::open_or_create(&directory, "test", SystemTime::now()).unwrap();
        let identities = authority.server_identities(&names(), SystemTime::now()).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        (authority.certificate().clone(), identities)
    };
    MADE.get_or_init(make).clone()
}

pub fn client_config(root: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub fn connector(config: ClientConfig) -> TlsConnector {
    TlsConnector::from(Arc::new(config))
}

pub fn localhost() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

/// Any stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client that speaks in lines.
pub struct Lined<S> {
    pub io: S,
    /// The client's end, for clients made by [`Node::tls_or_tcp`].
    pub address: SocketAddr,
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lined<S> {
    pub fn new(io: S) -> Self {
        Self { io, address: loopback(), bytes: Vec::new() }
    }

    pub async fn say(&mut self, text: &str) {
        within(self.io.write_all(text.as_bytes())).await.unwrap();
        within(self.io.flush()).await.unwrap();
    }

    /// The next line without its end; `None` when the connection has ended.
    pub async fn hear(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let mut chunk = [0; 4096];
            match within(self.io.read(&mut chunk)).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
            }
        }
    }

    pub async fn expect(&mut self, line: &str) {
        assert_eq!(self.hear().await.as_deref(), Some(line));
    }
}

/// Fails the test instead of hanging.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened in time")
}

pub fn unbound(transport: Transport, local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow { id: FlowId::UNBOUND, transport, local, remote }
}

/// How long a test waits for what must come: long, for machines that have much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
