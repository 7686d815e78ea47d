#![doc = include_str!("../README.md")]

pub mod attribute;
mod error;
mod field;
mod limits;
mod line;
mod media;
mod negotiation;
mod parse;
mod protocol;
mod section;
mod session;
mod write;

pub use attribute::{Attribute, Crypto, Direction, Fingerprint};
pub use error::{AttributeError, ParseError, ParseErrorKind};
pub use field::{AddressType, Bandwidth, Connection, Network, Origin, Timing};
pub use limits::Limits;
pub use line::Line;
pub use media::Media;
pub use negotiation::{
    AgreedCodec, AgreedIce, AgreedMedia, AnswerError, Bundle, Capabilities, Codec, DangerousSecurity, DtlsRole,
    IceParameters, Keying, LocalMedia, LocalTransport, Negotiation, NegotiationError, NegotiationState, OfferError,
    OfferedMedia, OtherCapability, Refusal, RemoteAddress, RemoteOffer, RtcpMux, RtpCapability, Security,
    SecurityPolicy, Signalling,
};
pub use protocol::{MediaKind, Protocol};
pub use section::Section;
pub use session::Description;
