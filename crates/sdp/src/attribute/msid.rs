//! `a=msid`: which media streams a track belongs to. RFC 8830.

use std::fmt;

use super::{Attribute, words};
use crate::error::AttributeError;
use crate::media::Media;

/// A media stream, and the track's name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Msid<'a> {
    /// The stream; `-` for none.
    pub id: &'a str,
    /// The track, where it is stated (RFC 9429 no longer wants it).
    pub appdata: Option<&'a str>,
}

impl<'a> Attribute<'a> for Msid<'a> {
    const NAME: &'static str = "msid";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let mut words = words(value);
        match (words.next(), words.next(), words.next()) {
            (Some(id), appdata, None) => Ok(Self { id, appdata }),
            _ => Err(AttributeError { attribute: Self::NAME, expected: "a stream and perhaps a track" }),
        }
    }
}

impl fmt::Display for Msid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)?;
        match self.appdata {
            Some(appdata) => write!(f, " {appdata}"),
            None => Ok(()),
        }
    }
}

impl Media {
    /// Every `a=msid` that can be read, in order.
    pub fn msids(&self) -> impl Iterator<Item = Msid<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_stream_and_track() {
        assert_eq!(round_trips::<Msid>("stream track"), Msid { id: "stream", appdata: Some("track") });
        assert_eq!(round_trips::<Msid>("-").appdata, None);
        refuses::<Msid>(&["", "a b c"]);
    }
}
