//! Typed header fields beyond those that routing needs (RFC 3261 §20 and its extensions).
//!
//! ```text
//!   &Message ──> X::of ──> Result<Option<X>, HeaderError> ──> dialog, session, event
//!   &str ──────> X::parse ──> X ──> Display ──> RequestBuilder::header(X::NAME, ..)
//! ```
//!
//! Each type owns its text, so that a dialog may keep it, and is one file named after the header field. `X::of` reads it
//! from a message: none is `Ok(None)`, more than one or a malformed one is an error whose status is 400. Header fields
//! that are lists have `X::all`. `Display` writes what `parse` reads back the same; parameters that we do not know are
//! kept where a B2BUA has to pass them on. Names of tokens compare without case.
//!
//! Bounds: a message's length bounds each text, [`MAX_VALUES`] each list.
//!
//! ```
//! use farspeak_sip::header::{Refresher, SessionExpires};
//!
//! let expires = SessionExpires::parse("1800 ;refresher=uac")?;
//! assert_eq!((expires.delta, expires.refresher), (1800, Some(Refresher::Uac)));
//! assert_eq!(expires.to_string(), "1800;refresher=uac");
//! # Ok::<(), farspeak_sip::message::HeaderError>(())
//! ```

mod accept;
mod address;
mod allow;
mod allow_events;
mod asserted_identity;
mod content_disposition;
mod content_id;
mod diversion;
mod embedded;
mod etag;
mod event;
mod flow_timer;
mod geolocation;
mod gruu;
mod history_info;
mod identity;
mod info_package;
mod join;
mod media_type;
mod option_tags;
mod params;
mod privacy;
mod rate;
mod reason;
mod refer_sub;
mod refer_to;
mod referred_by;
mod reliable;
mod replaces;
mod retry_after;
mod route;
mod session_timer;
mod subscription_state;
mod target_dialog;
mod warning;

pub use accept::{Accept, AcceptRange};
pub use address::Address;
pub use allow::Allow;
pub use allow_events::AllowEvents;
pub use asserted_identity::{PAssertedIdentity, PPreferredIdentity};
pub use content_disposition::{ContentDisposition, Disposition, Handling};
pub use content_id::ContentId;
pub use diversion::Diversion;
pub use embedded::{Embedded, EmbeddedField, EmbeddedUse, MAX_EMBEDDED, escape_header};
pub use etag::{SipETag, SipIfMatch, SuppressIfMatch};
pub use event::Event;
pub use flow_timer::FlowTimer;
pub use geolocation::{Geolocation, GeolocationRouting};
pub use gruu::{Gruus, gruu_instance, is_gruu};
pub use history_info::{HistoryInfo, HistoryTarget};
pub use identity::Identity;
pub use info_package::{InfoPackage, RecvInfo};
pub use join::Join;
pub use media_type::MediaType;
pub use option_tags::{OptionTag, OptionTags};
pub use params::ParamList;
pub use privacy::Privacy;
pub use rate::Rate;
pub use reason::Reason;
pub use refer_sub::ReferSub;
pub use refer_to::ReferTo;
pub use referred_by::ReferredBy;
pub use reliable::{RAck, RSeq};
pub use replaces::Replaces;
pub use retry_after::RetryAfter;
pub use route::{Path, ServiceRoute};
pub use session_timer::{MinSe, Refresher, SessionExpires};
pub use subscription_state::{Resubscribe, SubscriptionReason, SubscriptionState, SubscriptionStatus};
pub use target_dialog::TargetDialog;
pub use warning::Warning;

use std::borrow::Cow;
use std::fmt;

use crate::message::{HeaderError, HeaderName, Message, lex};

/// Most values of one list that is read: 128. What is longer counts as malformed.
pub const MAX_VALUES: usize = 128;

/// `NAME`, `parse` and `of` of a header field that stands in a message once, from its `fn read(&str) -> Option<Self>`.
macro_rules! single_header {
    ($type:ident, $name:ident) => {
        impl $type {
            /// The header field's name.
            pub const NAME: $crate::message::HeaderName = $crate::message::HeaderName::$name;

            /// Reads a value.
            pub fn parse(text: &str) -> Result<Self, $crate::message::HeaderError> {
                let text = $crate::header::unfold(text);
                Self::read(&text).ok_or($crate::message::HeaderError::malformed(Self::NAME))
            }

            /// The message's; an error if it is malformed or there more than once.
            pub fn of(message: &$crate::message::Message) -> Result<Option<Self>, $crate::message::HeaderError> {
                $crate::header::single(message, Self::NAME)?.map(Self::parse).transpose()
            }
        }
    };
}

/// `NAME`, `parse` and `all` of a header field that is a comma list, from `fn read(&str) -> Option<Self>` of one value.
macro_rules! listed_header {
    ($type:ident, $name:ident) => {
        impl $type {
            /// The header field's name.
            pub const NAME: $crate::message::HeaderName = $crate::message::HeaderName::$name;

            /// Reads one value, not a comma list.
            pub fn parse(text: &str) -> Result<Self, $crate::message::HeaderError> {
                let text = $crate::header::unfold(text);
                Self::read(&text).ok_or($crate::message::HeaderError::malformed(Self::NAME))
            }

            /// The message's values in order, the first [`MAX_VALUES`](crate::header::MAX_VALUES) of them.
            pub fn all(
                message: &$crate::message::Message,
            ) -> impl Iterator<Item = Result<Self, $crate::message::HeaderError>> + '_ {
                let values = message.tokens(Self::NAME).take($crate::header::MAX_VALUES);
                values.map(Self::parse)
            }
        }
    };
}

pub(crate) use {listed_header, single_header};

/// The value of a header field that may be there once (RFC 3261 §7.3.1).
fn single(message: &Message, name: HeaderName) -> Result<Option<&str>, HeaderError> {
    let mut values = message.headers(name);
    let first = values.next();
    if values.next().is_some() { Err(HeaderError::repeated(name)) } else { Ok(first) }
}

/// Without white space at the ends, and with each line break of a folded value a space: what is kept fits one line.
pub(crate) fn unfold(text: &str) -> Cow<'_, str> {
    let text = lex::trim(text);
    if memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(['\r', '\n'], " "))
}

/// The main part of a value and what follows it: parameters, or nothing.
fn split_params(text: &str) -> Option<(&str, crate::message::Params<'_>)> {
    let (main, params) = lex::split_before(text, b';');
    Some((lex::trim_end(main), crate::message::Params::parse(params)?))
}

/// `delta-seconds`: digits; beyond 2^32 − 1 it is 2^32 − 1 (RFC 3261 §20.19).
fn seconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// A token, owned.
fn token(text: &str) -> Option<String> {
    lex::is_token(text.as_bytes()).then(|| text.to_owned())
}

/// Values with a comma between each two of them.
fn write_list(f: &mut fmt::Formatter<'_>, values: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    for (index, value) in values.enumerate() {
        write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}
