//! How the values of attributes stand in bytes. Each module reads (`None`: malformed) and writes one form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{MAGIC_COOKIE, TransactionId};

/// Longest text that is read: names, realms, nonces, phrases (RFC 8489 §14.3, 763 octets for RFC 5389's sake).
pub(super) const LONGEST_READ: usize = 763;
/// Longest text that is written (RFC 8489 §14.3: fewer than 509 bytes).
pub(super) const LONGEST_WRITTEN: usize = 508;

/// Where the writer lets values be put. Errors stay and are reported at the end.
pub(crate) struct Out<'b> {
    pub(crate) buffer: &'b mut [u8],
    pub(crate) at: usize,
    pub(crate) full: bool,
    pub(crate) too_long: bool,
}

impl Out<'_> {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.full = true,
        }
    }

    fn put_text(&mut self, text: &str, most: usize) {
        self.too_long |= text.len() > most;
        self.put(text.as_bytes());
    }
}

pub(super) mod address {
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<SocketAddr> {
        let (head, ip) = value.split_at_checked(4)?;
        let port = u16::from_be_bytes([head[2], head[3]]);
        let ip = match head[1] {
            1 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
            2 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    pub(crate) fn write(value: &SocketAddr, _: &TransactionId, out: &mut Out<'_>) {
        let [high, low] = value.port().to_be_bytes();
        match value.ip() {
            IpAddr::V4(ip) => {
                out.put(&[0, 1, high, low]);
                out.put(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.put(&[0, 2, high, low]);
                out.put(&ip.octets());
            }
        }
    }
}

pub(super) mod xor_address {
    use super::*;

    /// XORs port and address with the cookie, and an IPv6 address with the transaction ID, too (RFC 8489 §14.2).
    fn xor(address: SocketAddr, id: &TransactionId) -> SocketAddr {
        let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
        let ip = match address.ip() {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() ^ MAGIC_COOKIE).into(),
            IpAddr::V6(ip) => {
                let mut mask = [0; 16];
                mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
                mask[4..].copy_from_slice(&id.0);
                Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)).into()
            }
        };
        SocketAddr::new(ip, port)
    }

    pub(crate) fn read(value: &[u8], id: &TransactionId) -> Option<SocketAddr> {
        address::read(value, id).map(|address| xor(address, id))
    }

    pub(crate) fn write(value: &SocketAddr, id: &TransactionId, out: &mut Out<'_>) {
        address::write(&xor(*value, id), id, out);
    }
}

pub(super) mod text {
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], _: &TransactionId) -> Option<&'a str> {
        if value.len() > LONGEST_READ { None } else { std::str::from_utf8(value).ok() }
    }

    pub(crate) fn write(value: &str, _: &TransactionId, out: &mut Out<'_>) {
        out.put_text(value, LONGEST_WRITTEN);
    }
}

pub(super) mod domain {
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], _: &TransactionId) -> Option<&'a str> {
        let text = std::str::from_utf8(value).ok()?;
        (text.len() <= 255 && text.is_ascii()).then_some(text)
    }

    pub(crate) fn write(value: &str, _: &TransactionId, out: &mut Out<'_>) {
        out.put_text(value, 255);
    }
}

pub(super) mod bytes {
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], _: &TransactionId) -> Option<&'a [u8]> {
        Some(value)
    }

    pub(crate) fn write(value: &[u8], _: &TransactionId, out: &mut Out<'_>) {
        out.put(value);
    }
}

pub(super) mod array {
    use super::*;

    pub(crate) fn read<const N: usize>(value: &[u8], _: &TransactionId) -> Option<[u8; N]> {
        value.try_into().ok()
    }

    pub(crate) fn write<const N: usize>(value: &[u8; N], _: &TransactionId, out: &mut Out<'_>) {
        out.put(value);
    }
}

pub(super) mod u32 {
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<u32> {
        value.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn write(value: &u32, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&value.to_be_bytes());
    }
}

pub(super) mod u64 {
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<u64> {
        value.try_into().ok().map(u64::from_be_bytes)
    }

    pub(crate) fn write(value: &u64, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&value.to_be_bytes());
    }
}

/// A number and two bytes that nobody reads. RESPONSE-PORT is read without them, too: RFC 5780 §7.5 calls them padding.
pub(super) mod u16_and_reserve {
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<u16> {
        match *value {
            [high, low] | [high, low, _, _] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    pub(crate) fn write(value: &u16, _: &TransactionId, out: &mut Out<'_>) {
        let [high, low] = value.to_be_bytes();
        out.put(&[high, low, 0, 0]);
    }
}

pub(super) mod flag {
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<()> {
        value.is_empty().then_some(())
    }

    pub(crate) fn write(_: &(), _: &TransactionId, _: &mut Out<'_>) {}
}

pub(super) mod transport {
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<u8> {
        if let [protocol, _, _, _] = *value { Some(protocol) } else { None }
    }

    pub(crate) fn write(value: &u8, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&[*value, 0, 0, 0]);
    }
}

pub(super) mod family {
    use super::super::AddressFamily;
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<AddressFamily> {
        if let [family, _, _, _] = *value { AddressFamily::of_number(family) } else { None }
    }

    pub(crate) fn write(value: &AddressFamily, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&[value.number(), 0, 0, 0]);
    }
}

pub(super) mod even_port {
    use super::super::EvenPort;
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<EvenPort> {
        if let [bits] = *value { Some(EvenPort { reserve_next: bits & 0x80 != 0 }) } else { None }
    }

