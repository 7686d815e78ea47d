//! Adding, changing and removing users: what the command line asks for, live or in a store that no node uses.

use std::fmt;
use std::path::Path;

use farspeak_sansio::Rng;
use farspeak_sip::digest::{Algorithm, Ha1};

use crate::store::{Store, StoreError, UserRow};
use crate::users::{NameError, PresenceTo, Secret, User, validate_name};

/// The realm of this store, fixed by whoever asks first: passwords are hashed with it.
///
/// # Errors
/// The store cannot be read or written.
pub fn realm(store: &mut Store, domain: &str) -> Result<String, StoreError> {
    let realm = store.meta_or_insert("realm", domain.as_bytes())?;
    Ok(String::from_utf8_lossy(&realm).into_owned())
}

/// Adds a user with a new secret, which nobody can ask for again.
///
/// # Errors
/// The name is no name or is taken, or the store cannot be written.
pub fn add(
    store: &mut Store,
    rng: &mut impl Rng,
    realm: &str,
    name: &str,
    open_to_strangers: bool,
    now_unix_ms: i64,
) -> Result<(User, Secret), AccountError> {
    validate_name(name).map_err(AccountError::Name)?;
    let secret = Secret::generate(rng);
    let user = User { open_to_strangers, ..User::new(name, realm, &secret) };
    if !store.add_user(&to_row(&user, now_unix_ms))? {
        return Err(AccountError::Taken(name.to_owned()));
    }
    Ok((user, secret))
}

/// Gives a user a new secret; the old one is void. The user's phones have to sign in again.
///
/// # Errors
/// There is no such user, or the store cannot be written.
pub fn reset(store: &mut Store, rng: &mut impl Rng, realm: &str, name: &str) -> Result<(User, Secret), AccountError> {
    let old = find(store, name)?;
    let secret = Secret::generate(rng);
    let mut user = User::new(name, realm, &secret);
    user.open_to_strangers = old.open_to_strangers;
    user.presence_to = PresenceTo::from_stored(&old.presence_to);
    store.update_user(&to_row(&user, old.created_at_unix_ms))?;
    Ok((user, secret))
}

/// Changes whether callers without an account here may ring a user, and who may see the user's presence; what is `None`
/// stays.
///
/// # Errors
/// There is no such user, or one who is to see the presence does not exist, or the store cannot be written.
pub fn set(
    store: &mut Store,
    name: &str,
    open: Option<bool>,
    presence_to: Option<&PresenceTo>,
) -> Result<User, AccountError> {
    let users = store.users()?;
    let exists = |name: &String| users.iter().any(|row| row.name == *name);
    let named = presence_to.map_or(&[][..], PresenceTo::names);
    if let Some(nobody) = named.iter().find(|name| !exists(name)) {
        return Err(AccountError::Unknown(nobody.clone()));
    }
    let mut row = find(store, name)?;
    row.open_to_strangers = open.unwrap_or(row.open_to_strangers);
    row.presence_to = presence_to.map_or(row.presence_to, PresenceTo::to_string);
    store.update_user(&row)?;
    from_row(&row).ok_or_else(|| AccountError::Damaged(name.to_owned()))
}

/// Removes a user. Others show their presence to that name no longer: whoever gets it next is somebody else. Gives those
/// others.
///
/// # Errors
/// There is no such user, or the store cannot be written.
pub fn remove(store: &mut Store, name: &str) -> Result<Vec<User>, AccountError> {
    let mut changed = Vec::new();
    for row in store.users()? {
        let before = PresenceTo::from_stored(&row.presence_to);
        let after = before.without(name);
        if row.name != name && after != before {
            let row = UserRow { presence_to: after.to_string(), ..row };
            store.update_user(&row)?;
            changed.extend(from_row(&row));
        }
    }
    if store.remove_user(name)? { Ok(changed) } else { Err(AccountError::Unknown(name.to_owned())) }
}

/// All users of the store that the core can use. Damaged rows are left out and named in the log by their number.
///
/// # Errors
/// The store cannot be read.
pub fn load(store: &mut Store) -> Result<Vec<User>, StoreError> {
    let mut users = Vec::new();
    for (number, row) in store.users()?.iter().enumerate() {
        match from_row(row) {
            Some(user) => users.push(user),
            None => tracing::error!("user number {number} of the store has damaged secrets: reset or remove that user"),
        }
    }
    Ok(users)
}

/// Realm and users of the store in `directory`, which is closed again; without a store the domain is the realm and there
/// is nobody. An old store is brought up to date first.
///
/// # Errors
/// The store cannot be read.
pub fn read(directory: &Path, domain: &str) -> Result<(String, Vec<User>), StoreError> {
    let Some(mut store) = Store::open_to_read(directory)? else { return Ok((domain.to_owned(), Vec::new())) };
    let realm = store.meta("realm")?.map(|realm| String::from_utf8_lossy(&realm).into_owned());
    let users = load(&mut store)?;
    store.close()?;
    Ok((realm.unwrap_or_else(|| domain.to_owned()), users))
}

fn find(store: &mut Store, name: &str) -> Result<UserRow, AccountError> {
    store.users()?.into_iter().find(|row| row.name == name).ok_or_else(|| AccountError::Unknown(name.to_owned()))
}

