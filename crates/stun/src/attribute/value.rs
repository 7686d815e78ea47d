//! Values of attributes that are more than a number, a text or an address.

use super::AttributeType;

/// 1 or 2 in the messages (RFC 8489 §14.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    pub(super) const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }
}

impl From<std::net::IpAddr> for AddressFamily {
    fn from(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// From where a Binding response shall come (RFC 5780 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ChangeRequest {
    /// From the server's other address.
    pub ip: bool,
    /// From the server's other port.
    pub port: bool,
}

/// The relayed port shall be even (RFC 8656 §18.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct EvenPort {
    /// And the next port reserved.
    pub reserve_next: bool,
}

/// Why a request failed: 300–699 and a phrase for people (RFC 8489 §14.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ErrorCode<'a> {
    /// 300–699.
    pub code: u16,
    /// At most 763 bytes when read, 508 when written.
    pub reason: &'a str,
}

impl ErrorCode<'static> {
    /// 300: ask the ALTERNATE-SERVER.
    pub const TRY_ALTERNATE: Self = Self::with(300, "Try Alternate");
    /// 400: the request is malformed.
    pub const BAD_REQUEST: Self = Self::with(400, "Bad Request");
    /// 401: credentials are missing or wrong.
    pub const UNAUTHENTICATED: Self = Self::with(401, "Unauthenticated");
    /// 403: not allowed (RFC 8656 §19).
    pub const FORBIDDEN: Self = Self::with(403, "Forbidden");
    /// 405: no mobility for this client (RFC 8016 §3.5).
    pub const MOBILITY_FORBIDDEN: Self = Self::with(405, "Mobility Forbidden");
    /// 420: a comprehension-required attribute is unknown.
    pub const UNKNOWN_ATTRIBUTE: Self = Self::with(420, "Unknown Attribute");
    /// 437: there is no such allocation, or there is one already (RFC 8656 §19).
    pub const ALLOCATION_MISMATCH: Self = Self::with(437, "Allocation Mismatch");
    /// 438: the nonce has expired.
    pub const STALE_NONCE: Self = Self::with(438, "Stale Nonce");
    /// 440: no addresses of this family (RFC 8656 §19).
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self::with(440, "Address Family not Supported");
    /// 441: the allocation is somebody else's (RFC 8656 §19).
    pub const WRONG_CREDENTIALS: Self = Self::with(441, "Wrong Credentials");
    /// 442: no relaying over this transport (RFC 8656 §19).
    pub const UNSUPPORTED_TRANSPORT: Self = Self::with(442, "Unsupported Transport Protocol");
    /// 443: the peer's family is not the relayed address's (RFC 8656 §19).
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self::with(443, "Peer Address Family Mismatch");
    /// 446: there is a connection to this peer already (RFC 6062 §6.3).
    pub const CONNECTION_ALREADY_EXISTS: Self = Self::with(446, "Connection Already Exists");
    /// 447: the peer could not be connected to (RFC 6062 §6.3).
    pub const CONNECTION_TIMEOUT: Self = Self::with(447, "Connection Timeout or Failure");
    /// 486: this user has enough allocations (RFC 8656 §19).
    pub const ALLOCATION_QUOTA_REACHED: Self = Self::with(486, "Allocation Quota Reached");
    /// 487: both sides think that they control (RFC 8445 §16.2).
    pub const ROLE_CONFLICT: Self = Self::with(487, "Role Conflict");
    /// 500: try again later.
    pub const SERVER_ERROR: Self = Self::with(500, "Server Error");
    /// 508: no port or memory left (RFC 8656 §19).
    pub const INSUFFICIENT_CAPACITY: Self = Self::with(508, "Insufficient Capacity");

    const fn with(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// Why there is no relayed address of a family (RFC 8656 §18.12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddressErrorCode<'a> {
    /// Of which family.
    pub family: AddressFamily,
    /// Why.
    pub error: ErrorCode<'a>,
}

/// Types that were not understood, in the order of the message (RFC 8489 §14.13).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UnknownAttributes<'a>(pub(super) &'a [u8]);

impl<'a> UnknownAttributes<'a> {
    /// From types written as two bytes each; `None` if their number is odd.
    pub const fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len().is_multiple_of(2) { Some(Self(bytes)) } else { None }
    }

    /// The types.
    pub fn iter(&self) -> impl Iterator<Item = AttributeType> + 'a {
        self.0.chunks_exact(2).map(|pair| AttributeType(u16::from_be_bytes([pair[0], pair[1]])))
    }
}

/// How a key is made from a password (RFC 8489 §18.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PasswordAlgorithm<'a> {
    /// 1 is MD5, 2 is SHA-256.
    pub number: u16,
    /// Of the algorithm's own; empty for both known ones.
    pub parameters: &'a [u8],
}

impl PasswordAlgorithm<'static> {
    /// For old clients alone.
    pub const MD5: Self = Self { number: 1, parameters: &[] };
    /// What RFC 8489 brought.
    pub const SHA256: Self = Self { number: 2, parameters: &[] };
}

impl PasswordAlgorithm<'_> {
    /// Whether this crate can make keys by it.
    pub fn is_known(&self) -> bool {
        *self == PasswordAlgorithm::MD5 || *self == PasswordAlgorithm::SHA256
    }
}

/// Several, best first. At most 64 are read (RFC 8489 has two).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PasswordAlgorithms<'a>(pub(super) &'a [u8]);

impl PasswordAlgorithms<'static> {
    /// SHA-256, then MD5.
    pub const SHA256_MD5: Self = Self(&[0, 2, 0, 0, 0, 1, 0, 0]);
    /// SHA-256 and nothing else.
    pub const SHA256: Self = Self(&[0, 2, 0, 0]);
}

impl<'a> PasswordAlgorithms<'a> {
    /// The attribute's value as it stands in a message; `None` if it is no such value.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            (_, rest) = one(rest)?;
            count += 1;
        }
        (1..=64).contains(&count).then_some(Self(bytes))
    }

    /// The attribute's value as it stands in a message.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The algorithms, best first.
    pub fn iter(&self) -> impl Iterator<Item = PasswordAlgorithm<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (algorithm, behind) = one(rest)?;
            rest = behind;
            Some(algorithm)
        })
    }
}

/// The first algorithm of a list, and what stands behind it. The last one's padding may be missing.
pub(super) fn one(list: &[u8]) -> Option<(PasswordAlgorithm<'_>, &[u8])> {
    let (head, rest) = list.split_at_checked(4)?;
    let number = u16::from_be_bytes([head[0], head[1]]);
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let parameters = rest.get(..length)?;
    let padded = length.next_multiple_of(4).min(rest.len());
    Some((PasswordAlgorithm { number, parameters }, &rest[padded..]))
}

/// An ICMP error about a datagram that the relay sent for its client (RFC 8656 §18.13).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Icmp {
    /// 0–127: the errors among ICMP's and ICMPv6's types.
    pub kind: u8,
    /// 0–511.
    pub code: u16,
    /// The next hop's MTU if the datagram was too big, else 0.
    pub data: u32,
}

/// Which transmission of a request this is, and which of the response (RFC 7982 §3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransmitCounter {
    /// From 1.
    pub request: u8,
    /// 0 in a request.
    pub response: u8,
}
