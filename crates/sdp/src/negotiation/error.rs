//! Why an offer or an answer cannot be made or taken, told apart by whose fault it is.

use std::error::Error;
use std::fmt;

/// The caller asked for what cannot be written. The negotiation is as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// An offer of this side waits for its answer: [`rollback`](super::Negotiation::rollback) or handle that first.
    /// RFC 3264 §4.
    OfferPending,
    /// An offer of the peer waits for an answer: answer it first. RFC 3264 §4.
    AnswerOwed,
    /// There is no offer to answer.
    NothingToAnswer,
    /// There is nothing to roll back.
    NothingPending,
    /// More media than [`Capabilities::max_media`](super::Capabilities::max_media).
    TooManyMedia,
    /// There is no such media section.
    NoSuchMedia(usize),
    /// The offer has another kind of media in this section.
    Kind(usize),
    /// No capability for this kind of media, or no codec.
    NoCodecs(usize),
    /// The section has no transport, and is bundled with none that has one.
    NoTransport(usize),
    /// The section's transport has a port of 0, or one that RTCP cannot follow.
    Port(usize),
    /// The transport has nothing that the policy allows: no fingerprint for DTLS, no key for SDES, no leave to send plain.
    NoKeying(usize),
    /// All payload types of this section are taken.
    NoPayloadType(usize),
    /// The peer asks for a new DTLS association (or this side changed its certificate): that needs a new `tls-id`.
    /// RFC 8842 §5.3.
    StaleTlsId(usize),
    /// The peer restarts ICE: that needs new credentials. RFC 8839 §4.4.1.1.1.
    StaleIceCredentials(usize),
    /// The credentials changed in an answer although the peer did not restart ICE. RFC 9429 §5.3.2.
    ChangedIceCredentials(usize),
    /// Lengths outside RFC 8839 §5.4.
    BadIceCredentials(usize),
    /// The key is the peer's own: RFC 4568 §7.1.2 wants another, else both encrypt with one key stream.
    ReusedKey(usize),
    /// The negotiation writes this attribute itself.
    ReservedAttribute(usize),
    /// A packet time of 0 (RFC 3264 §5.1).
    PacketTime(usize),
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use NegotiationError::*;
        let (index, text) = match self {
            OfferPending => return f.write_str("an offer waits for its answer: handle it or roll back"),
            AnswerOwed => return f.write_str("the peer's offer waits for an answer: answer it first"),
            NothingToAnswer => return f.write_str("there is no offer to answer"),
            NothingPending => return f.write_str("there is nothing to roll back"),
            TooManyMedia => return f.write_str("more media than the capabilities allow"),
            NoSuchMedia(index) => (index, "there is no such section"),
            Kind(index) => (index, "the offer has another kind of media here"),
            NoCodecs(index) => (index, "no codec for this kind of media"),
            NoTransport(index) => (index, "give it a transport, or bundle it with a section that has one"),
            Port(index) => (index, "the port must be above 0 and leave room for RTCP"),
            NoKeying(index) => (index, "the transport has nothing that the security policy allows"),
            NoPayloadType(index) => (index, "all payload types are taken"),
            StaleTlsId(index) => (index, "a new DTLS association needs a new tls-id"),
            StaleIceCredentials(index) => (index, "the peer restarts ICE: give new credentials"),
            ChangedIceCredentials(index) => (index, "keep the ICE credentials: the peer does not restart"),
            BadIceCredentials(index) => (index, "ICE wants 4 to 256 and 22 to 256 characters"),
            ReusedKey(index) => (index, "the key is the peer's own: make another"),
            ReservedAttribute(index) => (index, "the negotiation writes this attribute itself"),
            PacketTime(index) => (index, "a packet time of 0"),
        };
        write!(f, "media section {index}: {text}")
    }
}

impl Error for NegotiationError {}

