//! How media must be protected: which way of getting keys is allowed, in which order. Secure unless told otherwise.

use crate::Protocol;

/// How the keys of media come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keying {
    /// DTLS-SRTP: by a handshake on the media path. RFC 5763, RFC 8842.
    Dtls,
    /// SDES: in the description itself, `a=crypto`. RFC 4568. Whoever reads the signalling hears the call.
    Sdes,
    /// No keys: plain RTP.
    Plain,
}

impl Keying {
    /// The protocol that an offer names. RFC 5764 §8, RFC 3711 §12, RFC 3551.
    pub(crate) fn protocol(self, feedback: bool) -> Protocol {
        match (self, feedback) {
            // Browsers know this one only; it does no harm where there is no feedback (RFC 9429 §5.1.2).
            (Self::Dtls, _) => Protocol::UdpTlsRtpSavpf,
            (Self::Sdes, false) => Protocol::RtpSavp,
            (Self::Sdes, true) => Protocol::RtpSavpf,
            (Self::Plain, false) => Protocol::RtpAvp,
            (Self::Plain, true) => Protocol::RtpAvpf,
        }
    }
}

/// Which ways of protecting media are allowed, most wanted first. What is not in the list is refused in offers and never
/// offered. The default is DTLS-SRTP only.
///
/// ```
/// use farspeak_sdp::{Keying, SecurityPolicy};
/// assert_eq!(SecurityPolicy::default().order(), [Keying::Dtls]);
/// let trunk = SecurityPolicy::default().with_sdes();
/// assert_eq!(trunk.order(), [Keying::Dtls, Keying::Sdes]);
/// let lab = SecurityPolicy::default().dangerous().allow_plain_rtp();
/// assert_eq!(lab.order(), [Keying::Dtls, Keying::Plain]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityPolicy {
    order: Vec<Keying>,
    sdes_in_the_clear: bool,
}

impl Default for SecurityPolicy {
    fn default() -> Self {
        Self { order: vec![Keying::Dtls], sdes_in_the_clear: false }
    }
}

impl SecurityPolicy {
    /// The same with SDES allowed, less wanted than what is there. It is used only while the caller says that the signalling
    /// is protected ([`Negotiation::set_signalling`](super::Negotiation::set_signalling)): RFC 4568 §7 (the keys are in it).
    pub fn with_sdes(self) -> Self {
        self.with(Keying::Sdes)
    }

    /// The same with this way first, if it is allowed at all.
    pub fn prefer(mut self, keying: Keying) -> Self {
        if let Some(place) = self.order.iter().position(|other| *other == keying) {
            self.order.remove(place);
            self.order.insert(0, keying);
        }
        self
    }

    /// The same with only this way, if it is allowed at all; else unchanged.
    pub fn only(mut self, keying: Keying) -> Self {
        if self.order.contains(&keying) {
            self.order = vec![keying];
        }
        self
    }

    /// The choices that give up protection.
    pub fn dangerous(self) -> DangerousSecurity {
        DangerousSecurity(self)
    }

    /// What is allowed, most wanted first.
    pub fn order(&self) -> &[Keying] {
        &self.order
    }

    /// Whether this way may be used over such signalling.
    pub(crate) fn allows(&self, keying: Keying, signalling: Signalling) -> bool {
        self.order.contains(&keying)
            && (keying != Keying::Sdes || signalling == Signalling::Secure || self.sdes_in_the_clear)
    }

    fn with(mut self, keying: Keying) -> Self {
        if !self.order.contains(&keying) {
            self.order.push(keying);
        }
        self
    }
}

/// The choices of a [`SecurityPolicy`] that give up protection, apart so that a reviewer sees them.
#[derive(Debug, Clone)]
pub struct DangerousSecurity(SecurityPolicy);

impl DangerousSecurity {
    /// Anybody on the path hears the call and can speak in it. For peers that can do nothing better.
    pub fn allow_plain_rtp(self) -> SecurityPolicy {
        self.0.with(Keying::Plain)
    }

    /// SDES also over signalling that is not protected: anybody who sees that has the keys.
    pub fn allow_sdes_over_insecure_signalling(self) -> SecurityPolicy {
        let mut policy = self.0.with_sdes();
        policy.sdes_in_the_clear = true;
        policy
    }
}

/// Whether others can read the signalling of this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Signalling {
    /// Not known to be protected: SDES is neither offered nor accepted.
    #[default]
    Insecure,
    /// Protected on the next hop at least (TLS), and the caller trusts the hops behind, as `sips` asks for.
    Secure,
}
