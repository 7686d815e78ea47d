//! Flow tokens: the user part of our Record-Route URIs, which leads a request inside a dialog to the right connection.
//!
//! A phone behind a NAT writes a Contact that nobody can reach. So the proxy writes both ends of the dialog, as it knows
//! them, into the URI that comes back in every Route: the flow the dialog's first request came in on (A) and the flow it
//! went out on (B). RFC 5626 §5.2 does the same for one side; RFC 3261 §16.6 step 4 allows any user part.
//!
//! ```text
//! base64url( shape 1 | since 4 | A: user 4, id 8, local, remote | B: the same | MAC 12 )    local, remote: address, port
//! ```
//!
//! `since` is when the dialog began: a registration that is younger knows better where its phone is, and a dialog goes on
//! for [`dialog_lifetime`](crate::shared::ProxyConfig::dialog_lifetime) at most.
//! `user` is a hash of the address-of-record that the side was reached at or authenticated as, 0 if it is nobody's here:
//! when the connection of a phone has ended, the dialog may follow to a new one of the same user, and to nobody else's.
//!
//! The MAC is SipHash-2-4-128, cut to 96 bits, under a key of this node, over the token and the Call-ID: a token can
//! neither be made up nor be carried into another dialog. It hides nothing: both ends could learn the addresses in it
//! only by decoding it. Deviation: a token tells each end the transport address of the other, as an unproxied Contact
//! would.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use farspeak_sansio::{Flow, FlowId, Transport};
use siphasher::sip128::{Hasher128, SipHasher24};

/// Both ends of a dialog through this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowToken {
    /// Where the dialog's first request came from.
    pub a: Side,
    /// Where it went.
    pub b: Side,
    /// When the dialog began, in seconds since 1970; wraps in 2106.
    pub since: u32,
}

/// One end of a dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// The flow that led there when the dialog began.
    pub flow: Flow,
    /// Who is there: [`user_hash`] of the address-of-record, 0 for a stranger.
    pub user: u32,
}

/// Where a request inside a dialog goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherSide {
    /// It came over the flow of one side, or from its address, and goes to the other.
    Known(Side),
    /// It came from elsewhere: its sender has reconnected from a new address.
    Unknown,
}

/// What a token says of a user: never 0.
pub fn user_hash(key: &[u8; 16], aor: &str) -> u32 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(b"user");
    hasher.write(aor.as_bytes());
    (hasher.finish128().h1 as u32).max(1)
}

impl FlowToken {
    /// Writes the token for the dialog of `call_id`.
    pub fn encode(&self, key: &[u8; 16], call_id: &str, out: &mut String) {
        let mut bytes = [0_u8; MAX_BYTES];
        let length = self.pack(&mut bytes);
        let tag = mac(key, &bytes[..length], call_id);
        bytes[length..length + MAC_BYTES].copy_from_slice(&tag);
        encode_base64url(&bytes[..length + MAC_BYTES], out);
    }

    /// Reads a token; `None` unless this node wrote it for the dialog of `call_id`.
    pub fn decode(key: &[u8; 16], call_id: &str, text: &str) -> Option<Self> {
        let mut bytes = [0_u8; MAX_BYTES];
        let length = decode_base64url(text, &mut bytes)?;
        let (payload, tag) = bytes[..length].split_at_checked(length.checked_sub(MAC_BYTES)?)?;
        let expected = mac(key, payload, call_id);
        // No early exit: how many bytes were right must not show in the time it takes.
        let difference = expected.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
        if difference != 0 {
            return None;
        }
        Self::unpack(payload)
    }

    /// The side opposite to `source`.
    pub fn other_side(&self, source: &Flow) -> OtherSide {
        if same_flow(&self.a.flow, source) {
            return OtherSide::Known(self.b);
        }
        if same_flow(&self.b.flow, source) {
            return OtherSide::Known(self.a);
        }
        let from = source.remote.ip().to_canonical();
        let is_there = |side: &Side| side.flow.remote.ip().to_canonical() == from;
        match (is_there(&self.a), is_there(&self.b)) {
            (true, false) => OtherSide::Known(self.b),
            (false, true) => OtherSide::Known(self.a),
            // Both phones behind one NAT, or neither where it was.
            _ => OtherSide::Unknown,
        }
    }

