//! Offer/answer: one session's state, RFC 3264, with RFC 6337 §§2, 5 (SIP), RFC 9429 §§5.2–5.3 (later offers and answers),
//! RFC 9143 (bundles), RFC 8842 (DTLS), RFC 4568 (SDES), RFC 8839 (ICE).
//!
//! ```text
//!             offer()                        handle_offer()
//!   LocalOffer <------------- Stable ---------------> RemoteOffer
//!       |   handle_answer() ^  ^  ^  ^   answer()          |
//!       +-------------------+  |  |  +---------------------+
//!       |      rollback()      |  |       rollback()       |
//!       +----------------------+  +------------------------+
//! ```
//!
//! The caller brings addresses, ports, ICE credentials, certificates' fingerprints and keys ([`LocalTransport`]) and gets
//! descriptions to send and what was agreed ([`AgreedMedia`]) to set up media by. Nothing here sends, waits or draws lots.
//!
//! - [`offer`] and [`answer`] make descriptions, [`conclude`] reads answers, [`review`] reads offers.
//! - [`draft`] is a section about to be written, [`write`] writes it, [`remote`] is a section that came.
//! - [`agree`] is what follows from both. [`bundle`], [`dtls_role`], [`sdes`], [`codec`] decide one thing each.

mod agree;
mod agreed;
mod answer;
mod bundle;
mod capabilities;
mod codec;
mod conclude;
mod draft;
mod dtls_role;
mod error;
mod h264;
mod hold;
mod local;
mod offer;
mod payload_types;
mod remote;
mod review;
mod sdes;
mod security;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use crate::{Description, Origin};

pub use agreed::{AgreedCodec, AgreedIce, AgreedMedia, RemoteAddress, Security};
pub use capabilities::{Bundle, Capabilities, DtlsRole, OtherCapability, RtcpMux, RtpCapability};
pub use codec::Codec;
pub use error::{AnswerError, NegotiationError, OfferError, Refusal};
pub use local::{IceParameters, LocalMedia, LocalTransport};
pub use review::{OfferedMedia, RemoteOffer};
pub use security::{DangerousSecurity, Keying, SecurityPolicy, Signalling};

use draft::Draft;
use dtls_role::Association;
use payload_types::PayloadTypes;
use remote::Remote;

/// One session's offers and answers, seen from one side.
///
/// A clone is a fork: of an INVITE that is answered by several phones, each answer goes to a clone of its own.
///
/// ```
/// use farspeak_sdp::*;
/// # let fingerprint = Fingerprint { hash: attribute::HashFunction::Sha256, bytes: vec![7; 32] };
/// # let address = "192.0.2.1".parse().unwrap();
/// let mut transport = LocalTransport::new(address, 49170);
/// transport.fingerprints = vec![fingerprint];
/// let audio = [LocalMedia::new(MediaKind::Audio, transport)];
/// let capabilities = Capabilities::audio([Codec::opus(), Codec::pcma()]);
/// let mut alice = Negotiation::new(capabilities.clone(), Origin::new(1, 1, address));
/// let mut bob = Negotiation::new(capabilities, Origin::new(2, 1, address));
///
/// let offer = alice.offer(&audio)?;               // goes into the INVITE
/// bob.handle_offer(&offer)?;                      // an error here knows its status: 488, 491
/// let answer = bob.answer(&audio)?;               // goes into the 200
/// alice.handle_answer(&answer)?;
/// assert_eq!(&*alice.agreed()[0].codecs[0].encoding, "opus");
///
/// alice.hold();
/// let offer = alice.reoffer()?;                   // a=sendonly, version up by one, everything else as it was
/// # bob.handle_offer(&offer)?;
/// # let answer = bob.reanswer()?;
/// # alice.handle_answer(&answer)?;
/// # assert!(!alice.agreed()[0].receives());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Negotiation {
    capabilities: Capabilities,
    signalling: Signalling,
    /// Of this side; the version is that of the next description if none was sent yet.
    origin: Origin,
    /// One for each `m=` line, for ever.
    sections: Vec<Section>,
    /// In use, the tagged section first.
    bundles: Vec<Vec<usize>>,
    agreed: Vec<AgreedMedia>,
    local: Option<Description>,
    remote: Option<Description>,
    /// The last description that this side sent, agreed or not: "the previous SDP" (RFC 3264 §8).
    sent: Option<Description>,
    payload_types: PayloadTypes,
    /// Numbers of RTP header extensions, the same in all sections.
    extensions: BTreeMap<u16, Box<str>>,
    next_mid: u32,
    state: State,
}

/// A media section after the last completed exchange.
#[derive(Clone)]
struct Section {
    /// What this side said of it.
    draft: Draft,
    association: Option<Association>,
}

#[derive(Clone)]
enum State {
    /// Nothing is owed.
    Stable,
    /// This side offered and waits for the answer.
    LocalOffer(Box<Pending>),
    /// The peer offered and waits for the answer.
    RemoteOffer(Box<Received>),
}

#[derive(Clone)]
struct Pending {
    drafts: Vec<Draft>,
    bundles: Vec<Vec<usize>>,
    description: Description,
}

#[derive(Clone)]
struct Received {
    remote: Remote,
    report: RemoteOffer,
    description: Description,
}

/// Which side owes what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NegotiationState {
    /// Nobody owes an answer.
    Stable,
    /// The peer owes an answer.
    LocalOffer,
    /// This side owes an answer.
    RemoteOffer,
}

