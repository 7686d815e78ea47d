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

    #[inline]
    pub(crate) fn parse_bytes(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Other;
        }
        // Nearly everyone spells as the RFCs do, and those names are in slots of their own.
        let slot = hash(bytes);
        match TABLE[slot].checked_sub(1) {
            None => Self::Other,
            Some(index) if FULL[usize::from(index)] == bytes => Self::ALL[usize::from(index)],
            Some(_) => Self::parse_any_case(bytes, slot),
        }
    }

    fn parse_any_case(bytes: &[u8], mut slot: usize) -> Self {
        while let Some(index) = TABLE[slot].checked_sub(1) {
            let spellings = if bytes.len() == 1 { &COMPACT } else { &FULL };
            if spellings[usize::from(index)].eq_ignore_ascii_case(bytes) {
                return Self::ALL[usize::from(index)];
            }
            slot = (slot + 1) % TABLE_SIZE;
        }
        Self::Other
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names as bytes, by index in [`HeaderName::ALL`].
static FULL: [&[u8]; HeaderName::ALL.len()] = {
    let mut names: [&[u8]; HeaderName::ALL.len()] = [b""; HeaderName::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = HeaderName::ALL[index].as_str().as_bytes();
        index += 1;
    }
    names
};

/// The compact names as bytes, by index in [`HeaderName::ALL`]; empty where there is none.
static COMPACT: [&[u8]; HeaderName::ALL.len()] = {
    let mut names: [&[u8]; HeaderName::ALL.len()] = [b""; HeaderName::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        if let Some(compact) = HeaderName::ALL[index].compact() {
            names[index] = compact.as_bytes();
        }
        index += 1;
    }
    names
};

/// Slots of the lookup table: enough that most names are found at the first probe.
const TABLE_SIZE: usize = 512;

/// Open addressing, made when this is compiled: 0 for an empty slot, else 1 + the index in [`HeaderName::ALL`].
static TABLE: [u8; TABLE_SIZE] = {
    let mut table = [0; TABLE_SIZE];
    let mut index = 0;
    while index < HeaderName::ALL.len() {
        let name = HeaderName::ALL[index];
        insert(&mut table, name.as_str().as_bytes(), index);
        if let Some(compact) = name.compact() {
            insert(&mut table, compact.as_bytes(), index);
        }
        index += 1;
    }
    table
};

const fn insert(table: &mut [u8; TABLE_SIZE], spelling: &[u8], index: usize) {
    let mut slot = hash(spelling);
    while table[slot] != 0 {
        slot = (slot + 1) % TABLE_SIZE;
    }
    table[slot] = index as u8 + 1;
}

/// Of the length and three letters in any case; the factors were picked so that no two names share a slot. Not for
/// tables that a peer can fill: this one is fixed.
#[inline]
const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    let (first, middle, last) = (name[0] | 0x20, name[length / 2] | 0x20, name[length - 1] | 0x20);
    (length * 96 + first as usize * 23 + middle as usize * 113 + last as usize * 170) % TABLE_SIZE
}

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
        for text in ["", "q", "Fro", "X-Anything", "NewFangledHeader", "\u{e9}"] {
            assert_eq!(HeaderName::parse(text), HeaderName::Other, "{text}");
        }
    }
}
