//! Local users: their names, what is stored of their secrets, who may reach them and who may see their presence.
//!
//! Secrets are generated, never chosen: nobody can pick `300`. Only their hashes are kept (HA1, RFC 7616 §3.4.2). The
//! edge loads users from the store and changes them live; the authenticator and the policy of every shard look up here.

mod presence_to;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use farspeak_sansio::Rng;
use farspeak_sip::digest::{Algorithm, Ha1};

pub use presence_to::{PresenceTo, PresenceToError};

/// A local user.
///
/// The hashes exist twice, since phones differ in what they send as the digest's `username` and the hash covers it.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name: the user part of the address-of-record.
    pub name: String,
    /// Hash for `username="name"` with MD5.
    pub ha1_md5: Ha1,
    /// Hash for `username="name"` with SHA-256.
    pub ha1_sha256: Ha1,
    /// Hash for `username="name@realm"` with MD5.
    pub ha1_md5_with_realm: Ha1,
    /// Hash for `username="name@realm"` with SHA-256.
    pub ha1_sha256_with_realm: Ha1,
    /// Whether callers who are no users here may reach this one. Default no.
    pub open_to_strangers: bool,
    /// Who may see the user's presence. Default nobody.
    pub presence_to: PresenceTo,
}

impl User {
    /// The user with that name and secret, closed to strangers. [`validate_name`] first.
    pub fn new(name: &str, realm: &str, secret: &Secret) -> Self {
        let with_realm = format!("{name}@{realm}");
        let ha1 = |algorithm, username: &str| Ha1::new(algorithm, username, realm, secret.reveal());
        Self {
            name: name.to_owned(),
            ha1_md5: ha1(Algorithm::Md5, name),
            ha1_sha256: ha1(Algorithm::Sha256, name),
            ha1_md5_with_realm: ha1(Algorithm::Md5, &with_realm),
            ha1_sha256_with_realm: ha1(Algorithm::Sha256, &with_realm),
            open_to_strangers: false,
            presence_to: PresenceTo::Nobody,
        }
    }

    /// The hash to verify with.
    pub fn ha1(&self, algorithm: Algorithm, with_realm: bool) -> &Ha1 {
        match (algorithm, with_realm) {
            (Algorithm::Md5, false) => &self.ha1_md5,
            (Algorithm::Md5, true) => &self.ha1_md5_with_realm,
            (Algorithm::Sha256, false) => &self.ha1_sha256,
            (Algorithm::Sha256, true) => &self.ha1_sha256_with_realm,
        }
    }
}

/// Shows neither the name nor a hash.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("open_to_strangers", &self.open_to_strangers).finish_non_exhaustive()
    }
}

/// A generated secret, to be shown once. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new secret of 140 random bits: seven groups of four letters and digits that cannot be mistaken for each other.
    ///
    /// `rng` must be unpredictable: the system's, not [`farspeak_sansio::SplitMix64`] (tests excepted).
    pub fn generate(rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut bytes = [0; GROUPS * GROUP];
        rng.fill(&mut bytes);
        let mut text = String::with_capacity(GROUPS * (GROUP + 1));
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            // 32 divides 256: every letter is equally likely.
            text.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        Self(text)
    }

    /// The text itself, hyphens included: what goes into the phone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Why a name is not one for a user. All of them are the caller's to mend; the texts say how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    Empty,
    /// More than [`MAX_NAME`] characters.
    TooLong,
    /// An upper-case letter: addresses tell `Bob` from `bob`, people do not.
    UpperCase(char),
    /// A character that would need escaping in an address.
    Character(char),
    /// It begins or ends with a dot, a hyphen or an underscore.
    Edge(char),
    /// It stands for callers who withhold theirs (RFC 3323 §4.1).
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a user needs a name: letters and digits, such as alice or 300"),
            Self::TooLong => write!(f, "the name is longer than {MAX_NAME} characters: choose a shorter one"),
            Self::UpperCase(c) => write!(f, "the name has the upper-case letter {c:?}: write it in lower case"),
            Self::Character('@') => f.write_str("give the name without @ and domain"),
            Self::Character(c) => write!(f, "the name has {c:?}: use a-z, 0-9, and . - _ + inside it"),
            Self::Edge(c) => write!(f, "the name begins or ends with {c:?}: begin and end with a letter or digit"),
            Self::Reserved => f.write_str("the name anonymous stands for callers who withhold theirs: choose another"),
        }
    }
}

impl std::error::Error for NameError {}

/// Whether `name` can be a user's: `a-z 0-9 . - _ +`, at most [`MAX_NAME`] long. A leading `+` is a telephone number's.
pub fn validate_name(name: &str) -> Result<(), NameError> {
    let (Some(first), Some(last)) = (name.chars().next(), name.chars().next_back()) else {
        return Err(NameError::Empty);
    };
    if name.chars().count() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' | '.' | '-' | '_' | '+' => {}
            'A'..='Z' => return Err(NameError::UpperCase(c)),
            _ => return Err(NameError::Character(c)),
        }
    }
    if !first.is_ascii_alphanumeric() && first != '+' {
        return Err(NameError::Edge(first));
    }
    if !last.is_ascii_alphanumeric() {
        return Err(NameError::Edge(last));
    }
    if name == ANONYMOUS { Err(NameError::Reserved) } else { Ok(()) }
}

/// All local users. Shared between shards; reading takes a lock that only a change of users contends for.
pub struct Users {
    realm: String,
    hasher: RandomState,
    stripes: Box<[RwLock<ByName>]>,
    /// What the credentials of users who do not exist are verified against, in the same steps.
    nobody: Arc<User>,
}

