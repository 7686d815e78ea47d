//! Typed access to the header fields that routing needs (RFC 3261 §20).

use super::lex;
use super::{Contacts, Field, HeaderError, HeaderErrorKind, HeaderName, Message, Method, NameAddr, NameAddrs, Via};

/// Number and method of a request within its dialog (RFC 3261 §20.16).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The request's method.
    pub method: Method,
}

impl CSeq {
    /// Reads a CSeq value.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let malformed = HeaderError::malformed(HeaderName::CSeq);
        let number_end = text.bytes().position(lex::is_space).ok_or(malformed)?;
        let (number, method) = text.split_at(number_end);
        let number = lex::number(number).filter(|number| *number < 1 << 31).ok_or(malformed)?;
        let method = Method::parse(lex::trim_start(method)).ok_or(malformed)?;
        Ok(Self { number, method })
    }
}

impl Message {
    /// The elements of the comma lists of all header fields of that name, in order.
    pub fn values(&self, name: HeaderName) -> Values<'_> {
        Values { message: self, next: self.first_field(name), list: None }
    }

    /// The top Via.
    pub fn via(&self) -> Result<Via<'_>, HeaderError> {
        self.vias().next().unwrap_or(Err(HeaderError::missing(HeaderName::Via)))
    }

    /// All Via values from the top.
    pub fn vias(&self) -> Vias<'_> {
        Vias { values: self.values(HeaderName::Via) }
    }

    /// From. An error if it is missing, there more than once, or malformed.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(HeaderName::From, self.single(HeaderName::From)?)
    }

    /// To. An error if it is missing, there more than once, or malformed.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(HeaderName::To, self.single(HeaderName::To)?)
    }

    /// The tag of From; `None` also if From is wrong.
    pub fn from_tag(&self) -> Option<&str> {
        self.from().ok()?.tag()
    }

    /// The tag of To; `None` also if To is wrong.
    pub fn to_tag(&self) -> Option<&str> {
        self.to().ok()?.tag()
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let text = self.single(HeaderName::CallId)?;
        if lex::is_call_id(text) { Ok(text) } else { Err(HeaderError::malformed(HeaderName::CallId)) }
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        CSeq::parse(self.single(HeaderName::CSeq)?)
    }

    /// Contact. An error if `*` does not stand alone (RFC 3261 §10.3 step 6).
    pub fn contacts(&self) -> Result<Contacts<'_>, HeaderError> {
        // Hardly any Contact has a star anywhere.
        let has_star = |value: &str| lex::find(value, b'*').is_some();
        if !self.headers(HeaderName::Contact).any(has_star) {
            let any = self.header(HeaderName::Contact).is_some();
            return Ok(if any { Contacts::List(self.name_addrs(HeaderName::Contact)) } else { Contacts::None });
        }
        let mut values = self.values(HeaderName::Contact);
        if values.clone().all(|value| value != "*") {
            return Ok(Contacts::List(self.name_addrs(HeaderName::Contact)));
        }
        if values.nth(1).is_none() {
            return Ok(Contacts::Star);
        }
        Err(HeaderError::malformed(HeaderName::Contact))
    }

    /// Route, from the top.
    pub fn routes(&self) -> NameAddrs<'_> {
        self.name_addrs(HeaderName::Route)
    }

    /// Record-Route, from the top.
    pub fn record_routes(&self) -> NameAddrs<'_> {
        self.name_addrs(HeaderName::RecordRoute)
    }

    /// Path, from the top (RFC 3327).
    pub fn paths(&self) -> NameAddrs<'_> {
        self.name_addrs(HeaderName::Path)
    }

    /// The values of any header field that is made of names and addresses.
    pub fn name_addrs(&self, name: HeaderName) -> NameAddrs<'_> {
        NameAddrs { name, values: self.values(name) }
    }

    /// Max-Forwards, 0–255 (RFC 3261 §20.22).
    pub fn max_forwards(&self) -> Result<Option<u32>, HeaderError> {
        match self.number(HeaderName::MaxForwards)? {
            Some(256..) => Err(HeaderError::malformed(HeaderName::MaxForwards)),
            number => Ok(number),
        }
    }

    /// Max-Breadth (RFC 5393 §5.3.2).
    pub fn max_breadth(&self) -> Result<Option<u32>, HeaderError> {
        self.number(HeaderName::MaxBreadth)
    }

    /// Expires in seconds; beyond 2^32 − 1 it is 2^32 − 1 (RFC 3261 §20.19).
    pub fn expires(&self) -> Result<Option<u32>, HeaderError> {
        self.seconds(HeaderName::Expires)
    }

    /// Min-Expires in seconds (RFC 3261 §20.23).
    pub fn min_expires(&self) -> Result<Option<u32>, HeaderError> {
        self.seconds(HeaderName::MinExpires)
    }

    /// Content-Length in bytes.
    pub fn content_length(&self) -> Result<Option<usize>, HeaderError> {
        let Some(text) = self.header(HeaderName::ContentLength) else { return Ok(None) };
        let length = super::parse::content_length(text.as_bytes());
        length.map(Some).map_err(|_| HeaderError::malformed(HeaderName::ContentLength))
    }

    /// Content-Type as written.
    pub fn content_type(&self) -> Option<&str> {
        self.header(HeaderName::ContentType)
    }

    /// The option tags of Require.
    pub fn require(&self) -> Tokens<'_> {
        self.tokens(HeaderName::Require)
    }

    /// The option tags of Proxy-Require.
    pub fn proxy_require(&self) -> Tokens<'_> {
        self.tokens(HeaderName::ProxyRequire)
    }

    /// The option tags of Supported.
    pub fn supported(&self) -> Tokens<'_> {
        self.tokens(HeaderName::Supported)
    }

    /// The elements of a header field that is a list of tokens, empty ones left out; compare them without case.
    pub fn tokens(&self, name: HeaderName) -> Tokens<'_> {
        Tokens { values: self.values(name) }
    }

    /// The raw values of Authorization, one per header field (their commas separate parameters).
    pub fn authorization(&self) -> impl Iterator<Item = &str> {
        self.headers(HeaderName::Authorization)
    }

    /// The raw values of Proxy-Authorization, one per header field.
    pub fn proxy_authorization(&self) -> impl Iterator<Item = &str> {
        self.headers(HeaderName::ProxyAuthorization)
    }

    /// Whether the header fields that everything depends on are there, once where they may be there once, and well
    /// formed: Via (each), From, To, Call-ID, CSeq, in requests also the Request-URI, Max-Forwards if it is there and
    /// the method in CSeq (RFC 3261 §8.1.1, §16.3). A scheme that we do not know is well formed.
    pub fn check_essential(&self) -> Result<(), HeaderError> {
        let mut vias = self.vias();
        vias.next().unwrap_or(Err(HeaderError::missing(HeaderName::Via)))?;
        for via in vias {
            via?;
        }
        for (name, address) in [(HeaderName::From, self.from()?), (HeaderName::To, self.to()?)] {
            // tag-param = "tag" EQUAL token
            if address.uri().is_err() || address.param("tag") == Some(None) {
                return Err(HeaderError::malformed(name));
            }
        }
        self.call_id()?;
        let cseq = self.cseq()?;
        if let Some(method) = self.method() {
            self.uri()?;
            self.max_forwards()?;
            if *method != cseq.method {
                return Err(HeaderError::method_mismatch());
            }
        }
        Ok(())
    }

    /// The value of a header field that must be there exactly once.
    fn single(&self, name: HeaderName) -> Result<&str, HeaderError> {
        self.at_most_one(name)?.ok_or(HeaderError::missing(name))
    }

    fn at_most_one(&self, name: HeaderName) -> Result<Option<&str>, HeaderError> {
        match self.first_field(name) {
            Some(field) if field.next != 0 => Err(HeaderError::repeated(name)),
            field => Ok(field.map(|field| &self.head[field.value()])),
        }
    }

    fn number(&self, name: HeaderName) -> Result<Option<u32>, HeaderError> {
        let Some(text) = self.at_most_one(name)? else { return Ok(None) };
        lex::number(text).map(Some).ok_or(HeaderError::malformed(name))
    }

    fn seconds(&self, name: HeaderName) -> Result<Option<u32>, HeaderError> {
        let Some(text) = self.at_most_one(name)? else { return Ok(None) };
        let number = lex::saturating_number(text.as_bytes()).ok_or(HeaderError::malformed(name))?;
        Ok(Some(number.try_into().unwrap_or(u32::MAX)))
    }
}

