//! Attributes: `a=name:value`, one noun a file. RFC 8866 §6 and the RFCs that each file names.
//!
//! Each typed value implements [`Attribute`]. [`Section`] finds, adds and replaces them by type
//! ([`Section::first`], [`Section::typed`], [`Section::push`], [`Section::set`]) and has a short accessor for most; what an
//! accessor without a `Result` cannot read it passes over.

mod base64;
mod crypto;
mod direction;
mod extmap;
mod fingerprint;
mod fmtp;
mod group;
mod ice;
mod msid;
mod rid;
mod rtcp;
mod rtcp_fb;
mod rtpmap;
mod sctp;
mod setup;
mod simulcast;
mod ssrc;
mod stream;

use std::fmt;

pub use crypto::{Crypto, KeyParam};
pub use direction::Direction;
pub use extmap::Extmap;
pub use fingerprint::{Fingerprint, HashFunction};
pub use fmtp::Fmtp;
pub use group::Group;
pub use msid::Msid;
pub use rid::{Rid, RidDirection};
pub use rtcp::Rtcp;
pub use rtcp_fb::RtcpFb;
pub use rtpmap::Rtpmap;
pub use setup::Setup;
pub use simulcast::{Simulcast, SimulcastStream};
pub use ssrc::{Ssrc, SsrcGroup};

use crate::error::AttributeError;
#[cfg(doc)]
use crate::section::Section;

/// The value of an attribute, typed. `parse(x.to_string()) == x`.
pub trait Attribute<'a>: Sized + fmt::Display {
    /// The attribute's name: what stands before the colon.
    const NAME: &'static str;

    /// Reads what stands behind the colon.
    ///
    /// # Errors
    /// The value is not what this attribute wants; the error says what that is.
    fn parse(value: &'a str) -> Result<Self, AttributeError>;
}

/// The parts between spaces and tabs, however many there are of them.
fn words(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split([' ', '\t']).filter(|word| !word.is_empty())
}

/// The first part, and what follows the spaces behind it.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_matches([' ', '\t']);
    match text.bytes().position(|byte| matches!(byte, b' ' | b'\t')) {
        Some(end) => (&text[..end], text[end..].trim_start_matches([' ', '\t'])),
        None => (text, ""),
    }
}

/// Checks that a value reads back as it was, and that bad ones are refused.
#[cfg(test)]
pub(crate) fn round_trips<'a, A: Attribute<'a> + PartialEq + fmt::Debug>(value: &'a str) -> A {
    let read = A::parse(value).unwrap();
    assert_eq!(read.to_string(), value);
    read
}

#[cfg(test)]
pub(crate) fn refuses<'a, A: Attribute<'a> + fmt::Debug>(values: &[&'a str]) {
    for value in values {
        let error = A::parse(value).expect_err(value);
        assert_eq!(error.attribute, A::NAME);
    }
}
