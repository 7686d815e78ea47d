//! Which peers a relay may be used to reach.
//!
//! A relay stands inside somebody's network and sends what strangers tell it to whom they tell it. So an address is
//! first made [canonical], every address that hides in it is dug out (NAT64, 6to4, Teredo), and each of them is judged:
//! by the operator's prefixes, by the host's own addresses, and by the registries of special-purpose addresses
//! (`registry.rs`). The most specific prefix decides; between two of one length the operator's, and of those, `deny`.

mod registry;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Which peers may be reached. The default lets clients reach what is globally reachable and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerPolicy {
    /// Prefixes that are allowed although they are special: a test network, say. Default none. What is more special
    /// still (a cloud's metadata address in 169.254.0.0/16, an address of this host) has to be named as precisely.
    pub allow: Vec<Prefix>,
    /// Prefixes that are denied although they are ordinary. Default none.
    pub deny: Vec<Prefix>,
    /// Addresses of this host: denied, unless `allow` names the very address (/32, /128). Default none; a
    /// [`Server`](crate::Server) adds those it knows.
    pub own: Vec<IpAddr>,
    /// IPv6 prefixes that a NAT64 of this network translates, besides the well-known ones (RFC 6052 §2.2): /32, /40, /48,
    /// /56, /64 or /96; others are ignored. Default none. An address in one is as good as the IPv4 address in it.
    pub nat64: Vec<Prefix>,
}

/// Why a peer may not be reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// An address in it is special, by the registry's name for it.
    Special(&'static str),
    /// An address of this host.
    Own,
    /// The operator says so.
    Denied,
    /// Nothing can be sent to port 0.
    Port,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Special(name) => write!(f, "a special-purpose address ({name})"),
            Self::Own => f.write_str("an address of this host"),
            Self::Denied => f.write_str("denied by the configuration"),
            Self::Port => f.write_str("port 0"),
        }
    }
}

impl std::error::Error for Refused {}

impl PeerPolicy {
    /// Judges a peer; if it may be reached, its canonical form, which is where data goes.
    pub fn judge(&self, peer: SocketAddr) -> Result<SocketAddr, Refused> {
        if peer.port() == 0 {
            return Err(Refused::Port);
        }
        self.judge_ip(peer.ip()).map(|ip| SocketAddr::new(ip, peer.port()))
    }

    /// Judges an address, whatever the port.
    pub fn judge_ip(&self, peer: IpAddr) -> Result<IpAddr, Refused> {
        let outer = canonical(peer);
        self.judge_one(outer)?;
        if let IpAddr::V6(ip) = outer {
            for inner in self.embedded(ip).into_iter().flatten() {
                self.judge_one(inner.into())?;
            }
        }
        Ok(outer)
    }

    /// Judges one address by the most specific prefix.
    fn judge_one(&self, ip: IpAddr) -> Result<(), Refused> {
        let longest = |prefixes: &[Prefix]| prefixes.iter().filter(|one| one.contains(ip)).map(Prefix::length).max();
        let own = self.own.iter().any(|own| canonical(*own) == ip);
        let built_in = match registry::find(ip) {
            _ if own => Some((if ip.is_ipv4() { 32 } else { 128 }, Refused::Own)),
            found => found.map(|(length, name)| (length, Refused::Special(name))),
        };
        let (allow, deny) = (longest(&self.allow), longest(&self.deny));
        match (built_in, allow, deny) {
            (_, allow, Some(deny)) if allow.is_none_or(|allow| allow <= deny) => Err(Refused::Denied),
            (Some((length, refused)), allow, _) if allow.is_none_or(|allow| allow < length) => Err(refused),
            _ => Ok(()),
        }
    }

