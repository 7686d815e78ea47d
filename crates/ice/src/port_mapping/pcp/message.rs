//! PCP's packets, RFC 6887 §7 and §11.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::port_mapping::{Protocol, Refusal};

/// The version that we speak.
pub(crate) const VERSION: u8 = 2;
/// Opcodes (RFC 6887 §19.3).
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
/// The R bit: a response.
const RESPONSE: u8 = 0x80;
const HEADER: usize = 24;
const MAP_LENGTH: usize = 60;
/// Longest packet (RFC 6887 §7).
const LONGEST: usize = 1100;

/// What makes a mapping ours: nobody else can change or delete it (RFC 6887 §11.2).
pub(crate) type Nonce = [u8; 12];

/// A request for a mapping; lifetime 0 deletes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Map {
    pub(crate) nonce: Nonce,
    pub(crate) protocol: Protocol,
    pub(crate) internal: u16,
    /// What we would like; the unspecified address of the family for no wish.
    pub(crate) external: SocketAddr,
    /// Seconds.
    pub(crate) lifetime: u32,
}

impl Map {
    /// The request, from our address.
    pub(crate) fn write(&self, client: IpAddr) -> [u8; MAP_LENGTH] {
        let mut packet = [0; MAP_LENGTH];
        packet[0] = VERSION;
        packet[1] = MAP;
        packet[4..8].copy_from_slice(&self.lifetime.to_be_bytes());
        packet[8..24].copy_from_slice(&mapped(client));
        packet[24..36].copy_from_slice(&self.nonce);
        packet[36] = self.protocol.number();
        packet[40..42].copy_from_slice(&self.internal.to_be_bytes());
        packet[42..44].copy_from_slice(&self.external.port().to_be_bytes());
        packet[44..60].copy_from_slice(&mapped(self.external.ip()));
        packet
    }
}

/// 128 bits, IPv4 as IPv4-mapped (RFC 6887 §5).
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// A response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    /// 0 is success (RFC 6887 §7.4).
    pub(crate) result: u8,
    /// Seconds: of the mapping, or of the error.
    pub(crate) lifetime: u32,
    /// Seconds that the server has kept its state.
    pub(crate) epoch: u32,
    pub(crate) body: Body,
}

/// What it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Announce,
    /// `external` is what was given, in success.
    Map {
        nonce: Nonce,
        protocol: u8,
        internal: u16,
        external: SocketAddr,
    },
}

/// What a datagram from the server's port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Response(Response),
    /// The server speaks no version 2: UNSUPP_VERSION, from whatever version it does speak (RFC 6887 §9). Version 0 is
    /// NAT-PMP.
    OtherVersion(u8),
}

/// Reads what came from the server; `None`: to be ignored (RFC 6887 §8.3).
pub(crate) fn parse(bytes: &[u8]) -> Option<Heard> {
    let (version, opcode) = (*bytes.first()?, *bytes.get(1)?);
    if opcode & RESPONSE == 0 || bytes.len() > LONGEST {
        return None;
    }
    if version == 0 {
        // NAT-PMP's own answer to a version that it does not know: result code 1 in two bytes (RFC 6886 §3.5).
        return (bytes.get(2..4)? == [0, 1]).then_some(Heard::OtherVersion(0));
    }
    let result = *bytes.get(3)?;
    if version != VERSION {
        return (result == UNSUPP_VERSION).then_some(Heard::OtherVersion(version));
    }
    if bytes.len() < HEADER || !bytes.len().is_multiple_of(4) {
        return None;
    }
    if result == UNSUPP_VERSION {
        // It speaks our version after all: the answer is to somebody's NAT-PMP.
        return None;
    }
    let body = match opcode & !RESPONSE {
        ANNOUNCE => Body::Announce,
        MAP => {
            let map = bytes.get(HEADER..MAP_LENGTH)?;
            let external: [u8; 16] = map[20..36].try_into().ok()?;
            let external = Ipv6Addr::from(external).to_canonical();
            Body::Map {
                nonce: map[..12].try_into().ok()?,
                protocol: map[12],
                internal: u16::from_be_bytes([map[16], map[17]]),
                external: SocketAddr::new(external, u16::from_be_bytes([map[18], map[19]])),
            }
        }
        _ => return None,
    };
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Some(Heard::Response(Response { result, lifetime: word(4), epoch: word(8), body }))
}

