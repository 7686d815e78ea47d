//! Certificates of the TLS listeners: loading them from PEM files, picking one for each client, and swapping them while
//! connections live on.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farspeak_sansio::Transport;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate chain with its private key.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}", self.fingerprint())
    }
}

impl Identity {
    /// Loads a chain (server certificate first) and its private key (PKCS#8, PKCS#1 or SEC1) from PEM files, which may
    /// be one and the same. `now` decides whether the certificate is valid.
    pub fn load(chain: &Path, key: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let chain_pem = read(chain)?;
        let key_pem = read(key)?;
        let wrong = |file: &Path, kind| CertificateError { file: file.to_owned(), kind };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
        let certificates = match certificates {
            Ok(certificates) if !certificates.is_empty() => certificates,
            _ => return Err(wrong(chain, CertificateErrorKind::NoCertificate)),
        };
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| wrong(key, CertificateErrorKind::NoKey))?;
        Self::new(certificates, private, now).map_err(|kind| match kind {
            CertificateErrorKind::UnsupportedKey | CertificateErrorKind::KeyMismatch => wrong(key, kind),
            kind => wrong(chain, kind),
        })
    }

    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: SystemTime,
    ) -> Result<Self, CertificateErrorKind> {
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|_| CertificateErrorKind::UnsupportedKey)?;
        let validity = Validity::of(&chain[0]).ok_or(CertificateErrorKind::NoCertificate)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateErrorKind::KeyMismatch),
            Err(_) => return Err(CertificateErrorKind::NoCertificate),
        }
        if now > validity.not_after {
            return Err(CertificateErrorKind::Expired { since: validity.not_after });
        }
        if now < validity.not_before {
            return Err(CertificateErrorKind::NotYetValid { from: validity.not_before });
        }
        Ok(Self { certified: Arc::new(certified), not_after: validity.not_after })
    }

    /// When the certificate expires.
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// SHA-256 of the server certificate, as [`fingerprint`] writes it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certified.cert[0])
    }

    /// The chain, server certificate first, as DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The DNS names and IP addresses that the certificate is for.
    pub fn names(&self) -> Vec<String> {
        subject_alternative_names(&self.certified.cert[0])
    }
}

/// SHA-256 of a DER certificate as `AB:CD:…` (RFC 8122 §5 form).
pub fn fingerprint(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// The certificates in use, exchangeable at run time: new handshakes see the new ones, connections live on.
pub struct CertificateStore(RwLock<Arc<[Identity]>>);

impl fmt::Debug for CertificateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.current().iter()).finish()
    }
}

impl CertificateStore {
    /// A store with these, the preferred first. An empty store refuses every handshake.
    pub fn new(identities: Vec<Identity>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(identities.into())))
    }

    /// Uses these from the next handshake on.
    pub fn replace(&self, identities: Vec<Identity>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identities.into();
    }

    /// What is in use.
    pub fn current(&self) -> Arc<[Identity]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn pick(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let identities = self.current();
        let usable = identities.iter().find(|identity| identity.certified.key.choose_scheme(schemes).is_some());
        usable.map(|identity| Arc::clone(&identity.certified))
    }
}

impl ResolvesServerCert for CertificateStore {
    /// The first certificate whose key can sign by a scheme that the client knows: ECDSA before RSA if stored so.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.signature_schemes())
    }
}

/// TLS 1.3 and 1.2 for a listener of `transport`, with the certificates of `store`.
///
/// Sessions resume by stateless tickets whose keys rotate every 6 h, so that a reconnecting phone costs no signature and an idle one
/// no memory. Fails only if the system gives no randomness.
pub fn server_config(store: Arc<CertificateStore>, transport: Transport) -> Result<Arc<ServerConfig>, rustls::Error> {
    server_config_for(store, if transport == Transport::Wss { &["http/1.1"] } else { &[] })
}

/// As [`server_config`], for these application protocols (ALPN, RFC 7301), the preferred first. A client that offers
/// protocols, and none of these, is refused; one that offers none is served. Without any, no client is asked.
pub fn server_config_for(store: Arc<CertificateStore>, protocols: &[&str]) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(store);
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

pub(crate) fn subject_alternative_names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        GeneralName::IPAddress(octets) => {
            <[u8; 16]>::try_from(*octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string())
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

pub(crate) struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Validity {
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        Some(Self {
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(file).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => CertificateErrorKind::Missing,
            _ => CertificateErrorKind::Unreadable(error),
        };
        CertificateError { file: file.to_owned(), kind }
    })
}

/// A certificate or key that cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub kind: CertificateErrorKind,
}

/// What is wrong with a certificate or key.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateErrorKind {
    /// No such file.
    Missing,
    /// The file cannot be read.
    Unreadable(io::Error),
    /// The file holds no certificate in PEM, or a damaged one.
    NoCertificate,
    /// The file holds no private key in PEM, or only an encrypted one.
    NoKey,
    /// A kind of key that TLS here cannot use.
    UnsupportedKey,
    /// The key belongs to another certificate.
    KeyMismatch,
    /// The certificate is no longer valid.
    Expired {
        /// Since when.
        since: SystemTime,
    },
    /// The certificate is not valid yet, or the clock of this machine is wrong.
    NotYetValid {
        /// From when on.
        from: SystemTime,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.kind)
    }
}

impl fmt::Display for CertificateErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::NoCertificate => f.write_str("holds no valid certificate in PEM (-----BEGIN CERTIFICATE-----)"),
            Self::NoKey => f.write_str("holds no unencrypted private key in PEM (-----BEGIN PRIVATE KEY-----)"),
            Self::UnsupportedKey => f.write_str("a kind of key that is not supported; use ECDSA P-256 or RSA 2048"),
            Self::KeyMismatch => f.write_str("this key does not belong to the certificate"),
            Self::Expired { since } => write!(f, "the certificate expired on {}", date(*since)),
            Self::NotYetValid { from } => {
                write!(f, "the certificate is valid from {} on; is the clock right?", date(*from))
            }
        }
    }
}

impl std::error::Error for CertificateError {}

fn date(time: SystemTime) -> time::Date {
    time::OffsetDateTime::from(time).date()
}