    pub(crate) fn write(value: &EvenPort, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&[u8::from(value.reserve_next) << 7]);
    }
}

pub(super) mod change_request {
    use super::super::ChangeRequest;
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<ChangeRequest> {
        if let [_, _, _, bits] = *value {
            return Some(ChangeRequest { ip: bits & 4 != 0, port: bits & 2 != 0 });
        }
        None
    }

    pub(crate) fn write(value: &ChangeRequest, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&[0, 0, 0, u8::from(value.ip) << 2 | u8::from(value.port) << 1]);
    }
}

pub(super) mod error_code {
    use super::super::ErrorCode;
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], id: &TransactionId) -> Option<ErrorCode<'a>> {
        let (head, reason) = value.split_at_checked(4)?;
        let (class, number) = (head[2] & 7, head[3]);
        if !(3..=6).contains(&class) || number > 99 {
            return None;
        }
        Some(ErrorCode { code: u16::from(class) * 100 + u16::from(number), reason: text::read(reason, id)? })
    }

    pub(crate) fn write(value: &ErrorCode<'_>, id: &TransactionId, out: &mut Out<'_>) {
        out.put(&[0, 0, (value.code / 100) as u8 & 7, (value.code % 100) as u8]);
        text::write(value.reason, id, out);
    }
}

pub(super) mod address_error_code {
    use super::super::{AddressErrorCode, AddressFamily};
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], id: &TransactionId) -> Option<AddressErrorCode<'a>> {
        let family = AddressFamily::of_number(*value.first()?)?;
        Some(AddressErrorCode { family, error: error_code::read(value, id)? })
    }

    pub(crate) fn write(value: &AddressErrorCode<'_>, id: &TransactionId, out: &mut Out<'_>) {
        let code = value.error.code;
        out.put(&[value.family.number(), 0, (code / 100) as u8 & 7, (code % 100) as u8]);
        text::write(value.error.reason, id, out);
    }
}

pub(super) mod unknown_attributes {
    use super::super::UnknownAttributes;
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], _: &TransactionId) -> Option<UnknownAttributes<'a>> {
        UnknownAttributes::from_bytes(value)
    }

    pub(crate) fn write(value: &UnknownAttributes<'_>, _: &TransactionId, out: &mut Out<'_>) {
        out.put(value.0);
    }
}

pub(super) mod password_algorithm {
    use super::super::{PasswordAlgorithm, value};
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], _: &TransactionId) -> Option<PasswordAlgorithm<'a>> {
        let (algorithm, rest) = value::one(value)?;
        rest.is_empty().then_some(algorithm)
    }

    pub(crate) fn write(value: &PasswordAlgorithm<'_>, _: &TransactionId, out: &mut Out<'_>) {
        out.too_long |= value.parameters.len() > LONGEST_WRITTEN;
        out.put(&value.number.to_be_bytes());
        out.put(&(value.parameters.len() as u16).to_be_bytes());
        out.put(value.parameters);
        let padding = value.parameters.len().next_multiple_of(4) - value.parameters.len();
        out.put(&[0; 3][..padding]);
    }
}

pub(super) mod password_algorithms {
    use super::super::PasswordAlgorithms;
    use super::*;

    pub(crate) fn read<'a>(value: &'a [u8], _: &TransactionId) -> Option<PasswordAlgorithms<'a>> {
        PasswordAlgorithms::from_bytes(value)
    }

    pub(crate) fn write(value: &PasswordAlgorithms<'_>, _: &TransactionId, out: &mut Out<'_>) {
        out.put(value.0);
    }
}

/// Seven bits of type and nine of code, as RFC 8656 figure 11 draws them.
pub(super) mod icmp {
    use super::super::Icmp;
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<Icmp> {
        let [_, _, high, low, data @ ..] = value else { return None };
        let code = u16::from_be_bytes([*high & 1, *low]);
        Some(Icmp { kind: high >> 1, code, data: data.try_into().ok().map(u32::from_be_bytes)? })
    }

    pub(crate) fn write(value: &Icmp, _: &TransactionId, out: &mut Out<'_>) {
        let [high, low] = (value.code & 0x1ff).to_be_bytes();
        out.put(&[0, 0, value.kind << 1 | high, low]);
        out.put(&value.data.to_be_bytes());
    }
}

pub(super) mod transmit_counter {
    use super::super::TransmitCounter;
    use super::*;

    pub(crate) fn read(value: &[u8], _: &TransactionId) -> Option<TransmitCounter> {
        if let [_, _, request, response] = *value { Some(TransmitCounter { request, response }) } else { None }
    }

    pub(crate) fn write(value: &TransmitCounter, _: &TransactionId, out: &mut Out<'_>) {
        out.put(&[0, 0, value.request, value.response]);
    }
}
