//! History-Info: where a request was sent before it came here (RFC 7044 §5).

use std::fmt;

use super::params::ParamList;
use super::{Address, MAX_VALUES, Reason, embedded, listed_header};
use crate::message::{HeaderName, List};

/// One entry: a target, its place in the tree, and how it came to be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HistoryInfo {
    /// The target; its URI may carry Reason and Privacy. Parameters are without those below.
    pub address: Address,
    /// Place in the tree of forks and retargets: `1.2.1`.
    pub index: String,
    /// Which entry it was made from, and how.
    pub target: Option<(HistoryTarget, String)>,
}

/// How a target was determined (RFC 7044 §5 `hi-target-param`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HistoryTarget {
    /// `rc`: another URI of the same user.
    Contact,
    /// `mp`: another user.
    Mapped,
    /// `np`: the same URI.
    NoChange,
}

impl HistoryTarget {
    const ALL: [Self; 3] = [Self::Contact, Self::Mapped, Self::NoChange];

    /// The parameter's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "rc",
            Self::Mapped => "mp",
            Self::NoChange => "np",
        }
    }
}

listed_header!(HistoryInfo, HistoryInfo);

impl HistoryInfo {
    fn read(text: &str) -> Option<Self> {
        let mut address = Address::read(text)?;
        let params = address.params.get_all();
        let index = params.value("index").filter(|index| is_index(index))?.to_owned();
        let mut target = None;
        for kind in HistoryTarget::ALL {
            let Some(from) = params.get(kind.as_str()) else { continue };
            let from = from.filter(|from| is_index(from))?;
            // One of the three (RFC 7044 §5).
            if target.replace((kind, from.to_owned())).is_some() {
                return None;
            }
        }
        address.params = ParamList::except(params, &["index", "rc", "mp", "np"]);
        Some(Self { address, index, target })
    }

    /// Why the request came back from this target, from the URI's headers (RFC 7044 §10.2).
    pub fn reasons(&self) -> Vec<Reason> {
        let value = embedded::single(&self.address.uri(), HeaderName::Reason).ok().flatten().unwrap_or_default();
        List::new(&value).take(MAX_VALUES).filter_map(|reason| Reason::parse(reason).ok()).collect()
    }

    /// Whether this entry must be hidden from others: its URI has `Privacy=history` (RFC 7044 §5).
    pub fn is_private(&self) -> bool {
        let value = embedded::single(&self.address.uri(), HeaderName::Privacy).ok().flatten().unwrap_or_default();
        value.split(';').any(|value| value.trim().eq_ignore_ascii_case("history"))
    }
}

/// `index-val = number *("." number)`, numbers without leading zeros.
fn is_index(text: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    text.split('.').all(number)
}

impl fmt::Display for HistoryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.write_without_params(f)?;
        write!(f, ";index={}", self.index)?;
        if let Some((kind, from)) = &self.target {
            write!(f, ";{}={from}", kind.as_str())?;
        }
        self.address.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Limits, Message};

    #[test]
    fn the_examples_of_rfc7044_section_5_are_read() {
        let text = "INVITE sip:a SIP/2.0\r\nHistory-Info: <sip:UserA@ims.example.com>;index=1;foo=bar\r\n\
            History-Info: <sip:UserA@ims.example.com?Reason=SIP%3Bcause%3D302>;index=1.1,\
            <sip:UserB@example.com?Privacy=history&Reason=SIP%3Bcause%3D486>;index=1.2;mp=1.1,\
            <sip:45432@192.168.0.3>;index=1.3;rc=1.2\r\n\r\n";
        let message = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        let entries: Vec<_> = HistoryInfo::all(&message).collect::<Result<_, _>>().unwrap();
        assert_eq!(entries[0].to_string(), "<sip:UserA@ims.example.com>;index=1;foo=bar");
        assert_eq!((entries[1].reasons()[0].cause, entries[1].is_private()), (Some(302), false));
        assert_eq!((entries[2].reasons()[0].cause, entries[2].is_private()), (Some(486), true));
        assert_eq!(entries[3].target, Some((HistoryTarget::Contact, "1.2".to_owned())));
        for entry in entries {
            assert_eq!(HistoryInfo::parse(&entry.to_string()), Ok(entry));
        }
    }

    #[test]
    fn an_entry_without_place_is_refused() {
        for params in
            ["", ";index", ";index=", ";index=1.", ";index=01", ";index=a", ";index=1;rc", ";index=1;rc=1;mp=1"]
        {
            assert!(HistoryInfo::parse(&format!("<sip:a@b>{params}")).is_err(), "{params}");
        }
    }
}
