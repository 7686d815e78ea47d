//! Whose requests are ours: the domain, its aliases, our own addresses, and the addresses-of-record inside it.
//!
//! RFC 3261 §16.5 ("the domain this element is responsible for") and §10.3 step 5 (canonical form of an
//! address-of-record). The proxy, the registrar and the policy ask here; nobody else decides it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use farspeak_sansio::{Flow, Transport};
use farspeak_sip::message::{Host, Scheme, Uri};

/// An address-of-record in canonical form: `user@domain`, the user unescaped and as written (it is case-sensitive,
/// RFC 3261 §19.1.4), the domain by its canonical lower-case name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Arc<str>);

impl Aor {
    /// The address-of-record of `user` (already unescaped) in `domain` (already canonical).
    pub fn new(user: &str, domain: &str) -> Self {
        let mut text = String::with_capacity(user.len() + 1 + domain.len());
        text.push_str(user);
        text.push('@');
        text.push_str(domain);
        Self(text.into())
    }

    /// Takes `user@domain` as it stands, for rows that come back from the store. `None` without `@`.
    pub fn from_stored(text: &str) -> Option<Self> {
        text.contains('@').then(|| Self(text.into()))
    }

    /// `user@domain`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user part, unescaped. It may itself hold `@`, the domain cannot.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or(&*self.0, |(user, _)| user)
    }

    /// The domain, canonical.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Who somebody is, is private: [`Aor::as_str`] says it where it may be said.
impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aor(..)")
    }
}

/// An address that a listener of ours is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Listener {
    /// What it speaks.
    pub transport: Transport,
    /// Where it listens. An unspecified address (`0.0.0.0`, `::`) stands for every address of this host.
    pub address: SocketAddr,
}

/// The one domain that this node serves, and every name it answers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    name: String,
    aliases: Vec<String>,
    listeners: Vec<Listener>,
}

impl Domain {
    /// The domain of that name (made lower-case, a trailing dot and the brackets of an IPv6 reference dropped).
    pub fn new(name: &str) -> Self {
        Self { name: canonical(name), aliases: Vec::new(), listeners: Vec::new() }
    }

    /// Adds another name for the same domain.
    #[must_use]
    pub fn with_alias(mut self, alias: &str) -> Self {
        self.aliases.push(canonical(alias));
        self
    }

    /// Adds an address that we listen on, so that a URI with it as its host is ours.
    #[must_use]
    pub fn with_listener(mut self, transport: Transport, address: SocketAddr) -> Self {
        self.listeners.push(Listener { transport, address });
        self
    }

    /// The canonical name: what addresses-of-record end in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The other names.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// Where we listen.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Whether `uri` names this node or its domain, asked over `flow`.
    ///
    /// Names: the domain and its aliases with any port (a port may be mapped on the way to us); `localhost` with no
    /// port, a default port or one we listen on. Addresses: the one the request arrived at, one we listen on, or a
    /// loopback address, with no port, or a port that we listen on (`sip:bob@127.0.0.1:5070` is a phone on this host,
    /// not us). Only `sip` and `sips` URIs can be ours.
    pub fn is_ours(&self, uri: &Uri<'_>, flow: &Flow) -> bool {
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return false;
        }
        match &uri.host {
            Host::Name(name) => self.is_our_name(name, uri.port, flow),
            Host::V4(address) => self.is_our_address(IpAddr::V4(*address), uri.port, flow),
            Host::V6(address) => self.is_our_address(IpAddr::V6(*address).to_canonical(), uri.port, flow),
        }
    }

    /// The address-of-record that `uri` names, if it is ours and has a user part.
    pub fn aor(&self, uri: &Uri<'_>, flow: &Flow) -> Option<Aor> {
        if !self.is_ours(uri, flow) {
            return None;
        }
        let user = uri.user_unescaped();
        (!user.is_empty()).then(|| Aor::new(&user, &self.name))
    }

    /// The address-of-record that `uri` would have others take it for, if it has a user part: any of our names, any
    /// loopback address and any address of this host will do, with any port.
    ///
    /// For a From, which is never an address to send to: people read `alice@localhost` whatever the port behind it.
    pub fn claimed(&self, uri: &Uri<'_>, flow: &Flow) -> Option<Aor> {
        self.aor(&Uri { port: None, ..*uri }, flow)
    }

    /// The address-of-record of a local user's name.
    pub fn aor_of_user(&self, user: &str) -> Aor {
        Aor::new(user, &self.name)
    }

    fn is_our_name(&self, name: &str, port: Option<u16>, flow: &Flow) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if is(&self.name) || self.aliases.iter().any(|alias| is(alias)) {
            return true;
        }
        is("localhost") && port.is_none_or(|port| matches!(port, 5060 | 5061) || self.is_our_port(port, flow))
    }

    fn is_our_address(&self, address: IpAddr, port: Option<u16>, flow: &Flow) -> bool {
        let named = [Some(self.name.as_str())].into_iter().flatten().chain(self.aliases.iter().map(String::as_str));
        if named.filter_map(|name| name.parse::<IpAddr>().ok()).any(|name| name == address) {
            return true;
        }
        let ours = address == flow.local.ip().to_canonical()
            || address.is_loopback()
            || self.listeners.iter().any(|listener| listener.address.ip().to_canonical() == address);
        ours && port.is_none_or(|port| self.is_our_port(port, flow))
    }

    fn is_our_port(&self, port: u16, flow: &Flow) -> bool {
        self.listeners.iter().any(|listener| listener.address.port() == port)
            || (self.listeners.is_empty() && flow.local.port() == port)
    }
}

