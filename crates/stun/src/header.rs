//! The first 20 bytes of a message, RFC 8489 §5: class, method, transaction ID.

use std::fmt;

use farspeak_sansio::Rng;

/// Bytes of the fixed header.
pub const HEADER: usize = 20;

/// What bytes 4–7 of every message are (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// What a message is to its transaction (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for nothing.
    Indication,
    /// The request was granted.
    Success,
    /// The request was refused; ERROR-CODE says why.
    Error,
}

/// What a message is about: 12 bits (IANA "STUN Methods").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(u16);

impl Method {
    /// RFC 8489 §3: what is my address?
    pub const BINDING: Self = Self(0x001);
    /// RFC 8656 §7: an allocation, please.
    pub const ALLOCATE: Self = Self(0x003);
    /// RFC 8656 §8: keep, shorten or delete the allocation.
    pub const REFRESH: Self = Self(0x004);
    /// RFC 8656 §11: data for a peer (indication).
    pub const SEND: Self = Self(0x006);
    /// RFC 8656 §11: data from a peer (indication).
    pub const DATA: Self = Self(0x007);
    /// RFC 8656 §10: which peers may send.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// RFC 8656 §12: a short name for a peer.
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// RFC 6062 §4.3: a TCP connection to a peer.
    pub const CONNECT: Self = Self(0x00a);
    /// RFC 6062 §4.3: this connection carries that one's data.
    pub const CONNECTION_BIND: Self = Self(0x00b);
    /// RFC 6062 §4.4: a peer has connected (indication).
    pub const CONNECTION_ATTEMPT: Self = Self(0x00c);

    /// The method of this number; bits above the twelfth are cut off.
    pub const fn new(number: u16) -> Self {
        Self(number & 0xfff)
    }

    /// Its number, 0–0xfff.
    pub const fn number(self) -> u16 {
        self.0
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            _ => return None,
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "method {:#05x}", self.0),
        }
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 96 bits that tie a response to its request (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl TransactionId {
    /// A new one. RFC 8489 §5 wants it cryptographically random: `rng` is seeded by the system in production.
    pub fn random(rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut id = [0; 12];
        rng.fill(&mut id);
        Self(id)
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Class and method as bytes 0 and 1 hold them (RFC 8489 figure 3).
pub(crate) const fn message_type(class: Class, method: Method) -> u16 {
    let class = match class {
        Class::Request => 0,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    let method = method.0;
    class | method & 0x00f | (method & 0x070) << 1 | (method & 0xf80) << 2
}

/// The opposite of [`message_type`]; the two first bits are taken to be zero.
pub(crate) const fn class_and_method(message_type: u16) -> (Class, Method) {
    let class = match message_type & 0x110 {
        0 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    let method = message_type & 0x00f | (message_type & 0x0e0) >> 1 | (message_type & 0x3e00) >> 2;
    (class, Method(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_and_method_survive_their_mixing() {
        for number in 0..0x1000 {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let mixed = message_type(class, Method::new(number));
                assert_eq!(mixed & 0xc000, 0);
                assert_eq!(class_and_method(mixed), (class, Method::new(number)));
            }
        }
        assert_eq!(message_type(Class::Success, Method::BINDING), 0x0101);
        assert_eq!(message_type(Class::Error, Method::ALLOCATE), 0x0113);
    }
}
