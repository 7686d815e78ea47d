//! Sets of option tags: Supported, Require, Proxy-Require, Unsupported (RFC 3261 §19.2).

use std::fmt;

use super::MAX_VALUES;
use crate::message::{HeaderError, HeaderName, List, Message, lex};

macro_rules! option_tags {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// An option tag that we know by name, whether or not we support it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum OptionTag {
            $($(#[$doc])* $variant,)*
        }

        impl OptionTag {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The tag as registered.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

option_tags! {
    /// Reliable provisional responses (RFC 3262).
    Rel100 "100rel";
    /// 199 responses (RFC 6228).
    EarlyDialogTerminated "199";
    /// Answering mode (RFC 5373).
    AnswerMode "answermode";
    /// Early sessions (RFC 3959).
    EarlySession "early-session";
    /// Lists of resources in events (RFC 4662).
    EventList "eventlist";
    /// Explicit subscription to the result of a REFER (RFC 7614).
    ExplicitSub "explicitsub";
    /// Changed identity in mid-dialog requests (RFC 4916).
    FromChange "from-change";
    /// Location by header, domain and HTTP (RFC 6442).
    GeolocationHttp "geolocation-http";
    /// Location by SIP (RFC 6442).
    GeolocationSip "geolocation-sip";
    /// Globally routable UA URIs (RFC 5627).
    Gruu "gruu";
    /// History-Info (RFC 7044).
    HistInfo "histinfo";
    /// Interactive connectivity (RFC 5768).
    Ice "ice";
    /// Join (RFC 3911).
    Join "join";
    /// REFER to several (RFC 5368).
    MultipleRefer "multiple-refer";
    /// REFER without subscription (RFC 4488).
    NoReferSub "norefersub";
    /// REFER that must not subscribe (RFC 7614).
    NoSub "nosub";
    /// Client-initiated connections (RFC 5626).
    Outbound "outbound";
    /// Path (RFC 3327).
    Path "path";
    /// Signalling of quality of service and the like before ringing (RFC 3312).
    Precondition "precondition";
    /// Caller preferences (RFC 3840).
    Pref "pref";
    /// Privacy services (RFC 3323).
    Privacy "privacy";
    /// Message bodies of many recipients (RFC 5366).
    RecipientListInvite "recipient-list-invite";
    /// Replaces (RFC 3891).
    Replaces "replaces";
    /// Request histories of resource priority (RFC 4412).
    ResourcePriority "resource-priority";
    /// `sdp-anat` (RFC 4092).
    SdpAnat "sdp-anat";
    /// Security agreement (RFC 3329).
    SecAgree "sec-agree";
    /// Session recording (RFC 7866).
    SipRec "siprec";
    /// Target-Dialog (RFC 4538).
    TargetDialog "tdialog";
    /// Session timers (RFC 4028).
    Timer "timer";
    /// Trickle ICE (RFC 8840).
    TrickleIce "trickle-ice";
}

impl OptionTag {
    /// The tag that `text` spells, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tag| tag.as_str().eq_ignore_ascii_case(text))
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A set of option tags. Costs no allocation as long as all of them have a name in [`OptionTag`].
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct OptionTags {
    known: u64,
    /// As first written, each once by any case.
    others: Vec<String>,
}

impl OptionTags {
    /// None.
    pub const fn new() -> Self {
        Self { known: 0, others: Vec::new() }
    }

    /// These.
    pub const fn of_known(tags: &[OptionTag]) -> Self {
        let (mut known, mut index) = (0, 0);
        while index < tags.len() {
            known |= tags[index].bit();
            index += 1;
        }
        Self { known, others: Vec::new() }
    }

    /// Reads one comma list, empty elements left out. `name` is what an error mentions.
    pub fn parse(name: HeaderName, text: &str) -> Result<Self, HeaderError> {
        Self::collect(name, List::new(text).filter(|tag| !tag.is_empty()))
    }

    /// Those of Supported, Require, Proxy-Require or Unsupported, over all its lines; an empty set if there is none.
    /// Malformed if one is no token or there are more than [`MAX_VALUES`].
    pub fn of(message: &Message, name: HeaderName) -> Result<Self, HeaderError> {
        Self::collect(name, message.tokens(name))
    }

    fn collect<'a>(name: HeaderName, tags: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let mut set = Self::new();
        for tag in tags {
            if !set.insert_name(tag) || set.others.len() > MAX_VALUES {
                return Err(HeaderError::malformed(name));
            }
        }
        Ok(set)
    }

    /// Whether it is in the set.
    pub const fn contains(&self, tag: OptionTag) -> bool {
        self.known & tag.bit() != 0
    }

    /// The same for any tag, in any case.
    pub fn contains_name(&self, tag: &str) -> bool {
        match OptionTag::parse(tag) {
            Some(tag) => self.contains(tag),
            None => self.others.iter().any(|other| other.eq_ignore_ascii_case(tag)),
        }
    }

    /// Adds one.
    pub const fn insert(&mut self, tag: OptionTag) {
        self.known |= tag.bit();
    }

    /// Adds one by name; false, and nothing is added, if it is no token.
    pub fn insert_name(&mut self, tag: &str) -> bool {
        match OptionTag::parse(tag) {
            Some(tag) => self.insert(tag),
            None if !lex::is_token(tag.as_bytes()) => return false,
            None if self.contains_name(tag) => {}
            None => self.others.push(tag.to_owned()),
        }
        true
    }

    /// Takes one out.
    pub const fn remove(&mut self, tag: OptionTag) {
        self.known &= !tag.bit();
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known == 0 && self.others.is_empty()
    }

    /// Those that are not in `supported`: the Unsupported of a 420 (RFC 3261 §8.2.2.3), if any.
    pub fn not_in(&self, supported: &Self) -> Self {
        let others = self.others.iter().filter(|tag| !supported.contains_name(tag)).cloned().collect();
        Self { known: self.known & !supported.known, others }
    }

    /// Each tag; those that we know first, by the alphabet.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let known = OptionTag::ALL.iter().filter(|tag| self.contains(**tag)).map(|tag| tag.as_str());
        known.chain(self.others.iter().map(String::as_str))
    }
}

impl FromIterator<OptionTag> for OptionTags {
    fn from_iter<I: IntoIterator<Item = OptionTag>>(tags: I) -> Self {
        let mut set = Self::new();
        tags.into_iter().for_each(|tag| set.insert(tag));
        set
    }
}

/// A comma list; empty if the set is, and then better no header field at all (only Supported may be empty).
impl fmt::Display for OptionTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_list(f, self.iter())
    }
}