/// Whether it is an ANNOUNCE, which a server sends when it has restarted (RFC 6887 §14.1).
pub(crate) fn is_announcement(bytes: &[u8]) -> bool {
    matches!(parse(bytes), Some(Heard::Response(Response { body: Body::Announce, .. })))
}

const UNSUPP_VERSION: u8 = 1;
/// The server has no MAP: another opcode does not help either.
pub(crate) const UNSUPP_OPCODE: u8 = 4;

/// A result code in our words (RFC 6887 §7.4).
pub(crate) const fn refusal(result: u8) -> Refusal {
    match result {
        2 => Refusal::NotAuthorized,
        1 | 4 | 5 | 9 => Refusal::Unsupported,
        7 => Refusal::NoExternalAddress,
        8 | 10 => Refusal::NoResources,
        11 => Refusal::Conflict,
        12 => Refusal::AddressMismatch,
        code => Refusal::Other(code as u16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Map {
        let external = "203.0.113.7:5000".parse().unwrap();
        Map { nonce: *b"abcdefghijkl", protocol: Protocol::Udp, internal: 4000, external, lifetime: 7200 }
    }

    #[test]
    fn a_request_is_what_figure_9_shows() {
        let bytes = request().write("10.0.0.2".parse().unwrap());
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 0x1c, 0x20]);
        assert_eq!(bytes[8..24], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2]);
        assert_eq!(bytes[24..36], *b"abcdefghijkl");
        assert_eq!(bytes[36..44], [17, 0, 0, 0, 0x0f, 0xa0, 0x13, 0x88]);
        assert_eq!(bytes[54..60], [0xff, 0xff, 203, 0, 113, 7]);
        assert_eq!(parse(&bytes), None, "a request is no response");
    }

    fn response() -> [u8; MAP_LENGTH] {
        let mut bytes = request().write("10.0.0.2".parse().unwrap());
        bytes[1] |= RESPONSE;
        bytes[8..24].fill(0);
        bytes[11] = 99;
        bytes
    }

    #[test]
    fn a_response_is_read() {
        let expected = Response {
            result: 0,
            lifetime: 7200,
            epoch: 99,
            body: Body::Map {
                nonce: *b"abcdefghijkl",
                protocol: 17,
                internal: 4000,
                external: "203.0.113.7:5000".parse().unwrap(),
            },
        };
        assert_eq!(parse(&response()), Some(Heard::Response(expected)));
        let mut announce = response()[..HEADER].to_vec();
        announce[1] = RESPONSE;
        assert!(matches!(parse(&announce), Some(Heard::Response(Response { body: Body::Announce, epoch: 99, .. }))));
    }

    #[test]
    fn another_version_is_told_from_noise() {
        assert_eq!(parse(&[0, 0x81, 0, 1, 0, 0, 0, 9]), Some(Heard::OtherVersion(0)));
        assert_eq!(parse(&[0, 0x80, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4]), None, "an answer of NAT-PMP's own");
        assert_eq!(parse(&[1, 0x81, 0, 1, 0, 0, 0, 0]), Some(Heard::OtherVersion(1)));
        assert_eq!(parse(&[3, 0x81, 0, 0]), None);
    }

    #[test]
    fn refuses_what_is_cut_short_or_too_long() {
        for length in 0..MAP_LENGTH {
            assert_eq!(parse(&response()[..length]), None, "{length} bytes");
        }
        let mut long = response().to_vec();
        long.resize(LONGEST + 4, 0);
        assert_eq!(parse(&long), None);
        long.truncate(LONGEST);
        assert!(parse(&long).is_some(), "options are passed over");
    }
}