    fn pack(&self, out: &mut [u8; MAX_BYTES]) -> usize {
        let mut writer = Writer { out, length: 1 };
        writer.put(&self.since.to_be_bytes());
        let a = writer.side(&self.a);
        let b = writer.side(&self.b);
        let length = writer.length;
        out[0] = a << 4 | b;
        length
    }

    fn unpack(payload: &[u8]) -> Option<Self> {
        let (&shape, rest) = payload.split_first()?;
        let mut reader = Reader { rest };
        let since = u32::from_be_bytes(reader.take()?);
        let a = reader.side(shape >> 4)?;
        let b = reader.side(shape & 0x0f)?;
        reader.rest.is_empty().then_some(Self { a, b, since })
    }
}

/// Whether both are the same conversation: the same connection, or the same peer of the same datagram socket.
pub fn same_flow(a: &Flow, b: &Flow) -> bool {
    if a.transport != b.transport {
        return false;
    }
    // A token may be older than this process, whose handles begin anew: equal handles alone prove nothing.
    if a.transport.is_reliable() && a.id != b.id && a.id != FlowId::UNBOUND && b.id != FlowId::UNBOUND {
        return false;
    }
    let same = |a: SocketAddr, b: SocketAddr| a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical();
    same(a.remote, b.remote) && a.local.port() == b.local.port()
}

fn mac(key: &[u8; 16], payload: &[u8], call_id: &str) -> [u8; MAC_BYTES] {
    let mut hasher = SipHasher24::new_with_key(key);
    // The payload's length follows from its first byte, so the two parts cannot run into each other.
    hasher.write(payload);
    hasher.write(call_id.as_bytes());
    let hash = hasher.finish128().as_bytes();
    let mut tag = [0; MAC_BYTES];
    tag.copy_from_slice(&hash[..MAC_BYTES]);
    tag
}

struct Writer<'a> {
    out: &'a mut [u8; MAX_BYTES],
    length: usize,
}

impl Writer<'_> {
    /// Writes the side, returns the shape of its flow: bit 3 for IPv6, bits 0–2 for the transport.
    fn side(&mut self, side: &Side) -> u8 {
        let flow = &side.flow;
        self.put(&side.user.to_be_bytes());
        self.put(&flow.id.to_bits().to_be_bytes());
        let transport = match flow.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
            Transport::Ws => 3,
            Transport::Wss => 4,
        };
        let v6 = flow.local.is_ipv6() || flow.remote.is_ipv6();
        for address in [flow.local, flow.remote] {
            match address.ip() {
                IpAddr::V4(ip) if !v6 => self.put(&ip.octets()),
                IpAddr::V4(ip) => self.put(&ip.to_ipv6_mapped().octets()),
                IpAddr::V6(ip) => self.put(&ip.octets()),
            }
            self.put(&address.port().to_be_bytes());
        }
        u8::from(v6) << 3 | transport
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn side(&mut self, shape: u8) -> Option<Side> {
        let user = u32::from_be_bytes(self.take()?);
        let id = FlowId::from_bits(u64::from_be_bytes(self.take()?));
        let transport = match shape & 0b111 {
            0 => Transport::Udp,
            1 => Transport::Tcp,
            2 => Transport::Tls,
            3 => Transport::Ws,
            4 => Transport::Wss,
            _ => return None,
        };
        let v6 = shape & 0b1000 != 0;
        let local = self.address(v6)?;
        let remote = self.address(v6)?;
        Some(Side { flow: Flow { id, transport, local, remote }, user })
    }

    fn address(&mut self, v6: bool) -> Option<SocketAddr> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.take::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.take::<4>()?))
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(self.take()?)))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }
}

fn encode_base64url(bytes: &[u8], out: &mut String) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    let digit = |value: u32| char::from(ALPHABET[(value & 63) as usize]);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(digit(group >> (18 - 6 * index)));
        }
    }
}

