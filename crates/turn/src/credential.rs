//! Who may relay, and by which key a request proves it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use farspeak_stun::Key;
use farspeak_stun::long_term::{Account, NotOpaque, userhash};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Somebody who may relay.
#[derive(Clone, Debug)]
pub struct Credential {
    /// What the request's message integrity is made with.
    pub key: Key,
    /// Keys that are as good, tried when that one is not it: while a secret is replaced, say. Mostly none.
    pub other_keys: Vec<Key>,
    /// Whom quotas and reports count it for.
    pub user: Arc<str>,
    /// When it ends, in seconds of Unix time; `None`: it is looked up with every request, and ends when it is no longer
    /// found.
    pub expires: Option<u64>,
    /// What this user may have, if it differs from the server's [`Quotas`](crate::Quotas).
    pub quota: Option<Quota>,
}

/// What one user may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Allocations at one time, on all shards.
    pub allocations: u32,
}

/// Those who may relay. Called once for each request, before anything is known of who sent it.
pub trait Accounts {
    /// The credential of an account, its key made for `algorithm` (1: MD5, 2: SHA-256, RFC 8489 §18.5.1). `unix_now` is
    /// in seconds.
    ///
    /// `None`: there is no such account, or it has expired. It should take as long as the opposite.
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential>;
}

/// No accounts at all: a server for Binding requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAccounts;

impl Accounts for NoAccounts {
    fn find(&mut self, _: u64, _: Account<'_>, _: &str, _: u16) -> Option<Credential> {
        None
    }
}

/// First the one, then the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Any<A, B>(pub A, pub B);

impl<A: Accounts, B: Accounts> Accounts for Any<A, B> {
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        let Self(one, other) = self;
        one.find(unix_now, account, realm, algorithm).or_else(|| other.find(unix_now, account, realm, algorithm))
    }
}

impl<A: Accounts + ?Sized> Accounts for Box<A> {
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        (**self).find(unix_now, account, realm, algorithm)
    }
}

/// Names and keys that stand in a configuration.
#[derive(Clone, Default)]
pub struct StaticAccounts {
    realm: String,
    users: HashMap<String, User>,
    hashes: HashMap<[u8; 32], String>,
}

#[derive(Clone)]
struct User {
    name: Arc<str>,
    md5: Key,
    sha256: Key,
    quota: Option<Quota>,
}

impl fmt::Debug for StaticAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticAccounts").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl StaticAccounts {
    /// Nobody yet. Keys depend on the realm; it has to be the server's.
    pub fn new(realm: &str) -> Self {
        Self { realm: realm.to_owned(), ..Self::default() }
    }

    /// Adds somebody, or gives them another password. The password is not kept.
    pub fn insert(&mut self, username: &str, password: &str, quota: Option<Quota>) -> Result<(), NotOpaque> {
        let user = User {
            name: username.into(),
            md5: Key::long_term_md5(username, &self.realm, password)?,
            sha256: Key::long_term_sha256(username, &self.realm, password)?,
            quota,
        };
        self.hashes.insert(userhash(username, &self.realm)?, username.to_owned());
        self.users.insert(username.to_owned(), user);
        Ok(())
    }

    /// [`Self::insert`] for a row of names.
    pub fn with(mut self, username: &str, password: &str) -> Result<Self, NotOpaque> {
        self.insert(username, password, None)?;
        Ok(self)
    }
}

impl Accounts for StaticAccounts {
    fn find(&mut self, _unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        let name = match account {
            Account::Username(name) => name,
            Account::Userhash(hash) => self.hashes.get(hash)?,
        };
        let user = self.users.get(name).filter(|_| realm == self.realm)?;
        let key = if algorithm == 2 { &user.sha256 } else { &user.md5 };
        let (key, user, quota) = (key.clone(), user.name.clone(), user.quota);
        Some(Credential { key, other_keys: Vec::new(), user, expires: None, quota })
    }
}

/// Time-limited credentials that a web service hands out and that need no table here: the user name is
/// `unix-time:name` or `unix-time`, the password base64 of HMAC-SHA1 over it with a secret that both know
/// (draft-uberti-behave-turn-rest).
#[derive(Clone)]
pub struct RestAccounts {
    /// The first makes new credentials, all of them are good.
    secrets: Vec<Box<[u8]>>,
    longest: u64,
}