    /// The IPv4 addresses in an IPv6 address: where its packets may come out in the end.
    fn embedded(&self, ip: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
        let bits = ip.to_bits();
        let low = Ipv4Addr::from_bits(bits as u32);
        let segments = ip.segments();
        let tunnelled = match (segments[0], segments[1]) {
            // 6to4: 2002:V4ADDR::/48 (RFC 3056 §2).
            (0x2002, _) => [Some(Ipv4Addr::from_bits((bits >> 80) as u32)), None],
            // Teredo: 2001:0:SERVER:flags:port:CLIENT, the client's inverted (RFC 4380 §4).
            (0x2001, 0) => [Some(Ipv4Addr::from_bits((bits >> 64) as u32)), Some(Ipv4Addr::from_bits(!bits as u32))],
            // ISATAP: any /64, then 00-00-5E-FE or 02-00-5E-FE and the address (RFC 5214 §6.1).
            _ if matches!((segments[4], segments[5]), (0 | 0x0200, 0x5efe)) => [Some(low), None],
            _ => [None, None],
        };
        let local = self.nat64.iter().filter(|prefix| prefix.contains(ip.into()));
        // The local-use prefix (RFC 8215) is a /48 out of which networks take a /96, or translate all of it.
        let translated = if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
            Some(low)
        } else {
            local.max_by_key(|prefix| prefix.length()).and_then(|prefix| rfc6052(bits, prefix.length()))
        };
        [translated, tunnelled[0], tunnelled[1]]
    }
}

/// The address itself: IPv4 where an IPv6 socket would speak IPv4 (mapped, `::ffff:0:0/96`), or where IPv4 was written in
/// the old compatible form (`::/96`, RFC 4291 §2.5.5), except `::` and `::1`, which are themselves.
pub fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    match v6.to_bits() >> 32 {
        0 if v6.to_bits() > 1 => Ipv4Addr::from_bits(v6.to_bits() as u32).into(),
        0xffff => Ipv4Addr::from_bits(v6.to_bits() as u32).into(),
        _ => ip,
    }
}

/// The IPv4 address behind a NAT64 prefix of this length (RFC 6052 §2.2); bits 64–71 are skipped.
fn rfc6052(bits: u128, length: u8) -> Option<Ipv4Addr> {
    let byte = |at: u32| (bits >> (120 - 8 * at)) as u8;
    let first = u32::from(length / 8);
    let places: [u32; 4] = match length {
        32 => [4, 5, 6, 7],
        40 => [5, 6, 7, 9],
        48 => [6, 7, 9, 10],
        56 => [7, 9, 10, 11],
        64 => [9, 10, 11, 12],
        96 => [first, first + 1, first + 2, first + 3],
        _ => return None,
    };
    Some(Ipv4Addr::from(places.map(byte)))
}

/// Addresses that begin with the same bits, written `10.0.0.0/8` or `2001:db8::/32`. A single address is a prefix of full
/// length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Bits behind the first `length` are cleared. `None` if the address has fewer.
    pub const fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(ip) if length <= 32 => {
                let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) if length <= 128 => {
                let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, length })
    }

    /// The address that it begins with.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits count: 0–32 or 0–128.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether the address, as it is written, begins with these bits.
    pub const fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                self.length == 0 || (own.to_bits() ^ ip.to_bits()) >> (32 - self.length) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                self.length == 0 || (own.to_bits() ^ ip.to_bits()) >> (128 - self.length) == 0
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Prefix {
    type Err = NotPrefix;

    fn from_str(text: &str) -> Result<Self, NotPrefix> {
        let (address, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| NotPrefix)?;
        let Some(length) = length else { return Ok(address.into()) };
        let length = length.parse().map_err(|_| NotPrefix)?;
        let prefix = Self::new(address, length).ok_or(NotPrefix)?;
        // Whoever writes 10.0.0.1/8 may have meant either.
        if prefix.address == address { Ok(prefix) } else { Err(NotPrefix) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no prefix: no address, a length too great, or bits behind the length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotPrefix;

impl fmt::Display for NotPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write a prefix as 10.0.0.0/8 or 2001:db8::/32, all bits behind the length zero")
    }
}

impl std::error::Error for NotPrefix {}

#[cfg(test)]
mod tests;
