//! ICE: `a=ice-ufrag`, `a=ice-pwd`, `a=ice-options`, `a=ice-lite`, `a=ice-pacing`,
//! `a=ice-mismatch`, `a=candidate`, `a=end-of-candidates`.
//! RFC 8839 §5, RFC 8840 §4.4.

use super::words;
use crate::media::Media;
use crate::section::Section;
use crate::session::Description;

impl Section {
    /// The user name fragment that this level states. RFC 8839 §5.4.
    pub fn ice_ufrag(&self) -> Option<&str> {
        self.value("ice-ufrag")
    }

    /// The password that this level states. RFC 8839 §5.4.
    pub fn ice_pwd(&self) -> Option<&str> {
        self.value("ice-pwd")
    }

    /// The options that this level states, such as `trickle` and `ice2`. RFC 8839 §5.6.
    pub fn ice_options(&self) -> impl Iterator<Item = &str> + '_ {
        self.values("ice-options").flat_map(words)
    }

    /// Whether this level says that no more candidates will come. RFC 8840 §8.2.
    pub fn end_of_candidates(&self) -> bool {
        self.has_attribute("end-of-candidates")
    }
}

impl Description {
    /// Whether the peer is an ICE lite implementation; a property of the session alone. RFC 8839 §5.3.
    pub fn ice_lite(&self) -> bool {
        self.has_attribute("ice-lite")
    }

    /// How far apart the peer wants its and our checks to be, in milliseconds. `None` without a number that can be read; the
    /// default is 50 then. RFC 8839 §5.5.
    pub fn ice_pacing(&self) -> Option<u32> {
        let digits = self.value("ice-pacing")?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)?.parse().ok()
    }
}

impl Media {
    /// Every candidate, as text behind `a=candidate:`, in order. RFC 8839 §5.1.
    pub fn candidates(&self) -> impl Iterator<Item = &str> + '_ {
        self.values("candidate")
    }

    /// The candidates in use, in an offer that the controlling side makes after ICE is done. RFC 8839 §5.2.
    pub fn remote_candidates(&self) -> Option<&str> {
        self.value("remote-candidates")
    }

    /// Whether the peer found that the default destination is none of the candidates. RFC 8839 §5.3.
    pub fn ice_mismatch(&self) -> bool {
        self.has_attribute("ice-mismatch")
    }
}

#[cfg(test)]
mod tests {
    use crate::{Description, Limits};

    #[test]
    fn reads_both_levels() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=ice-pacing:30\r\na=ice-options:ice2 trickle\r\n\
                    m=audio 9 RTP/AVP 0\r\na=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=ice-mismatch\r\n\
                    a=candidate:1 1 UDP 2130706431 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n";
        let description = Description::parse(text.as_bytes(), &Limits::default()).unwrap();
        let media = &description.media()[0];
        assert!(description.ice_lite() && media.ice_mismatch() && media.end_of_candidates());
        assert_eq!(description.ice_pacing(), Some(30));
        assert_eq!(description.ice_options().collect::<Vec<_>>(), ["ice2", "trickle"]);
        assert_eq!((media.ice_ufrag(), media.ice_pwd()), (Some("8hhY"), Some("asd88fgpdd777uzjYhagZg")));
        assert_eq!(media.candidates().collect::<Vec<_>>(), ["1 1 UDP 2130706431 192.0.2.1 9 typ host"]);
        assert_eq!((description.ice_ufrag(), media.remote_candidates()), (None, None));
    }
}
