//! Refer-To: where a REFER sends its receiver (RFC 3515 §2.1).

use std::fmt;

use super::{Address, Embedded, Replaces, single_header};
use crate::message::{HeaderError, Method};

/// The resource to contact, and how (RFC 3515 §2.1). Exactly one in a REFER, else 400 (RFC 3515 §2.4.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReferTo {
    /// The URI with its method and headers, and parameters of the header field.
    pub address: Address,
}

single_header!(ReferTo, ReferTo);

impl ReferTo {
    fn read(text: &str) -> Option<Self> {
        Address::read(text).map(|address| Self { address })
    }

    /// The request that is asked for: target, method, headers; `None` if the URI's parts contradict its form, which the
    /// receiver answers with 400. Use no header but [`Embedded::honored`] ones.
    pub fn embedded(&self) -> Option<Embedded> {
        Embedded::of(&self.address.uri())
    }

    /// The method to use: INVITE unless the URI says otherwise (RFC 3515 §2.1). `None` if that is no token.
    pub fn method(&self) -> Option<Method> {
        Some(self.embedded()?.method.unwrap_or(Method::Invite))
    }

    /// The dialog to take over at the target: an attended transfer (RFC 3891, RFC 5589 §7).
    pub fn replaces(&self) -> Result<Option<Replaces>, HeaderError> {
        Replaces::of_uri(&self.address.uri())
    }

    /// To `target` in place of the dialog that `replaces` names there. Headers that `target` has are kept. `None` if the
    /// result is no URI.
    pub fn replacing(target: &str, replaces: &Replaces) -> Option<Self> {
        let join = if target.contains('?') { '&' } else { '?' };
        let uri = format!("{target}{join}Replaces={}", super::escape_header(&replaces.to_string()));
        Address::new(&uri).map(|address| Self { address })
    }
}

impl fmt::Display for ReferTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc3515_section_2_1_are_read() {
        for (text, method, target) in [
            ("sip:alice@atlanta.example.com", Method::Invite, "sip:alice@atlanta.example.com"),
            (
                "<sip:bob@biloxi.example.net?Accept-Contact=sip:bobsdesk.biloxi.example.net&\
                    Call-ID%3D55432%40alicepc.atlanta.example.com>",
                Method::Invite,
                "sip:bob@biloxi.example.net",
            ),
            (
                "<sip:carol@cleveland.example.org;method=SUBSCRIBE>",
                Method::Subscribe,
                "sip:carol@cleveland.example.org",
            ),
        ] {
            let refer = ReferTo::parse(text).unwrap();
            assert_eq!(refer.method(), Some(method), "{text}");
            assert_eq!(refer.embedded().unwrap().target, target);
        }
        assert_eq!(ReferTo::parse("http://www.ietf.org").unwrap().embedded().unwrap().target, "http://www.ietf.org");
    }

    #[test]
    fn two_addresses_are_refused() {
        // RFC 3515 §2.4.2
        assert!(ReferTo::parse("<sip:a@b>, <sip:c@d>").is_err());
        assert!(ReferTo::parse("sip:a@b?Replaces=x").is_err());
    }

    #[test]
    fn an_attended_transfer_reads_what_it_wrote() {
        let replaces = Replaces {
            call_id: "c;\"@host".replace(';', "%3B"),
            to_tag: "1".to_owned(),
            from_tag: "2".to_owned(),
            early_only: true,
        };
        let refer = ReferTo::replacing("sip:bob@b;gr=1?Require=replaces", &replaces).unwrap();
        let read = ReferTo::parse(&refer.to_string()).unwrap();
        assert_eq!(read.replaces(), Ok(Some(replaces)));
        assert_eq!(read.embedded().unwrap().target, "sip:bob@b;gr=1");
    }
}
