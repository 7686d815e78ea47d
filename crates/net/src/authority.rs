//! The node's own certificate authority, for a node that was given no certificates: made at first start, kept in a
//! directory, renewed before it expires.
//!
//! `ca.pem` is for the phones to trust; `ca.key`, `server-ecdsa.pem` and `server-rsa.pem` (key and chain in one file,
//! so that they change together) are for the owner of the directory alone. A file that is there but cannot be read or
//! understood is never overwritten.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{CertificateErrorKind, Identity, Validity, fingerprint, subject_alternative_names};

/// What a server certificate is to be valid for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// DNS names. Some phones' TLS libraries look at nothing else.
    pub dns: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
}

/// A certificate authority of our own.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "authority {}", self.fingerprint())
    }
}

impl Authority {
    /// Opens the authority kept in `directory`, or makes one called `name` there. Blocks: making RSA keys takes up to a
    /// second.
    ///
    /// The key is RSA, because a client that knows no ECDSA could not verify what an ECDSA key signed. Valid for ten
    /// years; the certificate, not the key, is renewed a year before it ends.
    pub fn open_or_create(directory: &Path, name: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        fs::create_dir_all(directory).map_err(|error| AuthorityError::write(directory, error))?;
        let (key_file, certificate_file) = (directory.join(CA_KEY), directory.join(CA_CERTIFICATE));
        let certificate = read(&certificate_file)?;
        let key = match read(&key_file)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(|_| AuthorityError::damaged(&key_file))?,
            None if certificate.is_some() => return Err(AuthorityError::KeyGone { file: key_file }),
            None => {
                let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?;
                write(&key_file, key.serialize_pem().as_bytes(), 0o600)?;
                key
            }
        };
        let valid = match &certificate {
            Some(pem) => {
                let damaged = || AuthorityError::damaged(&certificate_file);
                let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
                let validity = Validity::of(&der).ok_or_else(damaged)?;
                (validity.not_after > now + CA_RENEWAL).then_some((der, pem.clone()))
            }
            None => None,
        };
        let name = match &valid {
            Some((der, _)) => common_name(der).ok_or_else(|| AuthorityError::damaged(&certificate_file))?,
            None => name.to_owned(),
        };
        let params = ca_params(&name, now)?;
        let (certificate, pem) = match valid {
            Some(valid) => valid,
            None => {
                let certificate = params.self_signed(&key)?;
                write(&certificate_file, certificate.pem().as_bytes(), 0o644)?;
                (certificate.der().clone(), certificate.pem())
            }
        };
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(params, key), certificate, pem })
    }

    /// The authority's certificate, for phones to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate as DER.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the authority's certificate, as [`fingerprint`] writes it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }

    /// Server certificates for `names`, ECDSA P-256 first, then RSA-2048. Those kept are used if they are of this
    /// authority, for these names, and valid for 30 days more; else new ones are made and kept. Valid for 397 days.
    ///
    /// Call it again once a day: it renews in time.
    pub fn server_identities(&self, names: &Names, now: SystemTime) -> Result<Vec<Identity>, AuthorityError> {
        [("server-ecdsa.pem", false), ("server-rsa.pem", true)]
            .into_iter()
            .map(|(file, rsa)| self.server_identity(&self.directory.join(file), rsa, names, now))
            .collect()
    }

    fn server_identity(
        &self,
        file: &Path,
        rsa: bool,
        names: &Names,
        now: SystemTime,
    ) -> Result<Identity, AuthorityError> {
        if let Some(pem) = read(file)?
            && let Some(identity) = self.kept(file, &pem, names, now)?
        {
            return Ok(identity);
        }
        let key = match rsa {
            true => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
            false => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        };
        let certificate = server_params(names, now)?.signed_by(&key, &self.issuer)?;
        let pem = format!("{}{}{}", key.serialize_pem(), certificate.pem(), self.pem);
        write(file, pem.as_bytes(), 0o600)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Identity::new(vec![certificate.der().clone()], key, now).map_err(AuthorityError::Own)
    }

    /// The identity in `pem`, unless it is outdated.
    fn kept(&self, file: &Path, pem: &str, names: &Names, now: SystemTime) -> Result<Option<Identity>, AuthorityError> {
        let damaged = || AuthorityError::damaged(file);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|_| damaged())?;
        let [server, authority] = chain.as_slice() else { return Err(damaged()) };
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
        let identity = match Identity::new(vec![server.clone()], key, now) {
            Ok(identity) => identity,
            Err(CertificateErrorKind::Expired { .. } | CertificateErrorKind::NotYetValid { .. }) => return Ok(None),
            Err(_) => return Err(damaged()),
        };
        let mut wanted = names.dns.clone();
        wanted.extend(names.addresses.iter().map(IpAddr::to_string));
        wanted.sort();
        let mut had = subject_alternative_names(server);
        had.sort();
        let fits = *authority == self.certificate && had == wanted && identity.not_after() > now + RENEWAL;
        Ok(fits.then_some(identity))
    }
}