impl fmt::Debug for OptionTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> OptionTags {
        OptionTags::parse(HeaderName::Require, text).unwrap()
    }

    #[test]
    fn tags_are_a_set_in_any_case() {
        let set = tags("timer,, 100Rel, X-foo, x-FOO ,timer");
        assert_eq!(set.to_string(), "100rel, timer, X-foo");
        assert!(set.contains(OptionTag::Rel100) && set.contains_name("TIMER") && set.contains_name("x-foo"));
        assert!(!set.contains(OptionTag::Join) && !set.contains_name("join"));
        assert_eq!(tags(&set.to_string()), set);
        assert!(OptionTags::parse(HeaderName::Require, "a b").is_err() && tags("").is_empty());
        assert!(OptionTag::ALL.len() <= 64 && OptionTag::ALL.is_sorted_by_key(|tag| tag.as_str()));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        // RFC 3261 §8.2.2.3
        const OURS: OptionTags = OptionTags::of_known(&[OptionTag::Timer, OptionTag::Replaces]);
        assert_eq!(tags("timer, foo, 100rel").not_in(&OURS).to_string(), "100rel, foo");
        assert!(tags("replaces, timer").not_in(&OURS).is_empty());
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let text: String = (0..MAX_VALUES + 2).map(|number| format!("x{number},")).collect();
        assert!(OptionTags::parse(HeaderName::Supported, &text).is_err());
    }
}