/// The peer's offer cannot be taken as it is. The negotiation is as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfferError {
    /// An offer of this side waits for its answer: glare.
    Glare,
    /// An earlier offer of the peer is not yet answered.
    AnswerOwed,
    /// Fewer `m=` lines than before. RFC 3264 §8.
    FewerMedia,
    /// Two sections with one identification tag. RFC 5888 §4.
    DuplicateMid,
    /// Nothing in it can be accepted: why, for each section. Where the offer came in a response it cannot be refused;
    /// answer it by [`Negotiation::refuse`](super::Negotiation::refuse).
    NothingAcceptable(Vec<Refusal>),
}

impl OfferError {
    /// The SIP status to refuse the offer with: 491 for glare (RFC 3261 §14.1), 500 with a Retry-After for an offer before
    /// the last one is answered (RFC 3261 §14.2, RFC 3311 §5.2), else 488.
    pub fn status(&self) -> u16 {
        match self {
            Self::Glare => 491,
            Self::AnswerOwed => 500,
            Self::FewerMedia | Self::DuplicateMid | Self::NothingAcceptable(_) => 488,
        }
    }

    /// Code and text for a Warning header field. RFC 3261 §20.43.
    pub fn warning(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::Glare | Self::AnswerOwed => None,
            Self::FewerMedia => Some((399, "Fewer media descriptions than before")),
            Self::DuplicateMid => Some((399, "Two media descriptions with one identification tag")),
            Self::NothingAcceptable(refusals) => refusals.iter().find_map(|refusal| refusal.warning()),
        }
    }
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glare => f.write_str("an offer of this side waits for its answer"),
            Self::AnswerOwed => f.write_str("the offer before is not yet answered"),
            Self::FewerMedia => f.write_str("fewer media descriptions than before"),
            Self::DuplicateMid => f.write_str("two media descriptions with one identification tag"),
            Self::NothingAcceptable(refusals) => write!(f, "nothing can be accepted: {refusals:?}"),
        }
    }
}

impl Error for OfferError {}

/// Why one offered section cannot be accepted: its answer has port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The offerer ended it or left it out: port 0.
    Disabled,
    /// No capability for this kind of media.
    Kind,
    /// No capability for this protocol.
    Protocol,
    /// The policy allows no keying that it offers.
    Keying,
    /// It would be protected by DTLS, but states no fingerprint or a role that DTLS does not have.
    Dtls,
    /// No offered key of a kind that can be used. RFC 4568 §5.1.2.
    Crypto,
    /// No codec in common.
    Codecs,
    /// It insists on RTCP on the same port and this side on another, or the other way round. RFC 8858 §4.3.
    RtcpMux,
    /// A multicast address; this is for two parties.
    Multicast,
    /// Not an Internet address, or none.
    Address,
    /// ICE credentials outside RFC 8839 §5.4.
    Ice,
    /// It can only be had within a bundle that is not made. RFC 9143 §6.
    Bundle,
    /// One more than [`Capabilities::max_media`](super::Capabilities::max_media).
    TooMany,
}

impl Refusal {
    /// Code and text for a Warning header field. RFC 3261 §20.43.
    pub fn warning(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::Disabled => return None,
            Self::Kind | Self::TooMany => (304, "Media type not available"),
            Self::Protocol => (302, "Incompatible transport protocol"),
            Self::Keying => (302, "Incompatible transport protocol: media must be protected"),
            Self::Dtls | Self::Crypto | Self::Ice | Self::RtcpMux | Self::Bundle => {
                (307, "Session description parameter not understood")
            }
            Self::Codecs => (305, "Incompatible media format"),
            Self::Multicast => (330, "Multicast not available"),
            Self::Address => (301, "Incompatible network address formats"),
        })
    }
}

