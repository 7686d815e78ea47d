//! Privacy: what the network is to hide (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §10.1).

use std::fmt;

use super::{MAX_VALUES, single_header, token};
use crate::message::lex;

/// A set of privacy values.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Privacy {
    /// In lower case, each once.
    values: Vec<String>,
}

single_header!(Privacy, Privacy);

impl Privacy {
    /// What the network knows about the caller's identity (RFC 3325 §9.3).
    pub const ID: &'static str = "id";
    /// Header fields that the network must not show (RFC 3323 §4.2).
    pub const HEADER: &'static str = "header";
    /// Where the media come from.
    pub const SESSION: &'static str = "session";
    /// What a user agent could have hidden itself.
    pub const USER: &'static str = "user";
    /// The history of the request (RFC 7044).
    pub const HISTORY: &'static str = "history";
    /// Nothing: no privacy is to be applied, whatever the subscription says.
    pub const NONE: &'static str = "none";
    /// If the network cannot, it has to refuse the request.
    pub const CRITICAL: &'static str = "critical";

    /// These values; those that are no tokens are left out.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut privacy = Self::default();
        for value in values.into_iter().filter_map(token) {
            privacy.insert(value);
        }
        privacy
    }

    /// Values are set apart by `;`. Some write a comma, which means the same.
    fn read(text: &str) -> Option<Self> {
        let mut privacy = Self::default();
        for value in text.split([';', ',']) {
            privacy.insert(token(lex::trim(value))?);
            if privacy.values.len() > MAX_VALUES {
                return None;
            }
        }
        Some(privacy)
    }

    fn insert(&mut self, value: String) {
        let value = value.to_ascii_lowercase();
        if !self.values.contains(&value) {
            self.values.push(value);
        }
    }

    /// Whether that value is there.
    pub fn contains(&self, value: &str) -> bool {
        self.values.iter().any(|known| known.eq_ignore_ascii_case(value))
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.values.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_a_set() {
        let privacy = Privacy::parse("ID; critical;id, user").unwrap();
        assert!(
            privacy.contains(Privacy::ID) && privacy.contains(Privacy::CRITICAL) && !privacy.contains(Privacy::NONE)
        );
        assert_eq!(privacy.to_string(), "id;critical;user");
        assert_eq!(Privacy::new(["header", "a b"]).to_string(), "header");
        assert!(Privacy::parse("").is_err() && Privacy::parse("id;").is_err() && Privacy::parse("a b").is_err());
    }
}
