//! URLs that a router gives of itself: `http`, an IP address as host, a path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where to fetch or post something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url {
    pub(super) server: SocketAddr,
    /// Path and query: printable ASCII without spaces, so that it fits on a request line.
    pub(super) path: String,
}

/// Longest path. Routers need some dozens.
const LONGEST_PATH: usize = 512;

impl Url {
    /// Reads an absolute URL. Names are not resolved: a router that names itself has no use for them, and an answer
    /// that does may be forged. `None` also for what is too long or not `http`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
        let rest = &text[scheme.len()..];
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (authority, 80),
        };
        // Only as people write it: four decimal numbers, nothing that means something else elsewhere.
        let host: Ipv4Addr = host.parse().ok()?;
        Some(Self { server: SocketAddr::new(IpAddr::V4(host), port), path: path_of(path)? })
    }

    /// Reads a URL that may be relative to this one (RFC 3986 §5.2, without dots); it must stay on the same host.
    pub(super) fn join(&self, reference: &str) -> Option<Self> {
        if let Some(absolute) = Self::parse(reference) {
            return (absolute.server.ip() == self.server.ip()).then_some(absolute);
        }
        // Another scheme, or an authority of its own.
        let before_path = &reference[..reference.find(['/', '?']).unwrap_or(reference.len())];
        if before_path.contains(':') || reference.starts_with("//") {
            return None;
        }
        let path = if reference.starts_with('/') {
            path_of(reference)?
        } else {
            let base = self.path.split(['?']).next().unwrap_or_default();
            let directory = &base[..base.rfind('/').map_or(0, |at| at + 1)];
            path_of(&format!("{directory}{reference}"))?
        };
        Some(Self { server: self.server, path })
    }
}

/// The path without its fragment, if it may stand on a request line.
fn path_of(path: &str) -> Option<String> {
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let fits = path.len() < LONGEST_PATH && path.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| format!("{slash}{path}"))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.server, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_routers_give() {
        for (text, read) in [
            ("http://192.168.1.1:5000/rootDesc.xml", "http://192.168.1.1:5000/rootDesc.xml"),
            ("HTTP://192.168.1.1", "http://192.168.1.1:80/"),
            ("http://192.168.1.1?a=b#c", "http://192.168.1.1:80/?a=b"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), read);
        }
        let base = Url::parse("http://192.168.1.1:5000/dir/desc.xml").unwrap();
        for (reference, joined) in [
            ("/ctl/IPConn", "http://192.168.1.1:5000/ctl/IPConn"),
            ("ctl", "http://192.168.1.1:5000/dir/ctl"),
            ("http://192.168.1.1:49000/x", "http://192.168.1.1:49000/x"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), joined);
        }
    }

    #[test]
    fn refuses_what_leads_elsewhere() {
        for text in [
            "https://192.168.1.1/",
            "http://router.example/",
            "http://user@192.168.1.1/",
            "http://192.168.1.1@9.9.9.9/",
            "http://0x7f.1/",
            "http://3232235777/",
            "http://192.168.1.1:0/",
            "http://192.168.1.1:99999/",
            "http://192.168.1.1/a b",
            "http://192.168.1.1/a\r\nHost: b",
            "http://[fe80::1]/",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
        let base = Url::parse("http://192.168.1.1:5000/").unwrap();
        for reference in
            ["http://9.9.9.9/", "//9.9.9.9/x", "https://192.168.1.1/", "ftp:x", "a\nb", "http://127.0.0.1/"]
        {
            assert_eq!(base.join(reference), None, "{reference}");
        }
        assert_eq!(base.join(&"x".repeat(600)), None);
    }
}
