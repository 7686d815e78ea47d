//! `a=crypto`: SRTP keys in the description. RFC 4568.

use std::fmt;

use super::{Attribute, base64, words};
use crate::error::AttributeError;
use crate::field::number;
use crate::media::Media;

/// A crypto suite with its keys. It has a `Debug` that does not show them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Crypto {
    /// Names this line among the others of the media; the answer repeats the one it takes. At most 9 digits.
    pub tag: u32,
    /// Such as `AES_CM_128_HMAC_SHA1_80` (RFC 4568 §6.2) or `AEAD_AES_256_GCM` (RFC 7714 §14.2), as written.
    pub suite: Box<str>,
    /// The keys; at least one.
    pub key_params: Vec<KeyParam>,
    /// Session parameters such as `UNENCRYPTED_SRTCP` or `KDR=3`, as written. RFC 4568 §6.3: who does not know one must not
    /// use the line.
    pub session_params: Vec<Box<str>>,
}

/// One master key and salt: `inline:..`. RFC 4568 §6.1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyParam {
    /// Key and salt, one behind the other; how long each is the suite says.
    pub key_salt: Vec<u8>,
    /// For how many packets it may be used; `None` for as many as the suite allows.
    pub lifetime: Option<u64>,
    /// Master key identifier and its length in the packets, in bytes (1 to 128).
    pub mki: Option<(u64, u8)>,
}

impl KeyParam {
    /// A key for as long as the suite allows and without an identifier, as almost everyone sends it.
    pub fn new(key_salt: Vec<u8>) -> Self {
        Self { key_salt, lifetime: None, mki: None }
    }

    fn parse(text: &str) -> Option<Self> {
        let (method, info) = text.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") {
            return None;
        }
        let mut parts = info.split('|');
        let key_salt = base64::decode(parts.next()?).filter(|bytes| !bytes.is_empty())?;
        let mut param = Self::new(key_salt);
        for part in parts {
            if let Some((identifier, length)) = part.split_once(':') {
                let length = number(length).filter(|length| (1..=128).contains(length))?;
                if param.mki.replace((number(identifier)?, length)).is_some() {
                    return None;
                }
            } else {
                let lifetime = match part.split_once('^') {
                    Some(("2", power)) => 1_u64.checked_shl(number(power)?)?,
                    Some(_) => return None,
                    None => number(part)?,
                };
                if lifetime == 0 || param.mki.is_some() || param.lifetime.replace(lifetime).is_some() {
                    return None;
                }
            }
        }
        Some(param)
    }
}

impl<'a> Attribute<'a> for Crypto {
    const NAME: &'static str = "crypto";

    /// Lenient: keys in base64 without the padding, and several spaces count as one.
    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let mut words = words(value);
        let tag = words.next().filter(|tag| tag.len() <= 9).and_then(number);
        let tag = tag.ok_or(error("a tag of at most 9 digits"))?;
        let suite = words.next().ok_or(error("a crypto suite"))?.into();
        let keys = words.next().ok_or(error("key parameters"))?;
        let key_params: Option<Vec<_>> = keys.split(';').filter(|key| !key.is_empty()).map(KeyParam::parse).collect();
        let key_params = key_params.filter(|keys| !keys.is_empty());
        Ok(Self {
            tag,
            suite,
            key_params: key_params.ok_or(error("keys as inline:base64|lifetime|MKI:length"))?,
            session_params: words.map(Box::from).collect(),
        })
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tag, self.suite)?;
        let mut separator = ' ';
        for KeyParam { key_salt, lifetime, mki } in &self.key_params {
            write!(f, "{separator}inline:{}", base64::encode(key_salt))?;
            match lifetime {
                Some(packets) if packets.is_power_of_two() => write!(f, "|2^{}", packets.trailing_zeros())?,
                Some(packets) => write!(f, "|{packets}")?,
                None => {}
            }
            if let Some((identifier, length)) = mki {
                write!(f, "|{identifier}:{length}")?;
            }
            separator = ';';
        }
        self.session_params.iter().try_for_each(|param| write!(f, " {param}"))
    }
}

impl fmt::Debug for KeyParam {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KeyParam");
        shown.field("lifetime", &self.lifetime).field("mki", &self.mki).finish_non_exhaustive()
    }
}

impl Media {
    /// Every `a=crypto`, in order of preference; those that cannot be read as errors.
    pub fn cryptos(&self) -> impl Iterator<Item = Result<Crypto, AttributeError>> + '_ {
        self.typed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_4568() {
        let value = "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:32";
        let crypto: Crypto = round_trips(value);
        assert_eq!((crypto.tag, &*crypto.suite), (1, "AES_CM_128_HMAC_SHA1_80"));
        let [key] = &crypto.key_params[..] else { panic!("one key") };
        assert_eq!((key.key_salt.len(), key.lifetime, key.mki), (30, Some(1 << 20), Some((1, 32))));
        let two: Crypto = round_trips(
            "2 F8_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|1:4;\
             inline:QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5|2^20|2:4 FEC_ORDER=FEC_SRTP",
        );
        assert_eq!((two.key_params.len(), &*two.session_params[0]), (2, "FEC_ORDER=FEC_SRTP"));
        assert_eq!(round_trips::<Crypto>("1 X inline:AAAA|3").key_params[0].lifetime, Some(3));
    }

    #[test]
    fn refuses_broken_keys() {
        refuses::<Crypto>(&[
            "",
            "1",
            "1 A",
            "x A inline:AAAA",
            "1234567890 A inline:AAAA",
            "1 A inline:",
            "1 A key:AAAA",
        ]);
        refuses::<Crypto>(&["1 A inline:A", "1 A inline:AA?A", "1 A inline:AAAA|2^64", "1 A inline:AAAA|0", "1 A ;"]);
        refuses::<Crypto>(&[
            "1 A inline:AAAA|1:0",
            "1 A inline:AAAA|1:129",
            "1 A inline:AAAA|1:1|1:1",
            "1 A inline:AAAA|",
        ]);
        refuses::<Crypto>(&["1 A inline:AAAA|1:1|2^3", "1 A inline:AAAA|3^3", "1 A inline:AAAA|2^3|2^3"]);
    }

    #[test]
    fn never_shows_a_key() {
        let key = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
        let crypto =
            Crypto::parse("1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR").unwrap();
        let shown = format!("{crypto:?}");
        assert!(!shown.contains(key) && !shown.contains("61, 45, 110"), "{shown}");
    }
}
