//! Who may relay: users of the node, those who bring a time-limited credential, those in the configuration.

use std::sync::atomic::{AtomicI64, Ordering};
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
        let user = user.name.as_str().into();
        Some(Credential { key, other_keys: Vec::new(), user, expires: None, quota: None })
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

/// How far the wall clock has stepped since the start, in seconds: the packet loops count time from then. A machine without
/// a clock of its own wakes up in the past, and learns the time once it has a network.
#[derive(Clone, Debug, Default)]
pub(super) struct ClockStep(Arc<AtomicI64>);

impl ClockStep {
    pub(super) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// Unix time, in seconds, of what it was thought to be.
    pub(super) fn correct(&self, unix: u64) -> u64 {
        unix.saturating_add_signed(self.0.load(Ordering::Relaxed))
    }
}

/// All three, in this order: users, the configuration's, the secret's.
pub(super) struct NodeAccounts {
    rest: RestAccounts,
    users: NodeUsers,
    configured: Configured,
    step: ClockStep,
}

impl NodeAccounts {
    pub(super) fn new(rest: RestAccounts, users: Arc<Users>, configured: Configured, step: ClockStep) -> Self {
        Self { rest, users: NodeUsers(users), configured, step }
    }
}

impl Accounts for NodeAccounts {
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        let unix_now = self.step.correct(unix_now);
        // The secret's last: to it, a user who is called by a telephone number looks like the time in a credential.
        self.users
            .find(unix_now, account, realm, algorithm)
            .or_else(|| self.configured.find(unix_now, account, realm, algorithm))
            .or_else(|| self.rest.find(unix_now, account, realm, algorithm))
    }
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;
    use farspeak_stun::{Class, Message, Method, TransactionId, Writer};

    use super::*;
    use crate::users::{Secret, User};

    #[test]
    fn time_limited_credentials_end_by_the_clock_on_the_wall_though_it_steps() {
        let rest = RestAccounts::new(b"0123456789abcdef").with_other(b"fedcba9876543210").with_longest(3600);
        let (name, _) = rest.issue(1_800_000_100, "guest");
        let users = Arc::new(Users::new("example.org", &mut SplitMix64::new(1)));
        let step = ClockStep::default();
        let configured = Configured::new(StaticAccounts::new("example.org"));
        let mut accounts = NodeAccounts::new(rest, users, configured, step.clone());
        let mut is_good = |unix| {
            let account = Account::Username(&name);
            let found = accounts.find(unix, account, "example.org", 2);
            assert!(found.as_ref().is_none_or(|found| found.other_keys.len() == 1), "by whichever secret");
            found.is_some()
        };
        assert!(!is_good(500), "fifty years ahead, by the clock of a machine that has just woken up");
        step.set(1_800_000_000 - 500);
        assert!(is_good(500) && !is_good(600));
        step.set(-500);
        assert!(is_good(1_800_000_500));
    }

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
