//! A TURN client: just what a load needs.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use farspeak_sansio::Rng;
use farspeak_stun::long_term::{Credentials, Verdict};
use farspeak_stun::{Attribute, Class, Message, Method, TransactionId, Writer};

use crate::{Failure, Server, socket};

/// The longest request or response.
pub const LONGEST: usize = 1024;

/// The channel of every client.
pub const CHANNEL: u16 = 0x4000;

pub struct Client {
    pub socket: UdpSocket,
    pub relayed: SocketAddrV4,
    credentials: Credentials,
}

impl Client {
    /// Makes an allocation from this address; port 0 is any.
    pub fn allocate(server: &Server, from: SocketAddrV4) -> Result<Self, Failure> {
        let socket = socket::bind(from)?;
        socket.connect(server.server)?;
        let credentials = Credentials::new(&server.user, &server.password);
        let mut client = Self { socket, relayed: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), credentials };
        let mut buffer = [0; LONGEST];
        let response = client.ask(Method::ALLOCATE, &[Attribute::RequestedTransport(17)], &mut buffer)?;
        client.relayed = match response.xor_relayed_address() {
            Ok(Some(SocketAddr::V4(address))) => address,
            _ => return Err("the server gave no IPv4 relayed address".into()),
        };
        Ok(client)
    }

    /// Binds [`CHANNEL`] to a peer, which permits it, too (RFC 8656 §12.2).
    pub fn bind(&mut self, peer: SocketAddrV4) -> Result<(), Failure> {
        let attributes = [Attribute::ChannelNumber(CHANNEL), Attribute::XorPeerAddress(peer.into())];
        self.ask(Method::CHANNEL_BIND, &attributes, &mut [0; LONGEST])?;
        Ok(())
    }

    /// A request until it is granted; a challenge is answered.
    fn ask<'b>(
        &mut self,
        method: Method,
        attributes: &[Attribute<'_>],
        buffer: &'b mut [u8],
    ) -> Result<Message<'b>, Failure> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut out = [0; LONGEST];
        for _ in 0..3 {
            let request = Message::parse(write(&mut out, method, attributes, &self.credentials)?)?;
            let got = self.exchange(&request, buffer)?;
            let response = Message::parse(&buffer[..got])?;
            match self.credentials.judge(&request, &response) {
                Verdict::Retry => {}
                Verdict::Accept if response.class() == Class::Success => {
                    self.socket.set_nonblocking(true)?;
                    return Ok(Message::parse(&buffer[..got])?);
                }
                verdict => return Err(refusal(method, &response, verdict).into()),
            }
        }
        Err(format!("{method}: challenged again and again").into())
    }

    fn exchange(&self, request: &Message<'_>, buffer: &mut [u8]) -> Result<usize, Failure> {
        for _ in 0..6 {
            self.socket.send(request.bytes())?;
            loop {
                match self.socket.recv(buffer) {
                    Ok(got) if buffer[8..20] == request.bytes()[8..20] => return Ok(got),
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Err(format!("no answer to {}", request.method()).into())
    }
}

/// A request with whatever the credentials add to it.
pub fn write<'b>(
    buffer: &'b mut [u8],
    method: Method,
    attributes: &[Attribute<'_>],
    credentials: &Credentials,
) -> Result<&'b [u8], Failure> {
    let mut writer = Writer::new(buffer, Class::Request, method, TransactionId::random(&mut Counter));
    for attribute in attributes {
        writer.push(*attribute);
    }
    credentials.seal(&mut writer);
    Ok(writer.finish()?)
}

pub fn refusal(method: Method, response: &Message<'_>, verdict: Verdict) -> String {
    match response.error_code() {
        Ok(Some(error)) => format!("{method}: {} {}", error.code, error.reason),
        _ => format!("{method}: {verdict:?}"),
    }
}

/// Transaction IDs need only differ here.
struct Counter;

impl Rng for Counter {
    fn next_u64(&mut self) -> u64 {
        thread_local!(static NEXT: Cell<u64> = const { Cell::new(1) });
        NEXT.replace(NEXT.get() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
