//! The bytes that make a Send or Data indication of a payload, RFC 8656 §11, without copying the payload.
//!
//! The relay receives a peer's datagram with [`MOST`] bytes of room before it, and puts the prefix there.

use std::net::SocketAddr;

use crate::attribute::Attribute;
use crate::{AttributeType, Class, HEADER, Method, TransactionId, Writer};

/// The longest prefix: header, an IPv6 XOR-PEER-ADDRESS, and the head of DATA.
pub const MOST: usize = HEADER + 24 + 4;

/// What stands before the payload.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    bytes: [u8; MOST],
    length: usize,
    padding: usize,
}

impl Prefix {
    /// For `payload` bytes to or from `peer`; `method` is [`Method::SEND`] or [`Method::DATA`].
    ///
    /// `None` if the payload is longer than 65,535 less what the attributes take.
    pub fn new(method: Method, id: TransactionId, peer: SocketAddr, payload: usize) -> Option<Self> {
        let mut bytes = [0; MOST];
        let mut writer = Writer::new(&mut bytes, Class::Indication, method, id);
        writer.push(Attribute::XorPeerAddress(peer));
        let head = writer.finish().ok()?.len();
        let padding = payload.next_multiple_of(4) - payload;
        let length = u16::try_from(head + 4 - HEADER + payload + padding).ok()?;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[head..head + 2].copy_from_slice(&AttributeType::DATA.0.to_be_bytes());
        bytes[head + 2..head + 4].copy_from_slice(&(payload as u16).to_be_bytes());
        Some(Self { bytes, length: head + 4, padding })
    }

    /// The bytes before the payload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// How many zero bytes follow the payload: 0–3.
    pub const fn padding(&self) -> usize {
        self.padding
    }
}
