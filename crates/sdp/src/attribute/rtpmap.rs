//! `a=rtpmap`: what a payload type stands for. RFC 8866 §6.6, static ones RFC 3551 §6.

use std::fmt;

use super::{Attribute, first_word};
use crate::error::AttributeError;
use crate::field::number;
use crate::media::Media;

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rtpmap<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// Encoding name, as written; compare it without regard to case ([`Rtpmap::is`]).
    pub encoding: &'a str,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels, if the line says so. [`Rtpmap::channels_or_one`] fills in the default.
    pub channels: Option<u8>,
}

impl Rtpmap<'_> {
    /// Whether this is the encoding of that name, in any case of letters.
    pub fn is(&self, encoding: &str) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding)
    }

    /// Channels; 1 where the line does not say.
    pub fn channels_or_one(&self) -> u8 {
        self.channels.unwrap_or(1)
    }

    /// Whether both stand for the same encoding, clock rate and channels, whatever their payload types.
    pub fn same_codec(&self, other: &Rtpmap<'_>) -> bool {
        self.is(other.encoding)
            && self.clock_rate == other.clock_rate
            && self.channels_or_one() == other.channels_or_one()
    }

    /// What a static payload type stands for without any `a=rtpmap`. RFC 3551 §6, tables 4 and 5.
    pub fn of_static(payload_type: u8) -> Option<Rtpmap<'static>> {
        let (_, encoding, clock_rate, channels) = *STATIC.iter().find(|(known, ..)| *known == payload_type)?;
        Some(Rtpmap { payload_type, encoding, clock_rate, channels: (channels > 1).then_some(channels) })
    }
}

impl<'a> Attribute<'a> for Rtpmap<'a> {
    const NAME: &'static str = "rtpmap";

    /// Lenient: an encoding without a clock rate that RFC 3551 knows gets the one it has there.
    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (payload_type, rest) = first_word(value);
        let payload_type: Option<u8> = number(payload_type).filter(|number| *number < 128);
        let payload_type = payload_type.ok_or(error("a payload type from 0 to 127"))?;
        let mut parts = rest.split('/').map(|part| part.trim_matches(' '));
        let encoding = parts.next().filter(|name| !name.is_empty()).ok_or(error("an encoding name"))?;
        let clock_rate = match parts.next() {
            Some(rate) => number(rate),
            None => {
                STATIC.iter().find(|(_, name, ..)| name.eq_ignore_ascii_case(encoding)).map(|(_, _, rate, _)| *rate)
            }
        };
        let clock_rate = clock_rate.filter(|rate| *rate > 0).ok_or(error("a clock rate"))?;
        let channels = match parts.next().map(number) {
            None => None,
            Some(Some(channels)) if channels > 0 => Some(channels),
            Some(_) => return Err(error("a number of channels from 1 to 255")),
        };
        Ok(Self { payload_type, encoding, clock_rate, channels })
    }
}

impl fmt::Display for Rtpmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.payload_type, self.encoding, self.clock_rate)?;
        match self.channels {
            Some(channels) => write!(f, "/{channels}"),
            None => Ok(()),
        }
    }
}

impl Media {
    /// Every `a=rtpmap` that can be read, in order.
    pub fn rtpmaps(&self) -> impl Iterator<Item = Rtpmap<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }

    /// What a payload type stands for: by `a=rtpmap`, else by RFC 3551 if it is a static one.
    pub fn rtpmap(&self, payload_type: u8) -> Option<Rtpmap<'_>> {
        let mut values = self.values(Rtpmap::NAME).filter(|value| number(first_word(value).0) == Some(payload_type));
        values.find_map(|value| Rtpmap::parse(value).ok()).or_else(|| Rtpmap::of_static(payload_type))
    }
}

/// Payload type, encoding, clock rate, channels. RFC 3551 tables 4 and 5.
const STATIC: [(u8, &str, u32, u8); 24] = [
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
    (25, "CelB", 90000, 1),
    (26, "JPEG", 90000, 1),
    (28, "nv", 90000, 1),
    (31, "H261", 90000, 1),
    (32, "MPV", 90000, 1),
    (33, "MP2T", 90000, 1),
    (34, "H263", 90000, 1),
];

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;
    use crate::protocol::{MediaKind, Protocol};

    #[test]
    fn reads_name_clock_rate_and_channels() {
        let opus: Rtpmap = round_trips("111 opus/48000/2");
        assert_eq!(opus, Rtpmap { payload_type: 111, encoding: "opus", clock_rate: 48000, channels: Some(2) });
        assert!(opus.is("OPUS") && !opus.is("opu"));
        let pcmu: Rtpmap = round_trips("0 PCMU/8000");
        assert_eq!(pcmu.channels_or_one(), 1);
        assert!(pcmu.same_codec(&Rtpmap::parse("96 pcmu/8000/1").unwrap()));
        assert!(!pcmu.same_codec(&Rtpmap::parse("96 pcmu/16000/1").unwrap()));
    }

    #[test]
    fn takes_extra_spaces_and_a_known_name_without_a_clock_rate() {
        assert_eq!(Rtpmap::parse(" 8  PCMA/8000 ").unwrap().to_string(), "8 PCMA/8000");
        assert_eq!(Rtpmap::parse("18 G729").unwrap().clock_rate, 8000);
    }

    #[test]
    fn refuses_what_is_no_rtpmap() {
        refuses::<Rtpmap>(&[
            "",
            "0",
            "128 PCMU/8000",
            "x PCMU/8000",
            "96 opus",
            "96 /8000",
            "96 opus/0",
            "96 opus/48000/0",
        ]);
        refuses::<Rtpmap>(&[
            "96 opus/-1",
            "96 opus/+8000",
            "-1 opus/48000",
            "96 opus/48000/two",
            "96 opus/99999999999",
        ]);
    }

    #[test]
    fn knows_the_static_payload_types() {
        let mut media = Media::new(MediaKind::Audio, 9, Protocol::RtpAvp);
        assert_eq!(media.rtpmap(9).unwrap().to_string(), "9 G722/8000");
        assert_eq!(media.rtpmap(10).unwrap().to_string(), "10 L16/44100/2");
        assert_eq!(media.rtpmap(34).unwrap().to_string(), "34 H263/90000");
        assert_eq!((media.rtpmap(1), media.rtpmap(72), media.rtpmap(96)), (None, None, None));
        media.push_attribute("rtpmap", Some("0 other/16000"));
        assert_eq!(media.rtpmap(0).unwrap().encoding, "other");
    }
}
