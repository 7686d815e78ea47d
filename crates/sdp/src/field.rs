//! The values of typed lines other than attributes and `m=`: `o=`, `c=`, `b=`, `t=`.

use std::fmt;
use std::net::IpAddr;

use crate::error::AttributeError;

/// Type of network: the `IN` of `c=IN IP4 192.0.2.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Network {
    /// `IN`, the Internet.
    #[default]
    Internet,
    /// Anything else, such as `ATM`, as written.
    Other(Box<str>),
}

/// Type of an address: the `IP4` of `c=IN IP4 192.0.2.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// `IP4`.
    Ip4,
    /// `IP6`.
    Ip6,
    /// Anything else, as written.
    Other(Box<str>),
}

/// Who made the session description: `o=`. RFC 8866 §5.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The user's login, `-` for none; no spaces.
    pub username: Box<str>,
    /// A number of any length, as written; together with the rest but the version it names the session.
    pub session_id: Box<str>,
    /// Goes up by one with each changed description (RFC 3264 §8).
    pub version: u64,
    /// Type of network.
    pub network: Network,
    /// Type of address.
    pub address_type: AddressType,
    /// Where the session was made: an address or a domain name; not where media goes.
    pub address: Box<str>,
}

impl Origin {
    /// An origin on the Internet without a user name.
    pub fn new(session_id: u64, version: u64, address: IpAddr) -> Self {
        Self {
            username: "-".into(),
            session_id: session_id.to_string().into(),
            version,
            network: Network::Internet,
            address_type: AddressType::of(address),
            address: address.to_string().into(),
        }
    }

    /// Reads the value of an `o=` line. Lenient: several spaces count as one, the user name may hold spaces (some gateways
    /// write a display name there), and the session id may be any text.
    ///
    /// # Errors
    /// Fewer than six parts, or a version that is not a number below 2^64.
    pub fn parse(value: &str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: "o", expected };
        let shape = error("a user name, a session id, a version, a network type, an address type and an address");
        let mut rest = value.trim_matches(' ');
        let mut last = || {
            let (before, part) = rest.rsplit_once(' ').ok_or(shape)?;
            rest = before.trim_end_matches(' ');
            Ok(part)
        };
        let (address, address_type, network, version, session_id) = (last()?, last()?, last()?, last()?, last()?);
        if rest.is_empty() {
            return Err(shape);
        }
        Ok(Self {
            username: rest.into(),
            session_id: session_id.into(),
            version: number(version).ok_or(error("a version below 2^64"))?,
            network: Network::parse(network),
            address_type: AddressType::parse(address_type),
            address: address.into(),
        })
    }

    /// Whether both name the same session: all but the version agrees. RFC 8866 §5.2.
    pub fn same_session(&self, other: &Self) -> bool {
        self.username == other.username
            && self.session_id == other.session_id
            && self.network == other.network
            && self.address_type == other.address_type
            && self.address == other.address
    }
}

/// Where media goes: `c=`. RFC 8866 §5.7.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Type of network.
    pub network: Network,
    /// Type of address.
    pub address_type: AddressType,
    /// An address or a domain name.
    pub address: Box<str>,
    /// Time to live of IPv4 multicast.
    pub ttl: Option<u8>,
    /// How many multicast addresses in a row, if the line says so; at least 1.
    pub count: Option<u32>,
}

impl Connection {
    /// A unicast address on the Internet.
    pub fn new(address: IpAddr) -> Self {
        Self {
            network: Network::Internet,
            address_type: AddressType::of(address),
            address: address.to_string().into(),
            ttl: None,
            count: None,
        }
    }

