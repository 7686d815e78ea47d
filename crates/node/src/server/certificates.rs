//! What the node proves its name with: the operator's files, or an authority of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use farspeak_net::{Authority, AuthorityError, Identity, Names};

use super::ServeError;
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};

/// The certificates that a configuration asks for, the preferred first. Makes authority and certificates if need be.
pub(super) fn identities(config: &Config, data: &DataDir) -> Result<Vec<Identity>, ServeError> {
    let now = SystemTime::now();
    if let (Some(chain), Some(key)) = (&config.certificate.chain, &config.certificate.key) {
        return match Identity::load(chain, key, now) {
            Ok(identity) => Ok(vec![identity]),
            Err(error) => Err(ServeError::Certificate(error.to_string())),
        };
    }
    authority(config, data)?.server_identities(&names(config), now).map_err(unusable)
}

/// A disk that is full or not ours is not the certificate's fault.
fn unusable(error: AuthorityError) -> ServeError {
    match error {
        AuthorityError::Unwritable { file, error } => DataDirError::Unusable { path: file, error }.into(),
        other => ServeError::Certificate(other.to_string()),
    }
}

/// The node's own authority; made if there is none.
///
/// # Errors
/// Its files cannot be read or written, or make no sense.
pub fn authority(config: &Config, data: &DataDir) -> Result<Authority, ServeError> {
    let name = format!("Farspeak {}", config.domain.name);
    Authority::open_or_create(&data.authority(), &name, SystemTime::now()).map_err(unusable)
}

/// Every name by which a phone may reach this node.
fn names(config: &Config) -> Names {
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let domain = &config.domain;
    let configured = [&domain.name].into_iter().chain(&domain.aliases).chain(&domain.public_name);
    let all = ["localhost".to_owned(), host].into_iter();
    let all =
        all.chain(configured.map(|name| name.to_ascii_lowercase())).chain(config.certificate.names.iter().cloned());
    let mut names = Names { dns: Vec::new(), addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] };
    for name in all {
        let name = name.trim_end_matches('.').to_owned();
        if let Ok(address) = name.parse::<IpAddr>() {
            if !names.addresses.contains(&address) {
                names.addresses.push(address);
            }
        } else if is_dns_name(&name) && !names.dns.contains(&name) {
            names.dns.push(name);
        }
    }
    names
}

/// A machine may be called something that no certificate can hold.
fn is_dns_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// When the first of them ends.
pub(super) fn earliest_end(identities: &[Identity]) -> Option<SystemTime> {
    identities.iter().map(Identity::not_after).min()
}

/// Whether the operator should act: certificates from files that end within two weeks.
pub(super) fn ends_soon(config: &Config, identities: &[Identity]) -> bool {
    let soon = SystemTime::now() + Duration::from_secs(14 * 86_400);
    config.certificate.chain.is_some() && earliest_end(identities).is_some_and(|end| end < soon)
}