fn to_row(user: &User, created_at_unix_ms: i64) -> UserRow {
    UserRow {
        name: user.name.clone(),
        ha1_md5: user.ha1_md5.to_hex(),
        ha1_sha256: user.ha1_sha256.to_hex(),
        ha1_md5_with_realm: user.ha1_md5_with_realm.to_hex(),
        ha1_sha256_with_realm: user.ha1_sha256_with_realm.to_hex(),
        open_to_strangers: user.open_to_strangers,
        presence_to: user.presence_to.to_string(),
        created_at_unix_ms,
    }
}

fn from_row(row: &UserRow) -> Option<User> {
    Some(User {
        name: row.name.clone(),
        ha1_md5: Ha1::from_hex(Algorithm::Md5, &row.ha1_md5)?,
        ha1_sha256: Ha1::from_hex(Algorithm::Sha256, &row.ha1_sha256)?,
        ha1_md5_with_realm: Ha1::from_hex(Algorithm::Md5, &row.ha1_md5_with_realm)?,
        ha1_sha256_with_realm: Ha1::from_hex(Algorithm::Sha256, &row.ha1_sha256_with_realm)?,
        open_to_strangers: row.open_to_strangers,
        presence_to: PresenceTo::from_stored(&row.presence_to),
    })
}

/// Why a change of users was not made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AccountError {
    /// The name cannot be a user's.
    Name(NameError),
    /// There is a user of that name.
    Taken(String),
    /// There is no user of that name.
    Unknown(String),
    /// The store holds secrets that make no sense.
    Damaged(String),
    /// The store cannot be read or written.
    Store(StoreError),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Taken(name) => {
                write!(f, "there is a user {name:?} already; `farspeak user reset {name}` gives that user a new secret")
            }
            Self::Unknown(name) => write!(f, "there is no user {name:?}; `farspeak user list` shows all"),
            Self::Damaged(name) => {
                write!(f, "the secrets of {name:?} are damaged; `farspeak user reset {name}` makes new ones")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AccountError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;
    use crate::entropy::SystemRng;
    use crate::scratch::Scratch;

    #[test]
    fn a_user_comes_back_from_the_store_as_it_was_added() {
        let scratch = Scratch::new();
        let mut store = Store::open(scratch.path(), Durability::Process).unwrap();
        let realm = realm(&mut store, "example.org").unwrap();
        let mut rng = SystemRng::new();
        let (alice, _) = add(&mut store, &mut rng, &realm, "alice", true, 7).unwrap();
        assert!(load(&mut store).unwrap() == [alice]);
        assert!(matches!(add(&mut store, &mut rng, &realm, "alice", false, 7), Err(AccountError::Taken(_))));
        assert!(matches!(add(&mut store, &mut rng, &realm, "Al ice", false, 7), Err(AccountError::Name(_))));
        let (renewed, _) = reset(&mut store, &mut rng, &realm, "alice").unwrap();
        assert!(renewed.open_to_strangers, "what is not the secret stays");
        assert!(load(&mut store).unwrap() == [renewed]);
        assert!(!set(&mut store, "alice", Some(false), None).unwrap().open_to_strangers);
        let bob = PresenceTo::only(vec!["bob".to_owned()]).unwrap();
        assert!(
            matches!(set(&mut store, "alice", None, Some(&bob)), Err(AccountError::Unknown(name)) if name == "bob")
        );
        add(&mut store, &mut rng, &realm, "bob", false, 7).unwrap();
        assert!(set(&mut store, "alice", None, Some(&bob)).unwrap().presence_to.allows("bob"));
        assert!(reset(&mut store, &mut rng, &realm, "alice").unwrap().0.presence_to.allows("bob"));
        let changed = remove(&mut store, "bob").unwrap();
        assert!(changed.len() == 1 && !changed[0].presence_to.allows("bob"), "the next bob is somebody else");
        assert!(!load(&mut store).unwrap()[0].presence_to.allows("bob"));
        remove(&mut store, "alice").unwrap();
        assert!(matches!(remove(&mut store, "alice"), Err(AccountError::Unknown(_))));
    }

    #[test]
    fn users_are_read_from_a_store_that_is_there_and_none_is_made() {
        let scratch = Scratch::new();
        assert!(read(scratch.path(), "example.org").unwrap() == ("example.org".to_owned(), Vec::new()));
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        let mut store = Store::open(scratch.path(), Durability::Process).unwrap();
        let realm = realm(&mut store, "example.org").unwrap();
        let (alice, _) = add(&mut store, &mut SystemRng::new(), &realm, "alice", false, 7).unwrap();
        // Read beside a writer that has died, which is how a process leaves it that was killed.
        assert!(read(scratch.path(), "example.net").unwrap() == (realm, vec![alice]));
        store.close().unwrap();
    }

    #[test]
    fn the_realm_stays_when_the_domain_changes() {
        let scratch = Scratch::new();
        let mut store = Store::open(scratch.path(), Durability::Process).unwrap();
        assert_eq!(realm(&mut store, "example.org").unwrap(), "example.org");
        assert_eq!(realm(&mut store, "example.net").unwrap(), "example.org");
    }
}