impl HeaderError {
    /// Whether the header field is just not there.
    pub fn is_missing(&self) -> bool {
        self.kind() == HeaderErrorKind::Missing
    }
}

/// The elements of the comma lists of all header fields of one name.
#[derive(Clone, Debug)]
pub struct Values<'m> {
    message: &'m Message,
    /// The field after the one that `list` is from.
    next: Option<&'m Field>,
    list: Option<&'m str>,
}

impl<'m> Values<'m> {
    /// The text that the next element begins. Whoever reads it says with [`Self::advance`] where it ended, so that it is
    /// walked through once.
    #[inline(always)]
    pub(super) fn front(&mut self) -> Option<&'m str> {
        self.list.or_else(|| self.next_list())
    }

    /// Goes on behind the element that ends at `end` of `front`: at its comma or with it.
    #[inline(always)]
    pub(super) fn advance(&mut self, front: &'m str, end: usize) {
        self.list = front.get(end + 1..);
    }

    /// The same for an element that cannot be read; it ends where the grammar of lists says.
    #[cold]
    pub(super) fn advance_over_broken(&mut self, front: &'m str) {
        self.advance(front, lex::element_end(front));
    }

    #[inline]
    fn next_list(&mut self) -> Option<&'m str> {
        let field = self.next?;
        self.next = self.message.next_field(field);
        Some(&self.message.head[field.value()])
    }
}

