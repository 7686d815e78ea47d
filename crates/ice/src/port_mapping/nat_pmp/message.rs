//! NAT-PMP's packets, RFC 6886 §3.2, §3.3 and §3.5.

use std::net::Ipv4Addr;

use crate::port_mapping::{Protocol, Refusal};

const VERSION: u8 = 0;
/// Added to the request's opcode in a response.
const RESPONSE: u8 = 128;

/// What is our address outside?
pub(crate) const ADDRESS_REQUEST: [u8; 2] = [VERSION, 0];

/// A request for a mapping; lifetime 0 and no suggestion delete it.
pub(crate) fn map_request(protocol: Protocol, internal: u16, external: u16, lifetime: u32) -> [u8; 12] {
    let mut packet = [0; 12];
    packet[1] = opcode(protocol);
    packet[4..6].copy_from_slice(&internal.to_be_bytes());
    packet[6..8].copy_from_slice(&external.to_be_bytes());
    packet[8..12].copy_from_slice(&lifetime.to_be_bytes());
    packet
}

const fn opcode(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => 1,
        Protocol::Tcp => 2,
    }
}

/// A response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    /// Seconds that the router has kept its state.
    pub(crate) epoch: u32,
    pub(crate) body: Body,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Address(Ipv4Addr),
    /// Lifetime in seconds.
    Map {
        protocol: Protocol,
        internal: u16,
        external: u16,
        lifetime: u32,
    },
    /// An error to a request for the address (`None`) or for a mapping; its internal port if it is told.
    Refused {
        protocol: Option<Protocol>,
        internal: Option<u16>,
        why: Refusal,
    },
}

/// What a datagram from the router's port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Response(Response),
    /// The router speaks no version 0 (RFC 6886 §3.5; RFC 6887 §9 for the newer one).
    OtherVersion,
}

/// Reads what came from the router; `None`: to be ignored.
pub(crate) fn parse(bytes: &[u8]) -> Option<Heard> {
    let (version, opcode) = (*bytes.first()?, bytes.get(1)?.checked_sub(RESPONSE)?);
    if version != VERSION {
        // A PCP server's UNSUPP_VERSION.
        return (*bytes.get(3)? == 1).then_some(Heard::OtherVersion);
    }
    let half = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let word = |at: usize| Some(u32::from(half(at)?) << 16 | u32::from(half(at + 2)?));
    let (result, epoch) = (half(2)?, word(4)?);
    let protocol = match opcode {
        0 => None,
        1 => Some(Protocol::Udp),
        2 => Some(Protocol::Tcp),
        _ => return None,
    };
    let body = match (result, protocol) {
        // It speaks our version after all: the answer is to somebody's PCP.
        (1, _) => return None,
        (0, None) => Body::Address(Ipv4Addr::from(word(8)?)),
        (0, Some(protocol)) => Body::Map { protocol, internal: half(8)?, external: half(10)?, lifetime: word(12)? },
        (code, protocol) => {
            // Some send the header alone.
            Body::Refused { protocol, internal: protocol.and_then(|_| half(8)), why: refusal(code) }
        }
    };
    Some(Heard::Response(Response { epoch, body }))
}

/// A result code in our words (RFC 6886 §3.5).
const fn refusal(code: u16) -> Refusal {
    match code {
        1 | 5 => Refusal::Unsupported,
        2 => Refusal::NotAuthorized,
        3 => Refusal::NoExternalAddress,
        4 => Refusal::NoResources,
        code => Refusal::Other(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_rfc_shows() {
        assert_eq!(ADDRESS_REQUEST, [0, 0]);
        let bytes = map_request(Protocol::Tcp, 4000, 5000, 7200);
        assert_eq!(bytes, [0, 2, 0, 0, 0x0f, 0xa0, 0x13, 0x88, 0, 0, 0x1c, 0x20]);
        assert_eq!(parse(&bytes), None, "a request is no response");
    }

    #[test]
    fn responses_are_read() {
        let heard = |body| Some(Heard::Response(Response { epoch: 9, body }));
        let address = [0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7];
        assert_eq!(parse(&address), heard(Body::Address([203, 0, 113, 7].into())));
        let map = [0, 129, 0, 0, 0, 0, 0, 9, 0x0f, 0xa0, 0x13, 0x88, 0, 0, 0x1c, 0x20];
        let body = Body::Map { protocol: Protocol::Udp, internal: 4000, external: 5000, lifetime: 7200 };
        assert_eq!(parse(&map), heard(body));
        let refused = |internal| Body::Refused { protocol: Some(Protocol::Udp), internal, why: Refusal::NotAuthorized };
        assert_eq!(parse(&[0, 129, 0, 2, 0, 0, 0, 9]), heard(refused(None)));
        assert_eq!(parse(&[0, 129, 0, 2, 0, 0, 0, 9, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0]), heard(refused(Some(4000))));
        for length in 0..12 {
            assert_eq!(parse(&address[..length]), None, "{length} bytes");
        }
        for length in 0..16 {
            assert_eq!(parse(&map[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn another_version_is_told_from_noise() {
        assert_eq!(parse(&[0, 128, 0, 1, 0, 0, 0, 9]), None, "it answers PCP");
        assert_eq!(parse(&[2, 128, 0, 1, 0, 0, 0, 0]), Some(Heard::OtherVersion));
        assert_eq!(parse(&[2, 129, 0, 0, 0, 0, 0, 0]), None);
    }
}
