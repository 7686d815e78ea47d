//! Who may relay: users of the node, those who bring a time-limited credential, those in the configuration.

use std::sync::{Arc, PoisonError, RwLock};

use farspeak_sip::digest::Algorithm;
use farspeak_stun::Key;
use farspeak_stun::long_term::Account;
use farspeak_turn::{Accounts, Credential, RestAccounts, StaticAccounts};

use crate::users::Users;

/// The users of the node. What is stored of their passwords is STUN's long-term key, since the realm is the same: MD5 or
/// SHA-256 of `name:realm:password` (RFC 8489 §18.5.1).
struct NodeUsers(Arc<Users>);

impl Accounts for NodeUsers {
    fn find(&mut self, _unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        let Account::Username(name) = account else { return None };
        let users = &*self.0;
        let (name, with_realm) = match name.split_once('@') {
            Some((name, domain)) => (name, domain == users.realm()),
            None => (name, false),
        };
        let user = users.get(name).filter(|_| realm == users.realm())?;
        let algorithm = if algorithm == 2 { Algorithm::Sha256 } else { Algorithm::Md5 };
        let key = Key::from_bytes(&user.ha1(algorithm, with_realm).to_bytes());
        Some(Credential { key, user: user.name.as_str().into(), expires: None, quota: None })
    }
}

/// Those in the configuration, which a reload may change.
#[derive(Clone, Debug)]
pub(super) struct Configured(Arc<RwLock<StaticAccounts>>);

impl Configured {
    pub(super) fn new(accounts: StaticAccounts) -> Self {
        Self(Arc::new(RwLock::new(accounts)))
    }

    pub(super) fn replace(&self, accounts: StaticAccounts) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }
}

impl Accounts for Configured {
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accounts.find(unix_now, account, realm, algorithm)
    }
}

/// All three, in this order: users, the configuration's, the secret's.
pub(super) struct NodeAccounts {
    rest: RestAccounts,
    users: NodeUsers,
    configured: Configured,
}

impl NodeAccounts {
    pub(super) fn new(rest: RestAccounts, users: Arc<Users>, configured: Configured) -> Self {
        Self { rest, users: NodeUsers(users), configured }
    }
}

impl Accounts for NodeAccounts {
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        // The secret's last: to it, a user who is called by a telephone number looks like the time in a credential.
        self.users
            .find(unix_now, account, realm, algorithm)
            .or_else(|| self.configured.find(unix_now, account, realm, algorithm))
            .or_else(|| self.rest.find(unix_now, account, realm, algorithm))
    }

    fn find_another(
        &mut self,
        tried: usize,
        unix_now: u64,
        account: Account<'_>,
        realm: &str,
        algorithm: u16,
    ) -> Option<Credential> {
        let named = self.users.find(unix_now, account, realm, algorithm);
        match named.or_else(|| self.configured.find(unix_now, account, realm, algorithm)) {
            Some(_) => None,
            None => self.rest.find_another(tried, unix_now, account, realm, algorithm),
        }
    }
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;
    use farspeak_stun::{Class, Message, Method, TransactionId, Writer};

    use super::*;
    use crate::users::{Secret, User};

    #[test]
    fn a_users_key_is_made_of_the_same_password_as_the_phones() {
        let secret = Secret::generate(&mut SplitMix64::new(1));
        let user = User::new("alice", "example.org", &secret);
        for (with_realm, name) in [(false, "alice"), (true, "alice@example.org")] {
            let md5 = Key::long_term_md5(name, "example.org", secret.reveal()).unwrap();
            let sha256 = Key::long_term_sha256(name, "example.org", secret.reveal()).unwrap();
            for (algorithm, key) in [(Algorithm::Md5, md5), (Algorithm::Sha256, sha256)] {
                let stored = Key::from_bytes(&user.ha1(algorithm, with_realm).to_bytes());
                let mut buffer = [0; 100];
                let id = TransactionId([7; 12]);
                let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
                writer.integrity(&key);
                let message = writer.finish().unwrap();
                Message::parse(message).unwrap().check_integrity(&stored).unwrap();
            }
        }
    }
}