    /// Reads the value of a `c=` line. Lenient: several spaces count as one.
    ///
    /// # Errors
    /// Not three parts, or something other than numbers behind the address.
    pub fn parse(value: &str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: "c", expected };
        let mut parts = value.split(' ').filter(|part| !part.is_empty());
        let (Some(network), Some(address_type), Some(address), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error("a network type, an address type and an address"));
        };
        let address_type = AddressType::parse(address_type);
        let mut parts = address.split('/');
        let address = parts.next().filter(|address| !address.is_empty()).ok_or(error("an address"))?;
        let behind = error("a time to live below 256 and a number of addresses behind the address");
        let (ttl, count) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => (None, None),
            (Some(count), None, _) if address_type == AddressType::Ip6 => (None, Some(number(count).ok_or(behind)?)),
            (Some(ttl), None, _) => (Some(number(ttl).ok_or(behind)?), None),
            (Some(ttl), Some(count), None) if address_type != AddressType::Ip6 => {
                (Some(number(ttl).ok_or(behind)?), Some(number(count).ok_or(behind)?))
            }
            _ => return Err(behind),
        };
        if count == Some(0) {
            return Err(behind);
        }
        Ok(Self { network: Network::parse(network), address_type, address: address.into(), ttl, count })
    }

    /// The address, unless it is a domain name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    /// Whether it is `0.0.0.0` or `::`: the way to hold media before RFC 3264, and "not yet known" in trickle ICE.
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

/// Proposed bandwidth: `b=`. RFC 8866 §5.8, RFC 3556 (`RS`, `RR`), RFC 3890 (`TIAS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bandwidth<'a> {
    /// `CT`, `AS`, `TIAS`, `RS`, `RR` or another.
    pub kind: &'a str,
    /// In kbit/s for `CT` and `AS`, in bit/s for the others.
    pub value: u64,
}

impl<'a> Bandwidth<'a> {
    /// Reads the value of a `b=` line.
    ///
    /// # Errors
    /// Not a name, a colon and a number.
    pub fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = AttributeError { attribute: "b", expected: "a name, a colon and a number" };
        let (kind, value) = value.split_once(':').ok_or(error)?;
        let kind = kind.trim_matches(' ');
        if kind.is_empty() {
            return Err(error);
        }
        Ok(Self { kind, value: number(value.trim_matches(' ')).ok_or(error)? })
    }
}

/// When the session is: `t=`, in seconds since 1900; 0 0 for a session that is neither. RFC 8866 §5.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timing {
    /// Start, 0 for "at once".
    pub start: u64,
    /// End, 0 for "never".
    pub stop: u64,
}

impl Timing {
    /// Reads the value of a `t=` line. Lenient: several spaces count as one.
    ///
    /// # Errors
    /// Not two numbers.
    pub fn parse(value: &str) -> Result<Self, AttributeError> {
        let error = AttributeError { attribute: "t", expected: "two numbers" };
        let mut parts = value.split(' ').filter(|part| !part.is_empty()).map(number);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Some(start)), Some(Some(stop)), None) => Ok(Self { start, stop }),
            _ => Err(error),
        }
    }
}

impl Network {
    fn parse(text: &str) -> Self {
        if text.eq_ignore_ascii_case("IN") { Self::Internet } else { Self::Other(text.into()) }
    }
}

impl AddressType {
    /// The type of this address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ip4 } else { Self::Ip6 }
    }

    fn parse(text: &str) -> Self {
        if text.eq_ignore_ascii_case("IP4") {
            Self::Ip4
        } else if text.eq_ignore_ascii_case("IP6") {
            Self::Ip6
        } else {
            Self::Other(text.into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internet => "IN",
            Self::Other(text) => text,
        })
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip4 => "IP4",
            Self::Ip6 => "IP6",
            Self::Other(text) => text,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, session_id, version, network, address_type, address } = self;
        write!(f, "{username} {session_id} {version} {network} {address_type} {address}")
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.network, self.address_type, self.address)?;
        if let Some(ttl) = self.ttl {
            write!(f, "/{ttl}")?;
        }
        match self.count {
            Some(count) => write!(f, "/{count}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Bandwidth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.start, self.stop)
    }
}

/// Digits alone, and at least one: the standard library would take a sign.
pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