impl fmt::Debug for RestAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestAccounts").field("longest", &self.longest).finish_non_exhaustive()
    }
}

impl RestAccounts {
    /// Accounts by this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self { secrets: vec![secret.into()], longest: u64::MAX }
    }

    /// Accepts what was made with another secret, too: first the new one is added everywhere, then it becomes the one that
    /// credentials are made with, and when the last of the old ones is over, the old one is left out. Each is tried with
    /// every wrong password: let it be two or three.
    #[must_use]
    pub fn with_other(mut self, secret: &[u8]) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Refuses credentials whose end lies further in the future than so many seconds: what a stolen secret made for
    /// eternity ends with the secret's successor. Default no bound.
    #[must_use]
    pub fn with_longest(mut self, seconds: u64) -> Self {
        self.longest = seconds;
        self
    }

    /// A user name for somebody until a time (seconds of Unix time), and its password.
    pub fn issue(&self, until: u64, name: &str) -> (String, String) {
        let username = if name.is_empty() { until.to_string() } else { format!("{until}:{name}") };
        let password = password(&self.secrets[0], &username); // `new` put it there
        (username, password)
    }
}

impl Accounts for RestAccounts {
    fn find(&mut self, unix_now: u64, account: Account<'_>, realm: &str, algorithm: u16) -> Option<Credential> {
        // Nobody can tell the name from its hash, and without the name there is no password.
        let Account::Username(username) = account else { return None };
        let (time, name) = username.split_once(':').unwrap_or((username, ""));
        let until = time.parse::<u64>().ok().filter(|_| time.bytes().all(|byte| byte.is_ascii_digit()))?;
        if until <= unix_now || until - unix_now > self.longest {
            return None;
        }
        let mut keys = self.secrets.iter().map(|secret| match algorithm {
            2 => Key::long_term_sha256(username, realm, &password(secret, username)),
            _ => Key::long_term_md5(username, realm, &password(secret, username)),
        });
        let key = keys.next()?.ok()?;
        let other_keys = keys.collect::<Result<_, _>>().ok()?;
        let user = if name.is_empty() { username } else { name };
        Some(Credential { key, other_keys, user: user.into(), expires: Some(until), quota: None })
    }
}

fn password(secret: &[u8], username: &str) -> String {
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    base64(&mac.finalize().into_bytes())
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > three.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_time_limited_credential_is_good_until_its_time() {
        let mut accounts = RestAccounts::new(b"north").with_longest(1000);
        let (username, password) = accounts.issue(1_000, "alice");
        assert_eq!(username, "1000:alice");
        // printf 1000:alice | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(password, "6ANS2sM+SnH+pQyRUs6nGfTCfYk=");
        let mut find = |now, name: &str| accounts.find(now, Account::Username(name), "example.org", 1);
        let found = find(999, "1000:alice").unwrap();
        assert_eq!((&*found.user, found.expires), ("alice", Some(1000)));
        assert!(find(1000, "1000:alice").is_none());
        assert!(find(0, "1001:alice").is_none());
        assert!(find(0, "+100:alice").is_none());
        assert!(find(0, "alice").is_none());
        assert_eq!(&*find(0, "77").unwrap().user, "77");
    }

    #[test]
    fn there_are_as_many_keys_as_secrets_and_the_first_makes_new_ones() {
        let new = RestAccounts::new(b"south");
        let mut both = Any(NoAccounts, Box::new(new.clone().with_other(b"north")));
        assert_eq!(both.1.issue(1_000, "alice"), new.issue(1_000, "alice"));
        let mut find = |now| both.find(now, Account::Username("1000:alice"), "example.org", 2);
        assert_eq!(find(0).unwrap().other_keys.len(), 1);
        assert!(find(1_000).is_none());
    }

    #[test]
    fn a_static_account_is_found_by_name_and_by_hash() {
        let mut accounts = StaticAccounts::new("example.org").with("alice", "secret").unwrap();
        let hash = userhash("alice", "example.org").unwrap();
        for account in [Account::Username("alice"), Account::Userhash(&hash)] {
            assert_eq!(&*accounts.find(0, account, "example.org", 2).unwrap().user, "alice");
        }
        assert!(accounts.find(0, Account::Username("bob"), "example.org", 1).is_none());
        assert!(accounts.find(0, Account::Username("alice"), "example.com", 1).is_none());
    }
}
