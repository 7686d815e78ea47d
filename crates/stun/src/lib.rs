#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod attribute;
pub mod channel_data;
mod client;
pub mod demultiplex;
pub mod discovery;
mod fingerprint;
pub mod framing;
mod header;
pub mod indication;
mod integrity;
pub mod limit;
pub mod long_term;
mod message;
mod server;
pub mod short_term;
mod transaction;
mod writer;

pub use attribute::{Attribute, AttributeType, ErrorCode, Malformed};
pub use client::{Authentication, Busy, Client, ClientConfig, Event, Failure, Request, RequestId};
pub use header::{Class, HEADER, MAGIC_COOKIE, Method, TransactionId};
pub use integrity::{Integrity, IntegrityError, Key, hmac_sha1};
pub use limit::Limits;
pub use message::{Attributes, Message, ParseError, RawAttribute};
pub use server::{Alternate, Answer, BindingServer, Counters, ServerConfig};
pub use transaction::{Schedule, Step, Transaction};
pub use writer::{WriteError, Writer};
