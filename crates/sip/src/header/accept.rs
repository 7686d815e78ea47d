//! Accept: the bodies that the sender understands (RFC 3261 §20.1).

use std::fmt;

use super::params::ParamList;
use super::{MAX_VALUES, MediaType};
use crate::message::{HeaderError, HeaderName, List, Message};

/// A list of media ranges with preferences.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Accept {
    ranges: Vec<AcceptRange>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AcceptRange {
    /// The type; `*` for its parts stands for any. Parameters are without `q`.
    pub media: MediaType,
    /// Preference in thousandths, 0–1000; 0 means not acceptable. 1000 if it says nothing.
    pub q: u16,
}

impl Accept {
    /// The header field's name.
    pub const NAME: HeaderName = HeaderName::Accept;

    /// These types, all equally.
    pub fn of_types<'a>(essences: impl IntoIterator<Item = &'a str>) -> Self {
        let range = |essence: &str| Some(AcceptRange { media: MediaType::new(essence)?, q: 1000 });
        Self { ranges: essences.into_iter().filter_map(range).collect() }
    }

    /// Reads one comma list.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        Self::collect(List::new(text).filter(|range| !range.is_empty()))
    }

    /// The message's, over all its lines. Without one it is `application/sdp` (RFC 3261 §20.1); an empty one accepts
    /// nothing.
    pub fn of(message: &Message) -> Result<Self, HeaderError> {
        if message.header(Self::NAME).is_none() {
            return Ok(Self::of_types(["application/sdp"]));
        }
        Self::collect(message.tokens(Self::NAME))
    }

    fn collect<'a>(ranges: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let mut accept = Self::default();
        for range in ranges {
            let range = AcceptRange::read(&super::unfold(range)).filter(|_| accept.ranges.len() < MAX_VALUES);
            accept.ranges.push(range.ok_or(HeaderError::malformed(Self::NAME))?);
        }
        Ok(accept)
    }

    /// How much that type is wanted, in thousandths: by the most special range that it falls in; 0 without one.
    pub fn q(&self, essence: &str) -> u16 {
        let Some(wanted) = MediaType::new(essence) else { return 0 };
        let rank = |range: &&AcceptRange| range.rank(&wanted);
        self.ranges.iter().filter(|range| rank(range) > 0).max_by_key(rank).map_or(0, |range| range.q)
    }

    /// Whether that type is wanted at all.
    pub fn accepts(&self, essence: &str) -> bool {
        self.q(essence) > 0
    }

    /// The ranges in order.
    pub fn ranges(&self) -> &[AcceptRange] {
        &self.ranges
    }
}

impl AcceptRange {
    fn read(text: &str) -> Option<Self> {
        let mut media = MediaType::read(text)?;
        let params = media.params.get_all();
        let q = match params.get("q") {
            None => 1000,
            Some(value) => thousandths(value?)?,
        };
        media.params = ParamList::except(params, &["q"]);
        Some(Self { media, q })
    }

    /// 3 for the type itself, 2 for `type/*`, 1 for `*/*`, 0 if it does not fall in.
    fn rank(&self, wanted: &MediaType) -> u8 {
        let top = self.media.top.eq_ignore_ascii_case(&wanted.top);
        match (top, self.media.subtype.as_str()) {
            (true, subtype) if subtype.eq_ignore_ascii_case(&wanted.subtype) => 3,
            (true, "*") => 2,
            (false, "*") if self.media.top == "*" => 1,
            _ => 0,
        }
    }
}

/// `qvalue`: 0 to 1 with up to three places.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

impl fmt::Display for AcceptRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.media.fmt(f)?;
        match self.q {
            1000.. => Ok(()),
            q => write!(f, ";q=0.{q:03}"),
        }
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_list(f, self.ranges.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Limits;

    #[test]
    fn the_most_special_range_counts() {
        let accept =
            Accept::parse("application/sdp;level=1, application/x-private;q=0, text/*;q=0.5, */*;q=0.01").unwrap();
        for (essence, q) in
            [("Application/SDP", 1000), ("application/x-private", 0), ("text/html", 500), ("image/png", 10), ("x", 0)]
        {
            assert_eq!(accept.q(essence), q, "{essence}");
        }
        assert_eq!(
            accept.to_string(),
            "application/sdp;level=1, application/x-private;q=0.000, text/*;q=0.500, */*;q=0.010"
        );
        assert_eq!(Accept::parse(&accept.to_string()), Ok(accept));
        for text in ["sdp", "a/b;q=2", "a/b;q", "a/b;q=1.001", "a/b;q=0.1234", "a/b;q=.5"] {
            assert!(Accept::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_accept_there_is_sdp_and_with_an_empty_one_nothing() {
        // RFC 3261 §20.1
        let accepts = |line: &str| {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n");
            Accept::of(&Message::parse(text.as_bytes(), &Limits::default()).unwrap())
                .unwrap()
                .accepts("application/sdp")
        };
        assert!(accepts("") && !accepts("Accept:\r\n") && !accepts("Accept: text/plain\r\n"));
    }
}
