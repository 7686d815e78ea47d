//! P-Asserted-Identity and P-Preferred-Identity: who calls, as a trusted network says it (RFC 3325 §9).

use std::fmt;

use super::Address;
use crate::message::{HeaderError, HeaderName, List, Message, Scheme};

macro_rules! identities {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        ///
        /// One value or two: a `sip` or `sips` URI, a `tel` URI, or one of each (RFC 3325 §9).
        #[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
        pub struct $type {
            /// The one with a SIP URI.
            pub sip: Option<Address>,
            /// The one with a number.
            pub tel: Option<Address>,
        }

        impl $type {
            /// The header field's name.
            pub const NAME: HeaderName = HeaderName::$type;

            /// Reads one comma list.
            pub fn parse(text: &str) -> Result<Self, HeaderError> {
                Self::collect(List::new(text))
            }

            /// The message's, over all its lines; `Ok(None)` if there is none.
            pub fn of(message: &Message) -> Result<Option<Self>, HeaderError> {
                if message.header(Self::NAME).is_none() {
                    return Ok(None);
                }
                Self::collect(message.values(Self::NAME)).map(Some)
            }

            fn collect<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
                let (sip, tel) = read(values).ok_or(HeaderError::malformed(Self::NAME))?;
                Ok(Self { sip, tel })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                super::write_list(f, self.sip.iter().chain(&self.tel))
            }
        }
    };
}

identities! {
    /// Whom the network has authenticated. Worth something only from within the trust domain (RFC 3325 §5).
    PAssertedIdentity
}

identities! {
    /// Which of its identities a user agent wants asserted.
    PPreferredIdentity
}

fn read<'a>(values: impl Iterator<Item = &'a str>) -> Option<(Option<Address>, Option<Address>)> {
    let (mut sip, mut tel) = (None, None);
    for value in values {
        let address = Address::read(&super::unfold(value))?;
        let slot = match address.uri().scheme {
            Scheme::Sip | Scheme::Sips => &mut sip,
            Scheme::Tel => &mut tel,
            Scheme::Other(_) => return None,
        };
        if slot.replace(address).is_some() {
            return None;
        }
    }
    (sip.is_some() || tel.is_some()).then_some((sip, tel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_kind_is_read() {
        // RFC 3325 §9.1
        let both = PAssertedIdentity::parse("tel:+14085264000, \"Cullen Jennings\" <sip:fluffy@cisco.com>").unwrap();
        assert_eq!(both.to_string(), "\"Cullen Jennings\" <sip:fluffy@cisco.com>, <tel:+14085264000>");
        assert_eq!(PAssertedIdentity::parse(&both.to_string()), Ok(both));
        for text in ["", "sip:a@b, sips:c@d", "tel:+1, tel:+2", "http://a", "sip:a@b, tel:+1, tel:+2", "sip:a@b,"] {
            assert!(PPreferredIdentity::parse(text).is_err(), "{text}");
        }
    }
}
