//! Who starts the DTLS handshake, and whether one is due at all. RFC 8842 §§3–5, RFC 4145 §4.

use crate::attribute::{Fingerprint, Setup};

use super::agreed::RemoteAddress;
use super::capabilities::DtlsRole;
use super::local::LocalTransport;
use super::remote::RemoteTransport;

/// A DTLS association: what it depends on. It goes on as long as all of this stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Association {
    pub(crate) role: DtlsRole,
    /// Counts them.
    pub(crate) number: u32,
    local: Vec<Fingerprint>,
    remote: Vec<Fingerprint>,
    local_tls_id: Option<Box<str>>,
    remote_tls_id: Option<Box<str>>,
    local_address: (crate::Connection, u16),
    remote_address: Option<RemoteAddress>,
}

/// Why there can be no association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleError {
    /// No fingerprint.
    NoFingerprint,
    /// A role that is not allowed there.
    Setup,
    /// Another role than that of the association that goes on.
    Changed,
    /// A new association needs a new `tls-id` of this side.
    StaleTlsId,
}

impl Association {
    /// What an answer to this offer states. RFC 8842 §5.3.
    pub(crate) fn answer(
        previous: Option<&Self>,
        local: &LocalTransport,
        remote: &RemoteTransport,
        preferred: DtlsRole,
    ) -> Result<Self, RoleError> {
        let going_on = previous.filter(|previous| previous.goes_on(local, remote));
        let role = match remote.setup {
            Some(Setup::ActPass) => going_on.map_or(preferred, |association| association.role),
            // RFC 4145 §4: an offer without it means active.
            Some(Setup::Active) | None => DtlsRole::Passive,
            Some(Setup::Passive) => DtlsRole::Active,
            Some(Setup::HoldConn) => return Err(RoleError::Setup), // RFC 8842 §5.1
        };
        let new = Self::make(previous, local, remote, role)?;
        match previous {
            Some(old)
                if old.number != new.number
                    && remote.tls_id.is_some()
                    && local.tls_id.is_some()
                    && old.has_tls_id(local) =>
            {
                Err(RoleError::StaleTlsId)
            }
            _ => Ok(new),
        }
    }

    /// What this answer to an offer of this side means. RFC 8842 §5.4.
    pub(crate) fn conclude(
        previous: Option<&Self>,
        local: &LocalTransport,
        remote: &RemoteTransport,
    ) -> Result<Self, RoleError> {
        let role = match remote.setup {
            Some(Setup::Active) => DtlsRole::Passive,
            // RFC 4145 §4: an answer without it means passive.
            Some(Setup::Passive) | None => DtlsRole::Active,
            Some(Setup::ActPass | Setup::HoldConn) => return Err(RoleError::Setup),
        };
        let going_on = previous.is_some_and(|previous| previous.goes_on(local, remote) && previous.role != role);
        // Without tls-id another role asks for a new association (RFC 8842 §4); with the same ones it is a contradiction.
        if going_on && remote.tls_id.is_some() && local.tls_id.is_some() {
            return Err(RoleError::Changed);
        }
        Self::make(previous, local, remote, role)
    }

    /// Whether the offerer asks for a new association, as far as its side goes. RFC 8842 §3.1.
    pub(crate) fn is_replaced_by(&self, remote: &RemoteTransport) -> bool {
        let contradicts = match remote.setup {
            Some(Setup::ActPass | Setup::HoldConn) => false,
            Some(Setup::Active) | None => self.role == DtlsRole::Active,
            Some(Setup::Passive) => self.role == DtlsRole::Passive,
        };
        contradicts || !self.same_remote(remote) || (!self.is_named(remote) && self.remote_address != remote.address())
    }

    fn make(
        previous: Option<&Self>,
        local: &LocalTransport,
        remote: &RemoteTransport,
        role: DtlsRole,
    ) -> Result<Self, RoleError> {
        if remote.fingerprints.is_empty() {
            return Err(RoleError::NoFingerprint);
        }
        let number = match previous {
            None => 1,
            Some(previous) if previous.goes_on(local, remote) && previous.role == role => previous.number,
            Some(previous) => previous.number.wrapping_add(1),
        };
        Ok(Self {
            role,
            number,
            local: sorted(&local.fingerprints),
            remote: sorted(&remote.fingerprints),
            local_tls_id: local.tls_id.clone(),
            remote_tls_id: remote.tls_id.clone(),
            local_address: (local.connection.clone(), local.port),
            remote_address: remote.address(),
        })
    }

    fn goes_on(&self, local: &LocalTransport, remote: &RemoteTransport) -> bool {
        let addresses = self.is_named(remote)
            || (self.remote_address == remote.address()
                && self.local_address == (local.connection.clone(), local.port));
        addresses && self.same_remote(remote) && self.has_tls_id(local) && self.local == sorted(&local.fingerprints)
    }

    fn same_remote(&self, remote: &RemoteTransport) -> bool {
        self.remote_tls_id == remote.tls_id && self.remote == sorted(&remote.fingerprints)
    }

    /// Addresses may change if something else names the association: a `tls-id`, or ICE, under which they are nothing but
    /// the default candidate (RFC 8842 §4).
    fn is_named(&self, remote: &RemoteTransport) -> bool {
        remote.tls_id.is_some() || remote.ice.is_some()
    }

    fn has_tls_id(&self, local: &LocalTransport) -> bool {
        self.local_tls_id == local.tls_id
    }
}

/// The order of fingerprints means nothing.
fn sorted(fingerprints: &[Fingerprint]) -> Vec<Fingerprint> {
    let mut fingerprints = fingerprints.to_vec();
    fingerprints.sort_by(|one, other| (one.hash.as_str(), &one.bytes).cmp(&(other.hash.as_str(), &other.bytes)));
    fingerprints
}