fn canonical(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain::new("Biloxi.Example.")
            .with_alias("sip.biloxi.example")
            .with_listener(Transport::Tls, "0.0.0.0:5061".parse().unwrap())
            .with_listener(Transport::Udp, "192.0.2.1:5080".parse().unwrap())
    }

    fn flow() -> Flow {
        Flow::unbound(Transport::Tls, "198.51.100.7:5061".parse().unwrap(), "203.0.113.9:40000".parse().unwrap())
    }

    fn ours(uri: &str) -> bool {
        domain().is_ours(&Uri::parse(uri).unwrap(), &flow())
    }

    #[test]
    fn knows_its_names_whatever_their_case() {
        assert!(ours("sip:bob@biloxi.example"));
        assert!(ours("sip:bob@BILOXI.example:5099"));
        assert!(ours("sips:bob@sip.biloxi.example"));
        assert!(!ours("sip:bob@atlanta.example"));
        assert!(!ours("sip:bob@evilbiloxi.example"));
    }

    #[test]
    fn knows_its_addresses_by_port() {
        assert!(ours("sip:bob@198.51.100.7"));
        assert!(ours("sip:bob@198.51.100.7:5061"));
        assert!(ours("sip:bob@192.0.2.1:5080"));
        assert!(!ours("sip:bob@192.0.2.1:5070"));
        assert!(!ours("sip:bob@203.0.113.9:5061"));
        assert!(!ours("sip:bob@[2001:db8::1]"));
    }

    #[test]
    fn a_phone_on_this_host_is_not_us() {
        assert!(ours("sip:localhost"));
        assert!(ours("sip:bob@127.0.0.1:5061"));
        assert!(!ours("sip:bob@127.0.0.1:5070"));
        assert!(!ours("sip:bob@localhost:5070"));
    }

    #[test]
    fn who_claims_a_name_of_ours_does_so_with_any_port() {
        let claimed = |uri: &str| domain().claimed(&Uri::parse(uri).unwrap(), &flow());
        for uri in [
            "sip:alice@localhost:9999",
            "sips:alice@LOCALHOST.:1",
            "sip:alice@127.9.9.9:9999",
            "sip:alice@[::1]:9999",
            "sip:alice@[::ffff:127.0.0.1]",
            "sip:alice@198.51.100.7:9999",
            "sip:alice@192.0.2.1:9999",
            "sip:alice@sip.biloxi.example:9999",
        ] {
            assert_eq!(claimed(uri), Some(domain().aor_of_user("alice")), "{uri}");
        }
        for uri in ["sip:localhost:9999", "sip:alice@203.0.113.9", "sip:alice@atlanta.example", "tel:+442071838750"] {
            assert_eq!(claimed(uri), None, "{uri}");
        }
    }

    #[test]
    fn addresses_of_record_are_canonical() {
        let aor = |uri: &str| domain().aor(&Uri::parse(uri).unwrap(), &flow());
        assert_eq!(aor("sip:b%6fb@SIP.biloxi.example:5061;transport=tls").unwrap().as_str(), "bob@biloxi.example");
        assert_ne!(aor("sip:Bob@biloxi.example"), aor("sip:bob@biloxi.example"));
        assert_eq!(aor("sip:biloxi.example"), None);
        assert_eq!(aor("sip:bob@atlanta.example"), None);
    }

    #[test]
    fn a_user_with_an_at_sign_keeps_it() {
        let aor = Aor::new("bob@home", "biloxi.example");
        assert_eq!((aor.user(), aor.domain()), ("bob@home", "biloxi.example"));
    }
}
