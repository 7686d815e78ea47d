//! Codecs: what one is, and when two descriptions mean the same one. RFC 3264 §6.1, RFC 8866 §6.6 (`rtpmap`).
//!
//! A payload type is only a number that one side chose. What two sides have in common is a codec: the encoding's name, the
//! clock rate, the channels, and those format parameters that configure it ([`configuration`]) rather than describe a side.

use crate::attribute::Rtpmap;

use super::h264;

/// One codec of an RTP stream, as this side can use it.
///
/// ```
/// use farspeak_sdp::Codec;
/// let opus = Codec::new("opus", 48000).channels(2).fmtp("useinbandfec=1");
/// let vp8 = Codec::new("VP8", 90000).feedback("nack pli").retransmission();
/// assert_eq!((Codec::pcmu().payload_type, opus.payload_type, vp8.payload_type), (Some(0), None, None));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// Encoding name of the `rtpmap`; case does not matter.
    pub encoding: Box<str>,
    /// RTP clock rate in Hz. For G.722 that is 8000 (RFC 3551 §4.5.2).
    pub clock_rate: u32,
    /// Audio channels. Default 1.
    pub channels: u8,
    /// Format parameters of this side, without the payload type.
    pub fmtp: Option<Box<str>>,
    /// Payload type to use if it is free. Default: the static one of RFC 3551, else the next free dynamic one. An answer
    /// uses the offer's (RFC 3264 §6.1).
    pub payload_type: Option<u8>,
    /// RTCP feedback for this codec (`nack`, `nack pli`, `ccm fir`, `transport-cc`), without the payload type. Any makes an
    /// offer use a profile with feedback.
    pub feedback: Vec<Box<str>>,
    /// Whether retransmissions of it (`rtx`, RFC 4588) are offered and accepted. Default false.
    pub retransmission: bool,
}

impl Codec {
    /// A codec with one channel and without parameters.
    pub fn new(encoding: &str, clock_rate: u32) -> Self {
        Self {
            encoding: encoding.into(),
            clock_rate,
            channels: 1,
            fmtp: None,
            payload_type: static_payload_type(encoding, clock_rate, 1),
            feedback: Vec::new(),
            retransmission: false,
        }
    }

    /// G.711 µ-law.
    pub fn pcmu() -> Self {
        Self::new("PCMU", 8000)
    }

    /// G.711 A-law.
    pub fn pcma() -> Self {
        Self::new("PCMA", 8000)
    }

    /// G.722.
    pub fn g722() -> Self {
        Self::new("G722", 8000)
    }

    /// Opus; RFC 7587 §7 wants 48000 Hz and two channels there, whatever is sent.
    pub fn opus() -> Self {
        Self::new("opus", 48000).channels(2)
    }

    /// The same with this many channels.
    pub fn channels(mut self, channels: u8) -> Self {
        self.channels = channels;
        self.payload_type = static_payload_type(&self.encoding, self.clock_rate, channels);
        self
    }

    /// The same with these format parameters.
    pub fn fmtp(mut self, fmtp: &str) -> Self {
        self.fmtp = Some(fmtp.into());
        self
    }

    /// The same with this preferred payload type.
    pub fn payload_type(mut self, payload_type: u8) -> Self {
        self.payload_type = Some(payload_type);
        self
    }

    /// The same with one more kind of RTCP feedback.
    pub fn feedback(mut self, feedback: &str) -> Self {
        self.feedback.push(feedback.into());
        self
    }

    /// The same with retransmissions.
    pub fn retransmission(mut self) -> Self {
        self.retransmission = true;
        self
    }

    /// Whether it only helps another codec: events, comfort noise, redundancy, retransmission, error correction. A stream
    /// of nothing but these is agreed only if nothing else was offered.
    pub fn is_auxiliary(&self) -> bool {
        is_auxiliary(&self.encoding)
    }
}

/// One format of an `m=` line, read from a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) encoding: Box<str>,
    pub(crate) clock_rate: u32,
    pub(crate) channels: u8,
    pub(crate) fmtp: Option<Box<str>>,
}

