//! Diversion: the historic way to say who forwarded a call (RFC 5806). Read and passed on; we write History-Info.

use std::fmt;

use super::{Address, listed_header};
use crate::message::{lex, unquote};

/// One diversion; the topmost is the last one that happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Diversion {
    /// Who diverted, with all parameters.
    pub address: Address,
}

listed_header!(Diversion, Diversion);

impl Diversion {
    fn read(text: &str) -> Option<Self> {
        Address::read(text).map(|address| Self { address })
    }

    /// Why: `user-busy`, `no-answer`, `unconditional`, `deflection` and so on; without quotes.
    pub fn reason(&self) -> Option<String> {
        self.text("reason")
    }

    /// How many diversions the entry stands for: 1 unless it says so (RFC 5806 §5.5).
    pub fn counter(&self) -> u32 {
        self.address.params.value("counter").and_then(lex::number).filter(|count| *count > 0).unwrap_or(1)
    }

    /// How many more diversions are allowed.
    pub fn limit(&self) -> Option<u32> {
        self.address.params.value("limit").and_then(lex::number)
    }

    /// What to hide of the diverting party: `full`, `name`, `uri` or `off`.
    pub fn privacy(&self) -> Option<String> {
        self.text("privacy")
    }

    fn text(&self, name: &str) -> Option<String> {
        self.address.params.value(name).map(|value| unquote(value).into_owned())
    }
}

impl fmt::Display for Diversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diversion_is_read() {
        let text = "\"Bob\" <sip:+19195551234@gw.example>;reason=\"user-busy\";counter=2;limit=3;privacy=off;screen=no";
        let diversion = Diversion::parse(text).unwrap();
        assert_eq!((diversion.reason().as_deref(), diversion.counter()), (Some("user-busy"), 2));
        assert_eq!((diversion.limit(), diversion.privacy().as_deref()), (Some(3), Some("off")));
        assert_eq!(diversion.to_string(), text);
        assert_eq!(Diversion::parse("<tel:+1>").unwrap().counter(), 1);
    }
}
