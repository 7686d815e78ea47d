//! `a=rtcp`, `a=rtcp-mux`, `a=rtcp-mux-only`, `a=rtcp-rsize`: where RTCP goes. RFC 3605, RFC 5761, RFC 8858, RFC 5506.

use std::fmt;

use super::{Attribute, first_word};
use crate::error::AttributeError;
use crate::field::{Connection, number};
use crate::media::Media;

/// Where RTCP goes, if not to the port above RTP's. RFC 3605 §2.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rtcp {
    /// Port.
    pub port: u16,
    /// Address, if not the connection's.
    pub address: Option<Connection>,
}

impl<'a> Attribute<'a> for Rtcp {
    const NAME: &'static str = "rtcp";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (port, rest) = first_word(value);
        let port = number(port).ok_or(error("a port below 65536"))?;
        let address = match rest {
            "" => None,
            rest => Some(Connection::parse(rest).map_err(|_| error("a network type, an address type and an address"))?),
        };
        Ok(Self { port, address })
    }
}

impl fmt::Display for Rtcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)?;
        match &self.address {
            Some(address) => write!(f, " {address}"),
            None => Ok(()),
        }
    }
}

impl Media {
    /// Where RTCP goes: `a=rtcp`.
    pub fn rtcp(&self) -> Option<Rtcp> {
        self.first()
    }

    /// Whether RTP and RTCP can share a port: `a=rtcp-mux`. RFC 5761 §5.1.1.
    pub fn rtcp_mux(&self) -> bool {
        self.has_attribute("rtcp-mux")
    }

    /// Whether they must: `a=rtcp-mux-only`. RFC 8858 §3.
    pub fn rtcp_mux_only(&self) -> bool {
        self.has_attribute("rtcp-mux-only")
    }

    /// Whether RTCP may be reduced in size: `a=rtcp-rsize`. RFC 5506 §5.
    pub fn rtcp_rsize(&self) -> bool {
        self.has_attribute("rtcp-rsize")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_a_port_and_perhaps_an_address() {
        assert_eq!(round_trips::<Rtcp>("53020"), Rtcp { port: 53020, address: None });
        let rtcp: Rtcp = round_trips("53020 IN IP6 2001:db8::77");
        assert_eq!(rtcp.address.unwrap().ip(), Some("2001:db8::77".parse().unwrap()));
        refuses::<Rtcp>(&["", "x", "65536", "-1", "1 IN", "1 IN IP4"]);
    }
}
