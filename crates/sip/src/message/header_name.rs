//! Names of header fields, full and compact (RFC 3261 §7.3.3, §20 and the registry of header fields).

use std::fmt;

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

    #[inline(always)]
    pub(crate) fn parse_bytes(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Other;
        }
        let key = Key::new(bytes);
        let Some(entry) = SLOTS[key.slot(FACTOR)].checked_sub(1).map(|index| &ENTRIES[usize::from(index)]) else {
            return Self::Other;
        };
        // The key says all about a short name.
        let same =
            entry.key.equals(key) && (bytes.len() <= 16 || entry.name.as_str().as_bytes().eq_ignore_ascii_case(bytes));
        if same { entry.name } else { Self::Other }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name in lower case, up to sixteen letters of it: the first and the last eight, which overlap in most names.
#[derive(Clone, Copy)]
struct Key {
    first: u64,
    last: u64,
    length: usize,
}

impl Key {
    /// `name` is not empty.
    #[inline]
    const fn new(name: &[u8]) -> Self {
        let length = name.len();
        let (first, last) = if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64)
        } else {
            (name[0] as u64, u16::from_le_bytes([name[length / 2], name[length - 1]]) as u64)
        };
        Self { first: lower(first), last: lower(last), length }
    }

    #[inline]
    const fn equals(self, other: Self) -> bool {
        self.first == other.first && self.last == other.last && self.length == other.length
    }

    #[inline]
    const fn slot(self, factor: u64) -> usize {
        let mixed = self.first ^ self.last.rotate_left(20) ^ self.length as u64;
        (mixed.wrapping_mul(factor) >> (u64::BITS - SLOTS_LOG2)) as usize
    }
}

/// Letters in lower case. Of other bytes none becomes a letter, a digit or `-`, and names have nothing else.
#[inline]
const fn lower(word: u64) -> u64 {
    word | (word & u64::from_ne_bytes([0x40; 8])) >> 1
}

/// A spelling that we know.
struct Entry {
    key: Key,
    name: HeaderName,
}

/// Every name, and every compact one.
static ENTRIES: [Entry; SPELLINGS] = SPELLED;

/// For each slot 1 + the index in [`ENTRIES`], 0 if none has it. Not for tables that a peer can fill: this one is fixed.
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
    let mut index = 0;
    while index < SPELLINGS {
        let slot = SPELLED[index].key.slot(factor);
        if slots[slot] != 0 {
            return None;
        }
        index += 1;
        slots[slot] = index as u8;
    }
    Some(slots)
}

const SPELLINGS: usize = {
    let (mut count, mut index) = (HeaderName::ALL.len(), 0);
    while index < HeaderName::ALL.len() {
        count += HeaderName::ALL[index].compact().is_some() as usize;
        index += 1;
    }
    count
};

const SPELLED: [Entry; SPELLINGS] = {
    let mut entries =
        [const { Entry { key: Key { first: 0, last: 0, length: 0 }, name: HeaderName::Other } }; SPELLINGS];
    let (mut count, mut index) = (0, 0);
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
        }
    }
}
