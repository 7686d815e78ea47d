#![doc = include_str!("../README.md")]

pub mod attribute;
mod error;
mod field;
mod limits;
mod line;
mod media;
mod parse;
mod protocol;
mod section;
mod session;
mod write;

pub use attribute::Attribute;
pub use error::{AttributeError, ParseError, ParseErrorKind};
pub use field::{AddressType, Bandwidth, Connection, Network, Origin, Timing};
pub use limits::Limits;
pub use line::Line;
pub use media::Media;
pub use protocol::{MediaKind, Protocol};
pub use section::Section;
pub use session::Description;