impl<'m> Iterator for Values<'m> {
    type Item = &'m str;

    fn next(&mut self) -> Option<&'m str> {
        let front = self.front()?;
        let (element, end) = lex::first_element(front);
        self.advance(front, end);
        Some(element)
    }
}

/// The elements of a token list, empty ones left out.
#[derive(Clone, Debug)]
pub struct Tokens<'m> {
    values: Values<'m>,
}

impl<'m> Iterator for Tokens<'m> {
    type Item = &'m str;

    fn next(&mut self) -> Option<&'m str> {
        self.values.find(|value| !value.is_empty())
    }
}

/// The Via values of a message from the top.
#[derive(Clone, Debug)]
pub struct Vias<'m> {
    values: Values<'m>,
}

impl<'m> Iterator for Vias<'m> {
    type Item = Result<Via<'m>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let front = self.values.front()?;
        let Some((via, end)) = Via::read(front) else {
            self.values.advance_over_broken(front);
            return Some(Err(HeaderError::malformed(HeaderName::Via)));
        };
        self.values.advance(front, end);
        Some(Ok(via))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    fn message(lines: &str) -> Message {
        let text = format!("REGISTER sip:a SIP/2.0\r\n{lines}\r\n");
        Message::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    const ESSENTIAL: &str = "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:a@a>\r\n\
        Call-ID: c\r\nCSeq: 1 REGISTER\r\n";

    fn verdict(lines: &str) -> Result<(), String> {
        message(lines).check_essential().map_err(|error| error.reason())
    }

    #[test]
    fn what_everything_depends_on_is_there_once_and_well_formed() {
        // RFC 3261 §8.1.1, §16.3
        assert_eq!(verdict(ESSENTIAL), Ok(()));
        for (line, changed, reason) in [
            ("Call-ID: c\r\n", "", "Missing Call-ID"),
            ("Call-ID: c\r\n", "Call-ID: c\r\ni: d\r\n", "Repeated Call-ID"),
            ("Call-ID: c", "Call-ID: c d", "Malformed Call-ID"),
            ("Call-ID: c", "Call-ID: @", "Malformed Call-ID"),
            ("From: <sip:a@a>", "From: <sip:a a>", "Malformed From"),
            (";tag=1", ";tag", "Malformed From"),
            ("1 REGISTER", "2147483648 REGISTER", "Malformed CSeq"),
            ("1 REGISTER", "1 INVITE", "CSeq Method Mismatch"),
            ("CSeq", "Max-Forwards: 256\r\nCSeq", "Malformed Max-Forwards"),
            ("CSeq", "Via: SIP/2.0/UDP ;\r\nCSeq", "Malformed Via"),
            ("Via", "X-Via", "Missing Via"),
        ] {
            assert_eq!(verdict(&ESSENTIAL.replacen(line, changed, 1)), Err(reason.to_owned()), "{changed}");
        }
    }

    #[test]
    fn a_star_stands_alone_or_is_no_star() {
        // RFC 3261 §10.3 step 6
        let kind = |lines: &str| match message(lines).contacts() {
            Ok(Contacts::None) => "none".to_owned(),
            Ok(Contacts::Star) => "star".to_owned(),
            Ok(Contacts::List(contacts)) => contacts.count().to_string(),
            Err(_) => "wrong".to_owned(),
        };
        assert_eq!(kind(""), "none");
        assert_eq!(kind("m: *\r\n"), "star");
        assert_eq!(kind("m: <sip:*@a>, \"*, *\" <sip:b>\r\nContact: sip:c\r\n"), "3");
        assert_eq!(kind("m: *, <sip:a>\r\n"), "wrong");
        assert_eq!(kind("m: <sip:a>\r\nm: *\r\n"), "wrong");
        assert_eq!(kind("m: *\r\nm: *\r\n"), "wrong");
    }

    #[test]
    fn one_bad_value_in_a_list_leaves_the_others_readable() {
        let message = message("Route: <sip:a;lr>, \"unfinished <x>\r\nRoute: <sip:b;lr> junk, <sip:c;lr>\r\n");
        let routes: Vec<_> = message.routes().map(|route| route.ok().map(|route| route.uri_text)).collect();
        assert_eq!(routes, [Some("sip:a;lr"), None, None, Some("sip:c;lr")]);
    }

    #[test]
    fn seconds_beyond_the_range_are_the_end_of_the_range() {
        let message = message("Expires: 99999999999999999999\r\nMin-Expires: 060\r\nMax-Forwards: 070\r\n");
        assert_eq!(message.expires(), Ok(Some(u32::MAX)));
        assert_eq!((message.min_expires(), message.max_forwards()), (Ok(Some(60)), Ok(Some(70))));
        assert!(self::message("Expires: soon\r\n").expires().is_err());
        assert!(self::message("Expires: 1\r\nExpires: 2\r\n").expires().is_err());
    }
}