fn ca_params(name: &str, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = base_params(name, now, CA_LIFETIME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server_params(names: &Names, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let name = names.dns.first().map_or("farspeak", String::as_str);
    let mut params = base_params(name, now, LIFETIME)?;
    for name in &names.dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(names.addresses.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn base_params(name: &str, now: SystemTime, lifetime: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + lifetime).into();
    Ok(params)
}

fn common_name(der: &[u8]) -> Option<String> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

/// The file's text; `None` if there is no such file.
fn read(file: &Path) -> Result<Option<String>, AuthorityError> {
    match fs::read(file) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| AuthorityError::damaged(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuthorityError::Unreadable { file: file.to_owned(), error }),
    }
}

/// Writes beside the file, then renames: the file is the old one or the new one, never half of it.
fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let beside = file.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let _ = fs::remove_file(&beside); // left by a process of the same number that died
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut out = options.open(&beside)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&beside, file)?;
        // The new name lasts too, where a directory can be synchronised.
        let _ = file.parent().map(|directory| fs::File::open(directory).and_then(|directory| directory.sync_all()));
        Ok(())
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&beside); // best effort: the write error is what matters
        AuthorityError::write(file, error)
    })
}

const CA_KEY: &str = "ca.key";
const CA_CERTIFICATE: &str = "ca.pem";
const DAY: Duration = Duration::from_secs(86_400);
const CA_LIFETIME: Duration = Duration::from_secs(3_652 * DAY.as_secs());
const CA_RENEWAL: Duration = Duration::from_secs(400 * DAY.as_secs());
const LIFETIME: Duration = Duration::from_secs(397 * DAY.as_secs());
const RENEWAL: Duration = Duration::from_secs(30 * DAY.as_secs());
/// Phones whose clock is a little behind see a valid certificate too.
const CLOCK_TOLERANCE: Duration = DAY;

/// Why the authority cannot work.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file is there but cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file is there but makes no sense. It is left as it is.
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// The authority's certificate is there, its key is not.
    KeyGone {
        /// Where the key should be.
        file: PathBuf,
    },
    /// A file cannot be written.
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Making a key or certificate failed: a name that is none, or no randomness.
    Make(rcgen::Error),
    /// A certificate just made cannot be used.
    Own(CertificateErrorKind),
}

impl AuthorityError {
    fn damaged(file: &Path) -> Self {
        Self::Damaged { file: file.to_owned() }
    }

    fn write(file: &Path, error: io::Error) -> Self {
        Self::Unwritable { file: file.to_owned(), error }
    }
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Make(error)
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "{}: cannot be read: {error}", file.display()),
            Self::Damaged { file } => write!(
                f,
                "{}: is damaged; restore it from a backup, or move it away to have a new one made",
                file.display()
            ),
            Self::KeyGone { file } => write!(
                f,
                "{}: the key is gone, its certificate {CA_CERTIFICATE} is not; restore the key, or move the certificate \
                 away to have a new authority made (every phone must then trust that)",
                file.display()
            ),
            Self::Unwritable { file, error } => write!(f, "{}: cannot be written: {error}", file.display()),
            Self::Make(error) => write!(f, "cannot make a certificate: {error}"),
            Self::Own(kind) => write!(f, "cannot make a certificate: {kind}"),
        }
    }
}

impl std::error::Error for AuthorityError {}