impl Negotiation {
    /// A session without media. The origin's session id and version are the caller's: random, the version below 2^62
    /// (RFC 3264 §5). The first description has this version.
    pub fn new(capabilities: Capabilities, origin: Origin) -> Self {
        Self {
            capabilities,
            signalling: Signalling::default(),
            origin,
            sections: Vec::new(),
            bundles: Vec::new(),
            agreed: Vec::new(),
            local: None,
            remote: None,
            sent: None,
            payload_types: PayloadTypes::default(),
            extensions: BTreeMap::new(),
            next_mid: 0,
            state: State::Stable,
        }
    }

    /// Says whether the signalling is protected: else SDES is neither offered nor accepted. Default
    /// [`Signalling::Insecure`]. It counts for what comes; what is agreed stays.
    pub fn set_signalling(&mut self, signalling: Signalling) {
        self.signalling = signalling;
    }

    /// What this side can do. A change counts for the next offer or answer.
    pub fn capabilities_mut(&mut self) -> &mut Capabilities {
        &mut self.capabilities
    }

    /// What this side can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Which side owes what.
    pub fn state(&self) -> NegotiationState {
        match self.state {
            State::Stable => NegotiationState::Stable,
            State::LocalOffer(_) => NegotiationState::LocalOffer,
            State::RemoteOffer(_) => NegotiationState::RemoteOffer,
        }
    }

    /// What is agreed since the last completed exchange: one entry for each live stream, by rising index. An offer that is
    /// under way changes nothing yet.
    pub fn agreed(&self) -> &[AgreedMedia] {
        &self.agreed
    }

    /// How many `m=` lines there are; never fewer than before.
    pub fn media_count(&self) -> usize {
        self.sections.len()
    }

    /// Where the next new stream goes: the first section that is not in use, else behind the last. RFC 3264 §8.1,
    /// RFC 9429 §5.2.2 (recycling).
    pub fn free_section(&self) -> usize {
        (0..self.sections.len()).find(|index| self.live(*index).is_none()).unwrap_or(self.sections.len())
    }

    /// The transport of this side that a live stream uses: its own, or that of the section it is bundled with. To restart
    /// ICE or DTLS, change it and offer it for that section.
    pub fn local_transport(&self, index: usize) -> Option<&LocalTransport> {
        self.live(index)?;
        self.sections[index].draft.transport.as_ref()
    }

    /// This side's description of the last completed exchange.
    pub fn local_description(&self) -> Option<&Description> {
        self.local.as_ref()
    }

    /// The peer's description of the last completed exchange.
    pub fn remote_description(&self) -> Option<&Description> {
        self.remote.as_ref()
    }

    /// Forgets the offer that is under way, because it was refused or given up: what was agreed before stays. RFC 3264 §4,
    /// RFC 3261 §14.1, RFC 9429 §5.7. Its version number is not used again for anything else.
    ///
    /// # Errors
    /// [`NegotiationError::NothingPending`].
    pub fn rollback(&mut self) -> Result<(), NegotiationError> {
        if let State::Stable = self.state {
            return Err(NegotiationError::NothingPending);
        }
        self.state = State::Stable;
        Ok(())
    }

    fn live(&self, index: usize) -> Option<&AgreedMedia> {
        self.agreed.iter().find(|agreed| agreed.index == index)
    }

    /// Writes a description with the version that RFC 3264 §8 wants: the former one if nothing changed since this side's
    /// last description, else one more. A refused offer counts, too: RFC 9429 §5.2.2.
    fn write(&mut self, timing: Option<&str>, drafts: &[Draft], bundles: &[Vec<usize>]) -> Description {
        let mut origin = self.origin.clone();
        if let Some(sent) = &self.sent {
            origin.version = sent.origin().version;
        }
        let mut description = write::description(&origin, timing, drafts, bundles);
        if self.sent.as_ref().is_some_and(|sent| *sent != description) {
            origin.version = origin.version.wrapping_add(1);
            description.set_origin(origin);
        }
        self.sent = Some(description.clone());
        description
    }

    /// An identification tag that no section has. Short, so that it fits a header extension, and a mere count, so that it
    /// tells nothing (RFC 9429 §5.2.1).
    fn new_mid(&mut self, taken: &[Option<Box<str>>]) -> Box<str> {
        loop {
            let mid: Box<str> = self.next_mid.to_string().into();
            self.next_mid = self.next_mid.wrapping_add(1);
            let known = self.sections.iter().map(|section| &section.draft.mid).chain(taken);
            if known.flatten().all(|other| *other != mid) {
                return mid;
            }
        }
    }

    /// Completes an exchange.
    fn commit(&mut self, outcome: Outcome, local: Description, remote: Description) {
        let Outcome { mut drafts, bundles, agreed, associations } = outcome;
        for media in agreed.iter().filter(|media| media.bundle.is_some()) {
            let wish = &mut drafts[media.index].wish;
            // It stays until the caller says otherwise again, and a transport of its own that it offered is given up: to
            // leave the bundle it needs a new one.
            wish.bundled = true;
            if media.bundle != Some(media.index) {
                wish.transport = None;
            }
        }
        let sections = drafts.into_iter().zip(associations);
        self.sections = sections.map(|(draft, association)| Section { draft, association }).collect();
        self.bundles = bundles;
        self.agreed = agreed;
        self.local = Some(local);
        self.remote = Some(remote);
        self.state = State::Stable;
    }
}

/// What a completed exchange leaves.
struct Outcome {
    drafts: Vec<Draft>,
    bundles: Vec<Vec<usize>>,
    agreed: Vec<AgreedMedia>,
    associations: Vec<Option<Association>>,
}

impl fmt::Debug for Negotiation {
    /// State and agreement, without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiation")
            .field("state", &self.state())
            .field("agreed", &self.agreed)
            .field("media_count", &self.media_count())
            .finish_non_exhaustive()
    }
}
