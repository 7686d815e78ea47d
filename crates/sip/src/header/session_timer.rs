//! Session-Expires and Min-SE: how long a session lives unless it is refreshed (RFC 4028 §4, §5).

use std::fmt;

use super::{seconds, single_header, split_params};

/// Who refreshes a session (RFC 4028 §4), named for the roles in the transaction that carries the header field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

impl Refresher {
    /// The parameter's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// The session interval (RFC 4028 §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionExpires {
    /// Seconds from the 2xx on; below 90 it has to be refused with 422 (RFC 4028 §5). Recommended are 1800.
    pub delta: u32,
    /// Who refreshes. A request may leave it open, a 2xx may not.
    pub refresher: Option<Refresher>,
}

single_header!(SessionExpires, SessionExpires);

impl SessionExpires {
    fn read(text: &str) -> Option<Self> {
        let (delta, params) = split_params(text)?;
        let refresher = match params.get("refresher") {
            None => None,
            Some(Some(role)) if role.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(Some(role)) if role.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return None,
        };
        Some(Self { delta: seconds(delta)?, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.delta)?;
        self.refresher.map_or(Ok(()), |role| write!(f, ";refresher={}", role.as_str()))
    }
}

/// The shortest session interval that everybody on the way takes (RFC 4028 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MinSe(
    /// Seconds.
    pub u32,
);

single_header!(MinSe, MinSe);

impl MinSe {
    /// What holds without the header field, and the least that may be asked for: 90 s (RFC 4028 §5).
    pub const DEFAULT: Self = Self(90);

    fn read(text: &str) -> Option<Self> {
        let (delta, _) = split_params(text)?;
        seconds(delta).map(Self)
    }
}

impl Default for MinSe {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for MinSe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_and_refresher_are_read() {
        let read = |text: &str| SessionExpires::parse(text).ok().map(|expires| (expires.delta, expires.refresher));
        assert_eq!(read("4000;refresher=uac"), Some((4000, Some(Refresher::Uac))));
        assert_eq!(read("1800 ; x=y;Refresher = UAS"), Some((1800, Some(Refresher::Uas))));
        assert_eq!(read("99999999999"), Some((u32::MAX, None)));
        for text in ["", "soon", "1800;refresher", "1800;refresher=me", "1800 60", "1800, 60", "-1"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(MinSe::parse("60;lr"), Ok(MinSe(60)));
    }
}
