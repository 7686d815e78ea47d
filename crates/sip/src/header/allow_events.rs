//! Allow-Events: the event packages that the sender serves (RFC 6665 §8.2.2).

use std::fmt;

use super::event::is_event_type;
use super::{Event, MAX_VALUES};
use crate::message::{HeaderError, HeaderName, List, Message};

/// A set of packages, with their templates: `presence`, `presence.winfo`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AllowEvents {
    packages: Vec<String>,
}

impl AllowEvents {
    /// The header field's name.
    pub const NAME: HeaderName = HeaderName::AllowEvents;

    /// Reads one comma list, empty elements left out.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        Self::collect(List::new(text).filter(|package| !package.is_empty()))
    }

    /// The message's, over all its lines; `Ok(None)` if it does not say.
    pub fn of(message: &Message) -> Result<Option<Self>, HeaderError> {
        if message.header(Self::NAME).is_none() {
            return Ok(None);
        }
        Self::collect(message.tokens(Self::NAME)).map(Some)
    }

    fn collect<'a>(packages: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let mut set = Self::default();
        for package in packages {
            if !set.insert(package) || set.packages.len() > MAX_VALUES {
                return Err(HeaderError::malformed(Self::NAME));
            }
        }
        Ok(set)
    }

    /// Adds a package; false, and nothing is added, if that is no name of one.
    pub fn insert(&mut self, package: &str) -> bool {
        if !is_event_type(package) {
            return false;
        }
        if !self.packages.iter().any(|known| known == package) {
            self.packages.push(package.to_owned());
        }
        true
    }

    /// Whether the package of `event`, with its template, is in the set.
    pub fn contains(&self, event: &Event) -> bool {
        let wanted = event.event_type();
        self.packages.contains(&wanted)
    }

    /// Each package.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().map(String::as_str)
    }
}

impl fmt::Display for AllowEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_list(f, self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_a_set_with_their_templates() {
        let events = AllowEvents::parse("presence, presence.winfo,, refer,presence").unwrap();
        assert_eq!(events.to_string(), "presence, presence.winfo, refer");
        assert!(
            events.contains(&Event::parse("presence;id=1").unwrap()) && events.contains(&Event::new("presence.winfo"))
        );
        assert!(!events.contains(&Event::new("dialog")) && !events.contains(&Event::new("refer.winfo")));
        assert!(AllowEvents::parse("a b").is_err() && AllowEvents::parse(".a").is_err());
    }
}
