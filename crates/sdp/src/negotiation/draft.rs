//! One media section of a description that this side is about to send, before it is written.

use crate::attribute::{Crypto, Setup};
use crate::{Direction, MediaKind, Protocol};

use super::codec::Codec;
use super::local::{LocalMedia, LocalTransport};
use super::security::Keying;

/// A section of an offer or an answer of this side.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// What the caller wants of it.
    pub(crate) wish: LocalMedia,
    pub(crate) enabled: bool,
    pub(crate) kind: MediaKind,
    pub(crate) protocol: Protocol,
    pub(crate) mid: Option<Box<str>>,
    pub(crate) direction: Direction,
    /// RTP formats: number, codec (with the parameters to write), and the number of its retransmissions.
    pub(crate) formats: Vec<DraftFormat>,
    /// Other formats; for a refused section the offer's or the former ones.
    pub(crate) raw_formats: Vec<Box<str>>,
    /// `None` for what needs no keys of its own (TLS), or nothing at all.
    pub(crate) keying: Option<Keying>,
    pub(crate) setup: Option<Setup>,
    pub(crate) crypto: Vec<Crypto>,
    /// The transport in use: this section's, or the tagged section's.
    pub(crate) transport: Option<LocalTransport>,
    /// Whether the attributes of the transport are written here (RFC 9143 §7.1.3).
    pub(crate) carries_transport: bool,
    /// Port 0, to be had only within the bundle (RFC 9143 §6).
    pub(crate) bundle_only: bool,
    /// Whether ICE and `tls-id` go with it: in an answer only if the offer has them.
    pub(crate) ice: bool,
    pub(crate) ice_options: Vec<Box<str>>,
    pub(crate) tls_id: bool,
    pub(crate) rtcp_mux: bool,
    pub(crate) rtcp_mux_only: bool,
    pub(crate) rtcp_rsize: bool,
    pub(crate) extensions: Vec<(u16, Box<str>)>,
}

/// One RTP format of a draft.
#[derive(Debug, Clone)]
pub(crate) struct DraftFormat {
    pub(crate) payload_type: u8,
    pub(crate) codec: Codec,
    pub(crate) retransmission: Option<u8>,
}

impl Draft {
    /// A section with port 0.
    pub(crate) fn rejected(wish: LocalMedia, protocol: Protocol, raw_formats: Vec<Box<str>>) -> Self {
        let kind = wish.kind.clone();
        Self {
            wish,
            enabled: false,
            kind,
            protocol,
            mid: None,
            direction: Direction::Inactive,
            formats: Vec::new(),
            raw_formats,
            keying: None,
            setup: None,
            crypto: Vec::new(),
            transport: None,
            carries_transport: false,
            bundle_only: false,
            ice: false,
            ice_options: Vec::new(),
            tls_id: false,
            rtcp_mux: false,
            rtcp_mux_only: false,
            rtcp_rsize: false,
            extensions: Vec::new(),
        }
    }

    /// Turns an accepted section into a refused one with these formats.
    pub(crate) fn refuse(&mut self, raw_formats: Vec<Box<str>>) {
        let wish = std::mem::replace(&mut self.wish, LocalMedia::rejected(self.kind.clone()));
        let mid = self.mid.take();
        *self = Self { mid, ..Self::rejected(wish, self.protocol.clone(), raw_formats) };
    }
}
