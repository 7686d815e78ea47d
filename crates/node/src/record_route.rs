//! How we name ourselves to a peer: the sent-by of our Via and the URI of our Record-Route (RFC 3261 §16.6 steps 4
//! and 8, RFC 5658).
//!
//! Over TLS and WSS the host is the configured public name, because certificates carry names; without one it is the
//! local address: a phone need not be able to resolve `localhost` (baresip before 2.0 asks the DNS alone), and it would
//! never send its ACK. Over UDP, TCP and WS it is always the local address. The port is always written. If a request goes out over another transport than it came in on, two Record-Route values are
//! written (RFC 5658 §3): each side sees the one it can use on top, and both carry the same flow token.

use std::net::IpAddr;

use farspeak_sansio::{Flow, Transport};

use crate::b2bua::hairpin::is_internal;

/// Writes our names, keeping what it wrote per local address and transport.
#[derive(Debug, Default)]
pub struct Names {
    public_name: Option<String>,
    known: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    transport: Transport,
    ip: IpAddr,
    port: u16,
    /// `host:port`
    sent_by: Box<str>,
    /// `SIP/2.0/TLS host:port;branch=`
    via: Box<str>,
    /// `@host:port;transport=tls;lr>`
    route: Box<str>,
}

/// Most local addresses remembered; beyond it the oldest is forgotten. A host rarely has more.
const MAX_KNOWN: usize = 64;

impl Names {
    /// Names with `public_name` over TLS and WSS.
    pub fn new(public_name: Option<&str>) -> Self {
        Self { public_name: public_name.map(str::to_owned), known: Vec::new() }
    }

    /// Writes the value of our Via (RFC 3261 §16.6 step 8).
    pub fn write_via(&mut self, flow: &Flow, branch: &str, out: &mut String) {
        let name = self.name(flow);
        out.push_str(&name.via);
        out.push_str(branch);
    }

    /// Writes our Record-Route value or values, comma separated, for a dialog between `a` (where the request came in)
    /// and `b` (where it goes out), both with `token` as the user. `secure` makes them `sips` (RFC 3261 §16.6 step 4:
    /// the Request-URI is).
    ///
    /// The side that the request goes to is written first: it is on top there, and last in the reversed route set of
    /// the other (RFC 5658 §3.2). One value does if both sides know us by the same name and transport.
    ///
    /// The back-to-back user agent behind an internal flow needs no name of its own.
    pub fn write_record_route(&mut self, a: &Flow, b: &Flow, token: &str, secure: bool, out: &mut String) {
        if is_internal(b) {
            return self.write_one(a, token, secure, out);
        }
        self.write_one(b, token, secure, out);
        if !is_internal(a) && !self.is_same_name(a, b) {
            out.push_str(", ");
            self.write_one(a, token, secure, out);
        }
    }

    fn is_same_name(&mut self, a: &Flow, b: &Flow) -> bool {
        if a.transport != b.transport {
            return false;
        }
        // The public name stands for every address.
        let named = a.transport.is_secure() && self.public_name.is_some();
        a.local.port() == b.local.port() && (named || a.local.ip().to_canonical() == b.local.ip().to_canonical())
    }

    fn write_one(&mut self, flow: &Flow, token: &str, secure: bool, out: &mut String) {
        let name = self.name(flow);
        let secure = secure && name.transport.is_secure();
        out.push_str(if secure { "<sips:" } else { "<sip:" });
        out.push_str(token);
        if secure {
            // `transport=tls` has no place in a sips URI (RFC 5630 §3.1.4).
            out.push('@');
            out.push_str(&name.sent_by);
            out.push_str(if name.transport == Transport::Wss { ";transport=ws;lr>" } else { ";lr>" });
        } else {
            out.push_str(&name.route);
        }
    }

    fn name(&mut self, flow: &Flow) -> &Name {
        let (ip, port) = (flow.local.ip().to_canonical(), flow.local.port());
        let is = |name: &Name| name.transport == flow.transport && name.ip == ip && name.port == port;
        let index = match self.known.iter().position(is) {
            Some(index) => index,
            None => {
                if self.known.len() == MAX_KNOWN {
                    self.known.remove(0);
                }
                self.known.push(self.make(flow.transport, ip, port));
                self.known.len() - 1
            }
        };
        &self.known[index]
    }

