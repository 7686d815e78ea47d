//! Content-Disposition: what a body is for (RFC 3261 §20.11, RFC 5621 §7).

use std::fmt;

use super::params::ParamList;
use super::{MediaType, single_header, split_params, token};

/// What a body is for, and whether it may be skipped.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContentDisposition {
    /// What it is for.
    pub disposition: Disposition,
    /// What happens if the receiver cannot use it.
    pub handling: Handling,
    /// All other parameters.
    pub params: ParamList,
}

/// The registered dispositions.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Disposition {
    /// Describes the session: an offer or an answer.
    Session,
    /// To be shown to the user.
    Render,
    /// A picture of the caller.
    Icon,
    /// A ring tone or the like.
    Alert,
    /// Describes an early session (RFC 3959).
    EarlySession,
    /// Named by a header field or another part (RFC 5621 §8).
    ByReference,
    /// Belongs to an Info-Package (RFC 6086 §6).
    InfoPackage,
    /// Who else is to receive the request (RFC 5363).
    RecipientList,
    /// Authenticated identity body (RFC 3893).
    Aib,
    /// Metadata of a recording (RFC 7866).
    RecordingSession,
    /// Another token, as written.
    Other(String),
}

/// What a receiver that does not understand a body does (RFC 3204 §5, RFC 5621 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Handling {
    /// It refuses the message with 415. Holds if nothing is said (RFC 3261 §20.11), and for values that we do not know.
    #[default]
    Required,
    /// It ignores the body.
    Optional,
}

single_header!(ContentDisposition, ContentDisposition);

impl ContentDisposition {
    /// That disposition, `handling=required`.
    pub const fn new(disposition: Disposition) -> Self {
        Self { disposition, handling: Handling::Required, params: ParamList::new() }
    }

    /// May be ignored.
    pub const fn optional(mut self) -> Self {
        self.handling = Handling::Optional;
        self
    }

    /// What holds for a body without the header field: `session` for SDP, else `render` (RFC 3261 §20.11).
    pub fn default_of(content_type: Option<&MediaType>) -> Self {
        Self::new(if content_type.is_some_and(MediaType::is_sdp) { Disposition::Session } else { Disposition::Render })
    }

    fn read(text: &str) -> Option<Self> {
        let (disposition, params) = split_params(text)?;
        let handling = match params.get("handling") {
            None => Handling::Required,
            Some(value) if value?.eq_ignore_ascii_case("optional") => Handling::Optional,
            Some(_) => Handling::Required,
        };
        Some(Self {
            disposition: Disposition::read(disposition)?,
            handling,
            params: ParamList::except(params, &["handling"]),
        })
    }
}

const NAMES: [(&str, Disposition); 10] = [
    ("session", Disposition::Session),
    ("render", Disposition::Render),
    ("icon", Disposition::Icon),
    ("alert", Disposition::Alert),
    ("early-session", Disposition::EarlySession),
    ("by-reference", Disposition::ByReference),
    ("info-package", Disposition::InfoPackage),
    ("recipient-list", Disposition::RecipientList),
    ("aib", Disposition::Aib),
    ("recording-session", Disposition::RecordingSession),
];

impl Disposition {
    fn read(text: &str) -> Option<Self> {
        let known = NAMES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map(|(_, disposition)| disposition).or_else(|| token(text).map(Self::Other))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Session => "session",
            Self::Render => "render",
            Self::Icon => "icon",
            Self::Alert => "alert",
            Self::EarlySession => "early-session",
            Self::ByReference => "by-reference",
            Self::InfoPackage => "info-package",
            Self::RecipientList => "recipient-list",
            Self::Aib => "aib",
            Self::RecordingSession => "recording-session",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for ContentDisposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.disposition.as_str())?;
        if self.handling == Handling::Optional {
            f.write_str(";handling=optional")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handling_is_required_unless_said_otherwise() {
        let read = |text: &str| ContentDisposition::parse(text).unwrap();
        assert_eq!(read("session").handling, Handling::Required);
        assert_eq!(read("Session;handling=REQUIRED").to_string(), "session");
        assert_eq!(read("session;handling=whatever").handling, Handling::Required);
        let optional = read("x-new;a=b;handling=Optional");
        assert_eq!(optional.to_string(), "x-new;handling=optional;a=b");
        assert_eq!(read(&optional.to_string()), optional);
        assert!(ContentDisposition::parse("").is_err() && ContentDisposition::parse("a;handling").is_err());
        for (name, disposition) in NAMES {
            assert_eq!(disposition.as_str(), name);
        }
    }

    #[test]
    fn sdp_is_for_the_session_by_default() {
        // RFC 3261 §20.11
        let of = |text: &str| ContentDisposition::default_of(MediaType::parse(text).ok().as_ref()).disposition;
        assert_eq!(
            (of("application/SDP"), of("text/plain"), of("")),
            (Disposition::Session, Disposition::Render, Disposition::Render)
        );
    }
}
