//! Names of header fields, full and compact (RFC 3261 §7.3.3, §20 and the registry of header fields).

use std::fmt;

use super::scan;

macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)?;)*) => {
        /// A header field that we know by name. Everything else is [`HeaderName::Other`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $name, "`" $(, ", compact `", $compact, "`")?)]
                $variant,
            )*
            /// A header field without a name of its own here; see [`super::Message::header_named`].
            Other,
        }

        impl HeaderName {
            /// Every known name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The full name as RFCs write it; `""` for [`Self::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "",
                }
            }

            /// The one-letter form (RFC 3261 §7.3.3), if there is one.
            pub const fn compact(self) -> Option<&'static str> {
                match self {
                    $($(Self::$variant => Some($compact),)?)*
                    _ => None,
                }
            }
        }
    };
}

header_names! {
    Accept "Accept";
    AcceptContact "Accept-Contact" "a";
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AlertInfo "Alert-Info";
    Allow "Allow";
    AllowEvents "Allow-Events" "u";
    AuthenticationInfo "Authentication-Info";
    Authorization "Authorization";
    CallId "Call-ID" "i";
    CallInfo "Call-Info";
    Contact "Contact" "m";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" "e";
    ContentId "Content-ID";
    ContentLanguage "Content-Language";
    ContentLength "Content-Length" "l";
    ContentType "Content-Type" "c";
    CSeq "CSeq";
    Date "Date";
    Diversion "Diversion";
    ErrorInfo "Error-Info";
    Event "Event" "o";
    Expires "Expires";
    FlowTimer "Flow-Timer";
    From "From" "f";
    Geolocation "Geolocation";
    GeolocationRouting "Geolocation-Routing";
    HistoryInfo "History-Info";
    Identity "Identity" "y";
    IdentityInfo "Identity-Info" "n";
    InReplyTo "In-Reply-To";
    InfoPackage "Info-Package";
    Join "Join";
    MaxBreadth "Max-Breadth";
    MaxForwards "Max-Forwards";
    MimeVersion "MIME-Version";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    Organization "Organization";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Path "Path";
    Priority "Priority";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthenticationInfo "Proxy-Authentication-Info";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    Reason "Reason";
    RecvInfo "Recv-Info";
    RecordRoute "Record-Route";
    ReferSub "Refer-Sub";
    ReferTo "Refer-To" "r";
    ReferredBy "Referred-By" "b";
    RejectContact "Reject-Contact" "j";
    Replaces "Replaces";
    RemotePartyId "Remote-Party-ID";
    ReplyTo "Reply-To";
    RequestDisposition "Request-Disposition" "d";
    Require "Require";
    RetryAfter "Retry-After";
    Route "Route";
    RSeq "RSeq";
    Server "Server";
    ServiceRoute "Service-Route";
    SessionExpires "Session-Expires" "x";
    SipETag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Subject "Subject" "s";
    SubscriptionState "Subscription-State";
    SuppressIfMatch "Suppress-If-Match";
    Supported "Supported" "k";
    TargetDialog "Target-Dialog";
    Timestamp "Timestamp";
    To "To" "t";
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Via "Via" "v";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

impl HeaderName {
    /// The name that `text` spells, in any case, full or compact; [`Self::Other`] if we have none for it.
    pub fn parse(text: &str) -> Self {
        Self::parse_bytes(text.as_bytes())
    }

    pub(super) fn parse_bytes(bytes: &[u8]) -> Self {
        let entry = Entry::of(Key::new(bytes));
        // The key says all about a short name.
        let same =
            entry.is_some_and(|entry| bytes.len() <= 16 || entry.name.as_str().as_bytes().eq_ignore_ascii_case(bytes));
        entry.filter(|_| same).map_or(Self::Other, |entry| entry.name)
    }

    /// The name that begins at `start` and ends before a colon, and where, if it is one that we know and not longer than
    /// sixteen letters: nearly all are.
    #[inline(always)]
    pub(super) fn before_colon(bytes: &[u8], start: usize) -> Option<(Self, usize)> {
        // Finding the colon reads the words of the key.
        let (words, length) = scan::words_before_colon(bytes, start)?;
        Some((Entry::of(Key::of_words(words, length))?.name, start + length))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name in lower case, up to sixteen letters of it.
#[derive(Clone, Copy)]
struct Key {
    words: [u64; 2],
    length: usize,
}

impl Key {
    const fn new(name: &[u8]) -> Self {
        let (mut words, mut index) = ([0; 2], 0);
        while index < name.len() && index < 16 {
            words[index / 8] |= (name[index] as u64) << (index % 8 * 8);
            index += 1;
        }
        Self::of_words(words, name.len())
    }

    /// The key of a name whose first sixteen bytes are these, the first one lowest, 0 where there are none.
    #[inline]
    const fn of_words(words: [u64; 2], length: usize) -> Self {
        Self { words: [lower(words[0]), lower(words[1])], length }
    }

    #[inline]
    const fn equals(self, other: Self) -> bool {
        self.words[0] == other.words[0] && self.words[1] == other.words[1] && self.length == other.length
    }

    #[inline]
    const fn slot(self, factor: u64) -> usize {
        let mixed = self.words[0] ^ self.words[1].rotate_left(20) ^ self.length as u64;
        (mixed.wrapping_mul(factor) >> (u64::BITS - SLOTS_LOG2)) as usize
    }
}

/// Letters in lower case. Of other bytes none becomes a letter, a digit or `-`, and names have nothing else.
#[inline]
const fn lower(word: u64) -> u64 {
    word | (word & u64::from_ne_bytes([0x40; 8])) >> 1
}

/// A spelling that we know.
#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    name: HeaderName,
}

impl Entry {
    /// The spelling with that key. A name longer than sixteen letters may still differ from it.
    #[inline(always)]
    fn of(key: Key) -> Option<&'static Self> {
        Some(&ENTRIES[usize::from(SLOTS[key.slot(FACTOR)])]).filter(|entry| entry.key.equals(key))
    }
}

/// For each slot the index in [`ENTRIES`] of the spelling that has it, or of one that is none. Not for tables that a peer
/// can fill: this one is fixed.
static SLOTS: [u8; 1 << SLOTS_LOG2] = slots(FACTOR).expect("FACTOR gives each spelling a slot of its own");

/// Enough slots that a factor is found quickly.
const SLOTS_LOG2: u32 = 11;

/// Gives each spelling a slot of its own; found when this is compiled.
const FACTOR: u64 = {
    let mut factor: u64 = 0x9e37_79b9_7f4a_7c15;
    while slots(factor).is_none() {
        factor = factor.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
    }
    factor
};

const fn slots(factor: u64) -> Option<[u8; 1 << SLOTS_LOG2]> {
    let mut slots = [0; 1 << SLOTS_LOG2];
    let mut index = 1;
    while index < ENTRIES.len() && ENTRIES[index].key.length != NO_LENGTH {
        let slot = ENTRIES[index].key.slot(factor);
        if slots[slot] != 0 {
            return None;
        }
        slots[slot] = index as u8;
        index += 1;
    }
    Some(slots)
}

/// A length that no name has, not even an empty one.
const NO_LENGTH: usize = usize::MAX;

/// From 1 on every name, and every compact one; as many as a byte can tell apart, the rest of no name.
static ENTRIES: [Entry; 256] = {
    let mut entries = [Entry { key: Key { words: [0; 2], length: NO_LENGTH }, name: HeaderName::Other }; 256];
    let (mut count, mut index) = (1, 0);
    while index < HeaderName::ALL.len() {
        let name = HeaderName::ALL[index];
        entries[count] = Entry { key: Key::new(name.as_str().as_bytes()), name };
        count += 1;
        if let Some(compact) = name.compact() {
            entries[count] = Entry { key: Key::new(compact.as_bytes()), name };
            count += 1;
        }
        index += 1;
    }
    entries
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_compact() {
        for name in HeaderName::ALL {
            assert_eq!(HeaderName::parse(name.as_str()), *name);
            assert_eq!(HeaderName::parse(&name.as_str().to_uppercase()), *name);
            if let Some(compact) = name.compact() {
                assert_eq!(HeaderName::parse(compact), *name);
                assert_eq!(HeaderName::parse(&compact.to_uppercase()), *name);
            }
        }
    }

    #[test]
    fn unknown_names_are_other() {
        let nearly = ["Fro", "Fron", "Call\rID", "CallMID", "VVia", "Proxy-Authentikation-Info", "t\0", "UseraAgent"];
        for text in ["", "q", "X-Anything", "NewFangledHeader", "\u{e9}"].into_iter().chain(nearly) {
            assert_eq!(HeaderName::parse(text), HeaderName::Other, "{text}");
            let line = format!("{text}: and sixteen bytes");
            assert_eq!(HeaderName::before_colon(line.as_bytes(), 0), None, "{text}");
        }
    }
}
