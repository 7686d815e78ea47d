//! GRUU: URIs that lead to one user agent from anywhere (RFC 5627).

use crate::message::{NameAddr, Scheme, Uri, lex, unquote};

/// What a registrar gives in the Contact of its 200 (RFC 5627 §4.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Gruus {
    /// Always the same for this instance; shows the address of record.
    pub public: Option<String>,
    /// Another one after each registration; shows nothing. All of them are valid as long as the registration.
    pub temporary: Option<String>,
}

impl Gruus {
    /// Those of a Contact. What is no `sip` or `sips` URI with a `gr` parameter is left out (RFC 5627 §8).
    pub fn of(contact: &NameAddr<'_>) -> Self {
        let gruu = |name: &str| {
            let text = unquote(contact.params.value(name)?).into_owned();
            Uri::parse(&text).ok().filter(is_gruu)?;
            Some(text)
        };
        Self { public: gruu("pub-gruu"), temporary: gruu("temp-gruu") }
    }

    /// The one for Contact: the temporary one if the caller wants to be anonymous, else the public one (RFC 5627 §4.4).
    pub fn choose(&self, anonymous: bool) -> Option<&str> {
        if anonymous { self.temporary.as_deref() } else { self.public.as_deref() }
    }
}

/// Whether it is a GRUU: a `sip` or `sips` URI with a `gr` parameter (RFC 5627 §3.1).
pub fn is_gruu(uri: &Uri<'_>) -> bool {
    matches!(uri.scheme, Scheme::Sip | Scheme::Sips) && uri.param("gr").is_some()
}

/// The instance that a public GRUU names, escapes read: the value of `gr`; `None` for a temporary one (RFC 5627 §3.1).
pub fn gruu_instance(uri: &Uri<'_>) -> Option<String> {
    if !is_gruu(uri) {
        return None;
    }
    uri.param("gr").flatten().map(|value| lex::unescape(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeaderName;

    #[test]
    fn a_contact_gives_both() {
        // RFC 5627 §3.3
        let text = "<sip:callee@192.0.2.2>;pub-gruu=\"sip:callee@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\"\
            ;temp-gruu=\"sip:tgruu.7hs==jd7vnzga5w7fajsc7-ajd6fabz0f8g5@example.com;gr\"\
            ;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";expires=3600";
        let gruus = Gruus::of(&NameAddr::parse(HeaderName::Contact, text).unwrap());
        let public = Uri::parse(gruus.choose(false).unwrap()).unwrap();
        assert_eq!(gruu_instance(&public).as_deref(), Some("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
        let temporary = Uri::parse(gruus.choose(true).unwrap()).unwrap();
        assert!(is_gruu(&temporary) && gruu_instance(&temporary).is_none());
        let none =
            NameAddr::parse(HeaderName::Contact, "<sip:a>;pub-gruu=\"sip:a@b\";temp-gruu=\"tel:+1;gr\"").unwrap();
        assert_eq!(Gruus::of(&none), Gruus::default());
    }
}
