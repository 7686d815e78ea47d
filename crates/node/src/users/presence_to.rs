//! Who may see a user's presence: nobody, some users of this node, or all of them (RFC 3856 §6.6.2).

use std::fmt;
use std::sync::Arc;

use super::{NameError, validate_name};

/// Who may see a user's presence besides the user. Only users of this node can be named: nobody else can prove who they
/// are here.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum PresenceTo {
    /// Nobody else.
    #[default]
    Nobody,
    /// Every user of this node.
    EverybodyHere,
    /// These users, by name, sorted; at least one, at most [`PresenceTo::MAX`].
    Only(Arc<[String]>),
}

/// What cannot be said about who may see a user's presence.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PresenceToError {
    /// Not a name that a user can have.
    Name(String, NameError),
    /// An address of another domain.
    OtherDomain(String),
    /// More names than [`PresenceTo::MAX`].
    TooMany,
    /// `nobody` or `everybody-here` beside others, or as the name of a user.
    Mixed,
}

impl PresenceTo {
    /// Most users that can be named.
    pub const MAX: usize = 128;

    /// Whether that user may see it.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::EverybodyHere => true,
            Self::Only(names) => names.binary_search_by(|known| known.as_str().cmp(name)).is_ok(),
        }
    }

    /// Reads what an operator wrote: `nobody`, `everybody-here`, or users as `friend` or `friend@domain`, one or several
    /// in each of `words`, separated by commas.
    ///
    /// # Errors
    /// What cannot be meant.
    pub fn read<S: AsRef<str>>(words: &[S], domain: &str) -> Result<Self, PresenceToError> {
        let words: Vec<&str> = words.iter().flat_map(|it| it.as_ref().split(',')).map(str::trim).collect();
        match words[..] {
            [NOBODY] => return Ok(Self::Nobody),
            [EVERYBODY] => return Ok(Self::EverybodyHere),
            _ => {}
        }
        let mut names = Vec::new();
        for word in words {
            let address = word.strip_prefix("sip:").unwrap_or(word);
            let name = match address.rsplit_once('@') {
                Some((name, of)) if of.eq_ignore_ascii_case(domain) => name,
                Some(_) => return Err(PresenceToError::OtherDomain(word.to_owned())),
                None => address,
            };
            validate_name(name).map_err(|error| PresenceToError::Name(name.to_owned(), error))?;
            names.push(name.to_owned());
        }
        Self::only(names)
    }

    /// These users; nobody if there are none.
    ///
    /// # Errors
    /// More than [`PresenceTo::MAX`], or one who is called as the words for nobody and everybody are.
    pub fn only(mut names: Vec<String>) -> Result<Self, PresenceToError> {
        if names.iter().any(|name| matches!(name.as_str(), NOBODY | EVERYBODY)) {
            return Err(PresenceToError::Mixed);
        }
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0 => Ok(Self::Nobody),
            1..=Self::MAX => Ok(Self::Only(names.into())),
            _ => Err(PresenceToError::TooMany),
        }
    }

    /// The same without that user, who is gone.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        match self {
            Self::Only(names) => {
                let left: Vec<String> = names.iter().filter(|known| *known != name).cloned().collect();
                if left.is_empty() { Self::Nobody } else { Self::Only(left.into()) }
            }
            other => other.clone(),
        }
    }

    /// The users that are named.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Only(names) => names,
            _ => &[],
        }
    }

    /// Reads what [`Display`](fmt::Display) wrote, as the store keeps it. What cannot be read means nobody.
    pub fn from_stored(text: &str) -> Self {
        match text {
            "" | NOBODY => Self::Nobody,
            EVERYBODY => Self::EverybodyHere,
            names => Self::only(names.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        }
    }
}

const NOBODY: &str = "nobody";
const EVERYBODY: &str = "everybody-here";

/// As [`PresenceTo::read`] and [`PresenceTo::from_stored`] read it.
impl fmt::Display for PresenceTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str(NOBODY),
            Self::EverybodyHere => f.write_str(EVERYBODY),
            Self::Only(names) => f.write_str(&names.join(",")),
        }
    }
}

impl fmt::Display for PresenceToError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, error) => write!(f, "{name:?} cannot see anybody's presence: {error}"),
            Self::OtherDomain(address) => {
                write!(f, "{address} is of another domain and cannot prove who it is: name users of this node")
            }
            Self::TooMany => write!(f, "more than {} users: say `everybody-here`", PresenceTo::MAX),
            Self::Mixed => f.write_str("`nobody` and `everybody-here` stand alone, and are no users"),
        }
    }
}

impl std::error::Error for PresenceToError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<PresenceTo, PresenceToError> {
        PresenceTo::read(words, "example.org")
    }

    #[test]
    fn names_addresses_and_the_two_words_are_read() {
        assert_eq!(read(&["nobody"]), Ok(PresenceTo::Nobody));
        assert_eq!(read(&["everybody-here"]), Ok(PresenceTo::EverybodyHere));
        let some = read(&["carol@Example.Org, bob", "sip:bob@example.org"]).unwrap();
        assert_eq!((some.to_string().as_str(), some.names().len()), ("bob,carol", 2));
        assert!(some.allows("bob") && !some.allows("mallory") && !PresenceTo::Nobody.allows("bob"));
        for written in [PresenceTo::Nobody, PresenceTo::EverybodyHere, some] {
            assert_eq!(PresenceTo::from_stored(&written.to_string()), written);
        }
    }

    #[test]
    fn refuses_what_cannot_be_proved_or_meant() {
        assert!(matches!(read(&["bob@example.net"]), Err(PresenceToError::OtherDomain(_))));
        assert!(matches!(read(&["Bob"]), Err(PresenceToError::Name(..))));
        assert!(matches!(read(&[""]), Err(PresenceToError::Name(..))));
        for mixed in ["bob,nobody", "everybody-here@example.org", "nobody@example.org"] {
            assert_eq!(read(&[mixed]), Err(PresenceToError::Mixed), "{mixed}");
        }
        let many: Vec<String> = (0..=PresenceTo::MAX).map(|number| format!("u{number}")).collect();
        assert_eq!(PresenceTo::read(&many, "example.org"), Err(PresenceToError::TooMany));
    }

    #[test]
    fn who_is_gone_is_named_no_longer() {
        let some = read(&["bob,carol"]).unwrap();
        assert_eq!(some.without("bob").to_string(), "carol");
        assert_eq!(some.without("bob").without("carol"), PresenceTo::Nobody);
        assert_eq!(PresenceTo::EverybodyHere.without("bob"), PresenceTo::EverybodyHere);
    }
}
