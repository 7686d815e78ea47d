//! The `candidate` attribute, RFC 8839 §5.1, with the extensions of RFC 6544 (tcptype), RFC 8838 (ufrag) and browsers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::{FromStr, SplitAsciiWhitespace};

use super::{Address, Candidate, CandidateTransport, CandidateType, MOST_PRIORITY, TcpType};

/// Longest line that is read, in bytes.
pub const LONGEST_LINE: usize = 1024;

/// Most unknown extensions of one candidate.
pub const MOST_EXTENSIONS: usize = 16;

/// Why a line is no candidate for us. Such a line is ignored, the others stay (RFC 8839 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// Longer than [`LONGEST_LINE`], or more than [`MOST_EXTENSIONS`].
    TooLong,
    /// Not `candidate:`, or something is missing.
    Syntax,
    /// The foundation is not 1–32 of its characters.
    Foundation,
    /// The component is not 1–256.
    Component,
    /// A transport other than UDP and TCP, or TCP that does not say who connects.
    Transport,
    /// The priority is not 1 to 2^31 − 1.
    Priority,
    /// Neither an address nor a name for multicast DNS, or a port above 65535.
    Address,
    /// A type that nobody here knows.
    Type,
    /// The value of a known extension is wrong.
    Extension,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the candidate is too long",
            Self::Syntax => "this is no candidate",
            Self::Foundation => "the foundation is malformed",
            Self::Component => "the component is not 1 to 256",
            Self::Transport => "the transport is not supported",
            Self::Priority => "the priority is out of range",
            Self::Address => "the address is not supported",
            Self::Type => "the type is not known",
            Self::Extension => "an extension is malformed",
        })
    }
}

impl std::error::Error for ParseError {}

impl FromStr for Candidate {
    type Err = ParseError;

    /// Reads `candidate:…`; a leading `a=` does no harm.
    fn from_str(line: &str) -> Result<Self, ParseError> {
        if line.len() > LONGEST_LINE {
            return Err(ParseError::TooLong);
        }
        let line = line.trim_ascii();
        // Words are of visible ASCII (RFC 5234 VCHAR); other spaces would be lost when the words change places.
        if !line.bytes().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            return Err(ParseError::Syntax);
        }
        let line = line.strip_prefix("a=").unwrap_or(line);
        let mut words = line.strip_prefix("candidate:").ok_or(ParseError::Syntax)?.split_ascii_whitespace();
        let mut next = || words.next().ok_or(ParseError::Syntax);
        let (foundation, component, transport, priority) = (next()?, next()?, next()?, next()?);
        let (address, port, typ, kind) = (next()?, next()?, next()?, next()?);
        if typ != "typ" {
            return Err(ParseError::Syntax);
        }
        let mut candidate = Self {
            foundation: read_foundation(foundation)?,
            component: number(component).filter(|n| (1..=256).contains(n)).ok_or(ParseError::Component)? as u16,
            transport: CandidateTransport::Udp,
            priority: number(priority)
                .filter(|n| (1..=u64::from(MOST_PRIORITY)).contains(n))
                .ok_or(ParseError::Priority)? as u32,
            address: read_address(address)?,
            port: read_port(port)?,
            kind: read_type(kind)?,
            related: None,
            generation: None,
            ufrag: None,
            network_id: None,
            network_cost: None,
            extensions: Vec::new(),
        };
        let tcp_type = candidate.read_extensions(words)?;
        candidate.transport = match (transport, tcp_type) {
            (name, _) if name.eq_ignore_ascii_case("udp") => CandidateTransport::Udp,
            (name, Some(tcp_type)) if name.eq_ignore_ascii_case("tcp") => CandidateTransport::Tcp(tcp_type),
            _ => return Err(ParseError::Transport),
        };
        Ok(candidate)
    }
}

impl Candidate {
    fn read_extensions(&mut self, mut words: SplitAsciiWhitespace<'_>) -> Result<Option<TcpType>, ParseError> {
        let (mut related, mut related_port, mut tcp_type) = (None, None, None);
        while let Some(name) = words.next() {
            // A name without a value at the very end: grammar allows an empty value.
            let value = words.next().unwrap_or("");
            let wrong = ParseError::Extension;
            match name {
                // A name here is nothing to us: it says whom the peer's translator serves.
                "raddr" => related = value.parse::<IpAddr>().ok(),
                "rport" => related_port = Some(read_port(value)?),
                "tcptype" => tcp_type = Some(read_tcp_type(value).ok_or(wrong)?),
                "generation" => self.generation = Some(number(value).and_then(|n| n.try_into().ok()).ok_or(wrong)?),
                "ufrag" => self.ufrag = Some(crate::credentials::is_ufrag(value).then(|| value.into()).ok_or(wrong)?),
                "network-id" => self.network_id = Some(number(value).and_then(|n| n.try_into().ok()).ok_or(wrong)?),
                "network-cost" => {
                    self.network_cost = Some(number(value).filter(|n| *n <= 999).ok_or(wrong)? as u16);
                }
                _ if self.extensions.len() >= MOST_EXTENSIONS => return Err(ParseError::TooLong),
                _ => self.extensions.push((name.into(), value.into())),
            }
        }
        self.related = related.map(|ip| SocketAddr::new(ip, related_port.unwrap_or(9)));
        Ok(tcp_type)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.is_udp() { "UDP" } else { "TCP" };
        write!(f, "candidate:{} {} {transport} {} ", self.foundation, self.component, self.priority)?;
        match &self.address {
            Address::Ip(ip) => write!(f, "{ip}")?,
            Address::Name(name) => f.write_str(name)?,
        }
        write!(f, " {} typ {}", self.port, self.kind)?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let CandidateTransport::Tcp(tcp_type) = self.transport {
            write!(f, " tcptype {}", tcp_type.as_str())?;
        }
        if let Some(generation) = self.generation {
            write!(f, " generation {generation}")?;
        }
        if let Some(ufrag) = &self.ufrag {
            write!(f, " ufrag {ufrag}")?;
        }
        if let Some(id) = self.network_id {
            write!(f, " network-id {id}")?;
        }
        if let Some(cost) = self.network_cost {
            write!(f, " network-cost {cost}")?;
        }
        self.extensions.iter().try_for_each(|(name, value)| match value.as_str() {
            "" => write!(f, " {name}"),
            value => write!(f, " {name} {value}"),
        })
    }
}

