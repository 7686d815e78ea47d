//! The PROXY protocol, version 2: how a load balancer says who really connects. Believed only from sources that the
//! operator has named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What stands at the beginning of a connection from a load balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// A header of `length` bytes.
    Whole {
        /// Bytes of the header; the client's own follow.
        length: usize,
        /// Source and destination of the connection; `None` if the balancer speaks for itself, or of no IP address.
        ends: Option<(SocketAddr, SocketAddr)>,
    },
    /// Not all of it has come.
    NeedMore,
    /// No such header.
    Wrong,
}

/// Reads a header. Its length is bounded by [`LONGEST`].
pub fn read(bytes: &[u8]) -> ProxyHeader {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return ProxyHeader::Wrong;
    }
    let Some(head) = bytes.first_chunk::<HEAD>() else { return ProxyHeader::NeedMore };
    let (version, command) = (head[12] >> 4, head[12] & 15);
    let length = HEAD + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if version != 2 || command > 1 || length > LONGEST {
        return ProxyHeader::Wrong;
    }
    let Some(body) = bytes.get(HEAD..length) else { return ProxyHeader::NeedMore };
    let ends = match (command, head[13] >> 4) {
        (0, _) => None, // LOCAL: a health check of the balancer's own
        (_, 1) => v4(body),
        (_, 2) => v6(body),
        _ => None,
    };
    if command == 1 && matches!(head[13] >> 4, 1 | 2) && ends.is_none() {
        return ProxyHeader::Wrong;
    }
    ProxyHeader::Whole { length, ends }
}

fn v4(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let body = body.first_chunk::<12>()?;
    let ip = |at: usize| IpAddr::V4(Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]));
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    Some((SocketAddr::new(ip(0), port(8)), SocketAddr::new(ip(4), port(10))))
}

fn v6(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let body = body.first_chunk::<36>()?;
    let ip = |at: usize| {
        let octets: [u8; 16] = body[at..at + 16].try_into().ok()?;
        Some(Ipv6Addr::from(octets))
    };
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let (source, destination) = (ip(0)?, ip(16)?);
    // What a balancer maps is IPv4 to whoever is told of it, and to every policy.
    let (source, destination) = match (source.to_ipv4_mapped(), destination.to_ipv4_mapped()) {
        (Some(source), Some(destination)) => (IpAddr::V4(source), IpAddr::V4(destination)),
        _ => (IpAddr::V6(source), IpAddr::V6(destination)),
    };
    Some((SocketAddr::new(source, port(32)), SocketAddr::new(destination, port(34))))
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = 16;
/// The longest header taken; balancers send 28 to some hundred bytes.
pub const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn tells_who_really_connects() {
        let bytes = header(1, 0x11, &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb, 9, 9]);
        let ends = Some(("192.0.2.1:4660".parse().unwrap(), "198.51.100.2:443".parse().unwrap()));
        assert_eq!(read(&bytes), ProxyHeader::Whole { length: 30, ends });
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), ProxyHeader::NeedMore, "{length}");
        }
        let mut body = [0; 36];
        (body[15], body[31], body[33], body[35]) = (1, 2, 3, 4);
        let ends = Some(("[::1]:3".parse().unwrap(), "[::2]:4".parse().unwrap()));
        assert_eq!(read(&header(1, 0x21, &body)), ProxyHeader::Whole { length: 52, ends });
        for at in [0, 16] {
            body[at..at + 16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
        }
        let ends = Some(("192.0.2.1:3".parse().unwrap(), "192.0.2.1:4".parse().unwrap()));
        assert_eq!(read(&header(1, 0x21, &body)), ProxyHeader::Whole { length: 52, ends });
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        assert_eq!(read(&header(0, 0, &[])), ProxyHeader::Whole { length: 16, ends: None });
    }

    #[test]
    fn refuses_what_is_no_header() {
        let wrong = [
            b"GET / HTTP/1.1\r\n".to_vec(),
            header(2, 0x11, &[0; 12]),
            header(1, 0x11, &[0; 11]),
            header(1, 0x11, &[0; 1100]),
        ];
        for bytes in wrong {
            assert_eq!(read(&bytes), ProxyHeader::Wrong);
        }
        let mut first_version = header(1, 0x11, &[0; 12]);
        first_version[12] = 0x11;
        assert_eq!(read(&first_version), ProxyHeader::Wrong);
    }
}
