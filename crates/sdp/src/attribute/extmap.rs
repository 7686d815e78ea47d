//! `a=extmap`: RTP header extensions. RFC 8285 §5.

use std::fmt;

use super::{Attribute, Direction, first_word};
use crate::error::AttributeError;
use crate::field::number;
use crate::section::Section;

/// A number for an RTP header extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extmap<'a> {
    /// 1 to 14 for one-byte headers, to 255 for two-byte ones; 4096 to 4351 offer without a number.
    pub id: u16,
    /// In which direction it is sent; `None` where the line does not say: as the media.
    pub direction: Option<Direction>,
    /// Which extension.
    pub uri: &'a str,
    /// What follows; may be empty.
    pub attributes: &'a str,
}

impl<'a> Attribute<'a> for Extmap<'a> {
    const NAME: &'static str = "extmap";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (first, rest) = first_word(value);
        let (id, direction) = match first.split_once('/') {
            Some((id, direction)) => (id, Some(Direction::parse(direction).ok_or(error("a direction behind the /"))?)),
            None => (first, None),
        };
        let id = number(id).filter(|id| matches!(id, 1..=255 | 4096..=4351));
        let id = id.ok_or(error("a number from 1 to 255 or from 4096 to 4351"))?;
        match first_word(rest) {
            ("", _) => Err(error("the extension's URI")),
            (uri, attributes) => Ok(Self { id, direction, uri, attributes }),
        }
    }
}

impl fmt::Display for Extmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(direction) = self.direction {
            write!(f, "/{direction}")?;
        }
        write!(f, " {}", self.uri)?;
        if self.attributes.is_empty() { Ok(()) } else { write!(f, " {}", self.attributes) }
    }
}

impl Section {
    /// Every `a=extmap` of this level that can be read, in order.
    pub fn extmaps(&self) -> impl Iterator<Item = Extmap<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }

    /// Whether one-byte and two-byte headers may be mixed: `a=extmap-allow-mixed`. RFC 8285 §6.
    pub fn extmap_allow_mixed(&self) -> bool {
        self.has_attribute("extmap-allow-mixed")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_number_direction_and_uri() {
        let toffset: Extmap = round_trips("2/sendrecv http://example.com/082005/ext.htm#xmeta short");
        assert_eq!((toffset.id, toffset.direction, toffset.attributes), (2, Some(Direction::SendRecv), "short"));
        assert_eq!(round_trips::<Extmap>("4096 urn:ietf:params:rtp-hdrext:toffset").direction, None);
        refuses::<Extmap>(&["", "1", "0 u", "256 u", "4095 u", "4352 u", "1/both u", "x u", "1/ u"]);
    }
}