impl TcpType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn read_foundation(text: &str) -> Result<String, ParseError> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(crate::credentials::is_ice_char);
    fits.then(|| text.into()).ok_or(ParseError::Foundation)
}

fn read_port(text: &str) -> Result<u16, ParseError> {
    number(text).and_then(|n| n.try_into().ok()).ok_or(ParseError::Address)
}

fn read_type(text: &str) -> Result<CandidateType, ParseError> {
    use CandidateType::*;
    let known = [Host, ServerReflexive, PeerReflexive, Relayed];
    known.into_iter().find(|kind| kind.as_str() == text).ok_or(ParseError::Type)
}

fn read_tcp_type(text: &str) -> Option<TcpType> {
    let known = [TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen];
    known.into_iter().find(|kind| kind.as_str() == text)
}

/// An address, or one label and `.local`; other names are to be ignored (RFC 8839 §5.1).
fn read_address(text: &str) -> Result<Address, ParseError> {
    if let Ok(ip) = text.parse() {
        return Ok(Address::Ip(ip));
    }
    let lower = text.to_ascii_lowercase();
    let label = lower.strip_suffix(".local").ok_or(ParseError::Address)?;
    let fits = (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if fits { Ok(Address::Name(lower)) } else { Err(ParseError::Address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Candidate, ParseError> {
        line.parse()
    }

    #[test]
    fn reads_the_example_of_rfc8839() {
        let line = "candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998";
        let candidate = read(&format!("a={line}")).unwrap();
        assert_eq!(candidate.kind, CandidateType::ServerReflexive);
        assert_eq!(candidate.related, Some("203.0.113.141:8998".parse().unwrap()));
        assert_eq!(candidate.to_string(), line);
    }

    #[test]
    fn keeps_what_browsers_add() {
        let line = "candidate:842163049 1 TCP 1677729535 2001:db8::1 9 typ host tcptype active generation 0 \
                    ufrag EsAw network-id 1 network-cost 10 shoe-size 44 flag";
        let candidate = read(line).unwrap();
        assert_eq!(candidate.transport, CandidateTransport::Tcp(TcpType::Active));
        assert_eq!(candidate.ufrag.as_deref(), Some("EsAw"));
        assert_eq!((candidate.network_id, candidate.network_cost), (Some(1), Some(10)));
        assert_eq!(candidate.to_string(), line);
    }

    #[test]
    fn reads_names_of_multicast_dns_and_no_others() {
        let with = |address: &str| read(&format!("candidate:1 1 udp 1 {address} 5000 typ host"));
        let name = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local";
        assert_eq!(with(name).unwrap().address, Address::Name(name.into()));
        for other in ["example.com", "a.b.local", ".local", "a_b.local", "1.2.3", "fe80::1%eth0"] {
            assert_eq!(with(other), Err(ParseError::Address), "{other}");
        }
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        let base = ["1", "1", "UDP", "1", "192.0.2.1", "5000", "typ", "host"];
        let with = |at: usize, word: &str| {
            let mut words = base;
            words[at] = word;
            read(&format!("candidate:{}", words.join(" ")))
        };
        assert!(with(0, "abc+/").is_ok());
        for (at, word, error) in [
            (0, "a-b", ParseError::Foundation),
            (0, "123456789012345678901234567890123", ParseError::Foundation),
            (1, "0", ParseError::Component),
            (1, "257", ParseError::Component),
            (2, "SCTP", ParseError::Transport),
            (2, "TCP", ParseError::Transport),
            (3, "0", ParseError::Priority),
            (3, "2147483648", ParseError::Priority),
            (3, "+1", ParseError::Priority),
            (5, "65536", ParseError::Address),
            (6, "type", ParseError::Syntax),
            (7, "magic", ParseError::Type),
        ] {
            assert_eq!(with(at, word), Err(error), "{word}");
        }
        assert_eq!(read("candidate:1 1 UDP"), Err(ParseError::Syntax));
        for strange in ["\u{85}", "\u{b}", "\u{a0}", "\u{0}", "é"] {
            let line = format!("candidate:1 1 UDP 1 192.0.2.1 5000 typ host x {strange} ufrag abcd");
            assert_eq!(read(&line), Err(ParseError::Syntax), "{strange:?}");
        }
        assert_eq!(read(&"x".repeat(LONGEST_LINE + 1)), Err(ParseError::TooLong));
    }
}