impl Format {
    /// Same codec in the same configuration, whatever the payload type.
    pub(crate) fn is(&self, codec: &Codec) -> bool {
        let channels = if self.encoding.eq_ignore_ascii_case("opus") { codec.channels } else { self.channels };
        self.encoding.eq_ignore_ascii_case(&codec.encoding)
            && (self.clock_rate, channels) == (codec.clock_rate, codec.channels)
            && configuration(&self.encoding, self.fmtp.as_deref())
                == configuration(&codec.encoding, codec.fmtp.as_deref())
    }

    /// The payload type that an `rtx` format repeats (`apt`, RFC 4588 §8.1).
    pub(crate) fn repeats(&self) -> Option<u8> {
        if !self.encoding.eq_ignore_ascii_case("rtx") {
            return None;
        }
        parameter(self.fmtp.as_deref()?, "apt")?.parse().ok()
    }
}

/// What names a codec in one configuration: equal texts mean the same codec. A payload type means the same one for ever.
pub(crate) fn identity(codec: &Codec) -> String {
    let channels = if codec.encoding.eq_ignore_ascii_case("opus") { 2 } else { codec.channels };
    let mut identity = format!("{}/{}/{channels}", codec.encoding, codec.clock_rate);
    identity.make_ascii_lowercase();
    for value in configuration(&codec.encoding, codec.fmtp.as_deref()) {
        identity.push(';');
        identity.push_str(&value);
    }
    identity
}

/// The values of the parameters that both sides must have the same, each with its default filled in. RFC 3264 §6.1 ("those
/// parameters describe specific configurations of the media format").
fn configuration(encoding: &str, fmtp: Option<&str>) -> Vec<String> {
    let fmtp = fmtp.unwrap_or_default();
    let value = |name, default: &str| {
        let mut value = parameter(fmtp, name).unwrap_or(default).to_owned();
        value.make_ascii_lowercase();
        value
    };
    match encoding.to_ascii_lowercase().as_str() {
        // RFC 6184 §8.2.2: the profile, but not the level.
        "h264" | "h264-svc" => {
            vec![value("packetization-mode", "0"), h264::Profile::of(parameter(fmtp, "profile-level-id")).name()]
        }
        "h265" => vec![value("profile-id", "1"), value("tier-flag", "0")], // RFC 7798 §7.2.2
        "vp9" => vec![value("profile-id", "0")],                           // RFC 9628 §7.2.2
        "av1" => vec![value("profile", "0")],
        // RFC 4867 §8.3.1
        "amr" | "amr-wb" => {
            let aligned = ["crc", "robust-sorting"].iter().any(|name| parameter(fmtp, name) == Some("1"));
            let interleaved = parameter(fmtp, "interleaving").is_some();
            let default = if aligned || interleaved { "1" } else { "0" };
            vec![
                value("octet-align", default),
                value("crc", "0"),
                value("robust-sorting", "0"),
                u8::from(interleaved).to_string(),
            ]
        }
        "rtx" => vec![value("apt", "")],
        _ => Vec::new(),
    }
}

/// The format parameters to answer with, given ours and those offered for the same codec.
///
/// Mostly ours: they say what this side wants to receive. What configures the codec is the offer's, and so is H.264's level
/// unless both sides allow asymmetry (RFC 6184 §8.2.2) and AMR's mode set (RFC 4867 §8.3.1).
pub(crate) fn answer_fmtp(codec: &Codec, offered: Option<&str>) -> Option<String> {
    let ours = codec.fmtp.as_deref();
    match codec.encoding.to_ascii_lowercase().as_str() {
        "h264" | "h264-svc" => Some(h264::answer(ours.unwrap_or_default(), offered.unwrap_or_default())),
        "amr" | "amr-wb" => {
            let mut answer = ours.unwrap_or_default().to_owned();
            for name in ["mode-set", "octet-align"] {
                if let Some(value) = offered.and_then(|offered| parameter(offered, name)) {
                    answer = with_parameter(&answer, name, value);
                }
            }
            Some(answer).filter(|answer| !answer.is_empty())
        }
        _ => ours.map(str::to_owned),
    }
}