    fn make(&self, transport: Transport, ip: IpAddr, port: u16) -> Name {
        let host = match (&self.public_name, ip) {
            (Some(name), _) if transport.is_secure() => name.clone(),
            (_, IpAddr::V4(ip)) => ip.to_string(),
            (_, IpAddr::V6(ip)) => format!("[{ip}]"),
        };
        let sent_by = format!("{host}:{port}");
        // RFC 7118 §5.2: the URI parameter is `ws`, over TLS or not.
        let parameter = match transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws | Transport::Wss => "ws",
        };
        Name {
            transport,
            ip,
            port,
            via: format!("SIP/2.0/{} {sent_by};branch=", transport.as_str()).into(),
            route: format!("@{sent_by};transport={parameter};lr>").into(),
            sent_by: sent_by.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport, local: &str) -> Flow {
        Flow::unbound(transport, local.parse().unwrap(), local.parse().unwrap())
    }

    fn record_route(names: &mut Names, a: &Flow, b: &Flow, secure: bool) -> String {
        let mut out = String::new();
        names.write_record_route(a, b, "t0k", secure, &mut out);
        out
    }

    #[test]
    fn certificates_carry_names_so_tls_does() {
        let mut names = Names::new(Some("sip.example.org"));
        let mut sent_by = |transport, local| names.name(&flow(transport, local)).sent_by.to_string();
        assert_eq!(sent_by(Transport::Tls, "192.0.2.1:5061"), "sip.example.org:5061");
        assert_eq!(sent_by(Transport::Udp, "192.0.2.1:5060"), "192.0.2.1:5060");
        let mut nameless = Names::new(None);
        let mut sent_by = |transport, local| nameless.name(&flow(transport, local)).sent_by.to_string();
        assert_eq!(sent_by(Transport::Tls, "127.0.0.1:5061"), "127.0.0.1:5061");
        assert_eq!(sent_by(Transport::Wss, "192.0.2.1:443"), "192.0.2.1:443");
        assert_eq!(sent_by(Transport::Tcp, "[::1]:5060"), "[::1]:5060");
    }

    #[test]
    fn one_record_route_when_transports_agree() {
        let mut names = Names::new(None);
        let tls = flow(Transport::Tls, "192.0.2.1:5061");
        assert_eq!(record_route(&mut names, &tls, &tls, false), "<sip:t0k@192.0.2.1:5061;transport=tls;lr>");
        assert_eq!(record_route(&mut names, &tls, &tls, true), "<sips:t0k@192.0.2.1:5061;lr>");
    }

    #[test]
    fn two_record_routes_when_transports_differ() {
        let mut names = Names::new(None);
        let (udp, wss) = (flow(Transport::Udp, "192.0.2.1:5060"), flow(Transport::Wss, "192.0.2.1:443"));
        assert_eq!(
            record_route(&mut names, &udp, &wss, false),
            "<sip:t0k@192.0.2.1:443;transport=ws;lr>, <sip:t0k@192.0.2.1:5060;transport=udp;lr>"
        );
    }

    #[test]
    fn two_record_routes_when_the_sides_know_us_by_different_addresses() {
        let (inside, outside) = (flow(Transport::Tls, "10.0.0.1:5061"), flow(Transport::Tls, "192.0.2.1:5061"));
        assert_eq!(
            record_route(&mut Names::new(None), &inside, &outside, false),
            "<sip:t0k@192.0.2.1:5061;transport=tls;lr>, <sip:t0k@10.0.0.1:5061;transport=tls;lr>"
        );
        assert_eq!(
            record_route(&mut Names::new(Some("sip.example.org")), &inside, &outside, false),
            "<sip:t0k@sip.example.org:5061;transport=tls;lr>"
        );
    }

    #[test]
    fn via_names_transport_and_branch() {
        let mut out = String::new();
        Names::new(None).write_via(&flow(Transport::Wss, "192.0.2.1:443"), "z9hG4bKx", &mut out);
        assert_eq!(out, "SIP/2.0/WSS 192.0.2.1:443;branch=z9hG4bKx");
    }

    #[test]
    fn remembers_a_bounded_number_of_addresses() {
        let mut names = Names::new(None);
        for port in 1..=200 {
            names.name(&flow(Transport::Udp, &format!("192.0.2.1:{port}")));
        }
        assert_eq!(names.known.len(), MAX_KNOWN);
    }
}
