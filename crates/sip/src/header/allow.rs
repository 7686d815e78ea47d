//! Allow: the methods that the sender understands (RFC 3261 §20.5).

use std::fmt;

use super::MAX_VALUES;
use crate::message::{HeaderError, HeaderName, List, Message, Method};

/// The methods that we have names for, in the order in which they are written.
const KNOWN: [Method; 14] = [
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Register,
    Method::Options,
    Method::Prack,
    Method::Update,
    Method::Info,
    Method::Subscribe,
    Method::Notify,
    Method::Refer,
    Method::Message,
    Method::Publish,
];

/// A set of methods. Costs no allocation as long as all of them have a name in [`Method`].
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Allow {
    /// Bit n for `KNOWN[n]`.
    known: u16,
    others: Vec<Method>,
}

impl Allow {
    /// The header field's name.
    pub const NAME: HeaderName = HeaderName::Allow;

    /// None.
    pub const fn new() -> Self {
        Self { known: 0, others: Vec::new() }
    }

    /// Reads one comma list, empty elements left out.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        Self::collect(List::new(text).filter(|method| !method.is_empty()))
    }

    /// The message's, over all its lines. Without the header field nothing is known about the sender's methods, which is
    /// `Ok(None)`; an empty one says that there is none. Malformed if one is no token or more than [`MAX_VALUES`] have no
    /// name here.
    pub fn of(message: &Message) -> Result<Option<Self>, HeaderError> {
        if message.header(Self::NAME).is_none() {
            return Ok(None);
        }
        Self::collect(message.tokens(Self::NAME)).map(Some)
    }

    fn collect<'a>(methods: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let mut set = Self::new();
        for method in methods {
            set.insert(Method::parse(method).ok_or(HeaderError::malformed(Self::NAME))?);
            if set.others.len() > MAX_VALUES {
                return Err(HeaderError::malformed(Self::NAME));
            }
        }
        Ok(set)
    }

    /// Whether it is in the set.
    pub fn contains(&self, method: &Method) -> bool {
        match bit(method) {
            Some(bit) => self.known & bit != 0,
            None => self.others.contains(method),
        }
    }

    /// Adds one.
    pub fn insert(&mut self, method: Method) {
        match bit(&method) {
            Some(bit) => self.known |= bit,
            None if self.others.contains(&method) => {}
            None => self.others.push(method),
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, method: &Method) {
        match bit(method) {
            Some(bit) => self.known &= !bit,
            None => self.others.retain(|other| other != method),
        }
    }

    /// Each method; those that have a name in [`Method`] first.
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        KNOWN.iter().filter(|method| self.contains(method)).chain(&self.others)
    }
}

fn bit(method: &Method) -> Option<u16> {
    let index = match method {
        Method::Invite => 0,
        Method::Ack => 1,
        Method::Bye => 2,
        Method::Cancel => 3,
        Method::Register => 4,
        Method::Options => 5,
        Method::Prack => 6,
        Method::Update => 7,
        Method::Info => 8,
        Method::Subscribe => 9,
        Method::Notify => 10,
        Method::Refer => 11,
        Method::Message => 12,
        Method::Publish => 13,
        Method::Other(_) => return None,
    };
    Some(1 << index)
}

impl FromIterator<Method> for Allow {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        let mut set = Self::new();
        methods.into_iter().for_each(|method| set.insert(method));
        set
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_list(f, self.iter())
    }
}

impl fmt::Debug for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_a_set() {
        let allow = Allow::parse("BYE, INVITE,, ACK, FOO, FOO, BYE").unwrap();
        assert_eq!(allow.to_string(), "INVITE, ACK, BYE, FOO");
        assert!(allow.contains(&Method::Bye) && allow.contains(&Method::parse("FOO").unwrap()));
        assert!(!allow.contains(&Method::parse("foo").unwrap()) && !allow.contains(&Method::Info));
        assert!(Allow::parse("IN VITE").is_err());
        assert_eq!(KNOWN.iter().cloned().collect::<Allow>().iter().count(), KNOWN.len());
    }

    #[test]
    fn an_empty_allow_is_not_a_missing_one() {
        use crate::message::Limits;
        let allow = |line: &str| {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n");
            Allow::of(&Message::parse(text.as_bytes(), &Limits::default()).unwrap()).unwrap()
        };
        assert_eq!((allow(""), allow("Allow:\r\n")), (None, Some(Allow::new())));
        assert_eq!(allow("Allow: BYE\r\nAllow: ACK\r\n").unwrap().to_string(), "ACK, BYE");
    }
}