impl Users {
    /// No users. `realm` is what the hashes cover, and the challenges name; it is fixed at first start.
    pub fn new(realm: &str, rng: &mut (impl Rng + ?Sized)) -> Self {
        Self {
            realm: realm.to_owned(),
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            nobody: Arc::new(User::new(ANONYMOUS, realm, &Secret::generate(rng))),
        }
    }

    /// What the hashes cover.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The user of that name.
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.read(name).get(name).cloned()
    }

    /// The user of that name and `true`, or one whose secret nobody knows and `false`.
    pub fn get_or_nobody(&self, name: &str) -> (Arc<User>, bool) {
        let found = self.get(name);
        let exists = found.is_some();
        (found.unwrap_or_else(|| Arc::clone(&self.nobody)), exists)
    }

    /// Adds or replaces the user of that name. Gives the one replaced.
    pub fn insert(&self, user: User) -> Option<Arc<User>> {
        let name = Box::from(user.name.as_str());
        self.write(&user.name).insert(name, Arc::new(user))
    }

    /// Removes the user. Gives the one removed; the bindings are the caller's to remove.
    pub fn remove(&self, name: &str) -> Option<Arc<User>> {
        self.write(name).remove(name)
    }

    /// All users by name.
    pub fn list(&self) -> Vec<Arc<User>> {
        let mut users = Vec::new();
        for stripe in &self.stripes {
            users.extend(stripe.read().unwrap_or_else(PoisonError::into_inner).values().cloned());
        }
        users.sort_by(|a: &Arc<User>, b| a.name.cmp(&b.name));
        users
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // A map whose holder panicked is still a map: poison is ignored.

    fn read(&self, name: &str) -> RwLockReadGuard<'_, ByName> {
        self.stripe(name).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str) -> RwLockWriteGuard<'_, ByName> {
        self.stripe(name).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn stripe(&self, name: &str) -> &RwLock<ByName> {
        &self.stripes[(self.hasher.hash_one(name) >> 60) as usize] // 4 bits: STRIPES
    }
}

type ByName = HashMap<Box<str>, Arc<User>>;

/// Longest name, in characters.
pub const MAX_NAME: usize = 64;
/// The user part of callers who withhold theirs.
pub(crate) const ANONYMOUS: &str = "anonymous";

const STRIPES: usize = 16;
const GROUPS: usize = 7;
const GROUP: usize = 4;
/// Crockford's base 32: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::*;

    #[test]
    fn secrets_are_readable_long_and_different() {
        let mut rng = SplitMix64::new(7);
        let (one, two) = (Secret::generate(&mut rng), Secret::generate(&mut rng));
        assert_ne!(one, two);
        let groups: Vec<&str> = one.reveal().split('-').collect();
        assert_eq!((groups.len(), groups.iter().map(|group| group.len()).sum::<usize>()), (7, 28)); // 5 bits each: 140
        assert!(one.reveal().bytes().all(|byte| byte == b'-' || ALPHABET.contains(&byte)));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = Secret::generate(&mut SplitMix64::new(7));
        let user = User::new("alice", "example.org", &secret);
        let shown = format!("{secret:?} {user:?}");
        assert!(
            !shown.contains(secret.reveal()) && !shown.contains(&user.ha1_md5.to_hex()) && !shown.contains("alice")
        );
    }

    #[test]
    fn hashes_match_the_digest_of_rfc_7616() {
        // RFC 7616 §3.9.1.
        let secret = Secret("Circle of Life".to_owned());
        let user = User::new("Mufasa", "http-auth@example.org", &secret);
        assert_eq!(user.ha1_md5.to_hex(), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(*user.ha1(Algorithm::Md5, false), user.ha1_md5);
        assert_ne!(user.ha1_md5, user.ha1_md5_with_realm);
    }

    #[test]
    fn names_are_checked_with_a_clear_answer() {
        for good in ["alice", "300", "+442071838750", "a.b-c_d+e", "x"] {
            assert_eq!(validate_name(good), Ok(()), "{good}");
        }
        assert_eq!(validate_name(""), Err(NameError::Empty));
        assert_eq!(validate_name(&"a".repeat(65)), Err(NameError::TooLong));
        assert_eq!(validate_name("Alice"), Err(NameError::UpperCase('A')));
        assert_eq!(validate_name("alice@example.org"), Err(NameError::Character('@')));
        assert_eq!(validate_name("al ice"), Err(NameError::Character(' ')));
        assert_eq!(validate_name("zoë"), Err(NameError::Character('ë')));
        assert_eq!(validate_name(".alice"), Err(NameError::Edge('.')));
        assert_eq!(validate_name("alice-"), Err(NameError::Edge('-')));
        assert_eq!(validate_name("anonymous"), Err(NameError::Reserved));
    }

    #[test]
    fn users_come_and_go() {
        let mut rng = SplitMix64::new(1);
        let users = Users::new("example.org", &mut rng);
        let secret = Secret::generate(&mut rng);
        for name in ["bob", "alice"] {
            assert!(users.insert(User::new(name, "example.org", &secret)).is_none());
        }
        assert_eq!(users.list().iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
        assert!(users.get_or_nobody("alice").1 && !users.get_or_nobody("carol").1);
        assert!(users.remove("alice").is_some() && users.get("alice").is_none());
        assert_eq!(users.len(), 1);
    }
}
