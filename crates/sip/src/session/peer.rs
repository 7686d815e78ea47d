//! What the peer of a leg has said that it can do: Supported and Allow (RFC 3261 §20.5, §20.37).

use crate::header::{Allow, OptionTag, OptionTags};
use crate::message::{HeaderName, Message, Method};

/// What is known of a peer. Nothing said is nothing supported.
#[derive(Debug, Default)]
pub(super) struct Peer {
    supported: OptionTags,
    allow: Allow,
}

impl Peer {
    /// Takes what a message of the peer's says; what it does not mention stays.
    pub fn learn(&mut self, message: &Message) {
        if message.header(HeaderName::Supported).is_some() {
            self.supported = OptionTags::of(message, HeaderName::Supported).unwrap_or_default();
        }
        if let Ok(Some(allow)) = Allow::of(message) {
            self.allow = allow;
        }
    }

    pub fn supports(&self, tag: OptionTag) -> bool {
        self.supported.contains(tag)
    }

    pub fn allows(&self, method: &Method) -> bool {
        self.allow.contains(method)
    }

    /// The peer has refused a method in spite of what it said (405, 501).
    pub fn lacks(&mut self, method: &Method) {
        self.allow.remove(method);
    }
}

/// Whether a message lists an option tag in Supported, or demands it in Require.
pub(super) fn has_tag(message: &Message, tag: OptionTag) -> bool {
    let mut tags = message.tokens(HeaderName::Supported).chain(message.tokens(HeaderName::Require));
    tags.any(|text| text.eq_ignore_ascii_case(tag.as_str()))
}
