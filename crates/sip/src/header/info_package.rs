//! Info-Package and Recv-Info: what an INFO is about, and what one wants to hear (RFC 6086 §7).

use std::fmt;

use super::params::ParamList;
use super::{MAX_VALUES, single_header, split_params, token};
use crate::message::{HeaderError, HeaderName, List, Message};

/// An Info Package. Names compare byte by byte, parameters not at all (RFC 6086 §7.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InfoPackage {
    /// The package.
    pub name: String,
    /// Its parameters.
    pub params: ParamList,
}

single_header!(InfoPackage, InfoPackage);

impl InfoPackage {
    fn read(text: &str) -> Option<Self> {
        let (name, params) = split_params(text)?;
        Some(Self { name: token(name)?, params: ParamList::except(params, &[]) })
    }
}

impl fmt::Display for InfoPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.params)
    }
}

/// The packages that the sender is willing to receive. Empty: none, but INFO with packages is understood.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RecvInfo {
    /// In the order of the message.
    pub packages: Vec<InfoPackage>,
}

impl RecvInfo {
    /// The header field's name.
    pub const NAME: HeaderName = HeaderName::RecvInfo;

    /// Reads one comma list.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        Self::collect(List::new(text).filter(|package| !package.is_empty()))
    }

    /// The message's, over all its lines; `Ok(None)` if there is none: the sender knows nothing of packages.
    pub fn of(message: &Message) -> Result<Option<Self>, HeaderError> {
        if message.header(Self::NAME).is_none() {
            return Ok(None);
        }
        Self::collect(message.tokens(Self::NAME)).map(Some)
    }

    fn collect<'a>(packages: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let mut list = Self::default();
        for package in packages {
            let package = InfoPackage::read(&super::unfold(package)).filter(|_| list.packages.len() < MAX_VALUES);
            list.packages.push(package.ok_or(HeaderError::malformed(Self::NAME))?);
        }
        Ok(list)
    }

    /// Whether that package may be sent.
    pub fn contains(&self, package: &InfoPackage) -> bool {
        self.packages.iter().any(|known| known.name == package.name)
    }
}

impl fmt::Display for RecvInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_list(f, self.packages.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_compare_by_name() {
        let wanted = RecvInfo::parse("dtmf;x=1, foo").unwrap();
        assert!(wanted.contains(&InfoPackage::parse("dtmf;y").unwrap()));
        assert!(!wanted.contains(&InfoPackage::parse("DTMF").unwrap()));
        assert_eq!(wanted.to_string(), "dtmf;x=1, foo");
        assert!(RecvInfo::parse("").unwrap().packages.is_empty());
        assert!(RecvInfo::parse("a b").is_err() && InfoPackage::parse("a, b").is_err());
    }
}
