//! Referred-By: who asked for a request (RFC 3892 §3).

use std::fmt;

use super::params::{ParamList, Quoted, unquoted};
use super::{Address, single_header};

/// Who referred, as the referee passes it on. Believe it only with a signed body part, which `cid` names (RFC 3892 §5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReferredBy {
    /// The referrer. Its parameters are without `cid`.
    pub address: Address,
    /// Content-ID of the body part with the token, without angle brackets and quotes.
    pub cid: Option<String>,
}

single_header!(ReferredBy, ReferredBy);

impl ReferredBy {
    fn read(text: &str) -> Option<Self> {
        let mut address = Address::read(text)?;
        let params = address.params.get_all();
        let cid = unquoted(params, "cid");
        if params.get("cid").is_some() && cid.as_deref().is_none_or(str::is_empty) {
            return None;
        }
        address.params = ParamList::except(params, &["cid"]);
        Some(Self { address, cid })
    }
}

impl fmt::Display for ReferredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        self.cid.as_deref().map_or(Ok(()), |cid| write!(f, ";cid={}", Quoted(cid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn referrer_and_token_are_read() {
        // RFC 3892 §7.1
        let text = "sip:referror@referror.example;cid=\"20398823.2UWQFN309shb3@referror.example\"";
        let by = ReferredBy::parse(text).unwrap();
        assert_eq!(by.cid.as_deref(), Some("20398823.2UWQFN309shb3@referror.example"));
        assert_eq!(by.address.uri_text(), "sip:referror@referror.example");
        assert_eq!(ReferredBy::parse(&by.to_string()), Ok(by));
        assert!(ReferredBy::parse("<sip:a@b>;cid").is_err());
    }
}