/// Decodes strictly: one text for one token. `None` if it is too long or not base64url.
fn decode_base64url(text: &str, out: &mut [u8; MAX_BYTES]) -> Option<usize> {
    let text = text.as_bytes();
    if text.len() % 4 == 1 || text.len() / 4 * 3 + (text.len() % 4).saturating_sub(1) > MAX_BYTES {
        return None;
    }
    let mut length = 0;
    for chunk in text.chunks(4) {
        let mut group = 0_u32;
        for byte in chunk {
            group = group << 6 | u32::from(value_of(*byte)?);
        }
        group <<= 6 * (4 - chunk.len());
        let bytes = group.to_be_bytes();
        let whole = chunk.len() - 1;
        if bytes[1 + whole..].iter().any(|left_over| *left_over != 0) {
            return None;
        }
        out[length..length + whole].copy_from_slice(&bytes[1..=whole]);
        length += whole;
    }
    Some(length)
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const MAC_BYTES: usize = 12;
/// Two IPv6 flows and the rest.
const MAX_BYTES: usize = 1 + 4 + 2 * (4 + 8 + 2 * 18) + MAC_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = *b"0123456789abcdef";

    fn flow(transport: Transport, slot: u32, remote: &str) -> Flow {
        let remote: SocketAddr = remote.parse().unwrap();
        let local = if remote.is_ipv6() { "[2001:db8::1]:5061" } else { "192.0.2.1:5061" };
        Flow { id: FlowId::new(1, slot, 7), transport, local: local.parse().unwrap(), remote }
    }

    fn token() -> FlowToken {
        FlowToken {
            a: Side { flow: flow(Transport::Tls, 1, "198.51.100.1:40000"), user: 7 },
            b: Side { flow: flow(Transport::Udp, 2, "203.0.113.1:5060"), user: 0 },
            since: 1_800_000_000,
        }
    }

    fn text(token: &FlowToken, call_id: &str) -> String {
        let mut text = String::new();
        token.encode(&KEY, call_id, &mut text);
        text
    }

    #[test]
    fn comes_back_as_it_was() {
        let six = FlowToken {
            a: Side { flow: flow(Transport::Wss, 9, "[2001:db8::9]:50000"), user: u32::MAX },
            b: Side { flow: flow(Transport::Tcp, 8, "203.0.113.1:5060"), user: 1 },
            since: 3,
        };
        for token in [token(), six] {
            assert_eq!(FlowToken::decode(&KEY, "c@h", &text(&token, "c@h")), Some(token));
        }
        assert_eq!(text(&token(), "c@h").len(), 87);
    }

    #[test]
    fn refuses_a_forged_token() {
        let good = text(&token(), "c@h");
        for position in 0..good.len() {
            let mut forged = good.clone().into_bytes();
            forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(FlowToken::decode(&KEY, "c@h", &forged), None, "changed at {position}");
        }
    }

    #[test]
    fn refuses_a_token_of_another_call_or_another_node() {
        let good = text(&token(), "c@h");
        assert_eq!(FlowToken::decode(&KEY, "d@h", &good), None);
        assert_eq!(FlowToken::decode(b"another key 1234", "c@h", &good), None);
    }

    #[test]
    fn refuses_what_is_no_token() {
        let long = "A".repeat(10_000);
        for text in ["", "A", "bob", "sip:", "====", "é", long.as_str(), &text(&token(), "c")[1..]] {
            assert_eq!(FlowToken::decode(&KEY, "c", text), None);
        }
    }

    #[test]
    fn leads_to_the_other_side() {
        let token = token();
        assert_eq!(token.other_side(&token.a.flow), OtherSide::Known(token.b));
        assert_eq!(token.other_side(&token.b.flow), OtherSide::Known(token.a));
    }

    #[test]
    fn a_new_connection_from_the_same_address_is_the_same_side() {
        let token = token();
        let again = flow(Transport::Tls, 50, "198.51.100.1:40001");
        assert_eq!(token.other_side(&again), OtherSide::Known(token.b));
        let elsewhere = flow(Transport::Tls, 50, "198.51.100.200:40001");
        assert_eq!(token.other_side(&elsewhere), OtherSide::Unknown);
    }

    #[test]
    fn a_slot_used_again_is_another_flow() {
        let token = token();
        let mut later = token.a.flow;
        later.id = FlowId::new(1, 1, 8);
        assert!(!same_flow(&token.a.flow, &later));
    }

    #[test]
    fn a_handle_given_again_after_a_restart_is_another_flow() {
        let token = token();
        let mut other = token.a.flow;
        other.remote = "198.51.100.9:41000".parse().unwrap();
        assert!(!same_flow(&token.a.flow, &other));
    }
}
