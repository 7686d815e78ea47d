//! A phone's socket: a UDP socket, or a TCP or TLS connection to the server. Messages that arrive go to a handler.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::{Failure, message};

/// Gets each message that arrives at an endpoint, as text.
pub type Handler = Rc<dyn Fn(&Endpoint, &str)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            "tls" => Ok(Self::Tls),
            _ => Err("expected udp, tcp or tls".to_owned()),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// Opens endpoints to one server.
#[derive(Clone)]
pub struct Connector {
    pub transport: Transport,
    server: SocketAddr,
    name: ServerName<'static>,
    tls: Option<TlsConnector>,
}

impl Connector {
    pub fn new(transport: Transport, server: SocketAddr, domain: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let mut tls = None;
        if transport == Transport::Tls {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(ca.ok_or("TLS needs --ca")?)? {
                roots.add(certificate?)?;
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.resumption = rustls::client::Resumption::disabled();
            tls = Some(TlsConnector::from(Arc::new(config)));
        }
        Ok(Self { transport, server, name: ServerName::try_from(domain.to_owned())?, tls })
    }

    /// Opens one endpoint; `handler` gets each message that arrives on it, as text.
    pub async fn open(&self, handler: Handler) -> io::Result<Rc<Endpoint>> {
        if self.transport == Transport::Udp {
            let socket = Rc::new(UdpSocket::bind((self.server.ip(), 0)).await?);
            socket.connect(self.server).await?;
            socket.writable().await?; // else the first datagram would find the runtime unprepared
            let local = socket.local_addr()?;
            let endpoint = Rc::new(Endpoint { transport: self.transport, local, out: Out::Udp(socket.clone()) });
            tokio::task::spawn_local(receive_datagrams(endpoint.clone(), socket, handler));
            return Ok(endpoint);
        }
        let tcp = TcpStream::connect(self.server).await?;
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let endpoint = Rc::new(Endpoint { transport: self.transport, local, out: Out::Stream(sender) });
        match &self.tls {
            Some(tls) => split(endpoint.clone(), tls.connect(self.name.clone(), tcp).await?, receiver, handler),
            None => split(endpoint.clone(), tcp, receiver, handler),
        }
        Ok(endpoint)
    }
}

pub struct Endpoint {
    pub transport: Transport,
    pub local: SocketAddr,
    out: Out,
}

enum Out {
    Udp(Rc<UdpSocket>),
    Stream(mpsc::UnboundedSender<Vec<u8>>),
}

thread_local! {
    /// Datagrams that the kernel did not take.
    static DROPPED: RefCell<u64> = const { RefCell::new(0) };
}

/// Datagrams that the kernel did not take so far.
pub fn dropped() -> u64 {
    DROPPED.with_borrow(|count| *count)
}

impl Endpoint {
    pub fn send(&self, message: String) {
        match &self.out {
            Out::Udp(socket) => {
                if socket.try_send(message.as_bytes()).is_err() {
                    DROPPED.with_borrow_mut(|count| *count += 1);
                }
            }
            // A closed connection shows in the count of failures.
            Out::Stream(sender) => drop(sender.send(message.into_bytes())),
        }
    }

    /// `Via` of a request that begins here.
    pub fn via(&self, branch: impl fmt::Display) -> String {
        let transport = self.transport.to_string().to_ascii_uppercase();
        format!("Via: SIP/2.0/{transport} {};rport;branch=z9hG4bK{branch}\r\n", self.local)
    }

    /// `Contact` of a user here.
    pub fn contact(&self, user: &str) -> String {
        format!("Contact: <sip:{user}@{};transport={}>\r\n", self.local, self.transport)
    }
}

async fn receive_datagrams(endpoint: Rc<Endpoint>, socket: Rc<UdpSocket>, handler: Handler) {
    let mut buffer = vec![0; 65_536];
    while socket.readable().await.is_ok() {
        while let Ok(length) = socket.try_recv(&mut buffer) {
            deliver(&endpoint, &buffer[..length], &handler);
        }
    }
}

/// Hands over a message; keep-alives are dropped.
fn deliver(endpoint: &Endpoint, bytes: &[u8], handler: &Handler) {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() > 4 => handler(endpoint, text),
        _ => {}
    }
}

fn split<S: AsyncRead + AsyncWrite + 'static>(
    endpoint: Rc<Endpoint>,
    stream: S,
    receiver: mpsc::UnboundedReceiver<Vec<u8>>,
    handler: Handler,
) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::task::spawn_local(write_stream(writer, receiver));
    tokio::task::spawn_local(read_stream(endpoint, reader, handler));
}

/// Writes what waits in one go.
async fn write_stream(mut writer: impl AsyncWrite + Unpin, mut receiver: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(mut bytes) = receiver.recv().await {
        while let Ok(more) = receiver.try_recv() {
            bytes.extend_from_slice(&more);
        }
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

async fn read_stream(endpoint: Rc<Endpoint>, mut reader: impl AsyncRead + Unpin, handler: Handler) {
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; 4096]);
    loop {
        match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
        }
        let mut begin = 0;
        while let Some(length) = message::length(&buffer[begin..]) {
            deliver(&endpoint, &buffer[begin..begin + length], &handler);
            begin += length;
        }
        buffer.drain(..begin);
    }
}