/// The peer's answer breaks a rule. The offer still waits: [`rollback`](super::Negotiation::rollback), or end the session.
/// The number is the section's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerError {
    /// No offer of this side waits for an answer.
    NoOffer,
    /// Not as many `m=` lines as the offer. RFC 3264 §6.
    MediaCount {
        /// In the offer.
        offered: usize,
        /// In the answer.
        answered: usize,
    },
    /// Another kind of media than offered. RFC 3264 §6.1.
    Kind(usize),
    /// Another protocol than offered: nobody may talk this side out of encryption. RFC 9429 §5.8.3.
    Protocol(usize),
    /// A stream that was offered with port 0 is answered with another. RFC 3264 §8.2.
    Revived(usize),
    /// Another direction than the offered one allows. RFC 3264 §6.1.
    Direction(usize),
    /// No format in common. RFC 3264 §6.1.
    NoFormat(usize),
    /// Another identification tag than offered. RFC 5888 §9.1.
    Mid(usize),
    /// A multicast address. RFC 3264 §6.1.
    Multicast(usize),
    /// No usable address.
    Address(usize),
    /// DTLS was offered, and the answer has no fingerprint. RFC 8842 §5.3.
    NoFingerprint(usize),
    /// A role that an answer cannot have. RFC 8842 §5.3.
    Setup(usize),
    /// Another role than that of the association that goes on. RFC 9429 §5.8.3.
    DtlsRole(usize),
    /// Not exactly one key, or not one of the offered tags and suites, or parameters that weaken it. RFC 4568 §5.1.3.
    Crypto(usize),
    /// The key is this side's own. RFC 4568 §7.1.2.
    ReusedKey(usize),
    /// RTCP on the same port although that was not offered. RFC 5761 §5.1.1.
    UnaskedRtcpMux(usize),
    /// RTCP on another port although this side insists on one, or within a bundle. RFC 8858 §4.4, RFC 9143 §9.3.1.3.
    NoRtcpMux(usize),
    /// Bundled although that was not offered, or with others than offered. RFC 9143 §7.4.
    Bundle(usize),
    /// The bundle's transport is of a section that has none. RFC 9143 §7.3.1.
    BundleTag(usize),
    /// A `bundle-only` section is accepted outside the bundle. RFC 9143 §7.3.2.
    OutsideBundle(usize),
    /// ICE credentials outside RFC 8839 §5.4.
    Ice(usize),
    /// This side restarts ICE and the answer has the old credentials. RFC 8839 §4.4.1.1.1.
    IceNotRestarted(usize),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AnswerError::*;
        let (index, text) = match self {
            NoOffer => return f.write_str("no offer waits for an answer"),
            MediaCount { offered, answered } => {
                return write!(f, "{offered} media descriptions offered, {answered} answered");
            }
            Kind(index) => (index, "another kind of media than offered"),
            Protocol(index) => (index, "another protocol than offered"),
            Revived(index) => (index, "offered with port 0 and answered with another"),
            Direction(index) => (index, "a direction that the offered one does not allow"),
            NoFormat(index) => (index, "no format in common"),
            Mid(index) => (index, "another identification tag than offered"),
            Multicast(index) => (index, "a multicast address"),
            Address(index) => (index, "no usable address"),
            NoFingerprint(index) => (index, "no fingerprint"),
            Setup(index) => (index, "a role that an answer cannot have"),
            DtlsRole(index) => (index, "another role than that of the DTLS association that goes on"),
            Crypto(index) => (index, "not exactly one of the offered keys"),
            ReusedKey(index) => (index, "the key is this side's own"),
            UnaskedRtcpMux(index) => (index, "rtcp-mux was not offered"),
            NoRtcpMux(index) => (index, "no rtcp-mux"),
            Bundle(index) => (index, "bundled otherwise than offered"),
            BundleTag(index) => (index, "the bundle's transport is of a section that has none"),
            OutsideBundle(index) => (index, "bundle-only, and accepted outside the bundle"),
            Ice(index) => (index, "ICE credentials of a wrong length"),
            IceNotRestarted(index) => (index, "ICE was not restarted"),
        };
        write!(f, "media section {index}: {text}")
    }
}

impl Error for AnswerError {}
