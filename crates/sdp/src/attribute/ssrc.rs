//! `a=ssrc`, `a=ssrc-group`: what RTP sources are for. RFC 5576.

use std::fmt;

use super::{Attribute, first_word, words};
use crate::error::AttributeError;
use crate::field::number;
use crate::media::Media;

/// One property of an RTP source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ssrc<'a> {
    /// The source.
    pub id: u32,
    /// The property's name, such as `cname`.
    pub attribute: &'a str,
    /// Its value, if there is a colon.
    pub value: Option<&'a str>,
}

impl<'a> Attribute<'a> for Ssrc<'a> {
    const NAME: &'static str = "ssrc";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (id, rest) = first_word(value);
        let id = number(id).ok_or(error("a number of 32 bits"))?;
        let (attribute, value) = match rest.split_once(':') {
            Some((attribute, value)) => (attribute, Some(value)),
            None => (rest, None),
        };
        if attribute.is_empty() {
            return Err(error("an attribute of the source"));
        }
        Ok(Self { id, attribute, value })
    }
}

impl fmt::Display for Ssrc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.attribute)?;
        match self.value {
            Some(value) => write!(f, ":{value}"),
            None => Ok(()),
        }
    }
}

/// RTP sources that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SsrcGroup<'a> {
    /// `FID`, `FEC`, `FEC-FR`, `SIM`, or another.
    pub semantics: &'a str,
    /// The sources.
    pub ids: Vec<u32>,
}

impl<'a> Attribute<'a> for SsrcGroup<'a> {
    const NAME: &'static str = "ssrc-group";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = AttributeError { attribute: Self::NAME, expected: "semantics and numbers of 32 bits" };
        let mut words = words(value);
        let semantics = words.next().ok_or(error)?;
        let ids: Option<Vec<u32>> = words.map(number).collect();
        Ok(Self { semantics, ids: ids.ok_or(error)? })
    }
}

impl fmt::Display for SsrcGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.semantics)?;
        self.ids.iter().try_for_each(|id| write!(f, " {id}"))
    }
}

impl Media {
    /// Every `a=ssrc` that can be read, in order.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }

    /// Every `a=ssrc-group` that can be read, in order.
    pub fn ssrc_groups(&self) -> impl Iterator<Item = SsrcGroup<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_sources_and_groups() {
        let cname: Ssrc = round_trips("314159 cname:user@example.com");
        assert_eq!((cname.id, cname.attribute, cname.value), (314_159, "cname", Some("user@example.com")));
        assert_eq!(round_trips::<Ssrc>("4294967295 x").value, None);
        assert_eq!(round_trips::<Ssrc>("1 fmtp:96 a:b").value, Some("96 a:b"));
        assert_eq!(round_trips::<SsrcGroup>("FID 1 2").ids, [1, 2]);
        refuses::<Ssrc>(&["", "1", "4294967296 a", "x cname:a", "1 :a"]);
        refuses::<SsrcGroup>(&["", "FID x", "FID 4294967296"]);
    }
}