/// The value of a parameter in `name=value;name=value`. Names have no case; blanks around do not count.
pub(crate) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|part| {
        let (found, value) = part.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The same parameters with this one set.
pub(crate) fn with_parameter(fmtp: &str, name: &str, value: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut found = false;
    for part in fmtp.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let is = part.split_once('=').is_some_and(|(other, _)| other.trim().eq_ignore_ascii_case(name));
        match (is, found) {
            (false, _) => parts.push(part.to_owned()),
            (true, false) => parts.push(format!("{name}={value}")),
            (true, true) => {}
        }
        found |= is;
    }
    if !found {
        parts.push(format!("{name}={value}"));
    }
    parts.join(";")
}

pub(crate) fn is_auxiliary(encoding: &str) -> bool {
    ["telephone-event", "tone", "CN", "red", "rtx", "ulpfec", "parityfec", "flexfec", "flexfec-03"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(encoding))
}

/// The payload type that RFC 3551 §6 fixes for this codec.
fn static_payload_type(encoding: &str, clock_rate: u32, channels: u8) -> Option<u8> {
    (0..=34).filter_map(Rtpmap::of_static).find_map(|map| {
        let same = map.is(encoding) && (map.clock_rate, map.channels_or_one()) == (clock_rate, channels);
        same.then_some(map.payload_type)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(encoding: &str, fmtp: &str) -> Format {
        let fmtp = Some(fmtp).filter(|fmtp| !fmtp.is_empty()).map(Into::into);
        Format { payload_type: 97, encoding: encoding.into(), clock_rate: 90000, channels: 1, fmtp }
    }

    #[test]
    fn h264_profiles_and_packetization_modes_must_agree_and_levels_need_not() {
        let ours = Codec::new("H264", 90000).fmtp("profile-level-id=42e01f;packetization-mode=1");
        assert!(format("H264", "packetization-mode=1; profile-level-id=42E00A").is(&ours));
        assert!(format("h264", "packetization-mode=1;profile-level-id=4d800a").is(&ours), "also constrained baseline");
        assert!(!format("H264", "profile-level-id=42e01f").is(&ours), "mode 0");
        assert!(!format("H264", "profile-level-id=42001f;packetization-mode=1").is(&ours), "plain baseline");
        assert!(!format("H264", "profile-level-id=64001f;packetization-mode=1").is(&ours), "high");
    }

    #[test]
    fn opus_parameters_are_no_configuration() {
        let offered = Format { clock_rate: 48000, channels: 2, ..format("OPUS", "stereo=1; usedtx=1") };
        assert!(offered.is(&Codec::opus().fmtp("useinbandfec=1")));
        assert_eq!(answer_fmtp(&Codec::opus().fmtp("useinbandfec=1"), Some("stereo=1")).unwrap(), "useinbandfec=1");
    }

    #[test]
    fn amr_alignment_must_agree_and_the_mode_set_is_the_offers() {
        let mut offered = format("AMR", "mode-set=0,2,4,7; octet-align=1");
        offered.clock_rate = 8000;
        assert!(!offered.is(&Codec::new("AMR", 8000)));
        let ours = Codec::new("AMR", 8000).fmtp("octet-align=1");
        assert!(offered.is(&ours));
        assert_eq!(answer_fmtp(&ours, offered.fmtp.as_deref()).unwrap(), "octet-align=1;mode-set=0,2,4,7");
    }

    #[test]
    fn vp8_has_no_configuration_and_vp9_has_its_profile() {
        assert!(format("VP8", "max-fr=30;max-fs=3600").is(&Codec::new("VP8", 90000)));
        assert!(format("VP9", "").is(&Codec::new("VP9", 90000).fmtp("profile-id=0")));
        assert!(!format("VP9", "profile-id=2").is(&Codec::new("VP9", 90000)));
    }
}
