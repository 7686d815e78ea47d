//! Digest authentication: RFC 3261 §22 with the algorithms of RFC 8760 and the computation of RFC 7616.
//!
//! ```text
//! Authorization ──> Credentials::parse ──> Nonces::check ──> Credentials::verify ──> Nonces::accept
//!                                          (ours? expired?)   (right secret?)         (count not yet used?)
//! ```
//!
//! The order matters: only a request whose response verified takes a count, so nobody else can use up a victim's
//! counts. The authenticator of the node hands in header values and asks for challenges; nothing here knows users.
//!
//! ```
//! use farspeak_sip::digest::{Algorithm, Challenge, Credentials, Ha1, Identity, NonceConfig, Nonces, Qop};
//! use farspeak_sansio::Instant;
//!
//! let nonces = Nonces::new([7; 32], NonceConfig::default());
//! let nonce = nonces.issue(Instant::ZERO);
//! let challenge = Challenge { realm: "example.org", nonce: &nonce, algorithm: Algorithm::Sha256, stale: false };
//!
//! // The phone answers …
//! let sent = challenge.to_string();
//! let parsed = Challenge::parse(&sent)?;
//! let alice = Identity { username: "alice", password: "secret" };
//! let value = parsed.answer(&alice, "REGISTER", "sip:example.org", "0a4f113b", 1);
//!
//! // … and the server verifies.
//! let credentials = Credentials::parse(&value)?;
//! let ha1 = Ha1::new(Algorithm::Sha256, "alice", "example.org", "secret");
//! assert_eq!(credentials.qop, Some(Qop::Auth));
//! assert!(credentials.verify(&ha1, "REGISTER", b""));
//! assert!(nonces.accept(Instant::ZERO, &credentials.nonce, credentials.nc.unwrap_or(0)).is_ok());
//! # Ok::<(), farspeak_sip::digest::DigestError>(())
//! ```

mod algorithm;
mod answer;
mod challenge;
mod credentials;
mod nonce;
mod params;

pub use algorithm::{Algorithm, Ha1, ResponseInput, Session, constant_time_eq, ha1, response};
pub use answer::{Answerer, Attempt, GiveUp, Login};
pub use challenge::{Challenge, Identity, ParsedChallenge};
pub use credentials::{Credentials, Qop};
pub use nonce::{NonceCheck, NonceConfig, NonceRefusal, Nonces};

use std::fmt;

/// Why an Authorization or challenge value cannot be used. All of them are the peer's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DigestError {
    /// The scheme is another one than Digest (RFC 3261 §22.1 knows no other).
    Scheme,
    /// The list of parameters does not parse.
    Syntax,
    /// A parameter stands there twice: two readers might take different ones.
    Duplicate(&'static str),
    /// A required parameter is missing.
    Missing(&'static str),
    /// A parameter has a value that its grammar does not allow.
    Invalid(&'static str),
    /// An algorithm other than MD5 and SHA-256, with or without `-sess`.
    Algorithm,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("the scheme is not Digest"),
            Self::Syntax => f.write_str("the parameters of the Digest value do not parse"),
            Self::Duplicate(name) => write!(f, "the Digest parameter {name} stands there twice"),
            Self::Missing(name) => write!(f, "the Digest parameter {name} is missing"),
            Self::Invalid(name) => write!(f, "the Digest parameter {name} has a value that is not allowed"),
            Self::Algorithm => f.write_str("the Digest algorithm is neither MD5 nor SHA-256"),
        }
    }
}

impl std::error::Error for DigestError {}
