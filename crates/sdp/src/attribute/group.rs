//! `a=group`, `a=mid`, `a=bundle-only`: which media belong together. RFC 5888, RFC 9143.

use std::fmt;

use super::{Attribute, words};
use crate::error::AttributeError;
use crate::media::Media;
use crate::session::Description;

/// Media that belong together, by their `a=mid`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group<'a> {
    /// `BUNDLE` (RFC 9143), `LS` (RFC 5888), `FID`, or another.
    pub semantics: &'a str,
    /// The media's identification tags; may be empty.
    pub mids: Vec<&'a str>,
}

impl Group<'_> {
    /// Whether its members share one transport. RFC 9143.
    pub fn is_bundle(&self) -> bool {
        self.semantics == "BUNDLE"
    }
}

impl<'a> Attribute<'a> for Group<'a> {
    const NAME: &'static str = "group";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let mut words = words(value);
        let error = AttributeError { attribute: Self::NAME, expected: "semantics and identification tags" };
        Ok(Self { semantics: words.next().ok_or(error)?, mids: words.collect() })
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.semantics)?;
        self.mids.iter().try_for_each(|mid| write!(f, " {mid}"))
    }
}

impl Description {
    /// Every `a=group`, in order.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> + '_ {
        self.session().typed().filter_map(Result::ok)
    }

    /// The media description with this `a=mid`, and where it stands.
    pub fn media_of_mid(&self, mid: &str) -> Option<(usize, &Media)> {
        self.media().iter().enumerate().find(|(_, media)| media.mid() == Some(mid))
    }
}

impl Media {
    /// Its identification tag: `a=mid`. RFC 5888 §4.
    pub fn mid(&self) -> Option<&str> {
        self.value("mid").map(|mid| mid.trim_matches(' ')).filter(|mid| !mid.is_empty())
    }

    /// Whether it is `a=bundle-only`: with port 0 not refused, but to share the bundle's port. RFC 9143 §6.
    pub fn bundle_only(&self) -> bool {
        self.has_attribute("bundle-only")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;
    use crate::protocol::{MediaKind, Protocol};

    #[test]
    fn reads_semantics_and_members() {
        let group: Group = round_trips("BUNDLE 0 1 data");
        assert!(group.is_bundle());
        assert_eq!(group.mids, ["0", "1", "data"]);
        assert!(!round_trips::<Group>("LS 1 2").is_bundle());
        assert_eq!(round_trips::<Group>("BUNDLE").mids, [""; 0]);
        assert_eq!(Group::parse(" BUNDLE  a ").unwrap().mids, ["a"]);
        refuses::<Group>(&["", " "]);
    }

    #[test]
    fn a_port_of_zero_refuses_unless_the_bundle_has_the_port() {
        let mut media = Media::new(MediaKind::Audio, 0, Protocol::UdpTlsRtpSavpf);
        assert!(media.is_rejected());
        media.push_attribute("bundle-only", None);
        assert!(!media.is_rejected());
    }
}
